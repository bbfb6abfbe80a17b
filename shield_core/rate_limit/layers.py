"""A policy, compiled: what a request is asked, at one scope."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from shield_core.keys import ExemptEntry, Scope, without_slash
from shield_core.models import KeyStrategy, OnMissingKey, RateLimitPolicy, StoredPolicy
from shield_core.rate_limit.counters import Counter, table_name
from shield_core.rate_limit.grammar import Rate

#: What happens to a caller whose key is not known, where the policy does not say.
_MISSING: Mapping[KeyStrategy, OnMissingKey] = {KeyStrategy.API_KEY: "fallback_ip"}
#: Those that need neither a user nor a function of the project's.
_SIMPLE = (KeyStrategy.IP, KeyStrategy.API_KEY, KeyStrategy.GLOBAL)
#: The tier that unknown ones fall back to; where a limit has none of that name, its strictest.
DEFAULT_TIER = "default"

Callback = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class DeclaredLimit:
    """What ``@rate_limit`` says; the callables stay with the code."""

    policy: RateLimitPolicy
    key: Callback | None = None
    tier: Callback | None = None
    response: Callback | None = None


@dataclass(slots=True, eq=False)
class Layer:
    """One scope's limit. ``counter`` None lets everything pass; ``tiers`` replace it by name.

    ``is_simple``: address, API key or nothing at all says who is asking, so that no user has to be
    known and nothing has to be awaited. ``counted_by_address`` is the counter of a limit that counts
    every address, blocks, and does nothing else.
    """

    scope: Scope
    policy: StoredPolicy
    counter: Counter | None
    strategy: KeyStrategy
    missing: OnMissingKey
    tiers: Mapping[str, Counter | None] = field(default_factory=dict)
    exempt_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    exempt_roles: frozenset[str] = frozenset()
    exempt_routes: frozenset[ExemptEntry] = frozenset()
    key: Callback | None = None
    tier: Callback | None = None
    response: Callback | None = None
    is_simple: bool = False
    counted_by_address: Counter | None = None
    #: Whether any request could be counted; the only thing here that changes.
    has_met_a_key: bool = False

    @classmethod
    def compile(
        cls, scope: Scope, policy: StoredPolicy, *, generation: int = 0, declared: DeclaredLimit | None = None
    ) -> Layer:
        """Compile the policy of ``scope``; what only the code can know comes from its own declaration."""
        name = _name(scope)

        def counter(limit: str) -> Counter | None:
            rate = Rate.parse(limit)
            if rate is None:
                return None
            return Counter.make(
                name,
                rate,
                text=limit,
                algorithm=policy.algorithm,
                burst=policy.burst,
                generation=generation,
                shadow=policy.shadow,
            )

        route = policy if isinstance(policy, RateLimitPolicy) else None
        strategy = policy.key_strategy
        key = declared.key if declared and strategy is KeyStrategy.CUSTOM else None
        roles = frozenset(route.exempt_roles) if route else frozenset()
        tiers = {tier.name: counter(tier.limit) for tier in route.tiers} if route else {}
        simple = not tiers and not roles and strategy in _SIMPLE
        networks = [ip_network(text, strict=False) for text in route.exempt_ips] if route else []
        by_code = declared.tier if declared and route and route.tier_resolver == KeyStrategy.CUSTOM else None
        own = counter(policy.limit)
        by_address = simple and strategy is KeyStrategy.IP and not networks and not policy.shadow
        return cls(
            scope=scope,
            policy=policy,
            counter=own,
            strategy=strategy,
            missing=policy.on_missing_key or _MISSING.get(strategy, "exempt"),
            tiers=tiers,
            exempt_networks=tuple(networks),
            exempt_roles=roles,
            exempt_routes=(
                ExemptEntry.of(policy.exempt_routes)
                if not isinstance(policy, RateLimitPolicy)
                else frozenset()
            ),
            key=key,
            tier=by_code,
            response=declared.response if declared else None,
            is_simple=simple,
            counted_by_address=own if by_address else None,
        )

    def spares(self, method: str, path: str) -> bool:
        """Whether a route is exempt from the limit of a wider scope."""
        if not self.exempt_routes:
            return False
        path = without_slash(path)
        return (
            ExemptEntry(None, path) in self.exempt_routes or ExemptEntry(method, path) in self.exempt_routes
        )


def table_of(scope: Scope, policy: StoredPolicy, generation: int) -> str:
    """Return the name of the table in which the limit of ``scope`` is counted, see ``Counter``."""
    return table_name(policy.algorithm, generation, _name(scope))


def _name(scope: Scope) -> str:
    return f"{scope.kind}:{scope.name}"


class Layers(tuple[Layer, ...]):
    """The limits of a request, in the order global, service, route.

    ``by_address`` are their counters where all of them are ``counted_by_address``, so that it is asked
    once who is asking; else None.
    """

    by_address: tuple[Counter, ...] | None
    #: Whether a request has been counted by address.
    are_met: bool

    def __new__(cls, layers: Iterable[Layer] = ()) -> Layers:
        made = super().__new__(cls, layers)
        counters = tuple(layer.counted_by_address for layer in made if layer.counted_by_address is not None)
        made.by_address = counters if made and len(counters) == len(made) else None
        made.are_met = False
        return made
