"""A client's connection, with what ASGI has no words for: too much unsent, and cutting off.

ASGI's ``send`` waits while a server's buffer is full. uvicorn's does; daphne's takes whatever it is
given, so it is told of a full buffer by Twisted and made to wait here. Where neither is recognised,
perhaps because a middleware is in between, plain ASGI has to do.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from shield_core.asgi import Message, Send


class Connection:
    """Plain ASGI. ``direct``: whether ``send`` may be driven outside a task."""

    __slots__ = ("send",)

    direct = False

    def __init__(self, send: Send) -> None:
        self.send = send

    def abort(self) -> bool:
        """Close the connection with what is unsent, where that is possible; the client has gone then."""
        return False

    def release(self) -> None:
        """Be done with it, before the response ends."""


class UvicornConnection(Connection):
    __slots__ = ("_transport",)

    direct = True

    def __init__(self, send: Send, transport: Any) -> None:
        super().__init__(send)
        self._transport = transport

    def abort(self) -> bool:
        self._transport.abort()
        return True


class DaphneConnection(Connection):
    """A push producer, as Twisted calls what it asks to pause when its buffer is full."""

    __slots__ = ("_raw", "_request", "_room")

    direct = True

    def __init__(self, send: Send, request: Any) -> None:
        super().__init__(self._send)
        self._raw = send
        #: None once the response is done.
        self._request: Any = request
        #: Set while the buffer is full.
        self._room: asyncio.Future[None] | None = None
        request.registerProducer(self, True)

    async def _send(self, message: Message) -> None:
        while self._room is not None:
            await asyncio.shield(self._room)
        await self._raw(message)

    def abort(self) -> bool:
        abort = getattr(getattr(self._request, "transport", None), "abortConnection", None)
        if abort is None:
            return False
        abort()
        return True

    def release(self) -> None:
        request: Any = self._request
        self._request = None
        # Twisted takes the channel away from a request that has ended.
        if getattr(request, "channel", None) is not None:
            request.unregisterProducer()
        self.resumeProducing()

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's names
        if self._room is None:
            self._room = asyncio.get_running_loop().create_future()

    def resumeProducing(self) -> None:  # noqa: N802
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def stopProducing(self) -> None:  # noqa: N802
        self.resumeProducing()


def connection_of(send: Send) -> Connection:
    """Return the connection behind a server's own ``send``."""
    cycle: Any = getattr(send, "__self__", None)
    if _is_of(cycle, "uvicorn.protocols.http") and hasattr(cycle, "transport"):
        return UvicornConnection(send, cycle.transport)
    if isinstance(send, partial) and send.args and _is_of(send.args[0], "daphne.http_protocol"):
        return DaphneConnection(send, send.args[0])
    return Connection(send)


def _is_of(found: object, package: str) -> bool:
    return type(found).__module__.startswith(package)
