"""Who asks the shop: ``X-User: ann plan=pro roles=support`` is a user, in each framework's own place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.utils.decorators import sync_and_async_middleware


def user_of(said: str) -> Any:
    name, *notes = said.split()
    user = SimpleNamespace(pk=name, id=name, is_authenticated=True)
    for note in notes:
        key, _, value = note.partition("=")
        setattr(user, key, value.split(",") if key == "roles" else value)
    return user


@sync_and_async_middleware
def django_people(get_response: Any) -> Any:
    def identify(request: Any) -> None:
        if said := request.headers.get("x-user"):
            request.user = user_of(said)

    if iscoroutinefunction(get_response):

        async def people(request: Any) -> Any:
            identify(request)
            return await get_response(request)
    else:

        def people(request: Any) -> Any:
            identify(request)
            return get_response(request)

    return people


class FastAPIPeople:
    """What Starlette's AuthenticationMiddleware does."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if said := dict(scope.get("headers", ())).get(b"x-user"):
            scope["user"] = user_of(said.decode())
        await self.app(scope, receive, send)
