"""Taking the limits of a request: in the middleware, or in a dependency that knows who is asking.

Simple limits (by address, by API key, for all) are taken where the decision is made. Where a route has
``Depends(rate_limit(…))``, those that need more wait for that dependency, which may stand after the one
that authenticates. Either way a request is charged to each limit once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from shield_core.asgi import preflight_for
from shield_core.decisions import Decision
from shield_core.engine import ShieldEngine
from shield_core.keys import WEBSOCKET
from shield_core.rate_limit.layers import Layer
from shield_core.rate_limit.limiter import Limiter, Outcome
from shield_core.responses import limited
from shield_core.ruleset import Ruleset
from shield_fastapi.callers import ConnectionCaller
from shield_fastapi.routes import Route
from shield_fastapi.sources import Scope

#: Set in the scope of a request to what a dependency of its route has still to take.
WAITING = "shield.limits"
#: Set in the scope of a request to the limits it is charged to, where somebody may decide again.
_CHARGED = "shield.charged"


def layers_of(rules: Ruleset, scope: Scope, route: Route | None) -> tuple[Layer, ...]:
    """Return the limits of a request to ``route`` (None: an unknown URL); a preflight has none."""
    method = scope.get("method", WEBSOCKET)
    if method == "OPTIONS" and preflight_for(scope):
        return ()
    if route is None or not route.template:
        return rules.limits_unrouted(method, scope["path"])
    return rules.limits(method, route.template)


async def charge(limiter: Limiter, layers: tuple[Layer, ...], scope: Scope, path: str) -> Outcome | None:
    """Charge a request to all of ``layers`` or to none; ``path`` is for the log of hits."""
    caller = ConnectionCaller(scope, limiter.num_proxies)
    outcome = limiter.limit(layers, caller, method=scope.get("method", WEBSOCKET), path=path)
    if outcome is None or outcome.__class__ is Outcome:
        return outcome
    assert isinstance(outcome, Awaitable)
    return await outcome


class Taking:
    """The limits of one request; ``decision`` is what has come of them so far."""

    __slots__ = ("_before", "_layers", "_limiter", "_path", "_scope", "_waits", "decision", "response")

    def __init__(
        self,
        engine: ShieldEngine,
        layers: tuple[Layer, ...],
        scope: Scope,
        route: Route | None,
        decision: Decision,
    ) -> None:
        self._limiter = engine.limiter
        self._scope = scope
        self._before = self.decision = decision
        self._path = route.template if route is not None and route.template else scope["path"]
        #: The answer where the limit has none of its own.
        self.response: Callable[..., Any] | None = None
        self._layers = layers
        if route is None or route.is_opaque or not route.template or _CHARGED in scope:
            self._layers = _due(engine, layers, scope)
        self._waits = route is not None and route.takes_limits
        if self._waits:
            scope[WAITING] = (*scope.get(WAITING, ()), self)

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return self.decision.headers

    def now(self) -> Awaitable[Decision]:
        """Take those limits that no dependency of the route takes."""
        layers = self._layers
        if self._waits:
            layers = tuple(layer for layer in layers if layer.is_simple)
            self._layers = tuple(layer for layer in self._layers if not layer.is_simple)
        return self._take(layers)

    def rest(self) -> Awaitable[Decision]:
        """Take in the dependency what was left for it, once."""
        layers, self._layers = self._layers, ()
        return self._take(layers)

    async def _take(self, layers: tuple[Layer, ...]) -> Decision:
        outcome = await charge(self._limiter, layers, self._scope, self._path) if layers else None
        known = self.decision.outcome
        if outcome is None or (
            known is not None and outcome.allowed and known.remaining <= outcome.remaining
        ):
            return self.decision
        decision = limited(self._before, outcome)
        if decision.cause is not None and decision.response is None and self.response is not None:
            decision = replace(decision, response=self.response)
        self.decision = decision
        return decision


def _due(engine: ShieldEngine, layers: tuple[Layer, ...], scope: Scope) -> tuple[Layer, ...]:
    """Return the layers that the request is not charged to yet; it is from now on."""
    charged = scope.get(_CHARGED, frozenset())
    due = tuple(layer for layer in layers if (engine, layer.scope) not in charged)
    scope[_CHARGED] = charged | {(engine, layer.scope) for layer in due}
    return due
