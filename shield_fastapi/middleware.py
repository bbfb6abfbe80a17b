"""The pure ASGI middleware: finds the route as the framework will, decides, answers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request

from shield_core.asgi import Application as ASGIApplication
from shield_core.asgi import Message, Receive, Scope, Send, refuse_websocket, send_answer, with_headers
from shield_core.engine import ShieldEngine
from shield_core.keys import WEBSOCKET
from shield_core.models import RouteStatus
from shield_core.responses import answer
from shield_core.ruleset import ALLOWED, Decision, Ruleset
from shield_fastapi.application import Application
from shield_fastapi.guard import DECIDED
from shield_fastapi.hiding import hide
from shield_fastapi.routes import Route

logger = logging.getLogger("shield.blocked")

Response = Callable[[Request, Exception], Any]


class ShieldMiddleware:
    """``app.add_middleware(ShieldMiddleware, engine=engine)``.

    ``responses`` are answers of your own by status (maintenance, disabled, env_gated):
    ``response(request, exc)``, sync or async, returning an ASGI response. ``exempt`` are paths
    that are never blocked. Add CORSMiddleware after this one, so that it stands outside.
    """

    def __init__(
        self,
        app: ASGIApplication,
        *,
        engine: ShieldEngine,
        responses: Mapping[str, Response] | None = None,
        exempt: Iterable[str] = (),
    ) -> None:
        self.app = app
        self.engine = engine
        self._replica = engine.replica
        self._responses = dict(responses or {})
        self._exempt = tuple(exempt)
        self._application: Application | None = None
        _warn_of_inner_cors(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        if kind not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        application = self._application or self._know(scope)
        rules = self._replica.ruleset or await self._replica.ready_async()
        decision = self._decide(application, rules, scope)
        if decision.cause is None:
            scope[DECIDED] = decision
            await self.app(scope, receive, with_headers(send, decision.headers) if decision.headers else send)
        else:
            await self._block(scope, receive, send, decision)

    def _decide(self, application: Application, rules: Ruleset, scope: Scope) -> Decision:
        """Decide on the route that the framework will choose, with closed gates out of its sight."""
        hidden: list[Route] = []
        while (found := application.find(scope, hidden)) is not None:
            decision = _on_route(rules, scope, found.route)
            if decision.cause is not RouteStatus.ENV_GATED or self._custom(decision):
                hide(scope, hidden)
                return decision
            hidden.append(found.route)
        twin = application.twin(scope) if scope["type"] == "http" else None
        if twin is not None and rules.hides(twin.route.template):
            hidden.append(twin.route)
        hide(scope, hidden)
        method = scope.get("method", WEBSOCKET)
        if method == "OPTIONS" and _preflight_for(scope):
            return ALLOWED
        return rules.decide_unrouted(method, scope["path"])

    def _custom(self, decision: Decision) -> Response | None:
        assert decision.cause is not None
        return decision.response or self._responses.get(decision.cause.value)

    async def _block(self, scope: Scope, receive: Receive, send: Send, decision: Decision) -> None:
        method, path = scope.get("method", WEBSOCKET), scope["path"]
        logger.info(
            "%s %s is blocked: %s",
            method,
            decision.key or path,
            decision.cause,
            extra={"route": decision.key, "cause": str(decision.cause), "reason": decision.reason},
        )
        custom = self._custom(decision)
        if scope["type"] == "websocket":
            await refuse_websocket(scope, receive, send, decision)
        elif custom is None:
            await send_answer(answer(decision, method=method, path=path), send)
        else:
            made = custom(Request(scope, receive), decision.exception())
            response = await made if isinstance(made, Awaitable) else made
            await response(scope, receive, send)

    def _know(self, scope: Scope) -> Application:
        """Learn the application's routes, once it is known: before the first decision."""
        self._application = Application(scope["app"], self.engine, self._exempt)
        return self._application

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start with the server, before the application; stop after it."""

        async def receive_and_start() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._know(scope)
                await self.engine.start()
            return message

        try:
            await self.app(scope, receive_and_start, send)
        finally:
            await self.engine.stop()


def _on_route(rules: Ruleset, scope: Scope, route: Route) -> Decision:
    if scope["type"] == "websocket":
        return rules.decide(WEBSOCKET, route.template)
    method: str = scope["method"]
    decision = rules.decide(method, route.template)
    if decision.cause is not None and method == "OPTIONS" and (asked := _preflight_for(scope)):
        return rules.decide_preflight(asked, route.template)
    return decision


def _preflight_for(scope: Scope) -> str:
    """Return the method that a CORS preflight asks for, empty for any other request."""
    headers = dict(scope["headers"])
    if b"origin" not in headers:
        return ""
    asked: bytes = headers.get(b"access-control-request-method", b"")
    return asked.decode("latin-1")


def _warn_of_inner_cors(app: Any) -> None:
    while app is not None:
        if isinstance(app, CORSMiddleware):
            logging.getLogger("shield").warning(
                "CORSMiddleware stands inside ShieldMiddleware, so browsers on another origin cannot read "
                "a blocked answer: add CORSMiddleware after ShieldMiddleware."
            )
            return
        app = getattr(app, "app", None)
