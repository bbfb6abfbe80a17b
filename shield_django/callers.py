"""Who is asking, as Django and DRF know it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpRequest
from django.utils.functional import LazyObject, empty

from shield_core.rate_limit.addresses import client_address
from shield_core.rate_limit.caller import Caller
from shield_django import api_views
from shield_django.modes import called

_UNKNOWN: Any = object()


class RequestCaller(Caller):
    """The caller of a Django view; in async mode nothing here blocks the event loop.

    A DRF view authenticates by itself, after the middleware: given ``view``, this does it as that one
    will. ``api_request`` is DRF's request, once the view has made it.
    """

    _user: Any = _UNKNOWN

    def __init__(
        self,
        request: HttpRequest,
        num_proxies: int,
        awaits: bool,
        view: Any = None,
        api_request: Any = None,
    ) -> None:
        self.awaits = awaits
        self._request = request
        self._view = view
        self._num_proxies = num_proxies
        self._api_request = api_request

    @property
    def _asked(self) -> Any:
        """What functions of the project's are asked with."""
        return self._request if self._api_request is None else self._api_request

    @property
    def address(self) -> str | None:
        meta = self._request.META
        forwarded = meta.get("HTTP_X_FORWARDED_FOR") if self._num_proxies else None
        return client_address(meta.get("REMOTE_ADDR"), forwarded, self._num_proxies)

    def header(self, name: str) -> str | None:
        found: str | None = self._request.META.get(f"HTTP_{name.upper().replace('-', '_')}")
        return found

    async def user(self) -> object | None:
        if self._user is _UNKNOWN:
            self._user = await self._find_user()
        found: object | None = self._user
        return found

    async def call(self, function: Callable[..., Any]) -> Any:
        """Call a function with the request; one of a DRF view gets DRF's, whose ``user`` is the view's."""
        if api_views.is_one(self._view):
            return await self._run(api_views.call, function, self._request, self._view)
        return await called(function, self._asked, awaits=self.awaits)

    async def attribute(self, name: str) -> object | None:
        user = await self.user()
        try:
            found = getattr(user, name, None)
        except SynchronousOnlyOperation:  # it is in another table
            found = await sync_to_async(_get)(user, name)
        return found if found is not None else getattr(self._request, name, None)

    async def roles(self) -> Iterable[str]:
        roles: set[str] = await self._run(_roles_of, await self.user())
        return roles

    async def _find_user(self) -> object | None:
        if api_views.is_one(self._view):
            authenticated: object | None = await self._run(api_views.user_of, self._request, self._view)
            return authenticated
        user: object | None = getattr(self._asked, "user", None)
        if not self.awaits or not _is_unknown_yet(user):
            return user
        if hasattr(self._request, "auser"):
            known: object | None = await self._request.auser()
            return known
        return await sync_to_async(_known)(user)

    async def _run(self, function: Callable[..., Any], *args: Any) -> Any:
        return await sync_to_async(function)(*args) if self.awaits else function(*args)


class SocketCaller(Caller):
    """Who opens a WebSocket. Its user is not known: sessions are read behind Shield."""

    awaits = True

    def __init__(self, scope: Mapping[str, Any], *, num_proxies: int) -> None:
        self._scope = scope
        self._num_proxies = num_proxies

    @property
    def address(self) -> str | None:
        peer = (self._scope.get("client") or (None,))[0]
        return client_address(peer, self.header("x-forwarded-for"), self._num_proxies)

    def header(self, name: str) -> str | None:
        wanted = name.encode()
        found = [value.decode("latin-1") for key, value in self._scope.get("headers", ()) if key == wanted]
        return ",".join(found) if found else None

    async def user(self) -> object | None:
        return None

    async def call(self, function: Callable[..., Any]) -> Any:
        return await called(function, self._scope, awaits=True)


def _get(user: object, name: str) -> object | None:
    return getattr(user, name, None)


def _is_unknown_yet(user: object) -> bool:
    return isinstance(user, LazyObject) and user._wrapped is empty


def _known(user: Any) -> object:
    bool(user.is_authenticated)
    found: object = user
    return found


def _roles_of(user: Any) -> set[str]:
    """Return what the user's ``roles`` or ``role`` say, else the groups; and staff, superuser."""
    if user is None or getattr(user, "is_authenticated", True) is False:
        return set()
    found: Any = getattr(user, "roles", None) or getattr(user, "role", None)
    groups: Any = getattr(user, "groups", None)
    if found is None and hasattr(groups, "values_list"):
        found = groups.values_list("name", flat=True)
    if hasattr(found, "all"):
        found = found.all()
    roles = {found} if isinstance(found, str) else {str(one) for one in found or ()}
    flags = {"staff": "is_staff", "superuser": "is_superuser"}
    return roles | {role for role, flag in flags.items() if getattr(user, flag, False)}
