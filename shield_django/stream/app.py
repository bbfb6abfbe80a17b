"""One event stream over plain ASGI; through Django's handler each would pin a thread and a connection.

The stream watches ``receive()`` for the client's going, because a send to a client that has left need
not fail. It ends by itself when the server stops, when the client reads too slowly, and when its token
is revoked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from shield_core.asgi import Receive, Send
from shield_core.events import FULL, KEEPALIVE, VERSIONS, Audience, frame
from shield_core.snapshot import Cursor
from shield_django.stream import endings
from shield_django.stream.hub import Hub

#: Bytes that wait to be sent, above which a client is taken to be too slow.
UNSENT_LIMIT = 256 * 1024
KEEPALIVE_INTERVAL = 15.0
#: Milliseconds after which a client that has been sent away should come again.
_RETRY = 1000

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class EventStream:
    """One client's stream; ``allowed`` says whether it may still listen."""

    __slots__ = ("_allowed", "_audience", "_ended", "_hub", "_pending", "_task", "_unsent", "_woken")

    def __init__(self, hub: Hub, audience: Audience, allowed: Callable[[], bool]) -> None:
        self._hub = hub
        self._audience = audience
        self._allowed = allowed
        self._pending: list[bytes] = []
        self._unsent = 0
        self._ended = ""
        self._woken: asyncio.Future[None] | None = None
        self._task: asyncio.Task[Any] | None = None

    async def run(self, receive: Receive, send: Send, since: Cursor | None) -> None:
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        leaving = loop.create_task(self._watch(receive))
        subscription, first = self._hub.subscribe(self._audience, since, self.tell, self._begin_anew)
        endings.watch(self)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            if self._audience.proto == FULL:
                first = frame({"type": "hello", **VERSIONS}, since or Cursor("", 0)) + first
            await self._send(send, first or KEEPALIVE)
            while not self._ended:
                if not self._pending:
                    await self._wait(loop)
                if self._pending and not self._ended:
                    text = b"".join(self._pending)
                    self._pending.clear()
                    await self._send(send, text)
            await self._say_goodbye(send)
        except asyncio.CancelledError:
            if not self._ended:
                raise
        finally:
            endings.forget(self)
            self._hub.unsubscribe(subscription)
            leaving.cancel()
            with suppress(asyncio.CancelledError):
                await leaving

    def tell(self, text: bytes) -> None:
        """Send ``text`` soon; cut off a client that has too much unsent."""
        if not self._allowed():
            self.end("revoked")
            return
        if not text:
            return
        self._unsent += len(text)
        if self._unsent > UNSENT_LIMIT:
            self.end("slow")
            if self._task is not None:
                self._task.cancel()  # it waits in send()
            return
        self._pending.append(text)
        self._wake()

    def end(self, why: str) -> None:
        """End the stream; a client is told why, and comes again."""
        self._ended = self._ended or why
        self._wake()

    def _begin_anew(self) -> None:
        self.end("reset")

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for something to send, at most until the next sign of life is due."""
        self._woken = loop.create_future()
        timer = loop.call_later(KEEPALIVE_INTERVAL, self._keep_alive)
        try:
            await self._woken
        finally:
            timer.cancel()
            self._woken = None

    def _keep_alive(self) -> None:
        self.tell(KEEPALIVE)

    async def _send(self, send: Send, text: bytes) -> None:
        await send({"type": "http.response.body", "body": text, "more_body": True})
        self._unsent = sum(map(len, self._pending))

    async def _say_goodbye(self, send: Send) -> None:
        text = b""
        if self._ended != "gone" and self._audience.proto == FULL:
            content = {"type": "goodbye", "reason": self._ended, "retry": _RETRY}
            text = frame(content, Cursor("", 0)).partition(b"\n")[2]
        with suppress(OSError):
            await send({"type": "http.response.body", "body": text, "more_body": False})

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.end("gone")


def position_from(text: str | None) -> Cursor | None:
    """Read ``<epoch>:<revision>``; what is none is no position."""
    epoch, _, revision = (text or "").rpartition(":")
    return Cursor(epoch, int(revision)) if epoch and revision.isascii() and revision.isdigit() else None
