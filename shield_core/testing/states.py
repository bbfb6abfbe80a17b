"""States for the length of a test, and back afterwards; and everything open.

    with route_state(engine, "GET:/payments", "maintenance", reason="stock-taking"):
        assert client.get("/payments").status_code == 503

    with bypass(engine):
        assert client.get("/payments").status_code == 200

They decorate functions and coroutines too. States need an engine of this process alone, such as
one over ``MemoryBackend``: nobody else may meet the state of a test.
"""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from shield_core.engine import ShieldEngine
from shield_core.exceptions import RouteNotFoundException, ShieldException
from shield_core.keys import EVERYTHING, RouteKey, Scope
from shield_core.models import GlobalMaintenanceConfig, MaintenanceWindow, RouteState, RouteStatus

Function = TypeVar("Function", bound=Callable[..., Any])

_AUTHOR: dict[str, Any] = {"actor": "test", "platform": "code"}


class ForATest(ABC):
    """A context manager, and a decorator of functions and coroutines."""

    def __init__(self, engine: ShieldEngine) -> None:
        super().__init__()
        self.engine = engine

    @abstractmethod
    def enable(self) -> None: ...

    @abstractmethod
    def disable(self) -> None: ...

    def __enter__(self) -> Self:
        self.enable()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disable()

    def __call__(self, function: Function) -> Function:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def call_async(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await function(*args, **kwargs)

            return call_async  # type: ignore[return-value]

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return call  # type: ignore[return-value]


class bypass(ForATest):  # noqa: N801 - it reads as what it does
    """Let everything pass in this process. Nothing is written, whatever the backend."""

    def __init__(self, engine: ShieldEngine) -> None:
        super().__init__(engine)
        self._open: list[AbstractContextManager[None]] = []

    def enable(self) -> None:
        context = self.engine.replica.bypass()
        context.__enter__()
        self._open.append(context)

    def disable(self) -> None:
        self._open.pop().__exit__(None, None, None)


class route_state(ForATest):  # noqa: N801 - it reads as what it does
    """Put one route (a key; without a method all its methods) into a state.

    Raises RouteNotFoundException for a route that the application has not declared yet, and
    ShieldException where other processes share the store.
    """

    def __init__(
        self,
        engine: ShieldEngine,
        target: str,
        status: RouteStatus | str,
        *,
        reason: str = "",
        window: MaintenanceWindow | None = None,
        envs: Sequence[str] = (),
        read_only: bool = False,
    ) -> None:
        super().__init__(engine)
        self._target = target
        self._state = RouteState(
            path="/",
            status=RouteStatus(status),
            reason=reason,
            window=window,
            allowed_envs=tuple(envs),
            read_only=read_only,
        )
        self._before: list[dict[str, RouteState]] = []

    def enable(self) -> None:
        sync = _own(self.engine).sync
        before = {key: sync.get_state(key) for key in self.keys(self._target)}
        self._before.append(before)
        try:
            for key in before:
                self._set(key, self._state)
        except BaseException:
            self.disable()
            raise

    def disable(self) -> None:
        for key, state in self._before.pop().items():
            if state.origin == "code" or state.path != key:
                self.engine.sync.clear_override(key, **_AUTHOR)
            else:
                self._set(key, state)

    def keys(self, target: str) -> list[str]:
        """Return the registered keys that ``target`` stands for."""
        wanted = RouteKey.parse(target, service=self.engine.service)
        known = [state.key for state in self.engine.sync.list_states()]
        keys = [str(key) for key in known if wanted in (key, key._replace(method=None))]
        if not keys:
            raise RouteNotFoundException(target)
        return keys

    def _set(self, key: str, state: RouteState) -> None:
        self.engine.sync.set_route(
            key,
            state.status,
            reason=state.reason,
            window=state.window,
            envs=state.allowed_envs,
            read_only=state.read_only,
            **_AUTHOR,
        )


class maintenance_state(ForATest):  # noqa: N801 - it reads as what it does
    """Put everything, or one service, into maintenance. Raises ShieldException for a shared store."""

    def __init__(
        self,
        engine: ShieldEngine,
        *,
        service: str | None = None,
        reason: str = "",
        exempt_paths: Sequence[str] = (),
        include_force_active: bool = False,
        read_only: bool = False,
        until: datetime | None = None,
    ) -> None:
        super().__init__(engine)
        self._scope = Scope.service(service) if service else EVERYTHING
        self._config = GlobalMaintenanceConfig(
            enabled=until is None,
            reason=reason,
            exempt_paths=tuple(exempt_paths),
            include_force_active=include_force_active,
            read_only=read_only,
            window=_window(until, reason, read_only),
        )
        self._before: list[GlobalMaintenanceConfig] = []

    def enable(self) -> None:
        self._before.append(_own(self.engine).sync.get_maintenance(self._scope))
        self._set(self._config)

    def disable(self) -> None:
        self._set(self._before.pop())

    def _set(self, config: GlobalMaintenanceConfig) -> None:
        self.engine.sync.set_scope_maintenance(
            self._scope,
            config.enabled,
            reason=config.reason,
            exempt_paths=config.exempt_paths,
            include_force_active=config.include_force_active,
            read_only=config.read_only,
            window=config.window,
            **_AUTHOR,
        )


def _window(until: datetime | None, reason: str, read_only: bool) -> MaintenanceWindow | None:
    if until is None:
        return None
    start = min(datetime.now(until.tzinfo), until)
    return MaintenanceWindow(start=start, end=until, reason=reason, read_only=read_only)


def _own(engine: ShieldEngine) -> ShieldEngine:
    if engine.backend.shared_across_processes:
        raise ShieldException(
            "A test's state would change a store that other processes share. Give the engine a "
            "MemoryBackend in tests (in Django this happens by itself, while SHIELD_TESTING is not "
            "switched off), or use bypass()."
        )
    return engine
