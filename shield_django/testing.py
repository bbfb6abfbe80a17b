"""Tools for the tests of a project that uses Shield: states without a database.

Inside Django's test environment every test starts with the decorators alone, on a memory
engine of its own. These put routes, or everything, into a state for the length of a block::

    with route_state("shop:cart", "maintenance", reason="stock-taking"):
        assert client.get("/shop/cart/").status_code == 503

They work as decorators too. The pytest fixture ``shield`` offers them as methods.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from shield_core.exceptions import ShieldException
from shield_core.keys import EVERYTHING, Scope
from shield_core.models import MaintenanceWindow, RouteStatus
from shield_django import project

_AUTHOR: dict[str, Any] = {"actor": "test", "platform": "code"}


@contextmanager
def route_state(
    target: str,
    status: RouteStatus | str,
    *,
    reason: str = "",
    window: MaintenanceWindow | None = None,
    envs: Sequence[str] = (),
    read_only: bool = False,
) -> Iterator[None]:
    """Put one route (a view name, a key or a URL) into a state, and back afterwards.

    A bare name or path means all its methods. Raises RouteNotFoundException for an unknown one.
    """
    sync = _engine().sync
    before = {key: sync.get_state(key) for key in _keys(target)}
    try:
        for key in before:
            sync.set_route(
                key,
                RouteStatus(status),
                reason=reason,
                window=window,
                envs=tuple(envs),
                read_only=read_only,
                **_AUTHOR,
            )
        yield
    finally:
        for key, state in before.items():
            if state.origin == "code" or state.path != key:
                sync.clear_override(key, **_AUTHOR)
            else:
                sync.set_route(
                    key,
                    state.status,
                    reason=state.reason,
                    window=state.window,
                    envs=state.allowed_envs,
                    read_only=state.read_only,
                    **_AUTHOR,
                )


@contextmanager
def maintenance_state(
    *,
    service: str | None = None,
    reason: str = "",
    exempt_paths: Sequence[str] = (),
    include_force_active: bool = False,
    read_only: bool = False,
    until: datetime | None = None,
) -> Iterator[None]:
    """Put everything, or one service, into maintenance, and back afterwards."""
    sync = _engine().sync
    scope = Scope.service(service) if service else EVERYTHING
    try:
        sync.enable_maintenance(
            scope,
            reason,
            exempt_paths,
            include_force_active,
            read_only,
            _window(until, reason, read_only),
            **_AUTHOR,
        )
        yield
    finally:
        sync.disable_maintenance(scope, **_AUTHOR)
        sync.set_exempt_paths(scope, (), **_AUTHOR)


def _window(until: datetime | None, reason: str, read_only: bool) -> MaintenanceWindow | None:
    if until is None:
        return None
    start = min(datetime.now(until.tzinfo), until)
    return MaintenanceWindow(start=start, end=until, reason=reason, read_only=read_only)


def _keys(target: str) -> list[str]:
    found = project.current()
    found.discover()
    key = found.catalog.one_key(target)
    if key.method is not None:
        return [str(key)]
    return [str(one) for one in found.catalog.declarations if one.path == key.path]


def _engine() -> Any:
    engine = project.current().engine
    if engine.backend.shared_across_processes:
        raise ShieldException(
            "shield_django.testing would change a store that other processes share; it works inside "
            "Django's test environment, where SHIELD_TESTING is not switched off."
        )
    return engine
