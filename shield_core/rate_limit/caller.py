"""Who is asking: what a limit wants to know of a request, neutral of any framework."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from shield_core.rate_limit.addresses import client_address


class Caller(ABC):
    """One request, as an adapter shows it to the limiter.

    The coroutines of a caller whose ``awaits`` is False never suspend.
    """

    awaits: bool = False

    @property
    @abstractmethod
    def address(self) -> str | None:
        """The client's address, None where it is not known (a Unix socket)."""

    @abstractmethod
    def header(self, name: str) -> str | None:
        """Return a header of the request; ``name`` is in small letters."""

    @abstractmethod
    async def user(self) -> object | None:
        """Return the authenticated user, None for an anonymous one."""

    @abstractmethod
    async def call(self, function: Callable[..., Any]) -> Any:
        """Call a function of the project's with the request; it may be async."""

    async def attribute(self, name: str) -> object | None:
        """Return what the project has noted of the request under ``name``, or of its user."""
        user = await self.user()
        return user.get(name) if isinstance(user, Mapping) else getattr(user, name, None)

    async def roles(self) -> Iterable[str]:
        """Return the roles of the user."""
        found = await self.attribute("roles") or await self.attribute("role") or ()
        return [found] if isinstance(found, str) else map(str, found)  # type: ignore[call-overload]


def user_key(user: object) -> str | None:
    """Return what stands for a user (an id, a name, a dictionary, an object); None for nobody."""
    if user is None or getattr(user, "is_authenticated", True) is False:
        return None
    if isinstance(user, str | int):
        return str(user)
    if isinstance(user, dict):
        known = (user.get(name) for name in ("id", "sub", "username"))
        return next((str(found) for found in known if found not in (None, "")), None)
    for name in ("pk", "id", "identity", "username"):
        with suppress(NotImplementedError):  # Starlette's SimpleUser has only a name in earlier versions
            if (found := getattr(user, name, None)) is not None:
                return str(found)
    return None


def hashed(secret: str) -> str:
    """Return what stands for an API key in counters, logs and hits."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()[:32]


class ContextCaller(Caller):
    """The ``context`` of ``ShieldEngine.check``: ip, headers, user and request, each optional."""

    def __init__(self, context: Mapping[str, Any], *, awaits: bool) -> None:
        self.awaits = awaits
        self._context = context
        self._headers = {str(name).lower(): text for name, text in dict(context.get("headers") or {}).items()}

    @property
    def address(self) -> str | None:
        return client_address(self._context.get("ip"), None, 0)

    def header(self, name: str) -> str | None:
        return self._headers.get(name)

    async def user(self) -> object | None:
        found: object | None = self._context.get("user")
        return found

    async def call(self, function: Callable[..., Any]) -> Any:
        said = function(self._context.get("request"))
        return await said if isinstance(said, Awaitable) else said
