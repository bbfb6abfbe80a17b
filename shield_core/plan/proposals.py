"""What a process wants to have committed that follows this store over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from shield_core.events import MARKS
from shield_core.exceptions import (
    ConflictError,
    InvalidInputError,
    RouteNotFoundException,
    RouteProtectedException,
)
from shield_core.keys import Facet, RouteKey, Scope, parse_store_key
from shield_core.models import (
    BLOCKING,
    AuditEntry,
    GlobalMaintenanceConfig,
    GlobalRateLimitPolicy,
    RateLimitPolicy,
    RouteState,
    RouteStatus,
    StoredObject,
)
from shield_core.plan.commands import Command
from shield_core.plan.limits import (
    PREFIXES,
    RESETS,
    limit_in_force,
    limit_of_code,
    limit_status,
    refuse_functions,
)
from shield_core.plan.resolution import is_known
from shield_core.plan.routes import code, in_force, inherited, kept, refuse_nameless
from shield_core.plan.scopes import scope_status
from shield_core.snapshot import Commit, Snapshot, Write


class Proposal(NamedTuple):
    """One object to store under ``key``, None to delete it; ``expected`` is the revision that was seen."""

    key: str
    value: StoredObject | None
    expected: int | None = None


#: The audit log's words for a change of what is stored, by what it is and how far it reaches.
_WORDS: dict[tuple[Facet, str], frozenset[str]] = {
    (Facet.STATE, "route"): frozenset(
        {
            *("enable", "disable", "maintenance_on", "env_gate", "deprecate"),
            *("schedule", "schedule_cancel", "override_cleared"),
        }
    ),
    **{
        (Facet.STATE, kind): frozenset({f"{kind}_maintenance_on", f"{kind}_maintenance_off"})
        for kind in ("global", "service")
    },
    **{
        (Facet.LIMIT, kind): frozenset(
            f"{prefix}_{done}" for done in ("set", "updated", "deleted", "enabled", "disabled")
        )
        for kind, prefix in PREFIXES.items()
    },
    **{(Facet.RESET, kind): frozenset({word}) for kind, word in RESETS.items()},
}
#: What an operator may tell besides: not what only the server can know, as of tokens and logins.
_TOLD = frozenset({"enforced"}).union(*_WORDS.values())


@dataclass(frozen=True, kw_only=True)
class Propose(Command):
    """Commit ``proposals``, each told by the entry about the same path, of which only the words are taken.

    Who did it is known here, and so is what the code says of a route: a proposal changes neither.
    ``may_be_silent``: entries and writes need not belong together, as an operator's may not.
    """

    proposals: Sequence[Proposal]
    entries: Sequence[AuditEntry]
    may_be_silent: bool = False

    def plan(self, snapshot: Snapshot) -> Commit:
        if len({one.key for one in self.proposals}) < len(self.proposals):
            raise InvalidInputError("The same object is written twice.")
        told = list(self.entries)
        parts = [self._part(snapshot, one, told) for one in self.proposals]
        rest = tuple(self._signed(entry) for entry in told)
        if rest and not self.may_be_silent:
            raise InvalidInputError(f"Nothing is written about {rest[0].path!r}.")
        return Commit(
            tuple(write for part in parts for write in part.writes),
            (*(entry for part in parts for entry in part.audit), *rest),
            {key: revision for part in parts for key, revision in part.expect.items()},
        )

    def _part(self, snapshot: Snapshot, one: Proposal, told: list[AuditEntry]) -> Commit:
        """Plan one write; the entry that tells it is taken out of ``told``."""
        facet, scope = parse_store_key(one.key)
        if facet is Facet.TOKEN or (scope.kind == "store" and one.key not in MARKS):
            raise InvalidInputError(f"{one.key!r} cannot be written from elsewhere.")
        before = snapshot.objects.get(one.key)
        revision = before.revision if before else 0
        if one.expected is not None and one.expected != revision:
            raise ConflictError(scope.label, one.expected, revision)
        if scope.kind == "store":
            if not self.may_be_silent:
                raise InvalidInputError(f"{one.key!r} is an operator's to write.")
            return Commit((Write(one.key, self._after(snapshot, one, before)),), (), {one.key: revision})
        entry = _teller(told, facet, scope)
        told.remove(entry)
        command = replace(self, reason=entry.reason, by={**self.by, "note": entry.note})
        after = command._after(snapshot, one, before)
        _refuse_another_story(entry.action, facet, scope, after)
        previous, new = self._statuses(snapshot, facet, scope, after)
        return command._commit(one.key, before, after, action=entry.action, previous=previous, new=new)

    def _after(self, snapshot: Snapshot, one: Proposal, before: StoredObject | None) -> StoredObject | None:
        facet, scope = parse_store_key(one.key)
        value = one.value
        if scope.kind == "route" and facet is Facet.STATE:
            return self._route(snapshot, one.key, value if isinstance(value, RouteState) else None)
        if scope.kind == "route" and before is None and not is_known(snapshot, RouteKey.parse(scope.name)):
            raise RouteNotFoundException(scope.name)
        if isinstance(value, RateLimitPolicy) and str(value.key) != scope.name:
            raise InvalidInputError(f"A limit of {value.key} cannot stand under {one.key!r}.")
        if isinstance(value, RateLimitPolicy | GlobalRateLimitPolicy):
            named = {name for name, said in value if before is None or said != getattr(before, name, None)}
            refuse_functions(value, named, limit_of_code(snapshot, scope))
        if value is None and (before is None or facet is Facet.RESET):
            raise InvalidInputError(f"There is nothing of {scope.label} to delete.")
        return value.replace(**self._stamp) if value is not None else None

    def _route(self, snapshot: Snapshot, key: str, wanted: RouteState | None) -> RouteState | None:
        before = snapshot.route(key)
        current = before or inherited(snapshot, key)
        beneath = code(snapshot, current)
        if before is None and kept(snapshot, None, self._as_code(current, beneath)) is not None:
            raise RouteNotFoundException(key)  # neither it nor its bare path is registered
        if wanted is None or wanted.origin == "code":
            return kept(snapshot, before, self._as_code(current, beneath))
        refuse_nameless(wanted.allowed_envs)
        if wanted.status is RouteStatus.ENV_GATED and not wanted.allowed_envs:
            raise InvalidInputError("A gate needs the names of the environments in which it is open.")
        blocks = wanted.status in BLOCKING or wanted.window is not None or bool(wanted.allowed_envs)
        if blocks and current.force_active:
            raise RouteProtectedException(key)
        is_registered = before is not None and before.origin == "code"
        return wanted.replace(
            path=key,
            service=current.service,
            force_active=current.force_active,
            rate_limit=current.rate_limit,
            release=current.release,
            baseline=beneath if is_registered else current.baseline,
            note=self.by.get("note", ""),
            **self._stamp,
        )

    def _statuses(
        self, snapshot: Snapshot, facet: Facet, scope: Scope, after: StoredObject | None
    ) -> tuple[str, str]:
        """Return the previous and the new status, as the audit log has them."""
        if facet is not Facet.STATE:
            previous = limit_in_force(snapshot, scope)[1]
            besides = scope if facet is Facet.LIMIT else None
            new = after if isinstance(after, RateLimitPolicy | GlobalRateLimitPolicy) else None
            return limit_status(previous), limit_status(
                new or limit_in_force(snapshot, scope, besides=besides)[1]
            )
        if scope.kind == "route":
            known = in_force(snapshot, scope.name, snapshot.route(scope.name))
            then = in_force(snapshot, scope.name, after if isinstance(after, RouteState) else None)
            return known.effective(self.now), then.effective(self.now)
        config = after if isinstance(after, GlobalMaintenanceConfig) else GlobalMaintenanceConfig()
        return scope_status(snapshot.maintenance(scope), self.now), scope_status(config, self.now)

    def _signed(self, entry: AuditEntry) -> AuditEntry:
        """Return an entry as one of whoever proposes it."""
        if entry.action not in _TOLD:
            raise InvalidInputError(f"{entry.action!r} is not told from elsewhere.")
        return self._entry(
            entry.action,
            path=entry.path,
            service=Scope.of(entry.path).owner if entry.path else None,
            reason=entry.reason,
            note=entry.note,
            previous_status=entry.previous_status,
            new_status=entry.new_status,
            details=entry.details,
        )


def _teller(told: Sequence[AuditEntry], facet: Facet, scope: Scope) -> AuditEntry:
    """Return the entry that tells of a write. Raises InvalidInputError where none does."""
    words = _WORDS[facet, scope.kind]
    for entry in told:
        if entry.path == scope.store_key and entry.action in words:
            return entry
    raise InvalidInputError(
        f"No audit entry tells the change of {scope.label}: its action is one of {', '.join(sorted(words))}."
    )


def _refuse_another_story(action: str, facet: Facet, scope: Scope, after: StoredObject | None) -> None:
    """Refuse an action that is not what this makes of a scope, as an "enable" that disables a route."""
    state = after if isinstance(after, RouteState) else None
    blocks = state is not None and (state.status in BLOCKING or state.window is not None)
    match action:
        case "enable":
            fits = state is None or state.status not in BLOCKING
        case "disable" | "maintenance_on":
            fits = blocks
        case "schedule":
            fits = state is not None and state.window is not None
        case "schedule_cancel":
            fits = state is None or state.window is None
        case "override_cleared":
            fits = state is None or state.origin == "code"
        case _ if facet is not Facet.STATE:
            fits = action.endswith("_deleted") is (after is None)
        case _:
            fits = True
    if not fits:
        raise InvalidInputError(f"{action!r} is not what this makes of {scope.label}.")
