"""An ASGI application with WebSockets behind Channels' routers, and Shield around it."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

from django.core.asgi import get_asgi_application

django = get_asgi_application()  # sets Django up, before anything that needs it

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.urls import path, re_path

from shield_django.asgi import ShieldASGIMiddleware
from shield_django.decorators import disabled, env_only, force_active


class Echo(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        await self.accept()
        await self.send("hello")


@disabled(reason="no chat")
class Closed(Echo):
    pass


@env_only("dev")
class Gated(Echo):
    pass


@force_active
class Always(Echo):
    pass


class Wrapper:
    """An ASGI middleware, as of Channels: what it wraps is ``inner``."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.inner(scope, receive, send)


class RoutingWrapper(Wrapper):
    """One that lets an inner URLRouter see the rest of the path."""

    _path_routing = True


inner = URLRouter([path("room/<slug:name>/", Echo.as_asgi()), re_path(r"^closed/$", Closed.as_asgi())])
router = URLRouter(
    [
        path("ws/open/", Echo.as_asgi()),
        path("ws/closed/", Closed.as_asgi()),
        path("ws/wrapped/", Wrapper(Wrapper(Closed.as_asgi()))),
        path("ws/gated/", Gated.as_asgi()),
        path("ws/always/", Always.as_asgi()),
        path("ws/nested/", RoutingWrapper(inner)),
        path("ws/bare", inner),
    ]
)
application = ShieldASGIMiddleware(
    ProtocolTypeRouter({"http": django, "websocket": AllowedHostsOriginValidator(Wrapper(router))})
)
