"""All limits of a request in one call."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import NamedTuple

from shield_core.models import KeyStrategy, RateLimitPolicy, RateLimitResult
from shield_core.rate_limit.addresses import network_key
from shield_core.rate_limit.caller import Caller, hashed, user_key
from shield_core.rate_limit.counters import Counter, Verdict
from shield_core.rate_limit.hits import Hits
from shield_core.rate_limit.layers import DEFAULT_TIER, Layer, Layers
from shield_core.rate_limit.storage.base import RateLimitStorage

logger = logging.getLogger("shield.rate_limit")

#: After so many requests without a key a policy says that none has had one.
_FIRST_REQUESTS = 100
#: A key that stands for "block": it is compared by identity.
_REFUSED = "\x00refused"
#: Between a tier and a key, where a policy has tiers.
_TIER_END = "\n"

#: Longer keys of a function of the project's are counted by their hash.
_LONGEST_KEY = 128

_HINTS = {
    KeyStrategy.IP: "the server does not tell the client's address, as behind a Unix socket; set the "
    "number of trusted proxies (SHIELD_NUM_PROXIES)",
    KeyStrategy.USER: "nobody is authenticated where the limit is taken",
    KeyStrategy.API_KEY: "no request has the header X-API-Key",
    KeyStrategy.CUSTOM: "the key function returned None, or this process's code has none",
    KeyStrategy.GLOBAL: "",
}
#: ``_new(Outcome, …)``, and adding tuples, take half the time of ``Outcome(*…)``.
_new = tuple.__new__


class Outcome(NamedTuple):
    """What the limits said of a request: of those that deny it the longest, else the tightest.

    ``limit`` is the capacity, ``text`` how the limit is written, ``seconds`` its period;
    ``reset_after`` and ``retry_after`` are in seconds.
    """

    allowed: bool
    remaining: int
    reset_after: float
    retry_after: float
    key: str
    tier: str | None
    counter: Counter
    layer: Layer
    draft_headers: bool = False

    @property
    def limit(self) -> int:
        return self.counter.capacity

    @property
    def text(self) -> str:
        return self.counter.text

    @property
    def seconds(self) -> int:
        return self.counter.seconds

    @property
    def result(self) -> RateLimitResult:
        now = datetime.now(UTC).timestamp()
        return RateLimitResult(
            allowed=self.allowed,
            limit=self.limit,
            remaining=self.remaining,
            reset_at=datetime.fromtimestamp(now + self.reset_after, UTC),
            retry_after_seconds=self.retry_after,
            key=self.key,
            tier=self.tier,
        )


class Limiter:
    """Takes a request through its layers.

    ``num_proxies`` are trusted to tell the client's address, see ``addresses.client_address``;
    ``draft_headers`` adds the IETF draft's headers to answers.
    """

    def __init__(
        self, storage: RateLimitStorage, *, num_proxies: int = 0, draft_headers: bool = False
    ) -> None:
        self.storage = storage
        self.num_proxies = num_proxies
        self.draft_headers = draft_headers
        self.hits = Hits()
        #: How many requests had no key, by policy.
        self._keyless: dict[tuple[str, KeyStrategy], int] = {}

    def limit(
        self, layers: Layers | Sequence[Layer], caller: Caller, *, method: str, path: str
    ) -> Outcome | Awaitable[Outcome | None] | None:
        """Charge a request to ``layers``; None says that no limit applies to it.

        ``method`` and ``path`` (a template, or the URL's path where no route was found) are for the
        log of hits. Returns at once where it can, else something to await, which never suspends
        for a caller that does not await.
        """
        storage = self.storage
        if not storage.immediate:
            return self._limit(layers, caller, method, path)
        if len(layers) == 1:
            layer = layers[0]
            counter = layer.counted_by_address
            if counter is not None and (address := caller.address) is not None:
                if not layer.has_met_a_key:
                    self._meet(layer)
                key = network_key(address) if ":" in address else address
                verdict = storage.take_one(counter, key)
                if verdict[0]:
                    return _new(Outcome, verdict + (key, None, counter, layer, self.draft_headers))  # noqa: RUF005
                return self._judge((verdict,), layers, (counter,), (key,), method, path)
        elif layers.__class__ is Layers and layers.by_address and (address := caller.address) is not None:
            return self._limit_everywhere(layers, layers.by_address, address, method, path)
        for layer in layers:
            if not layer.is_simple:
                return self._limit(layers, caller, method, path)
        return self._limit_simply(layers, caller, method, path)

    def _limit_everywhere(
        self, layers: Layers, counters: Sequence[Counter], address: str, method: str, path: str
    ) -> Outcome | None:
        """Do the same where several limits count every address."""
        if not layers.are_met:
            for layer in layers:
                self._meet(layer)
            layers.are_met = True
        keys = (network_key(address) if ":" in address else address,) * len(counters)
        verdicts = self.storage.take(counters, keys)
        tightest, verdict = 0, verdicts[0]
        for index, other in enumerate(verdicts):
            if not other[0]:
                return self._judge(verdicts, layers, counters, keys, method, path)
            if other[1] < verdict[1]:
                tightest, verdict = index, other
        ending = (keys[0], None, counters[tightest], layers[tightest], self.draft_headers)
        return _new(Outcome, verdict + ending)

    def _limit_simply(
        self, layers: Sequence[Layer], caller: Caller, method: str, path: str
    ) -> Outcome | None:
        asked: list[Layer] = []
        counters: list[Counter] = []
        keys: list[str] = []
        for layer in layers:
            counter = layer.counter
            if counter is None:
                continue
            key = self._simple_key(layer, caller)
            if key is None:
                continue
            if key is _REFUSED:
                refused = self._refuse(layer, counter, method, path)
                if counter.shadow:
                    continue
                return refused
            keys.append(key)
            asked.append(layer)
            counters.append(counter)
        if not asked:
            return None
        verdicts = self.storage.take(counters, keys)
        return self._judge(verdicts, asked, counters, keys, method, path)

    async def _limit(self, layers: Sequence[Layer], caller: Caller, method: str, path: str) -> Outcome | None:
        asked: list[Layer] = []
        counters: list[Counter] = []
        keys: list[str] = []
        for layer in layers:
            if layer.exempt_roles and not layer.exempt_roles.isdisjoint(await caller.roles()):
                continue
            counter, tier = layer.counter, ""
            if layer.tiers:
                tier, counter = await _tier(layer, caller)
            if counter is not None and (key := await self._key(layer, caller)) is not None:
                if key is _REFUSED:
                    refused = self._refuse(layer, counter, method, path)
                    if counter.shadow:
                        continue
                    return refused
                asked.append(layer)
                counters.append(counter)
                keys.append(f"{tier}{_TIER_END}{key}" if tier else key)
        if not asked:
            return None
        if caller.awaits:
            verdicts = await self.storage.take_async(counters, keys)
        else:
            verdicts = self.storage.take(counters, keys)
        return self._judge(verdicts, asked, counters, keys, method, path)

    # -- who is asking ------------------------------------------------------------------------

    def _simple_key(self, layer: Layer, caller: Caller) -> str | None:
        """Return who is counted; None is nobody, ``_REFUSED`` blocks."""
        strategy = layer.strategy
        if strategy is KeyStrategy.GLOBAL:
            return "*"
        address = caller.address
        if layer.exempt_networks and _is_exempt(address, layer):
            return None
        if strategy is KeyStrategy.IP:
            key = network_key(address) if address is not None else None
        else:
            secret = caller.header("x-api-key")
            key = hashed(secret) if secret else None
        return self._found(layer, key, address)

    async def _key(self, layer: Layer, caller: Caller) -> str | None:
        match layer.strategy:
            case KeyStrategy.USER:
                key = user_key(await caller.user())
            case KeyStrategy.CUSTOM:
                said = await caller.call(layer.key) if layer.key is not None else None
                key = str(said) if said not in (None, "") else None
                if key is not None and len(key) > _LONGEST_KEY:
                    key = hashed(key)
            case _:
                return self._simple_key(layer, caller)
        if layer.exempt_networks and _is_exempt(caller.address, layer):
            return None
        return self._found(layer, key, caller.address)

    def _found(self, layer: Layer, key: str | None, address: str | None) -> str | None:
        if key is None:
            return self._missing(layer, address)
        if not layer.has_met_a_key:
            self._meet(layer)
        return key

    def _meet(self, layer: Layer) -> None:
        """Note that a policy finds keys, also for when its layer is compiled again."""
        layer.has_met_a_key = True
        self._keyless[layer.scope.limit_key, layer.strategy] = _FIRST_REQUESTS

    def _missing(self, layer: Layer, address: str | None) -> str | None:
        if not layer.has_met_a_key:
            self._count_keyless(layer)
        if layer.missing == "block":
            return _REFUSED
        if layer.missing == "fallback_ip" and address is not None:
            return network_key(address)
        return None

    def _count_keyless(self, layer: Layer) -> None:
        """Say once of a policy that none of its first requests had a key."""
        name = (layer.scope.limit_key, layer.strategy)
        count = self._keyless.get(name, 0) + 1
        if count <= _FIRST_REQUESTS:
            self._keyless[name] = count
        if count == _FIRST_REQUESTS:
            logger.warning(
                "The rate limit of %s found no key (%s) in its first %s requests: %s.",
                layer.scope.label,
                layer.strategy.value,
                _FIRST_REQUESTS,
                _HINTS[layer.strategy],
                extra={"scope": layer.scope.label, "key_strategy": layer.strategy.value},
            )

    # -- what comes of it -----------------------------------------------------------------------

    def _judge(
        self,
        verdicts: Sequence[Verdict],
        asked: Sequence[Layer],
        counters: Sequence[Counter],
        keys: Sequence[str],
        method: str,
        path: str,
    ) -> Outcome | None:
        """Choose the layer that speaks: of those that deny the longest, else the tightest."""
        chosen = -1
        fewest = 0
        denied = False
        for index, verdict in enumerate(verdicts):
            if counters[index].shadow:
                if not verdict[0]:
                    self._note(verdict, asked[index], counters[index], keys[index], method, path)
            elif verdict[0]:
                if not denied and (chosen < 0 or verdict[1] < fewest):
                    chosen, fewest = index, verdict[1]
            elif not denied or verdict[3] > verdicts[chosen][3]:
                chosen, denied = index, True
        if chosen < 0:
            return None
        counter, key, verdict = counters[chosen], keys[chosen], verdicts[chosen]
        if denied:
            self._note(verdict, asked[chosen], counter, key, method, path)
        return self._outcome(asked[chosen], counter, key, verdict)

    def _refuse(self, layer: Layer, counter: Counter, method: str, path: str) -> Outcome:
        """Note a request whose key is missing, and return how it is blocked."""
        verdict = (False, 0, float(counter.seconds), float(counter.seconds))
        self._note(verdict, layer, counter, "", method, path)
        return self._outcome(layer, counter, "", verdict)

    def _note(
        self, verdict: Verdict, layer: Layer, counter: Counter, key: str, method: str, path: str
    ) -> None:
        tier, caller = _parts(layer, key)
        self.hits.note(
            path=path,
            method=method,
            key=caller,
            limit=counter.text,
            tier=tier,
            reset_after=verdict[2],
            scope=layer.scope.label,
            shadow=counter.shadow,
        )

    def _outcome(self, layer: Layer, counter: Counter, key: str, verdict: Verdict) -> Outcome:
        tier = None
        if layer.tiers:
            tier, key = _parts(layer, key)
        return _new(Outcome, verdict + (key, tier, counter, layer, self.draft_headers))  # noqa: RUF005


def _parts(layer: Layer, key: str) -> tuple[str | None, str]:
    """Return the tier and the caller of a key."""
    if not layer.tiers:
        return None, key
    tier, _, caller = key.partition(_TIER_END)
    return tier or None, caller


async def _tier(layer: Layer, caller: Caller) -> tuple[str, Counter | None]:
    """Return the caller's tier and its counter; an unknown one has the policy's own limit."""
    if layer.tier is not None:
        said = await caller.call(layer.tier)
    else:
        assert isinstance(layer.policy, RateLimitPolicy)
        said = await caller.attribute(layer.policy.tier_resolver)
    name = str(said) if said is not None else ""
    return (name, layer.tiers[name]) if name in layer.tiers else (DEFAULT_TIER, layer.counter)


def _is_exempt(address: str | None, layer: Layer) -> bool:
    if address is None:
        return False
    found = ip_address(address)
    return any(found in network for network in layer.exempt_networks)
