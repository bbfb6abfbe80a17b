"""One client's stream. Through Django's handler it would pin a thread and a connection; this pins a task.

The task waits for the client to go, because a send to one that has left need not fail. What is to be
sent is sent by whoever tells it, without a switch to another task, as long as the server takes it.
A stream ends when the server stops, when the client reads too slowly, and when its token is revoked.
"""

from __future__ import annotations

import asyncio
import types
from collections import deque
from collections.abc import Callable, Generator
from typing import Any

from asgiref.sync import sync_to_async

from shield_core.asgi import Message, Receive
from shield_core.events import FULL, KEEPALIVE, VERSIONS, Audience, frame
from shield_core.snapshot import Cursor
from shield_django.stream import endings
from shield_django.stream.connection import Connection
from shield_django.stream.hub import Batch, Hub

#: Bytes that wait for their turn, above which a client is taken to be too slow.
UNSENT_LIMIT = 256 * 1024
#: Bytes that are handed to the server at once.
_CHUNK = 64 * 1024
#: Seconds that a client which does not read is given to hear the end.
_PATIENCE = 1.0
#: Milliseconds after which a client that has been sent away should come again.
_RETRY = 1000

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]


class EventStream:
    """A follower of ``hub``; ``allowed`` says whether it may still listen."""

    __slots__ = (
        "_allowed",
        "_connection",
        "_ended",
        "_hub",
        "_sender",
        "_task",
        "_unsent",
        "_waiting",
        "audience",
        "start",
    )

    def __init__(
        self, hub: Hub, connection: Connection, audience: Audience, allowed: Callable[[], bool]
    ) -> None:
        self.audience = audience
        self.start = 0
        self._hub = hub
        self._connection = connection
        self._allowed = allowed
        #: Why the stream ends; "" while it does not.
        self._ended = ""
        self._task: asyncio.Task[Any] | None = None
        #: Who is sending now, when it is not done at once.
        self._sender: asyncio.Task[Any] | None = None
        #: What has to wait for that, and how many bytes it is.
        self._waiting: deque[bytes] | None = None
        self._unsent = 0

    async def run(self, receive: Receive, since: Cursor | None) -> None:
        self._task = self._sender = asyncio.current_task()
        try:
            endings.watch(self)
            first = self._hub.subscribe(self, since)
            await self._open(first, since)
            # From now on it is ``tell`` that sends, and this task waits for the client to go.
            self._sender = None
            if self._waiting or self._ended:
                self._send_waiting()
            while (await receive())["type"] != "http.disconnect":
                pass
            self._ended = self._ended or "gone"
        except asyncio.CancelledError:
            if not self._ended or self._task is None:
                raise
            self._task.uncancel()
        except OSError:
            pass  # some servers raise it at a client that has gone
        finally:
            self._ended = self._ended or "broken"
            endings.forget(self)
            self._hub.unsubscribe(self)
            self._connection.release()
            if self._sender is not None and self._sender is not self._task:
                self._sender.cancel()
            self._task = None

    # -- what the hub and the server ask ------------------------------------------------------

    def tell(self, text: bytes) -> None:
        """Send ``text``, at once where the server takes it; cut off a client with too much unsent."""
        if self._ended:
            return
        if self._sender is None and self._connection.direct and len(text) <= _CHUNK:
            self._send_now(text)
            return
        self._unsent += len(text)
        if self._sender is not None and self._unsent > UNSENT_LIMIT:
            self._cut_off("slow")
            return
        self._waiting = self._waiting or deque()
        self._waiting.append(text)
        if self._sender is None:
            self._send_waiting()

    def check(self) -> None:
        if not self._allowed():
            self.end("revoked")

    def end(self, why: str) -> None:
        """End the stream; a client is told why, and comes again."""
        if self._ended:
            return
        self._ended = why
        if self._sender is None:
            self._send_waiting()
        else:
            # It says goodbye when it is done; but who does not read will not hear it.
            asyncio.get_running_loop().call_later(_PATIENCE, self._cut_off, why)

    # -- sending ------------------------------------------------------------------------------

    async def _open(self, batch: Batch, since: Cursor | None) -> None:
        await self._connection.send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        text = batch.known_for(self.audience)
        if text is None and batch.takes_long:
            text = await sync_to_async(batch.encoded_for)(self.audience)
        elif text is None:
            text = batch.encoded_for(self.audience)
        if self.audience.proto == FULL:
            await self._send(frame({"type": "hello", **VERSIONS, "durable": self._hub.durable}, batch.before))
        await self._send(text or KEEPALIVE)

    def _send_now(self, text: bytes) -> None:
        """Drive ``send`` here; only where it suspends, because the server's buffer is full, in a task."""
        steps = self._connection.send(_body(text)).__await__()
        try:
            suspended = next(steps)
        except StopIteration:
            return
        except OSError:
            return  # the client has gone, of which receive() tells
        self._sender = asyncio.get_running_loop().create_task(self._go_on(suspended, steps))

    async def _go_on(self, suspended: Any, steps: Generator[Any, Any, Any]) -> None:
        try:
            await _rest(suspended, steps)
        except OSError:
            return
        await self._send_all()

    def _send_waiting(self) -> None:
        self._sender = asyncio.get_running_loop().create_task(self._send_all())

    async def _send_all(self) -> None:
        try:
            while self._waiting and not self._ended:
                text = self._waiting.popleft()
                self._unsent -= len(text)
                await self._send(text)
            self._waiting = None
            if self._ended:
                await self._say_goodbye()
        except OSError:
            pass  # the client has gone, of which receive() tells
        finally:
            self._sender = None

    async def _send(self, text: bytes) -> None:
        """Send in pieces, so that the server's buffer stays small."""
        for start in range(0, len(text), _CHUNK):
            await self._connection.send(_body(text[start : start + _CHUNK]))

    async def _say_goodbye(self) -> None:
        text = b""
        if self.audience.proto == FULL:
            content = {"type": "goodbye", "reason": self._ended, "retry": _RETRY}
            text = frame(content, self._hub.told)
        self._connection.release()
        await self._connection.send({"type": "http.response.body", "body": text, "more_body": False})
        if self._task is not None:
            self._task.cancel()

    def _cut_off(self, why: str) -> None:
        if self._task is None:
            return
        self._ended = why
        if not self._connection.abort():
            self._task.cancel()  # plain ASGI: it is the server that closes what a task has left


def _body(text: bytes) -> Message:
    return {"type": "http.response.body", "body": text, "more_body": True}


@types.coroutine
def _rest(suspended: Any, steps: Generator[Any, Any, Any]) -> Generator[Any, Any, None]:
    """Go on with an awaitable that was driven up to ``suspended``."""
    try:
        yield suspended
    except BaseException:
        steps.close()
        raise
    yield from steps
