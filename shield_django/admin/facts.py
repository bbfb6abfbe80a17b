"""What is known of a route beside what its form asks, and of an entry of the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from shield_core.blocks import block_of
from shield_core.keys import Scope
from shield_core.models import (
    Baseline,
    GlobalMaintenanceConfig,
    MaintenanceWindow,
    RateLimitPolicy,
    RouteState,
    StoredPolicy,
)
from shield_django.admin.display import (
    algorithm_text,
    exactly,
    exempt_text,
    gate,
    is_operators,
    key_text,
    limit_text,
    quoted,
    scope_label,
    status_word,
    tiers_text,
    transition,
    when,
    window_text,
)
from shield_django.admin.wording import MISSING_KEY, action_word, is_of_limit, platform_word
from shield_django.models import AuditLogEntry


def route_facts(state: RouteState, limit: StoredPolicy | None) -> list[tuple[str, Any]]:
    """Return names and values; empty values are not shown. ``limit`` is the one in force."""
    now = datetime.now(UTC)
    block = block_of(state, now)
    by_operator = state.origin == "operator"
    return [
        (_("Status without its window"), status_word(state.status) if state.window else ""),
        (_("Reason"), block.reason if block else state.reason),
        (_("Window"), window_text(state.window)),
        (_("Environments"), gate(state.allowed_envs) if state.allowed_envs else ""),
        (_("Note"), state.note),
        (_("Rate limit"), limit_text(limit)),
        (_("Protected"), _("by @force_active in the code") if state.force_active else ""),
        (_("Set by"), state.updated_by if by_operator else _("the code")),
        (_("The code says"), _says(state.code) if by_operator else ""),
        (_("Sunset"), when(state.sunset_date)),
        (_("Successor"), state.successor_path or ""),
        (_("Service"), state.service or ""),
        (_("Release"), state.release),
        (_("Changed"), when(state.updated_at)),
        (_("Revision"), state.revision),
    ]


def _says(code: Baseline) -> str:
    """Return what the decorators say, on one line."""
    details = [
        _("read-only") if code.read_only else "",
        gate(code.allowed_envs) if code.allowed_envs else "",
        quoted(code.reason),
        window_text(code.window),
    ]
    return ", ".join([status_word(code.status), *filter(None, details)])


def maintenance_facts(config: GlobalMaintenanceConfig) -> list[tuple[str, Any]]:
    """Return what is known of the maintenance of everything or of a service."""
    return [
        (_("Reason"), config.reason),
        (_("Note"), config.note),
        (_("Read-only"), _("yes, only writes are blocked") if config.read_only else ""),
        (_("Exempt paths"), ", ".join(config.exempt_paths)),
        (_("Protected routes"), _("blocked too") if config.include_force_active else ""),
        (_("Window"), window_text(config.window)),
        (_("Changed"), when(config.updated_at)),
        (_("Changed by"), config.updated_by),
        (_("Revision"), config.revision or ""),
    ]


def limit_facts(
    scope: Scope, policy: StoredPolicy | None, code: RateLimitPolicy | None
) -> list[tuple[str, Any]]:
    """Return what is known of a scope's limit in force; ``code`` is what the code says of a route."""
    if policy is None:
        return []
    at = str(policy.key) if isinstance(policy, RateLimitPolicy) else scope.name
    return [
        (_("That of"), at if at != scope.name else ""),
        (_("Algorithm"), algorithm_text(policy.algorithm)),
        (_("Counted"), key_text(policy.key_strategy)),
        (_("Without a key"), str(MISSING_KEY[policy.on_missing_key or ""])),
        (_("Burst"), policy.burst or ""),
        (_("Tiers"), tiers_text(policy)),
        (_("Exempt"), exempt_text(policy)),
        (_("Set by"), policy.updated_by if is_operators(policy) else _("the code")),
        (_("The code says"), limit_text(code) if is_operators(policy) else ""),
        (_("Changed"), when(policy.updated_at)),
        (_("Revision"), policy.revision or ""),
    ]


def entry_facts(entry: AuditLogEntry) -> list[tuple[str, Any]]:
    """Return what an audit entry says, apart from what changed."""
    return [
        (_("Time"), exactly(entry.timestamp)),
        (_("Action"), action_word(entry.action)),
        (_("Route"), scope_label(Scope.of(entry.path)) if entry.path else ""),
        (_("Service"), entry.service),
        (
            _("Limit") if is_of_limit(entry.action) else _("Status"),
            transition(entry.previous_status, entry.new_status),
        ),
        (_("Reason"), entry.reason),
        (_("Note"), entry.note),
        (_("Who"), entry.actor),
        (pgettext("audit log", "From"), platform_word(entry.platform)),
        (_("Client address"), entry.client_ip),
        (_("Request id"), entry.request_id),
        (_("Revision"), entry.revision),
        (_("Hash"), entry.hash),
    ]


def entry_changes(details: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return each changed field with what it was before and after."""
    before, after = details.get("before") or {}, details.get("after") or {}
    names = dict.fromkeys([*before, *after])
    return [(name.replace("_", " "), _shown(before.get(name)), _shown(after.get(name))) for name in names]


def _shown(value: Any) -> str:
    """Return a JSON value on one line."""
    match value:
        case _ if value in (None, "", [], {}):
            return "-"
        case bool():
            return _("yes") if value else _("no")
        case list():
            return ", ".join(map(_shown, value))
        case {"name": str(name), "limit": str(limit)}:
            return f"{name} {limit}"
        case {"start": str(start), "end": str(end)}:
            return window_text(MaintenanceWindow.model_validate({**value, "start": start, "end": end}))
        case _:
            return str(value)
