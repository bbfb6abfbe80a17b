"""Maintenance that concerns the visitor of a page: for the banner. Reads the rules, no store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from shield_core.keys import EVERYTHING, Scope
from shield_core.models import GlobalMaintenanceConfig, MaintenanceWindow, RouteState, RouteStatus
from shield_django import project

if TYPE_CHECKING:
    from django.http import HttpRequest

#: How long before its start a window is announced.
ANNOUNCED = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Notice:
    """Maintenance of a scope that runs now, or will from ``start`` to ``end`` (None: not known)."""

    scope: Scope
    reason: str
    running: bool
    read_only: bool
    start: datetime | None = None
    end: datetime | None = None


def notices(request: HttpRequest | None = None) -> list[Notice]:
    """Return what to tell the visitor: of everything, of this service, and of the page's own route."""
    found = project.current()
    rules = found.replica.ruleset
    if rules is None:
        return []
    snapshot, now = rules.snapshot, datetime.now(UTC)
    scopes = [EVERYTHING, *([Scope.service(rules.service)] if rules.service else [])]
    told = [notice for scope in scopes for notice in _of(scope, snapshot.maintenance(scope), now)]
    decision = getattr(request, "shield", None)
    if decision is not None and decision.key:
        prefix = f"{rules.service}:" if rules.service else ""
        state = snapshot.route(prefix + decision.key)
        if state is not None:
            told += _of(Scope("route", state.path), state, now)
    return told


def _of(scope: Scope, said: GlobalMaintenanceConfig | RouteState, now: datetime) -> Iterator[Notice]:
    if isinstance(said, RouteState):
        runs = said.origin == "operator" and said.status is RouteStatus.MAINTENANCE
    else:
        runs = said.enabled
    if runs:
        yield Notice(scope, said.reason, running=True, read_only=said.read_only)
    elif said.window is not None and said.window.end > now and said.window.start - now < ANNOUNCED:
        yield _of_window(scope, said.window, said.reason, now)


def _of_window(scope: Scope, window: MaintenanceWindow, reason: str, now: datetime) -> Notice:
    return Notice(
        scope,
        window.reason or reason,
        running=window.runs_at(now),
        read_only=window.read_only,
        start=window.start,
        end=window.end,
    )
