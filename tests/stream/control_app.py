"""A control plane as an ASGI application: the event stream, and ``POST /do`` to operate its engine.

It stands for any server with the stream in it. ``POST /do`` takes ``[[operation, [arguments], {names}], …]``
and calls the engine in the server's own loop.
"""

from __future__ import annotations

import json
import os
import threading
from datetime import datetime, timedelta
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

django.setup()

from shield_core.backends.file import FileBackend
from shield_core.backends.memory import MemoryBackend
from shield_core.backends.redis import RedisBackend
from shield_core.engine import ShieldEngine
from shield_core.models import MaintenanceWindow, RouteState, TokenRecord
from shield_django.auth.authorities import authority_from
from shield_django.control import SCOPE_KEY, ControlPlane
from shield_django.stream import hub
from shield_django.stream.app import stream_application

SECRET = "the key of the stream's tests"
OPERATOR, PASSWORD = "olga", "pw"


hub.KEEPALIVE_INTERVAL = float(os.environ.get("STREAM_KEEPALIVE", hub.KEEPALIVE_INTERVAL))


def _backend() -> Any:
    redis, path = os.environ.get("STREAM_REDIS"), os.environ.get("STREAM_FILE")
    if redis:
        return RedisBackend(redis)
    return FileBackend(path) if path else MemoryBackend()


class Application:
    def __init__(self) -> None:
        engine = ShieldEngine(_backend(), refresh_interval=0.2)
        auth = None if os.environ.get("STREAM_OPEN") else (OPERATOR, PASSWORD)
        self.control = ControlPlane(engine, authority_from(auth), [SECRET])
        self._started = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        await self._start()
        if scope["path"] == "/do":
            await _answer(send, await self._do(receive))
        elif scope["path"] == "/status":
            found = {"followers": len(self.control.hub), "threads": threading.active_count()}
            await _answer(send, {**found, "pid": os.getpid()})
        else:
            scope[SCOPE_KEY] = self.control
            await stream_application(scope, receive, send)

    async def _start(self) -> None:
        if not self._started:
            self._started = True
            await self.control.engine.start()

    async def _lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        await self._start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.control.engine.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _do(self, receive: Any) -> dict[str, Any]:
        body, more = b"", True
        while more:
            message = await receive()
            body += message["body"]
            more = message.get("more_body", False)
        engine: Any = self.control.engine
        for operation, arguments, names in json.loads(body):
            await getattr(engine, operation)(*map(_read, arguments), **_with_window(names))
        position = engine.replica.snapshot.cursor
        return {"epoch": position.epoch, "revision": position.revision}


def _with_window(names: dict[str, Any]) -> dict[str, Any]:
    """Read a window, which is written as the seconds from now at which it starts and ends."""
    if "window" in names:
        start, end = (datetime.now().astimezone() + timedelta(seconds=one) for one in names["window"])
        names["window"] = MaintenanceWindow(start=start, end=end, reason="planned")
    return names


def _read(argument: Any) -> Any:
    """Read routes to register, or what the store knows of a token."""
    if isinstance(argument, dict):
        return TokenRecord.model_validate(argument["token"])
    return [RouteState(path=path) for path in argument] if isinstance(argument, list) else argument


async def _answer(send: Any, content: dict[str, Any]) -> None:
    body = json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


application = Application()
