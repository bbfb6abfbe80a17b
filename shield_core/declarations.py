"""What the code of this process declares for its routes.

Declarations decide only in the process that made them: two releases side by side each serve
their own. What is stored of them informs operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from shield_core.exceptions import InvalidInputError
from shield_core.keys import NOWHERE, RouteKey
from shield_core.models import (
    Algorithm,
    Baseline,
    KeyStrategy,
    RateLimitPolicy,
    RateLimitTier,
    RouteState,
    RouteStatus,
    reasons,
)
from shield_core.rate_limit.grammar import Rate
from shield_core.rate_limit.layers import DEFAULT_TIER, DeclaredLimit


@dataclass(frozen=True, slots=True)
class Declaration:
    """One route of this process: its plain key (no service) and what its stamps say."""

    key: RouteKey
    baseline: Baseline = field(default_factory=Baseline)
    force_active: bool = False
    deprecated_at: datetime | None = None
    responses: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    rate_limit: DeclaredLimit | None = None
    #: Never decided upon: login, Shield's own pages, SHIELD_EXEMPT.
    always_open: bool = False
    #: Not registered in the store until somebody names it: the pages of a Django admin.
    unlisted: bool = False

    @classmethod
    def from_meta(
        cls, key: RouteKey, meta: Mapping[str, Any], *, always_open: bool = False, unlisted: bool = False
    ) -> Declaration:
        """Read the merged stamps of a view (``shield_core.decorators.meta_of``)."""
        status = RouteStatus(meta.get("status", RouteStatus.ACTIVE))
        envs = tuple(meta.get("allowed_envs", ()))
        reason = str(meta.get("reason", ""))
        window = meta.get("window")
        if window is not None and status is RouteStatus.MAINTENANCE:
            status, reason = RouteStatus.ACTIVE, ""
        if envs and status in (RouteStatus.ACTIVE, RouteStatus.DEPRECATED):
            status = RouteStatus.ENV_GATED
        elif status is RouteStatus.ENV_GATED and not envs:
            envs = (NOWHERE,)
        baseline = Baseline(
            status=status,
            reason=reason,
            allowed_envs=envs,
            window=window,
            sunset_date=meta.get("sunset_date"),
            successor_path=meta.get("successor_path"),
            read_only=bool(meta.get("read_only", False)) and window is None,
        )
        return cls(
            key=key._replace(service=None),
            baseline=baseline,
            force_active=bool(meta.get("force_active", False)),
            deprecated_at=meta.get("deprecated_at"),
            responses=dict(meta.get("responses", {})),
            rate_limit=_limit_of(key, meta),
            always_open=always_open,
            unlisted=unlisted,
        )

    def _stored_limit(self, service: str | None) -> RateLimitPolicy | None:
        if self.rate_limit is None:
            return None
        return self.rate_limit.policy.replace(path=str(self.key._replace(service=service, method=None)))

    def state(self, service: str | None, release: str) -> RouteState:
        """Return what is stored about this route while no operator overrides it."""
        return RouteState(
            path=str(self.key._replace(service=service)),
            service=service,
            **dict(self.baseline),
            force_active=self.force_active,
            rate_limit=self._stored_limit(service),
            origin="code",
            release=release,
        )


def limit_from(stamp: Mapping[str, Any], path: str = "/", method: str = "") -> DeclaredLimit:
    """Read what ``@rate_limit`` was given. Raises InvalidInputError, which says what is wrong with it."""
    key, tier, limit = stamp.get("key"), stamp.get("tier_resolver", "plan"), stamp["limit"]
    tiers = limit if isinstance(limit, Mapping) else {}
    try:
        policy = RateLimitPolicy(
            path=path,
            method=method,
            limit=_default_of(tiers) if tiers else limit,
            tiers=tuple(RateLimitTier(name=str(name), limit=text) for name, text in tiers.items()),
            algorithm=stamp.get("algorithm") or Algorithm.FIXED_WINDOW,
            key_strategy=KeyStrategy.CUSTOM if callable(key) else key or KeyStrategy.IP,
            on_missing_key=stamp.get("on_missing_key"),
            burst=stamp.get("burst", 0),
            tier_resolver=KeyStrategy.CUSTOM.value if callable(tier) else tier,
            exempt_ips=tuple(stamp.get("exempt_ips", ())),
            exempt_roles=tuple(stamp.get("exempt_roles", ())),
            shadow=bool(stamp.get("shadow", False)),
        )
    except ValidationError as error:
        raise InvalidInputError(f"@rate_limit: {reasons(error)}") from error
    return DeclaredLimit(policy, key if callable(key) else None, tier if callable(tier) else None)


def _default_of(tiers: Mapping[str, str]) -> str:
    """Return the limit of callers without a tier: the one called default, else the strictest."""
    if DEFAULT_TIER in tiers:
        return tiers[DEFAULT_TIER]

    def per_second(text: str) -> float:
        rate = Rate.parse(text)
        return rate.amount / rate.seconds if rate is not None else float("inf")

    return min(tiers.values(), key=per_second)


def _limit_of(key: RouteKey, meta: Mapping[str, Any]) -> DeclaredLimit | None:
    stamp = meta.get("rate_limit")
    if stamp is None:
        return None
    declared = limit_from(stamp, key.path, key.method or "")
    return replace(declared, response=dict(meta.get("responses", {})).get("rate_limit"))
