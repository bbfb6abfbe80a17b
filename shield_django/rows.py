"""Route states, maintenance and audit entries as database rows, and back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from shield_core.keys import Facet, RouteKey, Scope, parse_store_key
from shield_core.models import (
    AuditEntry,
    GlobalMaintenanceConfig,
    Instance,
    RateLimitHit,
    RateLimitPolicy,
    RateLimitReset,
    RouteState,
    StoredPolicy,
    TokenRecord,
    value_type,
)
from shield_core.models import StoredObject as Value
from shield_django.models import (
    Stored,
    StoredAuditEntry,
    StoredInstance,
    StoredMaintenance,
    StoredRateLimit,
    StoredRateLimitHit,
    StoredRateLimitReset,
    StoredRoute,
    StoredToken,
)

#: The tables that hold the store's objects.
TABLES: tuple[type[Stored], ...] = (
    StoredRoute,
    StoredMaintenance,
    StoredRateLimit,
    StoredRateLimitReset,
    StoredToken,
)

_LIFECYCLE = ("reason", "note", "read_only")
_ROUTE = (*_LIFECYCLE, "service", "status", "successor_path", "force_active", "origin", "release")
_MAINTENANCE = (*_LIFECYCLE, "enabled", "include_force_active")
_LIMIT = ("limit", "algorithm", "key_strategy", "on_missing_key", "burst", "shadow")
_LIMIT_OF_ROUTE = ("path", "method", "tier_resolver")
_TOKEN = ("id", "platform", "subject", "service", "issued", "created_by")
_TOKEN_MOMENTS = ("expires_at", "created_at", "revoked_at")
_ALL = ("revision", "updated_by")
_AUDIT = tuple(name for name in AuditEntry.model_fields if name != "timestamp")
_HIT = ("id", "path", "method", "key", "limit", "tier", "scope", "shadow")


def table_of(store_key: str) -> type[Stored]:
    facet, scope = parse_store_key(store_key)
    match facet:
        case Facet.LIMIT:
            return StoredRateLimit
        case Facet.RESET:
            return StoredRateLimitReset
        case Facet.TOKEN:
            return StoredToken
        case _:
            return StoredRoute if scope.kind == "route" else StoredMaintenance


def to_row(store_key: str, value: Value) -> Stored:
    common = {
        "key": store_key,
        **_pick(value, _ALL),
        "updated_at": _to_column(value.updated_at),
        "extra": _extra(value),
    }
    match value:
        case RouteState():
            key = value.key
            return StoredRoute(
                **common,
                **_pick(value, _ROUTE),
                **_window_columns(value),
                method=key.method or "",
                path=key.path,
                allowed_envs=list(value.allowed_envs),
                sunset_date=_to_column(value.sunset_date),
                baseline=value.baseline.model_dump(mode="json") if value.baseline else None,
                rate_limit=value.rate_limit.model_dump(mode="json") if value.rate_limit else None,
            )
        case GlobalMaintenanceConfig():
            return StoredMaintenance(
                **common,
                **_pick(value, _MAINTENANCE),
                **_window_columns(value),
                exempt_paths=list(value.exempt_paths),
            )
        case RateLimitReset():
            return StoredRateLimitReset(**common)
        case TokenRecord():
            moments = {name: _to_column(getattr(value, name)) for name in _TOKEN_MOMENTS}
            return StoredToken(**common, **_pick(value, _TOKEN), **moments)
        case _:
            return StoredRateLimit(**common, **_limit_columns(Scope.of(store_key), value))


def from_row(row: Stored) -> Value:
    common = {**row.extra, **_pick(row, _ALL), "updated_at": _from_column(row.updated_at)}
    match row:
        case StoredRoute():
            said = {
                **_pick(row, (*_ROUTE, "window", "allowed_envs", "baseline", "rate_limit")),
                "path": row.key,
                "sunset_date": _from_column(row.sunset_date),
            }
        case StoredMaintenance():
            said = _pick(row, (*_MAINTENANCE, "window", "exempt_paths"))
        case StoredRateLimit() if row.scope == "route":
            said = _pick(row, (*_LIMIT, *_LIMIT_OF_ROUTE, "tiers", "exempt_ips", "exempt_roles"))
            said["path"] = str(RouteKey(row.service, None, row.path))
        case StoredRateLimit():
            said = _pick(row, (*_LIMIT, "enabled", "exempt_routes"))
        case StoredToken():
            moments = {name: _from_column(getattr(row, name)) for name in _TOKEN_MOMENTS}
            said = {**_pick(row, _TOKEN), **moments}
        case _:
            said = {}
    return value_type(row.key).model_validate({**common, **said})


def _window_columns(value: RouteState | GlobalMaintenanceConfig) -> dict[str, Any]:
    window = value.window
    return {
        "window": window.model_dump(mode="json") if window else None,
        "window_start": _to_column(window.start) if window else None,
        "window_end": _to_column(window.end) if window else None,
    }


def _limit_columns(scope: Scope, policy: StoredPolicy) -> dict[str, Any]:
    columns = {"scope": scope.kind, "service": scope.name or None, **_pick(policy, _LIMIT)}
    if not isinstance(policy, RateLimitPolicy):
        return {**columns, "enabled": policy.enabled, "exempt_routes": list(policy.exempt_routes)}
    return {
        **columns,
        **_pick(policy, _LIMIT_OF_ROUTE),
        "service": policy.key.service,
        "path": policy.key.path,
        "tiers": [tier.model_dump(mode="json") for tier in policy.tiers],
        "exempt_ips": list(policy.exempt_ips),
        "exempt_roles": list(policy.exempt_roles),
    }


def to_hit_row(hit: RateLimitHit) -> StoredRateLimitHit:
    return StoredRateLimitHit(
        **{name: _storable(value) for name, value in _pick(hit, _HIT).items()},
        timestamp=to_column(hit.timestamp),
        reset_at=to_column(hit.reset_at),
        extra=_extra(hit),
    )


def from_hit_row(row: StoredRateLimitHit) -> RateLimitHit:
    moments = {name: _from_column(getattr(row, name)) for name in ("timestamp", "reset_at")}
    return RateLimitHit.model_validate({**row.extra, **_pick(row, _HIT), **moments})


def _storable(value: Any) -> Any:
    """Return a text without what PostgreSQL cannot hold: callers choose the path that they ask for."""
    return value.replace("\x00", "\ufffd") if isinstance(value, str) else value


def to_audit_row(entry: AuditEntry) -> StoredAuditEntry:
    return StoredAuditEntry(**_pick(entry, _AUDIT), timestamp=to_column(entry.timestamp), extra=_extra(entry))


def from_audit_row(row: StoredAuditEntry) -> AuditEntry:
    return AuditEntry.model_validate(
        {**row.extra, **_pick(row, _AUDIT), "timestamp": _from_column(row.timestamp)}
    )


def from_instance_row(row: StoredInstance) -> Instance:
    known = {name: getattr(row, name) for name in Instance.model_fields}
    return Instance.model_validate({**known, "seen_at": _from_column(row.seen_at)})


def columns(model: type[Stored]) -> list[str]:
    """Return the columns that an update of an existing row sets."""
    return [one.name for one in model._meta.concrete_fields if not one.primary_key]


def to_column(moment: datetime) -> datetime:
    """Return ``moment`` as the database takes it: naive UTC where the project has USE_TZ off."""
    moment = moment.astimezone(UTC)
    return moment if settings.USE_TZ else moment.replace(tzinfo=None)


def _to_column(moment: datetime | None) -> datetime | None:
    return to_column(moment) if moment is not None else None


def _from_column(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _pick(source: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(source, name) for name in names}


def _extra(value: Any) -> dict[str, Any]:
    return dict(value.model_extra or {})
