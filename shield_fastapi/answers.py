"""What a blocked caller gets, from the middleware and from inside the framework alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request

from shield_core.asgi import Receive, Scope, Send, send_answer, with_headers
from shield_core.decisions import Decision
from shield_core.models import RouteStatus
from shield_core.responses import answer

#: ``response(request, exc)``, sync or async, returning an ASGI response.
Response = Callable[[Request, Any], Any]


async def send_blocked(
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    decision: Decision,
    custom: Response | None,
    request: Request | None = None,
) -> None:
    """Answer a blocked request with what ``custom`` makes of it, else with the built-in answer.

    ``request`` is the framework's own where there is one: its body may have been read already. A custom
    answer has the built-in one's headers too, unless it sets them itself. Raises TypeError where it is
    no ASGI response.
    """
    if custom is None:
        await send_answer(answer(decision, method=scope["method"], path=scope["path"]), send)
        return
    made = custom(Request(scope, receive) if request is None else request, decision.exception())
    response = await made if isinstance(made, Awaitable) else made
    if not callable(response):
        raise TypeError(f"A custom answer must be a Starlette Response, got {response!r}.")
    if decision.cause is not RouteStatus.ENV_GATED:
        send = with_headers(send, answer(decision, method=scope["method"], path=scope["path"]))
    await response(scope, receive, send)
