"""Closed environment gates disappear from the framework's own routing.

Answering 404 in front of the framework would not be what an unknown URL gets: its exception
handler, a catch-all route further down, no redirect to the slash, no 405 from another method.
So the route itself does not match, for the requests from which it is hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from starlette.routing import Match

from shield_fastapi.routes import Route, Scope

HIDDEN = "shield.hidden"


def hide(scope: Scope, routes: Sequence[Route]) -> None:
    """Let the framework not match ``routes`` for the request of ``scope``."""
    if not routes:
        return
    originals = {id(original): original for route in routes for original in route.originals}
    for original in originals.values():
        if "matches" not in vars(original):
            original.matches = partial(_matches, original, original.matches)
    scope[HIDDEN] = frozenset(originals)


def _matches(original: Any, matches: Any, scope: Scope) -> Any:
    return (Match.NONE, {}) if id(original) in scope.get(HIDDEN, ()) else matches(scope)
