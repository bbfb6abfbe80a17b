"""The WebSocket guard: refuses a connection before it is accepted.

Routes are those of Channels' ``URLRouter``, found inside the wrapped application; their keys
have the method ``WS``. A connection that matches no route meets the wider scopes only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from shield_core.asgi import refuse_websocket
from shield_core.decisions import Decision
from shield_core.declarations import Declaration
from shield_core.decorators import meta_of
from shield_core.keys import WEBSOCKET, RouteKey
from shield_core.responses import limited
from shield_core.ruleset import Ruleset
from shield_django import patterns, project
from shield_django.callers import SocketCaller


@dataclass(frozen=True, slots=True)
class _Route:
    chain: tuple[Any, ...]
    declaration: Declaration


class WebSocketGuard:
    """Decides on WebSockets to an ASGI application."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app
        self._declared_to: project.Project | None = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        found = project.current()
        if self._declared_to is not found:
            found.engine.declare(route.declaration for route in self._routes)
            self._declared_to = found
        rules = found.replica.ruleset or await found.ready_async()
        # As URLRouter has it: servers give the whole path, the mount point included.
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        template = _match(self._routes, path)
        if template is None:
            decision = rules.decide_unrouted(WEBSOCKET, path)
        else:
            decision = rules.decide(WEBSOCKET, template)
        if decision.cause is None and rules.is_limited and project.limits_apply(found):
            decision = await _limited(decision, rules, found, scope, template, path)
        if decision.cause is None:
            await self._app(scope, receive, send)
        else:
            await refuse_websocket(scope, receive, send, decision)

    @cached_property
    def _routes(self) -> list[_Route]:
        return list(_routes(_url_router(self._app)))


async def _limited(
    decision: Decision,
    rules: Ruleset,
    found: project.Project,
    scope: MutableMapping[str, Any],
    template: str | None,
    path: str,
) -> Decision:
    """Charge a connection to the limits of its route, or of an unknown path."""
    layers = rules.limits(WEBSOCKET, template) if template else rules.limits_unrouted(WEBSOCKET, path)
    limiter = found.engine.limiter
    caller = SocketCaller(scope, num_proxies=limiter.num_proxies)
    outcome = limiter.limit(layers, caller, method=WEBSOCKET, path=template or path) if layers else None
    return limited(decision, await outcome if isinstance(outcome, Awaitable) else outcome)


def _url_router(app: Any) -> Any:
    """Find Channels' URLRouter behind the usual wrappers (AuthMiddlewareStack, validators, …)."""
    return next((one for one in _wrapped(app) if hasattr(one, "routes")), None)


def _wrapped(app: Any) -> Iterator[Any]:
    """Yield an ASGI application and what it wraps, from the outside to the inside."""
    for _ in range(20):
        if app is None:
            return
        yield app
        mapping = getattr(app, "application_mapping", None)
        if mapping is not None:
            app = mapping.get("websocket")
        else:
            inner = (getattr(app, name, None) for name in ("inner", "application", "app"))
            app = next((found for found in inner if found is not None), None)


def _routes(router: Any, before: tuple[Any, ...] = ()) -> Iterator[_Route]:
    for route in getattr(router, "routes", ()):
        chain = (*before, route.pattern)
        inner = _url_router(route.callback)
        if inner is not None:
            yield from _routes(inner, chain)
            continue
        owners = [
            owner for one in _wrapped(route.callback) for owner in (one, getattr(one, "consumer_class", None))
        ]
        key = RouteKey(None, WEBSOCKET, patterns.template_of(chain))
        yield _Route(chain, Declaration.from_meta(key, meta_of(*owners)))


def _match(routes: list[_Route], path: str) -> str | None:
    for route in routes:
        rest: str | None = path
        for pattern in route.chain:
            found = pattern.match(rest.lstrip("/")) if rest is not None else None
            rest = found[0] if found else None
        if rest is not None:
            return route.declaration.key.path
    return None
