"""Closed environment gates disappear from the framework's own routing.

Answering 404 in front of the framework would not be what an unknown URL gets: its exception
handler, a catch-all route further down, no redirect to the slash, no 405 from another method.
So the route itself does not match, for the requests from which it is hidden.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from starlette.routing import Match

from shield_core.keys import WEBSOCKET
from shield_core.ruleset import Ruleset
from shield_fastapi.routes import Route, RouteTable
from shield_fastapi.sources import Scope, route_path

HIDDEN = "shield.hidden"


def add_gates(hidden: list[Route], table: RouteTable, scope: Scope, rules: Ruleset) -> bool:
    """Add the closed gates that ``scope`` meets in ``table``; return whether there are any."""
    before, first = len(hidden), table.find(scope, hidden)
    closed: set[str] = set()
    if scope.get("method") == "HEAD" and first is not None and not first.takes(scope):
        _add_closed(hidden, closed, table, {**scope, "method": "GET"}, rules)
    _add_closed(hidden, closed, table, scope, rules)
    return len(hidden) > before


def _add_closed(
    hidden: list[Route], closed: set[str], table: RouteTable, scope: Scope, rules: Ruleset
) -> None:
    """Add closed gates, to ``closed`` the templates of those that take the method.

    Other routes of such a template, which do not take it, are hidden too: their 405 is not what an
    unknown URL answers. That of a wider template, as of a fallback, is.
    """
    method = scope.get("method", WEBSOCKET)
    while (found := table.find(scope, hidden)) is not None:
        takes = found.takes(scope)
        if rules.hides(found.template, (method,)):
            if takes:
                closed.add(found.template)
        elif takes or not (found.template in closed or rules.hides(found.template, found.verbs)):
            break
        hidden.append(found)


def add_twins(hidden: list[Route], table: RouteTable, scope: Scope, rules: Ruleset) -> None:
    """Add the closed gates to which the framework would redirect the unknown path of ``scope``."""
    table, scope = table.keeper(scope)
    path, whole = route_path(scope), scope["path"]
    if path in ("", "/"):
        return
    twin = {**scope, "path": whole.rstrip("/") if path.endswith("/") else whole + "/"}
    if not add_gates(hidden, table, twin, rules) or table.find(twin, hidden) is not None:
        return
    innermost = hidden[-1].mount
    if innermost is not None and innermost is not table.mount:
        # Nothing but closed gates is left at the mount's own root: no redirect leads there.
        hidden.append(innermost)


def hide(scope: Scope, routes: Iterable[Route]) -> None:
    """Let the framework not match ``routes`` for the request of ``scope``."""
    matchers = {id(matcher): matcher for route in routes for matcher in route.source.matchers}
    for matcher in matchers.values():
        if getattr(matcher.matches, "func", None) is not _matches:
            matcher.matches = partial(_matches, matcher, matcher.matches)
    scope[HIDDEN] = scope.get(HIDDEN, frozenset()) | frozenset(matchers)


def _matches(matcher: Any, matches: Any, scope: Scope) -> Any:
    return (Match.NONE, {}) if id(matcher) in scope.get(HIDDEN, ()) else matches(scope)
