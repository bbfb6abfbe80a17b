"""``Depends(ShieldGuard(engine))``: decides inside the framework, where the middleware is not installed."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from functools import partial
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

from starlette.exceptions import HTTPException, WebSocketException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from shield_core.asgi import Application as ASGIApplication
from shield_core.asgi import close_code
from shield_core.decisions import Decision
from shield_core.engine import ShieldEngine
from shield_core.keys import WEBSOCKET
from shield_core.models import RouteStatus
from shield_core.responses import log_blocked
from shield_fastapi.answers import send_blocked
from shield_fastapi.application import Application
from shield_fastapi.decorators import signature
from shield_fastapi.limits import Taking, layers_of
from shield_fastapi.routes import Route
from shield_fastapi.sources import Scope

#: Set in the scope of a request on which a decision was made already.
DECIDED = "shield.decision"


class Blocked(Exception):
    """A request was blocked inside the framework."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.reason)
        self.decision = decision


class ShieldGuard:
    """A dependency for a route, a router or a whole application; put it before other stamps."""

    __signature__ = signature(connection=HTTPConnection, response=Response)

    def __init__(self, engine: ShieldEngine) -> None:
        self._engine = engine
        self._applications: MutableMapping[Any, Application] = WeakKeyDictionary()

    async def __call__(self, connection: HTTPConnection, response: Response) -> None:
        scope = connection.scope
        if DECIDED in scope and scope[DECIDED].key:
            return
        application = self._applications.get(connection.app)
        if application is None:
            application = self._applications[connection.app] = Application(connection.app, self._engine)
        found = _find(application, scope)
        rules = self._engine.replica.ruleset or await self._engine.replica.ready_async()
        method = scope.get("method", WEBSOCKET)
        if found is None or not found.template:
            decision = rules.decide_unrouted(method, scope["path"])
        else:
            decision = rules.decide(method, found.template)
        if decision.allowed and rules.is_limited and (layers := layers_of(rules, scope, found)):
            decision = await Taking(self._engine, layers, scope, found, decision).now()
        if not decision.allowed:
            block(connection, decision)
        scope[DECIDED] = decision
        add_headers(response, decision)


def add_headers(response: Response | None, decision: Decision) -> None:
    """Put the headers of an allowed request on the answer, unless the handler returns one of its own."""
    if response is not None:
        for name, value in decision.headers:
            response.headers[name] = value


def _find(application: Application, scope: Scope) -> Route | None:
    """Return the route that runs; mounts between it and the application have extended ``root_path``."""
    for root in _roots(scope.get("root_path", "")):
        found = application.find({**scope, "root_path": root})
        if found is not None and found.source.original is scope.get("route"):
            return found
    return application.find(scope)


def _roots(root: str) -> Iterator[str]:
    yield root
    while root:
        root = root[: root.rindex("/")] if "/" in root else ""
        yield root


def block(connection: HTTPConnection, decision: Decision) -> NoReturn:
    """Answer from inside a dependency, with the bytes that the middleware would send."""
    log_blocked(decision, method=connection.scope.get("method", WEBSOCKET), path=connection.scope["path"])
    if connection.scope["type"] == "websocket":
        raise WebSocketException(close_code(decision), decision.reason)
    if decision.cause is RouteStatus.ENV_GATED and decision.response is None:
        raise HTTPException(404)
    # A dependency can only raise; the handlers of this request's application are told how to answer.
    handlers, _ = connection.scope["starlette.exception_handlers"]
    handlers.setdefault(Blocked, _answer)
    raise Blocked(decision)


async def _answer(request: Request, error: Blocked) -> ASGIApplication:
    return partial(send_blocked, decision=error.decision, custom=error.decision.response, request=request)
