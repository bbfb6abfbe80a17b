"""An application as the engine sees it: its routes, what they declare, and its OpenAPI schema."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import FastAPI

from shield_core.engine import ShieldEngine
from shield_core.keys import ExemptEntry, RouteKey, without_slash
from shield_core.ruleset import Ruleset
from shield_fastapi import stamps
from shield_fastapi.hiding import add_gates, add_twins
from shield_fastapi.openapi import follow_rules
from shield_fastapi.routes import Route, RouteTable
from shield_fastapi.sources import Scope, with_wrapped

#: The module whose functions serve /openapi.json, /docs and /redoc.
_DOCUMENTS = FastAPI.__module__


class Application:
    """The routes of one FastAPI or Starlette application, declared to an engine.

    ``root_path`` is one that the application will set itself, after Shield has looked.
    """

    def __init__(
        self, app: Any, engine: ShieldEngine, exempt: Iterable[str] = (), root_path: str = ""
    ) -> None:
        self.app = app
        self._engine = engine
        self._root_path = root_path
        self._exempt = frozenset(ExemptEntry.parse(entry) for entry in exempt)
        self.table = self._learn()

    def find(self, scope: Scope, hidden: Sequence[Route] = ()) -> Route | None:
        """Return the route that the framework will choose, also one that was added meanwhile."""
        if not self.table.is_current():
            self.table = self._learn()
        return self.table.find(self._within(scope), hidden)

    def refresh(self) -> None:
        """Learn the routes again where the application's own startup has replaced them."""
        if self.table.is_replaced():
            self.table = self._learn()

    def hide_gates(self, scope: Scope, rules: Ruleset, hidden: list[Route]) -> bool:
        """Add to ``hidden`` the closed gates that ``scope`` meets; return whether there are any."""
        return add_gates(hidden, self.table, self._within(scope), rules)

    def hide_twins(self, scope: Scope, rules: Ruleset, hidden: list[Route]) -> None:
        """Add to ``hidden`` the closed gates to which the framework would redirect an unknown path."""
        add_twins(hidden, self.table, self._within(scope), rules)

    def leads_to_door(self, scope: Scope) -> bool:
        """Whether the framework redirects an unknown path to the controls, by adding a slash."""
        found = self.find({**scope, "path": f"{scope['path']}/"}) if scope["type"] == "http" else None
        return found is not None and _is_door(found)

    def _within(self, scope: Scope) -> Scope:
        """Return the scope that the application's router will see."""
        return {**scope, "root_path": self._root_path} if self._root_path else scope

    def _learn(self) -> RouteTable:
        table = RouteTable(self.app)
        _tell_hosts_apart(table)
        for route in table.all_routes():
            route.takes_limits = stamps.takes_limits(route)
        stamps.declare(self._engine, self.app, stamps.declarations(table, self._always_open(table)))
        stamps.warn_of_lost_stamps(table)
        for one in table.all_tables():
            if hasattr(one.app, "openapi"):
                operations = ((verb, route) for route in one.routes for verb in route.verbs)
                templates = {(verb, route.source.template): route.template for verb, route in operations}
                follow_rules(one.app, self._engine, templates)
        return table

    def _always_open(self, table: RouteTable) -> frozenset[RouteKey]:
        """Return the keys of the documentation, of the way to the controls and of what is exempt."""
        found = set()
        for route in table.all_routes():
            path = without_slash(route.template)
            for verb in route.verbs:
                entries = {ExemptEntry(None, path), ExemptEntry(verb, path)}
                is_document = getattr(route.endpoint, "__module__", "") == _DOCUMENTS
                if entries & self._exempt or is_document or _is_door(route):
                    found.add(RouteKey(None, verb, route.template))
        return frozenset(found)


def _is_door(route: Route) -> bool:
    """Whether the route leads to the controls, perhaps through a middleware of their own."""
    return any(getattr(one, "always_open", False) is True for one in with_wrapped(route.endpoint))


def _tell_hosts_apart(table: RouteTable) -> None:
    """Put the host before the templates of a host that another host, or all of them, have too."""
    owners = {route.template: "" for route in table.all_routes() if not route.host}
    for route in table.all_routes():
        if route.host and owners.setdefault(route.template, route.host) != route.host:
            route.template = f"//{route.host}{route.template}"
