"""Mutations of the maintenance of everything or of one service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shield_core.exceptions import (
    InvalidInputError,
)
from shield_core.keys import ExemptEntry, Scope, exempt_as
from shield_core.models import (
    GlobalMaintenanceConfig,
    MaintenanceWindow,
    RouteStatus,
)
from shield_core.plan.commands import Command
from shield_core.snapshot import Commit, Snapshot


@dataclass(frozen=True, kw_only=True)
class ScopeCommand(Command):
    """A mutation of the maintenance of everything or of one service."""

    scope: Scope

    def _store(self, snapshot: Snapshot, switch: str = "", **changes: Any) -> Commit:
        before = snapshot.maintenance(self.scope)
        after = before.replace(**changes, **self._stamp)
        switch = switch or ("on" if after.in_force(self.now) else "off")
        return self._commit(
            self.scope.store_key,
            before,
            after,
            action=f"{self.scope.kind}_maintenance_{switch}",
            previous=scope_status(before, self.now),
            new=scope_status(after, self.now),
        )


@dataclass(frozen=True, kw_only=True)
class EnableScopeMaintenance(ScopeCommand):
    """Put a scope into maintenance, at once or (``window``) for a time.

    ``exempt_paths`` None keeps those that are there.
    """

    exempt_paths: Sequence[str] | None = None
    include_force_active: bool = False
    read_only: bool = False
    window: MaintenanceWindow | None = None

    def plan(self, snapshot: Snapshot) -> Commit:
        if self.window is not None and self.window.end <= self.now:
            raise InvalidInputError("The window is already over.")
        before = snapshot.maintenance(self.scope)
        exempt = before.exempt_paths if self.exempt_paths is None else _exempt(self.exempt_paths)
        if self.window is not None:
            window = self.window.replace(read_only=True) if self.read_only else self.window
            timing: dict[str, Any] = {"window": window}
        else:
            timing = {"enabled": True, "read_only": self.read_only}
        return self._store(
            snapshot,
            "on",
            **timing,
            reason=self.reason,
            note=self.by.get("note", ""),
            exempt_paths=exempt,
            include_force_active=self.include_force_active,
        )


@dataclass(frozen=True, kw_only=True)
class DisableScopeMaintenance(ScopeCommand):
    """End a scope's maintenance and its running window; a future window stays."""

    def plan(self, snapshot: Snapshot) -> Commit:
        before = snapshot.maintenance(self.scope)
        window = before.window if before.window and before.window.start > self.now else None
        if window is not None and not window.reason:
            window = window.replace(reason=before.reason)
        return self._store(
            snapshot, "off", enabled=False, reason="", note=self.by.get("note", ""), window=window
        )


@dataclass(frozen=True, kw_only=True)
class CancelScopeSchedule(ScopeCommand):
    """Take a scope's window away, a running one too; maintenance without an end stays."""

    def plan(self, snapshot: Snapshot) -> Commit:
        window = snapshot.maintenance(self.scope).window
        if window is None or window.end <= self.now:
            raise InvalidInputError(
                f"The maintenance of {self.scope.label} has no window that could be cancelled."
            )
        return self._store(snapshot, window=None, note=self.by.get("note", ""))


@dataclass(frozen=True, kw_only=True)
class SetScopeMaintenance(ScopeCommand):
    """Set everything of a scope's maintenance at once, as the admin's form does.

    ``enabled`` is the switch that no window changes, ``window`` None takes the window away.
    """

    enabled: bool
    exempt_paths: Sequence[str] = ()
    include_force_active: bool = False
    read_only: bool = False
    window: MaintenanceWindow | None = None

    def plan(self, snapshot: Snapshot) -> Commit:
        before = snapshot.maintenance(self.scope)
        if self.window is not None and self.window != before.window and self.window.end <= self.now:
            raise InvalidInputError("The window is already over.")
        return self._store(
            snapshot,
            "on" if self.enabled or self.window is not None else "off",
            enabled=self.enabled,
            window=self.window,
            reason=self.reason,
            note=self.by.get("note", ""),
            exempt_paths=_exempt(self.exempt_paths),
            include_force_active=self.include_force_active,
            read_only=self.read_only,
        )


@dataclass(frozen=True, kw_only=True)
class SetExemptPaths(ScopeCommand):
    """Replace a scope's exempt paths; never switches maintenance on or off."""

    exempt_paths: Sequence[str]

    def plan(self, snapshot: Snapshot) -> Commit:
        return self._store(snapshot, exempt_paths=_exempt(self.exempt_paths))


@dataclass(frozen=True, kw_only=True)
class ExemptPath(ScopeCommand):
    """Exempt one path, or (``exempt`` False) no longer; nothing where that is so already."""

    path: str
    exempt: bool = True

    def plan(self, snapshot: Snapshot) -> Commit:
        if self.exempt:
            ExemptEntry.parse(self.path)
        before = snapshot.maintenance(self.scope)
        named = exempt_as(self.path, before.exempt_paths)
        if bool(named) is self.exempt:
            self._check_expected(self.scope, before.revision)
            return Commit(result=self.scope.store_key)
        others = [one for one in before.exempt_paths if one not in named]
        return self._store(snapshot, exempt_paths=[*others, self.path.strip()] if self.exempt else others)


def _exempt(paths: Sequence[str]) -> tuple[str, ...]:
    """Return ``paths``. Raises InvalidKeyError for what is no exempt entry."""
    for path in paths:
        ExemptEntry.parse(path)
    return tuple(paths)


def scope_status(config: GlobalMaintenanceConfig, now: datetime) -> str:
    return (RouteStatus.MAINTENANCE if config.in_force(now) else RouteStatus.ACTIVE).value
