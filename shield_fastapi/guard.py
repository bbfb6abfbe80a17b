"""``Depends(ShieldGuard(engine))``: decides inside the framework, where the middleware is not installed."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from shield_core.engine import ShieldEngine
from shield_core.models import RouteStatus
from shield_core.responses import answer
from shield_core.ruleset import Decision
from shield_fastapi.application import Application

#: Set in the scope of a request on which a decision was made already.
DECIDED = "shield.decision"


class Blocked(Exception):
    """A request was blocked inside the framework."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.reason)
        self.decision = decision


class ShieldGuard:
    """A dependency for a route, a router or a whole application."""

    def __init__(self, engine: ShieldEngine) -> None:
        self._engine = engine
        self._applications: MutableMapping[Any, Application] = WeakKeyDictionary()

    async def __call__(self, connection: HTTPConnection) -> None:
        scope = connection.scope
        if DECIDED in scope or scope["type"] != "http":
            return
        application = self._applications.get(connection.app)
        if application is None:
            application = self._applications[connection.app] = Application(connection.app, self._engine)
        rules = self._engine.replica.ruleset or await self._engine.replica.ready_async()
        found = application.find(scope, [])
        if found is None:
            decision = rules.decide_unrouted(scope["method"], scope["path"])
        else:
            decision = rules.decide(scope["method"], found.route.template)
        if not decision.allowed:
            block(connection, decision)


def block(connection: HTTPConnection, decision: Decision) -> NoReturn:
    """Answer from inside a dependency, with the bytes that the middleware would send."""
    if decision.cause is RouteStatus.ENV_GATED:
        raise HTTPException(404)
    # A dependency can only raise; the handlers of this request's application are told how to answer.
    handlers, _ = connection.scope["starlette.exception_handlers"]
    handlers.setdefault(Blocked, _answer)
    raise Blocked(decision)


async def _answer(request: Request, error: Blocked) -> Response:
    neutral = answer(error.decision, method=request.method, path=request.scope["path"])
    return Response(neutral.body, neutral.status, dict(neutral.headers), "application/json")
