"""Plan mutations: pure functions from a snapshot and a command to a commit.

Key resolution, protection, validation, previous and new status live here and nowhere else. A
command's ``plan`` does no I/O and may be repeated on a newer snapshot after a conflict.
"""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypedDict

from shield_core.exceptions import (
    AmbiguousRouteError,
    ConflictError,
    InvalidInputError,
    RouteNotFoundException,
    RouteProtectedException,
)
from shield_core.keys import ExemptEntry, RouteKey, Scope, is_environment, is_route_key
from shield_core.models import (
    BLOCKING,
    AuditEntry,
    Baseline,
    GlobalMaintenanceConfig,
    MaintenanceWindow,
    RouteState,
    RouteStatus,
    StoredObject,
    WindowStatus,
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
        expected = self.by.get("expected_revision")
        if expected is not None and expected != revision:
            raise ConflictError(scope.label, expected, revision)
        service = RouteKey.parse(store_key).service if scope.kind == "route" else scope.name or None
        entry = AuditEntry(
            timestamp=self.now,
            path=store_key,
            service=service,
            action=action,
            actor=self.by.get("actor", "system"),
            platform=self.by.get("platform", "system"),
            reason=self.reason,
            note=self.by.get("note", ""),
            request_id=self.by.get("request_id", ""),
            client_ip=self.by.get("client_ip", ""),
            previous_status=previous,
            new_status=new,
            details=_difference(before, after),
        )
        return Commit((Write(store_key, after),), (entry,), {store_key: revision}, store_key)

    @property
    def _stamp(self) -> dict[str, Any]:
        return {"updated_at": self.now, "updated_by": self.by.get("actor", "system")}

    def _settled(self, state: RouteState, code: Baseline) -> RouteState:
        """Return to the code where the override no longer says anything else."""
        says = (state.status, state.allowed_envs, state.read_only, self._unless_over(state.window))
        code_says = (code.status, code.allowed_envs, code.read_only, self._unless_over(code.window))
        return self._as_code(state, code) if says == code_says else state

    def _as_code(self, state: RouteState, code: Baseline) -> RouteState:
        return state.replace(origin="code", baseline=None, note="", **self._stamp, **dict(code))

    def _unless_over(self, window: MaintenanceWindow | None) -> MaintenanceWindow | None:
        return window if window is not None and window.end > self.now else None


@dataclass(frozen=True, kw_only=True)
class RouteCommand(Command):
    """A mutation of one route. ``target`` is a key or a bare path, ``service`` the default."""

    target: str
    service: str | None = None

    @property
    @abstractmethod
    def action(self) -> str:
        """The audit log's word for it."""

    @property
    def blocks(self) -> bool:
        """Whether @force_active protects a route from it."""
        return False

    def plan(self, snapshot: Snapshot) -> Commit:
        key = resolve(snapshot, self.target, self.service)
        before = snapshot.route(key)
        current = before or _inherited(snapshot, key)
        if self.blocks and current.force_active:
            raise RouteProtectedException(key)
        after = _kept(snapshot, before, self._change(current, _code(snapshot, current)))
        return self._commit(
            key,
            before,
            after,
            action=self.action,
            previous=current.effective(self.now),
            new=(after or _inherited(snapshot, key)).effective(self.now),
        )

    @abstractmethod
    def _change(self, state: RouteState, code: Baseline) -> RouteState:
        """Return the new state."""

    def _override(self, state: RouteState, code: Baseline, **changes: Any) -> RouteState:
        """Return ``state`` as the operator's own, without a window that is over."""
        return state.replace(
            **{
                "window": self._unless_over(state.window),
                "origin": "operator",
                "baseline": code if state.origin == "code" else state.baseline,
                "note": self.by.get("note", ""),
                **self._stamp,
                **changes,
            }
        )

    def _window(self, end: datetime, status: WindowStatus, read_only: bool = False) -> MaintenanceWindow:
        if end.tzinfo is None:
            raise InvalidInputError(f"The end {end} names no time zone.")
        if end <= self.now:
            raise InvalidInputError(f"The end {end.isoformat()} is in the past.")
        return MaintenanceWindow(
            start=self.now, end=end, reason=self.reason, status=status, read_only=read_only
        )


@dataclass(frozen=True, kw_only=True)
class Enable(RouteCommand):
    """Lift maintenance and disabled; an environment gate stays, and so does a future window."""

    action = "enable"

    def _change(self, state: RouteState, code: Baseline) -> RouteState:
        window = state.window if state.window and state.window.start > self.now else None
        gated = state.allowed_envs or state.status is RouteStatus.ENV_GATED
        status = RouteStatus.ENV_GATED if gated else _open_status(code)
        enabled = self._override(state, code, status=status, reason="", read_only=False, window=window)
        return self._settled(enabled, code)


@dataclass(frozen=True, kw_only=True)
class Disable(RouteCommand):
    """Answer 503, for good or (``until``) as a window over the base status."""

    until: datetime | None = None

    action = "disable"
    blocks = True

    def _change(self, state: RouteState, code: Baseline) -> RouteState:
        if self.until is None:
            return self._override(
                state, code, status=RouteStatus.DISABLED, reason=self.reason, read_only=False
            )
        window = self._window(self.until, RouteStatus.DISABLED)
        _refuse_to_lose_a_window(state, window)
        return self._override(state, code, window=window)


@dataclass(frozen=True, kw_only=True)
class SetMaintenance(RouteCommand):
    """Answer 503 with a reason, for good, until a time, or in a window."""

    window: MaintenanceWindow | None = None
    until: datetime | None = None
    read_only: bool = False

    action = "maintenance_on"
    blocks = True

    def _change(self, state: RouteState, code: Baseline) -> RouteState:
        if self.window is not None:
            window = self.window.replace(read_only=True) if self.read_only else self.window
            return _scheduled(self, state, code, window)
        if self.until is not None:
            window = self._window(self.until, RouteStatus.MAINTENANCE, self.read_only)
            _refuse_to_lose_a_window(state, window)
            return self._override(state, code, window=window)
        return self._override(
            state, code, status=RouteStatus.MAINTENANCE, reason=self.reason, read_only=self.read_only
        )


@dataclass(frozen=True, kw_only=True)
class Schedule(RouteCommand):
    """Set the route's window, in place of the one it has."""

    window: MaintenanceWindow

    action = "schedule"
    blocks = True

    def _change(self, state: RouteState, code: Baseline) -> RouteState:
        return _scheduled(self, state, code, self.window)


@dataclass(frozen=True, kw_only=True)
class CancelSchedule(RouteCommand):
    """Take the route's window away, a running one too."""

    action = "schedule_cancel"

    def _change(self, state: RouteState, code: Baseline) -> RouteState:
        if state.window is None or state.window.end <= self.now:
            raise InvalidInputError(f"{state.path} has no window that could be cancelled.")
        return self._settled(self._override(state, code, window=None), code)


@dataclass(frozen=True, kw_only=True)
class SetEnvironments(RouteCommand):
    """Gate the route to environments; an empty list lifts the gate."""

    envs: tuple[str, ...]

    action = "env_gate"

    @property
    def blocks(self) -> bool:
        return bool(self.envs)

    def _change(self, state: RouteState, code: Baseline) -> RouteState:
        _refuse_nameless(self.envs)
        status = state.status
        if status not in BLOCKING:
            status = RouteStatus.ENV_GATED if self.envs else _open_status(code)
        gated = self._override(state, code, status=status, allowed_envs=self.envs)
        return self._settled(gated, code)


@dataclass(frozen=True, kw_only=True)
class ClearOverride(RouteCommand):
    """Go back to what the code says."""

    action = "override_cleared"

    def _change(self, state: RouteState, code: Baseline) -> RouteState:
        return state if state.origin == "code" else self._as_code(state, code)


@dataclass(frozen=True, kw_only=True)
class SetRoute(RouteCommand):
    """Set several things of a route at once, as the admin's form does.

    ``status`` is the base status, ``window`` None takes the window away.
    """

    status: RouteStatus
    window: MaintenanceWindow | None = None
    envs: tuple[str, ...] = ()
    read_only: bool = False

    @property
    def action(self) -> str:
        return _ACTIONS[self.status]

    @property
    def blocks(self) -> bool:
        return self.status in BLOCKING or self.window is not None or bool(self.envs)

    def _change(self, state: RouteState, code: Baseline) -> RouteState:
        _refuse_nameless(self.envs)
        status = self.status
        if status == RouteStatus.ENV_GATED and not self.envs:
            raise InvalidInputError("A gate needs the names of the environments in which it is open.")
        if status not in BLOCKING:
            status = RouteStatus.ENV_GATED if self.envs else _open_status(code)
        if self.window is not None and self.window != state.window and self.window.end <= self.now:
            raise InvalidInputError("The window is already over.")
        changed = self._override(
            state,
            code,
            status=status,
            reason=self.reason,
            window=self.window,
            allowed_envs=self.envs,
            read_only=self.read_only,
        )
        return self._settled(changed, code)


_ACTIONS = {
    RouteStatus.ACTIVE: "enable",
    RouteStatus.DEPRECATED: "enable",
    RouteStatus.ENV_GATED: "env_gate",
    RouteStatus.MAINTENANCE: "maintenance_on",
    RouteStatus.DISABLED: "disable",
}


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
            previous=_scope_status(before, self.now),
            new=_scope_status(after, self.now),
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
        window = snapshot.maintenance(self.scope).window
        future = window if window and window.start > self.now else None
        return self._store(
            snapshot, "off", enabled=False, reason="", note=self.by.get("note", ""), window=future
        )


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
class Register(Command):
    """Store what a process's code declares, to inform operators; nothing when nothing is new."""

    states: Sequence[RouteState]

    def plan(self, snapshot: Snapshot) -> Commit:
        writes, expect = [], {}
        for state in self.states:
            known = snapshot.route(state.path)
            new = state.replace(**self._stamp) if known is None else self._told_anew(known, state)
            if new is not None:
                writes.append(Write(state.path, new))
                expect[state.path] = known.revision if known else 0
        return Commit(tuple(writes), (), expect)

    def _told_anew(self, known: RouteState, declared: RouteState) -> RouteState | None:
        same_code = known.code == declared.code and known.force_active == declared.force_active
        if same_code and (known.origin == "code" or known.baseline is not None):
            return None
        told: dict[str, Any] = {"force_active": declared.force_active, "release": declared.release}
        if known.origin == "operator":
            told["baseline"] = declared.code
        else:
            told |= {**dict(declared.code), **self._stamp}
        return known.replace(**told)


@dataclass(frozen=True, kw_only=True)
class CrossBoundary(Command):
    """Write down that a window opened or closed, once per fleet; it changes no status."""

    store_key: str

    def plan(self, snapshot: Snapshot) -> Commit:
        found = snapshot.objects.get(self.store_key)
        crossed = crossed_boundary(found, self.now) if found else None
        if found is None or crossed is None:
            return Commit()
        window = found.window
        assert window is not None
        closes = crossed >= window.end
        after: StoredObject | None = found.replace(**self._stamp)
        if closes and (not isinstance(found, RouteState) or found.origin == "operator"):
            after = self._without_window(snapshot, found)
        command = self if self.reason else _because(self, window.reason)
        return command._commit(
            self.store_key,
            found,
            after,
            action="window_closed" if closes else "window_opened",
            previous=_status_at(found, window.start if closes else window.end),
            new=_status_at(found, window.end if closes else window.start),
        )

    def _without_window(self, snapshot: Snapshot, found: StoredObject) -> StoredObject | None:
        cleared = found.replace(window=None, **self._stamp)
        if not isinstance(found, RouteState) or not isinstance(cleared, RouteState):
            return cleared
        return _kept(snapshot, found, self._settled(cleared, _code(snapshot, cleared)))


def crossed_boundary(found: StoredObject, now: datetime) -> datetime | None:
    """Return the last boundary of the object's window that nobody has written down yet.

    An object that was changed at or after a boundary has been written by somebody who knew.
    """
    if found.window is None or found.updated_at is None:
        return None
    passed = [edge for edge in (found.window.start, found.window.end) if found.updated_at < edge <= now]
    return max(passed, default=None)


def resolve(snapshot: Snapshot, target: str, service: str | None = None) -> str:
    """Return the store key that ``target`` (a key or a bare path) stands for.

    An exact key wins; then the one key that the bare path may stand for, in ``service``, else in
    any. A method key under a registered bare path is a key too. Raises RouteNotFoundException
    with the closest keys, or AmbiguousRouteError with the candidates.
    """
    if not is_route_key(target):
        raise RouteNotFoundException(target)
    key = RouteKey.parse(target, service=service)
    for path in (key.path, _other_slash(key.path)):
        exact = key._replace(path=path)
        if snapshot.route(str(exact)) is not None:
            return str(exact)
        found = [
            candidate
            for candidate in snapshot.keys_by_path.get(path, ())
            if _may_mean(key, RouteKey.parse(candidate))
        ]
        found = [one for one in found if RouteKey.parse(one).method == key.method] or found
        if len(found) > 1:
            raise AmbiguousRouteError(target, sorted(found))
        if found:
            method = key.method if key.method else RouteKey.parse(found[0]).method
            return str(RouteKey.parse(found[0])._replace(method=method))
    raise RouteNotFoundException(target, difflib.get_close_matches(target, snapshot.routes, n=3))


def _may_mean(asked: RouteKey, candidate: RouteKey) -> bool:
    if asked.service is not None and candidate.service != asked.service:
        return False
    return asked.method is None or candidate.method in (None, asked.method)


def _other_slash(path: str) -> str:
    return path[:-1] if path.endswith("/") and path != "/" else path + "/"


def _inherited(snapshot: Snapshot, store_key: str) -> RouteState:
    """Return the state of a method key that has none of its own: that of its bare path."""
    bare = _bare(snapshot, store_key)
    if bare is None:
        return RouteState(path=store_key)
    return bare.replace(path=store_key, origin="operator", baseline=None, revision=0)


def _bare(snapshot: Snapshot, store_key: str) -> RouteState | None:
    """Return the state of the bare path that a method key falls back to."""
    key = RouteKey.parse(store_key)
    return snapshot.route(str(key._replace(method=None))) if key.method else None


def _kept(snapshot: Snapshot, before: RouteState | None, after: RouteState) -> RouteState | None:
    """Return what to store: nothing for a method key that no longer differs from its bare path."""
    registered = before is not None and (before.origin == "code" or before.baseline is not None)
    if after.origin == "operator" or registered or _bare(snapshot, after.path) is None:
        return after
    return None


def _code(snapshot: Snapshot, state: RouteState) -> Baseline:
    """Return what lies under an operator's override: the code, or for a mere method key its bare path."""
    bare = _bare(snapshot, state.path)
    if state.origin == "code" or state.baseline is not None or bare is None:
        return state.code
    return bare.here


def _open_status(code: Baseline) -> RouteStatus:
    deprecated = code.status is RouteStatus.DEPRECATED or code.sunset_date is not None
    return RouteStatus.DEPRECATED if deprecated else RouteStatus.ACTIVE


def _refuse_nameless(envs: Sequence[str]) -> None:
    if not all(map(is_environment, envs)):
        raise InvalidInputError("The name of an environment must not be empty.")


def _exempt(paths: Sequence[str]) -> tuple[str, ...]:
    """Return ``paths``. Raises InvalidKeyError for what is no exempt entry."""
    for path in paths:
        ExemptEntry.parse(path)
    return tuple(paths)


def _scheduled(
    command: RouteCommand, state: RouteState, code: Baseline, window: MaintenanceWindow
) -> RouteState:
    if window.end <= command.now:
        raise InvalidInputError(f"The window ended at {window.end.isoformat()}, it is already over.")
    if not window.reason and command.reason:
        window = window.replace(reason=command.reason)
    return command._override(state, code, window=window)


def _refuse_to_lose_a_window(state: RouteState, new: MaintenanceWindow) -> None:
    """Refuse where a window of the future, or a running one of another kind, would be cut short unseen."""
    old = state.window
    if old is not None and (old.start > new.start or (old.status != new.status and old.end > new.end)):
        raise InvalidInputError(
            f"{state.path} has a window from {old.start.isoformat()} to "
            f"{old.end.isoformat()}, which this would replace: cancel it first, or leave "
            "the end out."
        )


def _because(command: CrossBoundary, reason: str) -> CrossBoundary:
    return CrossBoundary(by=command.by, reason=reason, now=command.now, store_key=command.store_key)


def _scope_status(config: GlobalMaintenanceConfig, now: datetime) -> str:
    return (RouteStatus.MAINTENANCE if config.in_force(now) else RouteStatus.ACTIVE).value


def _status_at(found: StoredObject, moment: datetime) -> str:
    if isinstance(found, RouteState):
        return found.effective(moment)
    return _scope_status(found, moment)


def _difference(before: StoredObject | None, after: StoredObject | None) -> dict[str, Any]:
    old = before.model_dump(mode="json") if before else {}
    new = after.model_dump(mode="json") if after else {}
    ignored = {"revision", "updated_at", "updated_by", "path", "service", "baseline"}
    changed = [name for name in {**old, **new} if name not in ignored and old.get(name) != new.get(name)]
    return {
        "before": {name: old.get(name) for name in changed},
        "after": {name: new.get(name) for name in changed},
    }
