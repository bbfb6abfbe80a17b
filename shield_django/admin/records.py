"""The unmanaged models' instances, made of what the engine knows."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from shield_core.blocks import block_of
from shield_core.models import AuditEntry, Instance, RateLimitPolicy, RouteState
from shield_core.rate_limit.grammar import Rate
from shield_core.snapshot import Cursor
from shield_django.admin.display import is_operators
from shield_django.admin.moments import local
from shield_django.models import AuditLogEntry, RateLimit, Route, ServiceInstance


def route_of(state: RouteState, now: datetime | None = None) -> Route:
    """Return the row of a route; ``route.state`` is the state it was made of."""
    now = now or datetime.now(UTC)
    key, block, window = state.key, block_of(state, now), state.window
    route = Route(
        key=state.path,
        service=key.service or "",
        method=key.method or "",
        path=key.path,
        status=state.status.value,
        effective_status=state.effective(now).value,
        reason=block.reason if block else state.reason,
        note=state.note,
        origin=state.origin,
        allowed_envs=list(state.allowed_envs),
        window_start=local(window.start) if window else None,
        window_end=local(window.end) if window else None,
        read_only=block.read_only if block else state.read_only,
        force_active=state.force_active,
        revision=state.revision,
        updated_at=local(state.updated_at) if state.updated_at else None,
        updated_by=state.updated_by,
    )
    route.state = state
    return route


def limit_of(policy: RateLimitPolicy) -> RateLimit:
    """Return the row of a route's rate limit; ``row.policy`` is what it was made of."""
    key, rate = policy.key, Rate.parse(policy.limit)
    row = RateLimit(
        key=str(key),
        service=key.service or "",
        method=key.method or "",
        path=key.path,
        limit=policy.limit,
        algorithm=policy.algorithm.value,
        key_strategy=policy.key_strategy.value,
        burst=policy.burst,
        shadow=policy.shadow,
        origin="operator" if is_operators(policy) else "code",
        revision=policy.revision,
        updated_at=local(policy.updated_at) if policy.updated_at else None,
        updated_by=policy.updated_by,
    )
    row.policy = policy
    row.rate = rate.amount / rate.seconds if rate is not None else math.inf
    return row


def instance_of(one: Instance, store: Cursor) -> ServiceInstance:
    """Return the row of an instance that follows ``store``."""
    return ServiceInstance(
        id=one.id,
        service=one.service or "",
        host=one.host,
        pid=one.pid,
        release=one.release,
        revision=one.revision,
        lag=one.behind(*store),
        seen_at=local(one.seen_at),
    )


def entry_of(entry: AuditEntry) -> AuditLogEntry:
    """Return the row of an audit entry."""
    return AuditLogEntry(
        id=entry.id,
        timestamp=local(entry.timestamp),
        path=entry.path,
        service=entry.service or "",
        action=entry.action,
        actor=entry.actor,
        platform=entry.platform,
        reason=entry.reason,
        note=entry.note,
        previous_status=entry.previous_status or "",
        new_status=entry.new_status or "",
        revision=entry.revision,
        request_id=entry.request_id,
        client_ip=entry.client_ip,
        details=entry.details,
        hash=entry.hash,
    )
