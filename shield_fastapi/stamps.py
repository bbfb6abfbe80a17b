"""What the routes of an application declare: stamps on endpoints, classes, handlers and dependencies."""

from __future__ import annotations

import inspect
import logging
import weakref
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import replace
from typing import Any

from shield_core.declarations import Declaration
from shield_core.decorators import is_stamped, meta_of, stamped_objects
from shield_core.engine import ShieldEngine
from shield_core.keys import RouteKey
from shield_core.models import strictness
from shield_fastapi.decorators import Stamp
from shield_fastapi.routes import Route, RouteTable, is_http_endpoint

logger = logging.getLogger("shield")

_Claims = dict[RouteKey, tuple["weakref.ref[Any]", Declaration]]

#: Which application declared which key to an engine, as several may share one.
_claims: MutableMapping[ShieldEngine, _Claims] = weakref.WeakKeyDictionary()


def declarations(table: RouteTable, always_open: frozenset[RouteKey] = frozenset()) -> list[Declaration]:
    """Return what the routes of ``table`` declare, each key once."""
    found: dict[RouteKey, Declaration] = {}
    met: dict[tuple[str, str], set[str | None]] = {}
    for route in table.all_routes():
        before = met.setdefault((route.kind, route.shape), set())
        for verb, owners in _handlers(route):
            if verb in before or None in before:
                continue  # the framework chooses the route before, which has the same path
            key = RouteKey(None, verb, route.template)
            one = Declaration.from_meta(key, meta_of(*owners), always_open=key in always_open)
            found[key] = _strictest(one, found.get(key))
        before.update(route.verbs if route.methods is not None else {None})
    return list(found.values())


def declare(engine: ShieldEngine, app: Any, declared: Iterable[Declaration]) -> None:
    """Declare the routes of ``app``; where another one has the same key the stricter stamp holds."""
    claims = _claims.setdefault(engine, {})
    ruling = []
    for one in declared:
        owner, other = claims.get(one.key, (None, None))
        claimed_by = owner() if owner is not None else None
        if other is None or claimed_by is None or claimed_by is app:
            claims[one.key] = (weakref.ref(app), one)
            ruling.append(one)
        else:
            ruling.append(_strictest(one, other))
    engine.declare(ruling)


def warn_of_lost_stamps(table: RouteTable) -> None:
    """Name the stamps above a decorator that made a new function of an endpoint: no route has them."""
    endpoints = {id(route.endpoint): route for route in table.all_routes()}
    known = {id(owner) for route in endpoints.values() for _, owners in _handlers(route) for owner in owners}
    for stamped in stamped_objects():
        route = endpoints.get(id(inspect.unwrap(stamped))) if inspect.isfunction(stamped) else None
        if route is not None and id(stamped) not in known and not is_stamped(route.endpoint):
            logger.warning(
                "A Shield decorator on %s has no effect: it stands above a decorator that wraps the endpoint "
                "of %s after the route was made. Put it directly on the endpoint.",
                stamped.__qualname__,
                route.template,
            )


def _handlers(route: Route) -> Iterator[tuple[str | None, tuple[Any, ...]]]:
    """Yield the methods of a route and what may bear stamps for each, from the outside to the inside."""
    outer = tuple(_stamps_in(getattr(route.source.seen, "dependant", None)))
    for verb in route.verbs:
        if verb is not None and is_http_endpoint(route.endpoint):
            yield verb, (*outer, route.endpoint, getattr(route.endpoint, verb.lower()))
        else:
            yield verb, (*outer, route.endpoint)


def takes_limits(route: Route) -> bool:
    """Whether ``Depends(rate_limit(…))`` is among the dependencies of a route."""
    return any(
        "rate_limit" in meta_of(one) for one in _stamps_in(getattr(route.source.seen, "dependant", None))
    )


def _stamps_in(dependant: Any) -> Iterator[Stamp]:
    """Yield the stamps among dependencies, those of dependencies included."""
    for one in getattr(dependant, "dependencies", ()):
        yield from _stamps_in(one)
        if isinstance(one.call, Stamp):
            yield one.call


def _strictest(one: Declaration, other: Declaration | None) -> Declaration:
    if other is None or other == one:
        return one
    logger.warning("Two routes have the key %s and different decorators; the stricter ones hold.", one.key)
    return replace(max((other, one), key=_strictness), rate_limit=one.rate_limit or other.rate_limit)


def _strictness(one: Declaration) -> tuple[bool, int, bool]:
    opened = one.force_active or one.always_open
    return (not opened, strictness(one.baseline.status), one.baseline.window is not None)
