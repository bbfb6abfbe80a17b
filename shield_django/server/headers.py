"""What browsers are told of every answer: nothing inline, nothing from elsewhere, no frames."""

from __future__ import annotations

from functools import cache

from shield_core.asgi import Message, Send

_POLICY = (
    "default-src 'none'; script-src {own}; style-src {own}; img-src {own} data:; font-src {own}; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


def protected(send: Send) -> Send:
    """Return a ``send`` that adds these headers to the response, unless it has them.

    All names become lower-case, as ASGI has them and Django has not: a middleware around this server, such
    as Starlette's GZipMiddleware, would not find the length that it has to correct.
    """

    async def send_protected(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [(bytes(name).lower(), value) for name, value in message.get("headers", ())]
            present = {name for name, _ in headers}
            policy = (b"content-security-policy", _policy().encode())
            added = [one for one in (policy, *_HEADERS) if one[0] not in present]
            message = {**message, "headers": [*headers, *added]}
        await send(message)

    return send_protected


@cache
def _policy() -> str:
    from shield_django.server.static import foreign_origin

    return _POLICY.format(own=" ".join(filter(None, ["'self'", foreign_origin()])))
