"""Mutations of one route."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shield_core.exceptions import (
    InvalidInputError,
    RouteProtectedException,
)
from shield_core.keys import RouteKey, is_environment
from shield_core.models import (
    BLOCKING,
    Baseline,
    MaintenanceWindow,
    RouteState,
    RouteStatus,
    WindowStatus,
)
from shield_core.plan.commands import Command
from shield_core.plan.resolution import resolve
from shield_core.snapshot import Commit, Snapshot


@dataclass(frozen=True, kw_only=True)
class RouteCommand(Command):
    """A mutation of one route. ``target`` is a key or a bare path, ``service`` the default."""

    target: str
    service: str | None = None

    #: Whether an override that says what would hold without it is given up.
    settles = True

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
        current = in_force(snapshot, key, before)
        if self.blocks and current.force_active:
            raise RouteProtectedException(key)
        changed = self._change(current, code(snapshot, current))
        if self.settles:
            changed = self._without_need(changed, code(snapshot, changed), beneath(snapshot, changed))
        after = kept(snapshot, before, changed)
        return self._commit(
            key,
            before,
            after,
            action=self.action,
            previous=current.effective(self.now),
            new=in_force(snapshot, key, after).effective(self.now),
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
        status = _unblocked_status(state, code)
        return self._override(state, code, status=status, reason="", read_only=False, window=window)


@dataclass(frozen=True, kw_only=True)
class Disable(RouteCommand):
    """Answer 503, for good or (``until``) as a window over the base status."""

    until: datetime | None = None

    action = "disable"
    blocks = True
    settles = False

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
    settles = False

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
    """Set the route's window, in place of the one it has.

    ``instead``: also in place of maintenance or disabled for good, which ends with the window.
    """

    window: MaintenanceWindow
    instead: bool = False

    action = "schedule"
    blocks = True
    settles = False

    def _change(self, state: RouteState, code: Baseline) -> RouteState:
        scheduled = _scheduled(self, state, code, self.window)
        if not self.instead:
            return scheduled
        return scheduled.replace(status=_unblocked_status(state, code), reason="", read_only=False)


@dataclass(frozen=True, kw_only=True)
class CancelSchedule(RouteCommand):
    """Take the route's window away, a running one too."""

    action = "schedule_cancel"

    def _change(self, state: RouteState, code: Baseline) -> RouteState:
        if state.window is None or state.window.end <= self.now:
            raise InvalidInputError(f"{state.path} has no window that could be cancelled.")
        return self._override(state, code, window=None)


@dataclass(frozen=True, kw_only=True)
class SetEnvironments(RouteCommand):
    """Gate the route to environments; an empty list lifts the gate."""

    envs: tuple[str, ...]

    action = "env_gate"

    @property
    def blocks(self) -> bool:
        return bool(self.envs)

    def _change(self, state: RouteState, code: Baseline) -> RouteState:
        refuse_nameless(self.envs)
        status = state.status
        if status not in BLOCKING:
            status = RouteStatus.ENV_GATED if self.envs else _open_status(code)
        return self._override(state, code, status=status, allowed_envs=self.envs)


@dataclass(frozen=True, kw_only=True)
class ClearOverride(RouteCommand):
    """Go back to what the code says."""

    action = "override_cleared"
    settles = False

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
        refuse_nameless(self.envs)
        status = self.status
        if status == RouteStatus.ENV_GATED and not self.envs:
            raise InvalidInputError("A gate needs the names of the environments in which it is open.")
        if status not in BLOCKING:
            status = RouteStatus.ENV_GATED if self.envs else _open_status(code)
        if self.window is not None and self.window != state.window and self.window.end <= self.now:
            raise InvalidInputError("The window is already over.")
        return self._override(
            state,
            code,
            status=status,
            reason=self.reason,
            window=self.window,
            allowed_envs=self.envs,
            read_only=self.read_only,
        )


_ACTIONS = {
    RouteStatus.ACTIVE: "enable",
    RouteStatus.DEPRECATED: "enable",
    RouteStatus.ENV_GATED: "env_gate",
    RouteStatus.MAINTENANCE: "maintenance_on",
    RouteStatus.DISABLED: "disable",
}


def in_force(snapshot: Snapshot, store_key: str, own: RouteState | None) -> RouteState:
    """Return the state that holds for a key: its ``own``, or what an operator has set for all methods."""
    bare = _bare(snapshot, store_key)
    if own is None:
        return inherited(snapshot, store_key)
    if own.origin == "operator" or bare is None or bare.origin == "code":
        return own
    said = {**dict(bare.here), "note": bare.note, "updated_by": bare.updated_by}
    return own.replace(**said, origin="operator", baseline=own.code)


def inherited(snapshot: Snapshot, store_key: str) -> RouteState:
    """Return the state of a method key that has none of its own: that of its bare path."""
    bare = _bare(snapshot, store_key)
    if bare is None:
        return RouteState(path=store_key)
    return bare.replace(path=store_key, origin="operator", baseline=None, revision=0)


def _bare(snapshot: Snapshot, store_key: str) -> RouteState | None:
    """Return the state of the bare path that a method key falls back to."""
    key = RouteKey.parse(store_key)
    return snapshot.route(str(key._replace(method=None))) if key.method else None


def kept(snapshot: Snapshot, before: RouteState | None, after: RouteState) -> RouteState | None:
    """Return what to store: nothing for a method key that no longer differs from its bare path."""
    registered = before is not None and (before.origin == "code" or before.baseline is not None)
    if after.origin == "operator" or registered or _bare(snapshot, after.path) is None:
        return after
    return None


def beneath(snapshot: Snapshot, state: RouteState) -> Baseline:
    """Return what would hold for a route without an override of its own: its bare path's, or its code."""
    bare = _bare(snapshot, state.path)
    return bare.here if bare is not None and bare.origin == "operator" else code(snapshot, state)


def code(snapshot: Snapshot, state: RouteState) -> Baseline:
    """Return what lies under an operator's override: the code, or for a mere method key its bare path."""
    bare = _bare(snapshot, state.path)
    if state.origin == "code" or state.baseline is not None or bare is None:
        return state.code
    return bare.here


def _unblocked_status(state: RouteState, code: Baseline) -> RouteStatus:
    """Return what is left without maintenance and disabled: a gate stays."""
    gated = state.allowed_envs or state.status is RouteStatus.ENV_GATED
    return RouteStatus.ENV_GATED if gated else _open_status(code)


def _open_status(code: Baseline) -> RouteStatus:
    deprecated = code.status is RouteStatus.DEPRECATED or code.sunset_date is not None
    return RouteStatus.DEPRECATED if deprecated else RouteStatus.ACTIVE


def refuse_nameless(envs: Sequence[str]) -> None:
    if not all(map(is_environment, envs)):
        raise InvalidInputError("The name of an environment must not be empty.")


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
