"""Answers over plain ASGI, for adapters of any framework."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from typing import Any, Protocol

from shield_core.decisions import Decision
from shield_core.models import LimitCause, RouteStatus
from shield_core.responses import Answer, answer

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
#: Frameworks annotate their callables each in their own way.
Application = Callable[[Any, Any, Any], Awaitable[None]]


_TRY_AGAIN_LATER = 1013
_POLICY_VIOLATION = 1008
_DENIAL_RESPONSE = "websocket.http.response"


async def send_answer(neutral: Answer, send: Send, *, kind: str = "http.response") -> None:
    """Send ``neutral`` as JSON; ``kind`` is the prefix of the messages' types."""
    body = neutral.body
    headers = [(_name(name), value.encode()) for name, value in neutral.headers]
    headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": f"{kind}.start", "status": neutral.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})


async def refuse_websocket(scope: Scope, receive: Receive, send: Send, decision: Decision) -> None:
    """Refuse before the connection is accepted.

    Where the server offers a denial response it is the HTTP answer, else a close code: 1013 (try
    again later) for maintenance and limits, 1008 (policy violation) for the rest.
    """
    await receive()  # websocket.connect
    if _DENIAL_RESPONSE not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": close_code(decision)})
    elif decision.cause is RouteStatus.ENV_GATED:
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        await send({"type": f"{_DENIAL_RESPONSE}.start", "status": 404, "headers": headers})
        await send({"type": f"{_DENIAL_RESPONSE}.body", "body": b"Not Found"})
    else:
        await send_answer(answer(decision, method="WS", path=scope["path"]), send, kind=_DENIAL_RESPONSE)


def close_code(decision: Decision) -> int:
    """Return the code with which a blocked WebSocket is closed."""
    again_later = decision.cause in (RouteStatus.MAINTENANCE, LimitCause.RATE_LIMITED)
    return _TRY_AGAIN_LATER if again_later else _POLICY_VIOLATION


class HasHeaders(Protocol):
    """A decision, or what will have made one when the response starts."""

    @property
    def headers(self) -> tuple[tuple[str, str], ...]: ...


def with_headers(send: Send, source: HasHeaders) -> Send:
    """Return a ``send`` that adds headers to the response, unless the application set them itself."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            present = {bytes(name).lower() for name, _ in headers}
            for text, value in source.headers:
                if (name := _name(text)) not in present:
                    headers.append((name, value.encode()))
            message = {**message, "headers": headers}
        await send(message)

    return send_with_headers


@lru_cache(maxsize=64)
def _name(text: str) -> bytes:
    return text.lower().encode()


def preflight_for(scope: Scope) -> str:
    """Return the method that a CORS preflight asks for, empty for any other request."""
    if scope.get("method") != "OPTIONS":
        return ""
    headers = dict(scope["headers"])
    if b"origin" not in headers:
        return ""
    asked: bytes = headers.get(b"access-control-request-method", b"")
    return asked.decode("latin-1")
