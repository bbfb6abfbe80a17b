"""What rate limits and blocked requests say, for tables, messages and JSON."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import tzinfo
from typing import TypeAlias

from shield_core.cli.client import Client
from shield_core.cli.times import shown
from shield_core.cli.wording import Data
from shield_core.keys import EVERYTHING, Scope
from shield_core.models import (
    GlobalRateLimitPolicy,
    KeyStrategy,
    RateLimitHit,
    RateLimitPolicy,
    StoredPolicy,
)
from shield_core.rate_limit.grammar import UNLIMITED

Policy: TypeAlias = StoredPolicy

POLICY_HEADS = ("ROUTE", "LIMIT", "PER", "ALGORITHM", "BURST", "TIERS", "MODE", "SET BY")
HIT_HEADS = ("TIME", "ROUTE", "METHOD", "KEY", "LIMIT", "TIER", "OF", "MODE")

_SHADOW = "counted only"
_PER = {
    KeyStrategy.IP: "per address",
    KeyStrategy.USER: "per user",
    KeyStrategy.API_KEY: "per API key",
    KeyStrategy.GLOBAL: "for all callers together",
    KeyStrategy.CUSTOM: "per key of the code's function",
}


def policy_row(policy: RateLimitPolicy) -> tuple[str, ...]:
    return (
        str(policy.key),
        policy.limit,
        str(policy.key_strategy),
        str(policy.algorithm),
        str(policy.burst or ""),
        _tiers(policy),
        _SHADOW if policy.shadow else "",
        _author(policy),
    )


def fields(scope: Scope, policy: Policy, zone: tzinfo | None) -> list[tuple[str, str]]:
    """Return everything that is known of a limit."""
    exempt = policy.exempt_routes if isinstance(policy, GlobalRateLimitPolicy) else ()
    return [
        ("scope", scope.label),
        ("limit", policy.limit),
        ("state", _state(policy) or "on"),
        ("algorithm", str(policy.algorithm)),
        ("key", str(policy.key_strategy)),
        ("without a key", policy.on_missing_key or ""),
        ("burst", str(policy.burst or "")),
        ("exempt", ", ".join(exempt)),
        ("changed", f"{shown(policy.updated_at, zone)} by {policy.updated_by}" if policy.updated_at else ""),
        ("revision", str(policy.revision)),
    ]


def policy_data(policy: Policy) -> Data:
    """Return all fields, and whose limit it is as ``origin``."""
    return {**policy.model_dump(), "origin": "operator" if _is_operators(policy) else "code"}


def sentence(subject: str, policy: Policy | None) -> str:
    """Return what ``subject`` is limited to now, as a message after a change."""
    if policy is None:
        return f"{subject} has no rate limit now"
    said = f"{subject} is now {told(policy)}"
    return said if _is_operators(policy) else f"{said}, as the code says"


def wider_limits(client: Client, services: Iterable[str | None]) -> list[str]:
    """Return a sentence for each limit in force that routes of ``services`` share."""
    scopes = [EVERYTHING, *map(Scope.service, sorted({name for name in services if name}))]
    found = [(scope, client.get_limit(scope)) for scope in scopes]
    return [
        f"Note: {scope.label} is {told(policy)}, beside the limits of routes."
        for scope, policy in found
        if isinstance(policy, GlobalRateLimitPolicy) and policy.enabled
    ]


def hit_row(hit: RateLimitHit, zone: tzinfo | None) -> tuple[str, ...]:
    return (
        shown(hit.timestamp, zone),
        hit.path,
        hit.method,
        hit.key,
        hit.limit,
        hit.tier or "",
        hit.scope,
        _SHADOW if hit.shadow else "",
    )


def told(policy: Policy) -> str:
    if policy.limit.lower() == UNLIMITED:
        parts = [UNLIMITED]
    else:
        parts = [f"limited to {policy.limit} {_PER[policy.key_strategy]}", str(policy.algorithm)]
    if policy.burst:
        parts.append(f"burst {policy.burst}")
    if isinstance(policy, RateLimitPolicy):
        parts += [f"tiers {_tiers(policy)}"] if policy.tiers else []
        exempt = [*policy.exempt_ips, *policy.exempt_roles]
    else:
        exempt = list(policy.exempt_routes)
    if exempt:
        parts.append(f"exempt {', '.join(exempt)}")
    if state := _state(policy):
        parts.append(state)
    return ", ".join(parts)


def _state(policy: Policy) -> str:
    if isinstance(policy, GlobalRateLimitPolicy) and not policy.enabled:
        return "paused until it is enabled"
    return f"{_SHADOW}: nobody is blocked" if policy.shadow else ""


def _tiers(policy: RateLimitPolicy) -> str:
    return ", ".join(f"{tier.name} {tier.limit}" for tier in policy.tiers)


def _author(policy: Policy) -> str:
    return policy.updated_by if _is_operators(policy) else "the code"


def _is_operators(policy: Policy) -> bool:
    return isinstance(policy, GlobalRateLimitPolicy) or bool(policy.updated_by)
