"""Shield's limits as a throttle class of DRF."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from django.core.exceptions import ImproperlyConfigured
from pydantic import ValidationError
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from shield_core.keys import Scope
from shield_core.models import GlobalRateLimitPolicy, KeyStrategy, reasons
from shield_core.ports import drive
from shield_core.rate_limit.layers import Layer
from shield_core.rate_limit.limiter import Outcome
from shield_django import limits, project
from shield_django.callers import RequestCaller
from shield_django.limits import Said

if TYPE_CHECKING:
    from shield_django.project import Project

_layers: dict[tuple[Any, ...], Layer] = {}
#: The cache key of a throttle that has no function for it.
_NONE = ""


class ShieldThrottle(BaseThrottle):
    """Takes the limits of the view's route, where DRF has authenticated already.

    In ``throttle_classes`` of a view, or in DEFAULT_THROTTLE_CLASSES, it spares Shield's middleware to
    authenticate by itself. A subclass with a ``rate`` (or a ``scope`` in DEFAULT_THROTTLE_RATES) has a
    limit of its own instead, as DRF's SimpleRateThrottle, counted where Shield counts::

        class Burst(ShieldThrottle):
            rate = "10/minute"

    ``key`` is user (else the address), ip, api_key, global, or a function of the request;
    ``get_cache_key(request, view)`` may be overridden as in DRF. All views with one scope, or
    without one with one class, share the counts.
    """

    rate: str | None = None
    scope: str | None = None
    algorithm: str = "sliding_window"
    burst: int = 0
    key: ClassVar[Any] = "user"
    #: Rates by scope; None: DRF's setting DEFAULT_THROTTLE_RATES.
    THROTTLE_RATES: ClassVar[dict[str, str | None] | None] = None
    #: A key for the request, or None where it is not to be throttled.
    get_cache_key: Callable[[Request, APIView], str | None] | None = None

    _outcome: Outcome | None = None

    @classmethod
    def takes_limits_of_routes(cls) -> bool:
        return cls.rate is None and cls.scope is None

    def allow_request(self, request: Request, view: APIView) -> bool:
        found = project.current()
        if self.takes_limits_of_routes():
            return self._take_limits_of_route(request, found)
        rate = self.get_rate()
        if rate is None or not project.limits_apply(found):
            return True
        key = self.get_cache_key(request, view) if self.get_cache_key is not None else _NONE
        if key is None:
            return True
        self._outcome = self._take(self._layer(rate), request, key, found)
        return self._outcome is None or self._outcome.allowed

    def wait(self) -> float | None:
        """Return whole seconds, because DRF cuts them off."""
        return float(max(1, math.ceil(self._outcome.retry_after))) if self._outcome is not None else None

    def get_rate(self) -> str | None:
        if self.rate is not None:
            return self.rate
        rates: Any = self.THROTTLE_RATES
        if rates is None:
            rates = api_settings.DEFAULT_THROTTLE_RATES
        try:
            found: str | None = rates[self.scope]
        except KeyError:
            raise ImproperlyConfigured(
                f"{type(self).__name__} has the scope {self.scope!r}, which has no rate: "
                "add it to DEFAULT_THROTTLE_RATES."
            ) from None
        return found

    def _take_limits_of_route(self, request: Request, found: Project) -> bool:
        http = request._request
        said = limits.charge(http, limits.left_of(http), found, awaits=False, api_request=request)
        self._outcome = _outcome_of(said)
        return limits.note(http, self._outcome).cause is None

    def _take(self, layer: Layer, request: Request, key: str, found: Project) -> Outcome | None:
        http, limiter = request._request, found.engine.limiter
        caller = _ThrottledCaller(http, limiter.num_proxies, awaits=False, api_request=request)
        caller.known_key = key
        match = http.resolver_match
        path = found.templates.get(match.route, http.path_info) if match is not None else http.path_info
        outcome = _outcome_of(limiter.limit((layer,), caller, method=http.method or "GET", path=path))
        if outcome is not None:
            limits.tell(http, outcome)
        return outcome

    def _layer(self, rate: str) -> Layer:
        """Return the limit that this class stands for."""
        identity = (type(self), rate, self.scope)
        layer = _layers.get(identity)
        return layer if layer is not None else _layers.setdefault(identity, self._compile(rate))

    def _compile(self, rate: str) -> Layer:
        own = type(self)
        by_function = self.get_cache_key is not None or callable(own.key)
        try:
            policy = GlobalRateLimitPolicy(
                limit=rate,
                algorithm=self.algorithm,
                burst=self.burst,
                key_strategy=KeyStrategy.CUSTOM if by_function else own.key,
                on_missing_key=None if by_function else "fallback_ip",
            )
        except ValidationError as error:
            raise ImproperlyConfigured(f"{own.__name__}: {reasons(error)}") from error
        name = self.scope or f"{own.__module__}.{own.__qualname__}"
        # No route's key begins so.
        layer = Layer.compile(Scope("route", f"throttle {name}"), policy)
        layer.key = own.key if callable(own.key) else _cache_key_of
        return layer


class _ThrottledCaller(RequestCaller):
    """A caller whose key a throttle has asked for already, by ``get_cache_key``."""

    known_key: str

    async def call(self, function: Callable[..., Any]) -> Any:
        return self.known_key if function is _cache_key_of else await super().call(function)


def _cache_key_of(request: Request) -> str | None:
    """Stand for ``get_cache_key``."""
    raise NotImplementedError


def _outcome_of(said: Said) -> Outcome | None:
    if said is None or isinstance(said, Outcome):
        return said

    async def wait() -> Outcome | None:
        return await said

    return drive(wait())
