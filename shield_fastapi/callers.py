"""Who is asking, as Starlette tells it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from starlette.requests import HTTPConnection, Request

from shield_core.rate_limit.addresses import client_address
from shield_core.rate_limit.caller import Caller
from shield_fastapi.sources import Scope


class ConnectionCaller(Caller):
    """The caller of a request or a WebSocket.

    The user is that of ``AuthenticationMiddleware``, else what a dependency or a middleware has left
    in ``request.state.user`` or ``request.state.user_id``.
    """

    __slots__ = ("_num_proxies", "_scope")

    awaits = True

    def __init__(self, scope: Scope, num_proxies: int) -> None:
        self._scope = scope
        self._num_proxies = num_proxies

    @property
    def address(self) -> str | None:
        peer = self._scope.get("client")
        forwarded = self.header("x-forwarded-for") if self._num_proxies else None
        return client_address(peer[0] if peer else None, forwarded, self._num_proxies)

    def header(self, name: str) -> str | None:
        wanted = name.encode("latin-1")
        found = [value.decode("latin-1") for key, value in self._scope["headers"] if key == wanted]
        return ",".join(found) if found else None

    async def user(self) -> object | None:
        found: object | None = self._scope.get("user")
        if found is not None and getattr(found, "is_authenticated", True):
            return found
        state = self._state
        known: object | None = state.get("user", state.get("user_id"))
        return known

    async def attribute(self, name: str) -> object | None:
        user = await self.user()
        found = user.get(name) if isinstance(user, dict) else getattr(user, name, None)
        return found if found is not None else self._state.get(name)

    async def roles(self) -> Iterable[str]:
        scopes = getattr(self._scope.get("auth"), "scopes", ())
        flags = [role for role in ("staff", "superuser") if await self.attribute(f"is_{role}")]
        return [*await super().roles(), *flags, *scopes, *map(str, self._state.get("user_roles") or ())]

    async def call(self, function: Callable[..., Any]) -> Any:
        scope = self._scope
        said = function(Request(scope) if scope["type"] == "http" else HTTPConnection(scope))
        return await said if isinstance(said, Awaitable) else said

    @property
    def _state(self) -> dict[str, Any]:
        found: dict[str, Any] = self._scope.get("state") or {}
        return found
