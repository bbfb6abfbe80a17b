"""Tools for the tests of a project that uses Shield: states without a database.

Inside Django's test environment every test starts with the decorators alone, on a memory
engine of its own. These put routes, or everything, into a state for the length of a block::

    with route_state("shop:cart", "maintenance", reason="stock-taking"):
        assert client.get("/shop/cart/").status_code == 503

They decorate test functions (sync and async) and ``SimpleTestCase`` classes too. The pytest fixture
``shield`` offers them as methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.test.utils import TestContextDecorator

from shield_core.exceptions import ShieldException
from shield_core.keys import EVERYTHING, Scope
from shield_core.models import GlobalMaintenanceConfig, MaintenanceWindow, RouteState, RouteStatus
from shield_django import project

_AUTHOR: dict[str, Any] = {"actor": "test", "platform": "code"}


class route_state(TestContextDecorator):  # noqa: N801 - named like Django's override_settings
    """Put one route (a view name, a key or a URL) into a state, and back afterwards.

    A bare name or path means all its methods. Raises RouteNotFoundException for an unknown one.
    """

    def __init__(
        self,
        target: str,
        status: RouteStatus | str,
        *,
        reason: str = "",
        window: MaintenanceWindow | None = None,
        envs: Sequence[str] = (),
        read_only: bool = False,
    ) -> None:
        super().__init__()
        self._target = target
        self._state = RouteState(
            path="/",
            status=RouteStatus(status),
            reason=reason,
            window=window,
            allowed_envs=tuple(envs),
            read_only=read_only,
        )
        self._before: dict[str, RouteState] = {}

    def enable(self) -> None:
        sync = _engine().sync
        self._before = {key: sync.get_state(key) for key in _keys(self._target)}
        try:
            for key in self._before:
                _set_route(key, self._state)
        except BaseException:
            self.disable()
            raise

    def disable(self) -> None:
        for key, state in self._before.items():
            if state.origin == "code" or state.path != key:
                _engine().sync.clear_override(key, **_AUTHOR)
            else:
                _set_route(key, state)


class maintenance_state(TestContextDecorator):  # noqa: N801 - named like Django's override_settings
    """Put everything, or one service, into maintenance, and back afterwards."""

    def __init__(
        self,
        *,
        service: str | None = None,
        reason: str = "",
        exempt_paths: Sequence[str] = (),
        include_force_active: bool = False,
        read_only: bool = False,
        until: datetime | None = None,
    ) -> None:
        super().__init__()
        self._scope = Scope.service(service) if service else EVERYTHING
        self._config = GlobalMaintenanceConfig(
            enabled=until is None,
            reason=reason,
            exempt_paths=tuple(exempt_paths),
            include_force_active=include_force_active,
            read_only=read_only,
            window=_window(until, reason, read_only),
        )
        self._before = GlobalMaintenanceConfig()

    def enable(self) -> None:
        self._before = _engine().sync.get_maintenance(self._scope)
        self._set(self._config)

    def disable(self) -> None:
        self._set(self._before)

    def _set(self, config: GlobalMaintenanceConfig) -> None:
        _engine().sync.set_scope_maintenance(
            self._scope,
            config.enabled,
            reason=config.reason,
            exempt_paths=config.exempt_paths,
            include_force_active=config.include_force_active,
            read_only=config.read_only,
            window=config.window,
            **_AUTHOR,
        )


def _set_route(key: str, state: RouteState) -> None:
    _engine().sync.set_route(
        key,
        state.status,
        reason=state.reason,
        window=state.window,
        envs=state.allowed_envs,
        read_only=state.read_only,
        **_AUTHOR,
    )


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
