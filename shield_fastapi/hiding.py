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

from shield_fastapi.routes import Route
from shield_fastapi.sources import Scope

HIDDEN = "shield.hidden"


def hide(scope: Scope, routes: Iterable[Route]) -> None:
    """Let the framework not match ``routes`` for the request of ``scope``."""
    matchers = {id(matcher): matcher for route in routes for matcher in route.source.matchers}
    for matcher in matchers.values():
        if "matches" not in vars(matcher):
            matcher.matches = partial(_matches, matcher, matcher.matches)
    scope[HIDDEN] = scope.get(HIDDEN, frozenset()) | frozenset(matchers)


def _matches(matcher: Any, matches: Any, scope: Scope) -> Any:
    return (Match.NONE, {}) if id(matcher) in scope.get(HIDDEN, ()) else matches(scope)
