"""What every mutation has: who, why, when, and the audit entry that tells it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypedDict

from shield_core.exceptions import (
    ConflictError,
)
from shield_core.keys import Scope
from shield_core.models import (
    BLOCKING,
    AuditEntry,
    Baseline,
    MaintenanceWindow,
    RouteState,
    StoredObject,
)
from shield_core.snapshot import Commit, Snapshot, Write


class Authorship(TypedDict, total=False):
    """Who changes something, and from where. ``expected_revision`` refuses a stale change."""

    actor: str
    platform: str
    note: str
    request_id: str
    client_ip: str
    expected_revision: int | None


@dataclass(frozen=True, kw_only=True)
class Command(ABC):
    """One mutation. ``now`` is fixed when the command is made, so that planning stays pure."""

    by: Authorship = field(default_factory=Authorship)
    reason: str = ""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        # Operations take these as **by, where a misspelt argument would be lost without a word.
        unknown = sorted(self.by.keys() - Authorship.__annotations__.keys())
        if unknown:
            raise TypeError(f"unexpected keyword argument: {', '.join(unknown)}")

    @abstractmethod
    def plan(self, snapshot: Snapshot) -> Commit:
        """Return what to write. Raises a ShieldException when the command is refused."""

    def _commit(
        self,
        store_key: str,
        before: StoredObject | None,
        after: StoredObject | None,
        *,
        action: str,
        previous: str,
        new: str,
    ) -> Commit:
        """Write one object, with the audit entry that tells it."""
        scope = Scope.of(store_key)
        revision = before.revision if before else 0
        self._check_expected(scope, revision)
        service = getattr(after or before, "service", None) if scope.kind == "token" else scope.owner
        entry = self._entry(
            action,
            path=scope.store_key,
            service=service,
            previous_status=previous,
            new_status=new,
            details=_difference(before, after),
        )
        return Commit((Write(store_key, after),), (entry,), {store_key: revision}, store_key)

    def _entry(self, action: str, **told: Any) -> AuditEntry:
        """Return an audit entry of whoever does this; ``told`` is what else it says."""
        source = {name: self.by.get(name, "") for name in ("note", "request_id", "client_ip")}
        who = {"actor": self._actor, "platform": self.by.get("platform", "system"), **source}
        return AuditEntry(**{"timestamp": self.now, "action": action, "reason": self.reason, **who, **told})

    def _check_expected(self, scope: Scope, revision: int) -> None:
        """Raise ConflictError where whoever changes something has seen another revision of it."""
        expected = self.by.get("expected_revision")
        if expected is not None and expected != revision:
            raise ConflictError(scope.label, expected, revision)

    @property
    def _actor(self) -> str:
        return self.by.get("actor", "system")

    @property
    def _stamp(self) -> dict[str, Any]:
        return {"updated_at": self.now, "updated_by": self._actor}

    def _without_need(self, state: RouteState, code: Baseline, beneath: Baseline) -> RouteState:
        """Return to the code where the override no longer says anything else than what is beneath it."""
        return self._as_code(state, code) if self._said(state) == self._said(beneath) else state

    def _said(self, one: RouteState | Baseline) -> tuple[object, ...]:
        """Return what callers can tell of a state; a reason is told to those who are blocked."""
        reason = one.reason if one.status in BLOCKING else ""
        return (one.status, reason, one.allowed_envs, one.read_only, self._unless_over(one.window))

    def _as_code(self, state: RouteState, code: Baseline) -> RouteState:
        return state.replace(origin="code", baseline=None, note="", **self._stamp, **dict(code))

    def _unless_over(self, window: MaintenanceWindow | None) -> MaintenanceWindow | None:
        return window if window is not None and window.end > self.now else None


def joined(parts: Sequence[Commit]) -> Commit:
    """Return several commits, of different objects, as one; its result is that of the first."""
    return Commit(
        tuple(write for part in parts for write in part.writes),
        tuple(entry for part in parts for entry in part.audit),
        {key: revision for part in parts for key, revision in part.expect.items()},
        parts[0].result if parts else "",
    )


def _difference(before: StoredObject | None, after: StoredObject | None) -> dict[str, Any]:
    old = before.model_dump(mode="json") if before else {}
    new = after.model_dump(mode="json") if after else {}
    ignored = {"revision", "updated_at", "updated_by", "path", "service", "baseline"}
    changed = [name for name in {**old, **new} if name not in ignored and old.get(name) != new.get(name)]
    return {
        "before": {name: old.get(name) for name in changed},
        "after": {name: new.get(name) for name in changed},
    }
