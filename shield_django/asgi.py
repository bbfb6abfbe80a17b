"""The ASGI wrapper: lifespan, the event stream and the WebSocket guard, in front of any ASGI application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application as get_django_application

from shield_core.asgi import Application, Message, Receive, Scope, Send
from shield_django import project, stream
from shield_django.websockets import WebSocketGuard

logger = logging.getLogger("shield")


def get_asgi_application(websocket: Application | None = None) -> ShieldASGIMiddleware:
    """Return Django's ASGI application behind Shield, with ``websocket`` for WebSockets."""
    return ShieldASGIMiddleware(_Dispatch(get_django_application(), websocket))


class ShieldASGIMiddleware:
    """Wraps any ASGI application, a project's own ProtocolTypeRouter too.

    HTTP requests pass through: Django's middleware decides on them. Only the event stream is answered
    here, because within Django each would pin a thread and a connection. A server with lifespan loads
    the rules before the first request.
    """

    def __init__(self, app: Application) -> None:
        self.app = app
        self._streaming: tuple[Any, Application] | None = None
        self._websockets = WebSocketGuard(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _Lifespan(self.app, scope, receive, send).run()
        elif scope["type"] == "websocket":
            await self._websockets(scope, receive, send)
        elif scope["type"] == "http" and scope["path"].endswith(stream.PATH):
            await self._with_stream(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    @property
    def _with_stream(self) -> Application:
        """The application behind the stream, which is where the URLconf in force has it."""
        if self._streaming is None or self._streaming[0] != settings.ROOT_URLCONF:
            # Only now: it needs Django set up, and few processes are asked for it.
            from shield_django.stream.routing import with_stream

            self._streaming = settings.ROOT_URLCONF, with_stream(self.app)
        return self._streaming[1]


class _Dispatch:
    """Django for HTTP, another application for WebSockets."""

    def __init__(self, http: Application, websocket: Application | None) -> None:
        self.application_mapping = {"http": http}
        if websocket is not None:
            self.application_mapping["websocket"] = websocket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        application = self.application_mapping.get(scope["type"])
        if application is None:
            raise ValueError(f"No application is configured for {scope['type']!r} connections.")
        await application(scope, receive, send)


class _Lifespan:
    """Answers the server, and lets a wrapped application that knows lifespan take part."""

    def __init__(self, app: Application, scope: Scope, receive: Receive, send: Send) -> None:
        self._app = app
        self._scope = scope
        self._receive = receive
        self._send = send
        self._answered: asyncio.Queue[Message] = asyncio.Queue()
        self._asked: asyncio.Queue[Message] = asyncio.Queue()

    async def run(self) -> None:
        inner = asyncio.create_task(self._run_inner())
        try:
            await self._step(await self._receive(), inner, project.start)
            await self._step(await self._receive(), inner, project.stop)
        finally:
            inner.cancel()
            with suppress(asyncio.CancelledError):
                await inner

    async def _step(
        self, message: Message, inner: asyncio.Task[None], own: Callable[[], Awaitable[None]]
    ) -> None:
        """Do Shield's part of a phase, then the wrapped application's, and tell the server."""
        await own()
        answer: Message = {"type": f"{message['type']}.complete"}
        if not inner.done():
            await self._asked.put(message)
            answered = asyncio.create_task(self._answered.get())
            await asyncio.wait({answered, inner}, return_when=asyncio.FIRST_COMPLETED)
            if answered.done():
                answer = answered.result()
            else:
                answered.cancel()
        await self._send(answer)

    async def _run_inner(self) -> None:
        try:
            await self._app(self._scope, self._asked.get, self._answered.put)
        except Exception as error:  # noqa: BLE001 - Django and ProtocolTypeRouter refuse lifespan this way
            logger.debug("The wrapped application takes no part in lifespan: %s", error)
