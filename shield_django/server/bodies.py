"""Bounds what a client may send before anybody has looked at it."""

from __future__ import annotations

from shield_core.asgi import Message, Receive, Scope, Send

#: Bytes; the registration of 10,000 routes has four million.
LIMIT = 16 * 1024 * 1024


class BoundedBody:
    """Passes a body on up to the limit; beyond it the application sees a client that has left."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._received = 0
        declared = [value for name, value in scope["headers"] if name == b"content-length"]
        self.is_too_large = any(value.isdigit() and int(value) > LIMIT for value in declared)
        self.is_answered = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        self.is_too_large |= self._received > LIMIT
        return {"type": "http.disconnect"} if self.is_too_large else message

    async def send(self, message: Message) -> None:
        self.is_answered = True
        await self._send(message)
