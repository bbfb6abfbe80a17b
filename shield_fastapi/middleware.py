"""The pure ASGI middleware: finds the route as the framework will, decides, answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from starlette.middleware.cors import CORSMiddleware

from shield_core.asgi import Application as ASGIApplication
from shield_core.asgi import (
    Message,
    Receive,
    Scope,
    Send,
    preflight_for,
    refuse_websocket,
    with_headers,
)
from shield_core.decisions import ALLOWED, Decision
from shield_core.engine import ShieldEngine
from shield_core.keys import WEBSOCKET
from shield_core.models import RouteStatus
from shield_core.responses import log_blocked
from shield_core.ruleset import Ruleset
from shield_fastapi.answers import Response, send_blocked
from shield_fastapi.application import Application
from shield_fastapi.guard import DECIDED
from shield_fastapi.hiding import hide
from shield_fastapi.limits import Taking, layers_of
from shield_fastapi.routes import Route
from shield_fastapi.sources import application_of

#: Set in the scope of a request to the engine that has decided on its very route.
DECIDED_BY = "shield.engine"
#: The applications of an engine that are between their start and their end.
_running: WeakKeyDictionary[ShieldEngine, WeakSet[ShieldMiddleware]] = WeakKeyDictionary()
_ANSWERED = ("maintenance", "disabled", "env_gated", "rate_limited")


class ShieldMiddleware:
    """``app.add_middleware(ShieldMiddleware, engine=engine)``.

    ``responses`` are answers of your own by status (maintenance, disabled, env_gated,
    rate_limited): ``response(request, exc)``, sync or async, returning an ASGI response.
    ``exempt`` are paths that are never blocked. Add CORSMiddleware after this one, so that it
    stands outside.
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
        self._starting: asyncio.Task[None] | None = None
        if unknown := sorted(set(self._responses) - set(_ANSWERED)):
            raise ValueError(f"responses has {', '.join(unknown)}; it may have {', '.join(_ANSWERED)}.")
        _warn_of_inner_cors(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        if kind not in ("http", "websocket") or scope.get(DECIDED_BY) is self.engine:
            await self.app(scope, receive, send)
            return
        application = self._application or self._know(scope)
        found = application.find(scope)
        # After the route was found, as one that was added meanwhile has changed the rules.
        rules = self._replica.ruleset or await self._replica.ready_async()
        method = scope.get("method", WEBSOCKET)
        decision: Decision | None = None
        if found is not None and found.template and (found.methods is None or method in found.methods):
            decision = rules.decide(method, found.template)
        if decision is None or decision.cause is not None:
            found, decision = self._decide(application, rules, scope, found)
        taking: Taking | None = None
        if rules.is_limited and decision.cause is None and (layers := layers_of(rules, scope, found)):
            taking = Taking(self.engine, layers, scope, found, decision)
            taking.response = self._responses.get("rate_limited")
            decision = await taking.now()
        if decision.cause is not None:
            await self._block(scope, receive, send, decision)
            return
        scope[DECIDED] = decision
        if found is not None and not found.is_opaque:
            scope[DECIDED_BY] = self.engine
        if taking is not None or decision.headers:
            send = with_headers(send, taking or decision)
        await self.app(scope, receive, send)

    def _decide(
        self, application: Application, rules: Ruleset, scope: Scope, found: Route | None
    ) -> tuple[Route | None, Decision]:
        """Decide with closed gates out of sight, of the framework too."""
        if "env_gated" not in self._responses:
            hidden: list[Route] = []
            if found is not None and application.hide_gates(scope, rules, hidden):
                found = application.find(scope, hidden)
            if found is None and scope["type"] == "http":
                application.hide_twins(scope, rules, hidden)
            if hidden:
                hide(scope, hidden)
        decision = _on_route(rules, scope, found)
        if found is None and decision.cause is not None and application.leads_to_door(scope):
            return None, ALLOWED
        return found, decision

    async def _block(self, scope: Scope, receive: Receive, send: Send, decision: Decision) -> None:
        log_blocked(decision, method=scope.get("method", WEBSOCKET), path=scope["path"])
        if scope["type"] == "websocket":
            await refuse_websocket(scope, receive, send, decision)
            return
        assert decision.cause is not None
        custom = decision.response or self._responses.get(decision.cause.value)
        await send_blocked(scope, receive, send, decision=decision, custom=custom)

    def _know(self, scope: Scope) -> Application:
        """Learn the application's routes, once it is known: before the first decision."""
        around, inside = scope.get("app"), application_of(self.app)
        # As a middleware of an application this sees its router; wrapped around one, the application.
        within = inside is None or getattr(around, "router", None) is inside
        app = around if within else inside
        if app is None:
            raise TypeError(f"ShieldMiddleware finds no routes in {self.app!r}.")
        root_path = "" if within else getattr(app, "root_path", "")
        self._application = Application(app, self.engine, self._exempt, root_path)
        return self._application

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start with the server, before the application; stop after it, before the server ends its loop."""

        async def receive_and_start() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._know(scope)
                await self._start()
            return message

        async def follow_and_send(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete" and self._application is not None:
                self._application.refresh()
            elif message["type"].startswith("lifespan.shutdown."):
                await self._stop()
            await send(message)

        try:
            await self.app(scope, receive_and_start, follow_and_send)
        finally:
            await self._stop()

    async def _start(self) -> None:
        """Start the engine; one whose store hangs or is down must not keep the application waiting."""
        _running.setdefault(self.engine, WeakSet()).add(self)
        self._starting = asyncio.create_task(self.engine.start())
        self._starting.add_done_callback(_tell_of_failure)
        await asyncio.sleep(0)  # it has made this loop the backend's home by now
        await self._replica.ready_async()

    async def _stop(self) -> None:
        """Stop the engine, unless another application of this process goes on with it."""
        if self._starting is not None:
            self._starting.cancel()
        running = _running.setdefault(self.engine, WeakSet())
        running.discard(self)
        if not running:
            await self.engine.stop()


def _tell_of_failure(starting: asyncio.Task[None]) -> None:
    if not starting.cancelled() and (error := starting.exception()) is not None:
        logging.getLogger("shield").error(
            "The store could not be started; it is tried again.", exc_info=error
        )


def _on_route(rules: Ruleset, scope: Scope, route: Route | None) -> Decision:
    """Decide on a route (None: an unknown URL), other than on its gate."""
    method = scope.get("method", WEBSOCKET)
    asked = preflight_for(scope)
    if route is None or not route.template:
        return ALLOWED if asked else rules.decide_unrouted(method, scope["path"])
    decision = rules.decide(method, route.template)
    if decision.cause is not None and asked:
        return rules.decide_preflight(asked, route.template)
    if decision.cause is RouteStatus.ENV_GATED and not route.takes(scope):
        return ALLOWED  # the gate of a route that is hidden by now; this one answers 405
    return decision


def _warn_of_inner_cors(app: Any) -> None:
    while app is not None:
        if isinstance(app, CORSMiddleware):
            logging.getLogger("shield").warning(
                "CORSMiddleware stands inside ShieldMiddleware, so browsers on another origin cannot read "
                "a blocked answer: add CORSMiddleware after ShieldMiddleware."
            )
            return
        app = getattr(app, "app", None)
