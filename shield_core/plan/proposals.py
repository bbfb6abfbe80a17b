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
from shield_core.keys import Facet, Scope, parse_store_key
from shield_core.models import (
    BLOCKING,
    AuditEntry,
    GlobalMaintenanceConfig,
    RateLimitPolicy,
    RouteState,
    StoredObject,
)
from shield_core.plan.commands import Command
from shield_core.plan.routes import code, kept
from shield_core.plan.scopes import scope_status
from shield_core.snapshot import Commit, Snapshot, Write


class Proposal(NamedTuple):
    """One object to store under ``key``, None to delete it; ``expected`` is the revision that was seen."""

    key: str
    value: StoredObject | None
    expected: int | None = None


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
        told = {entry.path: entry for entry in self.entries}
        parts = [self._part(snapshot, one, told) for one in self.proposals]
        rest = tuple(self._signed(entry) for entry in told.values())
        if rest and not self.may_be_silent:
            raise InvalidInputError(f"Nothing is written about {rest[0].path!r}.")
        return Commit(
            tuple(write for part in parts for write in part.writes),
            (*(entry for part in parts for entry in part.audit), *rest),
            {key: revision for part in parts for key, revision in part.expect.items()},
        )

    def _part(self, snapshot: Snapshot, one: Proposal, told: dict[str, AuditEntry]) -> Commit:
        """Plan one write; the entry that tells it is taken out of ``told``."""
        facet, scope = parse_store_key(one.key)
        if facet is Facet.TOKEN or (scope.kind == "store" and one.key not in MARKS):
            raise InvalidInputError(f"{one.key!r} cannot be written from elsewhere.")
        before = snapshot.objects.get(one.key)
        revision = before.revision if before else 0
        if one.expected is not None and one.expected != revision:
            raise ConflictError(scope.label, one.expected, revision)
        after = self._after(snapshot, one, before)
        entry = told.pop(scope.store_key, None)
        if entry is None:
            if not (self.may_be_silent and scope.kind == "store"):
                raise InvalidInputError(f"No audit entry tells the change of {scope.label}.")
            return Commit((Write(one.key, after),), (), {one.key: revision}, one.key)
        return replace(self, reason=entry.reason, by={**self.by, "note": entry.note})._commit(
            one.key,
            before,
            after,
            action=entry.action,
            previous=self._status(before, entry.previous_status),
            new=self._status(after, entry.new_status),
        )

    def _after(self, snapshot: Snapshot, one: Proposal, before: StoredObject | None) -> StoredObject | None:
        facet, scope = parse_store_key(one.key)
        value = one.value
        if scope.kind == "route" and facet is Facet.STATE:
            assert not isinstance(before, GlobalMaintenanceConfig)
            return self._route(snapshot, one.key, value if isinstance(value, RouteState) else None)
        if isinstance(value, RateLimitPolicy) and str(value.key) != scope.name:
            raise InvalidInputError(f"A limit of {value.key} cannot stand under {one.key!r}.")
        return value.replace(**self._stamp) if value is not None else None

    def _route(self, snapshot: Snapshot, key: str, wanted: RouteState | None) -> RouteState | None:
        before = snapshot.route(key)
        current = before or RouteState(path=key)
        beneath = code(snapshot, current)
        if before is None and kept(snapshot, None, self._as_code(current, beneath)) is not None:
            raise RouteNotFoundException(key)  # neither it nor its bare path is registered
        if wanted is None or wanted.origin == "code":
            return kept(snapshot, before, self._as_code(current, beneath))
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

    def _status(self, value: StoredObject | None, told: str | None) -> str:
        """Return a status as the audit log has it, from the object itself where that tells."""
        if isinstance(value, RouteState):
            return value.effective(self.now)
        if isinstance(value, GlobalMaintenanceConfig):
            return scope_status(value, self.now)
        return told or ""

    def _signed(self, entry: AuditEntry) -> AuditEntry:
        """Return an entry as one of whoever proposes it."""
        by = self.by
        return AuditEntry(
            timestamp=self.now,
            path=entry.path,
            service=Scope.of(entry.path).owner if entry.path else None,
            action=entry.action,
            actor=by.get("actor", "system"),
            platform=by.get("platform", "system"),
            reason=entry.reason,
            note=entry.note,
            request_id=by.get("request_id", ""),
            client_ip=by.get("client_ip", ""),
            previous_status=entry.previous_status,
            new_status=entry.new_status,
            details=entry.details,
        )
