"""Route states, maintenance and audit entries as database rows, and back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from shield_core.keys import Scope
from shield_core.models import AuditEntry, GlobalMaintenanceConfig, Instance, RouteState
from shield_core.models import StoredObject as Value
from shield_django.models import Stored, StoredAuditEntry, StoredInstance, StoredMaintenance, StoredRoute

_ROUTE = ("service", "status", "successor_path", "force_active", "origin", "release")
_MAINTENANCE = ("enabled", "include_force_active")
_BOTH = ("reason", "note", "read_only", "revision", "updated_by")
_AUDIT = tuple(name for name in AuditEntry.model_fields if name != "timestamp")


def table_of(store_key: str) -> type[StoredRoute] | type[StoredMaintenance]:
    return StoredRoute if Scope.of(store_key).kind == "route" else StoredMaintenance


def to_row(store_key: str, value: Value) -> StoredRoute | StoredMaintenance:
    common = {
        "key": store_key,
        "window": value.window.model_dump(mode="json") if value.window else None,
        "window_start": _to_column(value.window.start) if value.window else None,
        "window_end": _to_column(value.window.end) if value.window else None,
        "updated_at": _to_column(value.updated_at),
        "extra": _extra(value),
    }
    if isinstance(value, RouteState):
        key = value.key
        return StoredRoute(
            **common,
            **_pick(value, _BOTH + _ROUTE),
            method=key.method or "",
            path=key.path,
            allowed_envs=list(value.allowed_envs),
            sunset_date=_to_column(value.sunset_date),
            baseline=value.baseline.model_dump(mode="json") if value.baseline else None,
        )
    return StoredMaintenance(
        **common, **_pick(value, _BOTH + _MAINTENANCE), exempt_paths=list(value.exempt_paths)
    )


def from_row(row: StoredRoute | StoredMaintenance) -> Value:
    common = {
        **row.extra,
        **_pick(row, _BOTH),
        "window": row.window,
        "updated_at": _from_column(row.updated_at),
    }
    if isinstance(row, StoredRoute):
        return RouteState.model_validate(
            {
                **common,
                **_pick(row, _ROUTE),
                "path": row.key,
                "allowed_envs": row.allowed_envs,
                "sunset_date": _from_column(row.sunset_date),
                "baseline": row.baseline,
            }
        )
    return GlobalMaintenanceConfig.model_validate(
        {**common, **_pick(row, _MAINTENANCE), "exempt_paths": row.exempt_paths}
    )


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
