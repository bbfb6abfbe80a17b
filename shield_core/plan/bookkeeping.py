"""What processes write by themselves: their routes, and the boundaries of windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shield_core.models import (
    GlobalMaintenanceConfig,
    RouteState,
    StoredObject,
)
from shield_core.plan.commands import Command
from shield_core.plan.routes import beneath, code, kept
from shield_core.plan.scopes import scope_status
from shield_core.snapshot import Commit, Snapshot, Write


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
        same_code = (known.code, known.force_active, known.rate_limit) == (
            declared.code,
            declared.force_active,
            declared.rate_limit,
        )
        if same_code and (known.origin == "code" or known.baseline is not None):
            return None
        told: dict[str, Any] = {
            "force_active": declared.force_active,
            "rate_limit": declared.rate_limit,
            "release": declared.release,
        }
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
        settled = self._without_need(cleared, code(snapshot, cleared), beneath(snapshot, cleared))
        return kept(snapshot, found, settled)


def crossed_boundary(found: StoredObject, now: datetime) -> datetime | None:
    """Return the last boundary of the object's window that nobody has written down yet.

    An object that was changed at or after a boundary has been written by somebody who knew.
    """
    if found.window is None or found.updated_at is None:
        return None
    passed = [edge for edge in (found.window.start, found.window.end) if found.updated_at < edge <= now]
    return max(passed, default=None)


def _because(command: CrossBoundary, reason: str) -> CrossBoundary:
    return CrossBoundary(by=command.by, reason=reason, now=command.now, store_key=command.store_key)


def _status_at(found: StoredObject, moment: datetime) -> str:
    if isinstance(found, RouteState):
        return found.effective(moment)
    return scope_status(found, moment) if isinstance(found, GlobalMaintenanceConfig) else ""
