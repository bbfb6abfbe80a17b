"""The WebSocket guard: refuses a connection before it is accepted.

Routes are those of Channels' ``URLRouter``, found inside the wrapped application; their keys
have the method ``WS``. A connection that matches no route meets the wider scopes only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from shield_core.asgi import refuse_websocket
from shield_core.declarations import Declaration
from shield_core.decorators import meta_of
from shield_core.keys import WEBSOCKET, RouteKey
from shield_django import patterns, project


class WebSocketGuard:
    """Decides on WebSockets to an ASGI application."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app
        self._routes: list[tuple[tuple[Any, ...], str]] | None = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        found = project.current()
        routes = self._declared(found)
        rules = found.replica.ruleset or await found.ready_async()
        template = _match(routes, scope["path"])
        if template is None:
            decision = rules.decide_unrouted(WEBSOCKET, scope["path"])
        else:
            decision = rules.decide(WEBSOCKET, template)
        if decision.cause is None:
            await self._app(scope, receive, send)
        else:
            await refuse_websocket(scope, receive, send, decision)

    def _declared(self, found: project.Project) -> list[tuple[tuple[Any, ...], str]]:
        """Return the routes, declared to the engine that is current now."""
        declarations = []
        routes = []
        for chain, consumer in _routes(_url_router(self._app)):
            template = patterns.template_of(chain)
            key = RouteKey(None, WEBSOCKET, template)
            owners = [consumer, getattr(consumer, "consumer_class", None)]
            declarations.append(Declaration.from_meta(key, meta_of(*owners)))
            routes.append((chain, template))
        if self._routes is None or any(one.key not in found.replica.declared for one in declarations):
            found.engine.declare(declarations)
            self._routes = routes
        return routes


def _url_router(app: Any) -> Any:
    """Find Channels' URLRouter behind the usual wrappers (AuthMiddlewareStack, validators, …)."""
    for _ in range(20):
        if app is None or hasattr(app, "routes"):
            return app
        mapping = getattr(app, "application_mapping", None)
        if mapping is not None:
            app = mapping.get("websocket")
        else:
            app = next(
                (found for name in ("inner", "application", "app") if (found := getattr(app, name, None))),
                None,
            )
    return None


def _routes(router: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for route in getattr(router, "routes", ()):
        chain = (*before, route.pattern)
        inner = _url_router(route.callback)
        if inner is None:
            yield chain, route.callback
        else:
            yield from _routes(inner, chain)


def _match(routes: list[tuple[tuple[Any, ...], str]], path: str) -> str | None:
    for chain, template in routes:
        rest: str | None = path.lstrip("/")
        for pattern in chain:
            found = pattern.match(rest)
            rest = found[0] if found else None
            if rest is None:
                break
        if rest is not None:
            return template
    return None
