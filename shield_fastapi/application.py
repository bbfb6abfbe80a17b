"""An application as the engine sees it: its routes, what they declare, and its OpenAPI schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from shield_core.declarations import Declaration
from shield_core.decorators import meta_of
from shield_core.engine import ShieldEngine
from shield_core.keys import WEBSOCKET, ExemptEntry, RouteKey, without_slash
from shield_fastapi.openapi import follow_rules
from shield_fastapi.routes import Found, Route, RouteTable, Scope, route_path

_HANDLERS = ("get", "post", "put", "patch", "delete", "options")
_DOCUMENTS = ("openapi_url", "docs_url", "redoc_url", "swagger_ui_oauth2_redirect_url")


class Application:
    """The routes of one FastAPI or Starlette application, declared to an engine."""

    def __init__(self, app: Any, engine: ShieldEngine, exempt: Iterable[str] = ()) -> None:
        self.app = app
        self._engine = engine
        self._exempt = frozenset(ExemptEntry.parse(entry) for entry in exempt)
        self._documents = {getattr(app, name, None) for name in _DOCUMENTS}
        self.table = self._learn()
        if hasattr(app, "openapi"):
            follow_rules(app, engine)

    def find(self, scope: Scope, hidden: list[Route]) -> Found | None:
        """Return the route that the framework will choose, with routes that were added meanwhile."""
        path = route_path(scope)
        found = self.table.find(scope, path, hidden)
        if found is None and not self.table.is_current():
            self.table = self._learn()
            found = self.table.find(scope, path, hidden)
        return found

    def twin(self, scope: Scope) -> Found | None:
        """Return the route to which the framework would redirect a path that it does not know."""
        path = route_path(scope)
        if path == "/":
            return None
        other = path.rstrip("/") if path.endswith("/") else path + "/"
        return self.table.find(scope, other)

    def _learn(self) -> RouteTable:
        table = RouteTable(self.app.routes)
        self._engine.declare(
            declaration for route in table.all_routes() for declaration in self._declarations(route)
        )
        return table

    def _declarations(self, route: Route) -> Iterator[Declaration]:
        for method, owners in _handlers(route):
            key = RouteKey(None, method, route.template)
            yield Declaration.from_meta(
                key,
                meta_of(*route.dependencies, *owners),
                always_open=route.template in self._documents or self._is_exempt(key),
            )

    def _is_exempt(self, key: RouteKey) -> bool:
        path = without_slash(key.path)
        return ExemptEntry(None, path) in self._exempt or ExemptEntry(key.method, path) in self._exempt


def _handlers(route: Route) -> Iterator[tuple[str | None, tuple[Any, ...]]]:
    """Yield the methods of a route and what may bear stamps for each."""
    endpoint = route.endpoint
    if route.kind == "websocket":
        yield WEBSOCKET, (endpoint,)
    elif isinstance(endpoint, type):
        for name in _HANDLERS:
            if (handler := getattr(endpoint, name, None)) is not None:
                yield name.upper(), (endpoint, handler)
    elif route.methods is None:
        yield None, (endpoint,)
    else:
        for method in sorted(route.methods - {"HEAD"} or route.methods):
            yield method, (endpoint,)
