"""What Shield's values say, for tables, messages and JSON."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from typing import Any, TypeAlias

from shield_core.blocks import block_of
from shield_core.cli.client import Client
from shield_core.cli.times import shown
from shield_core.keys import EVERYTHING, Scope
from shield_core.models import GlobalMaintenanceConfig, RouteState

Data: TypeAlias = dict[str, Any]


def timing(held: RouteState | GlobalMaintenanceConfig, zone: tzinfo | None, now: datetime) -> str:
    """Return until when it blocks, or from when to when it will."""
    window = held.window
    if window is None or window.end <= now:
        return ""
    if not window.runs_at(now):
        return f"{window.status} from {shown(window.start, zone)} until {shown(window.end, zone)}"
    block = block_of(held, now)
    if block is not None and block.window is None:
        return f"a window until {shown(window.end, zone)} lifts nothing: the {block.status} under it stays"
    return f"until {shown(window.end, zone)}"


def route_row(state: RouteState, zone: tzinfo | None, now: datetime) -> tuple[str, ...]:
    block = block_of(state, now)
    return (
        state.path,
        str(state.effective(now)),
        block.reason if block else state.reason,
        timing(state, zone, now),
        state.origin,
        ", ".join(state.allowed_envs),
    )


def route_fields(state: RouteState, zone: tzinfo | None) -> list[tuple[str, str]]:
    """Return everything that is known of a route."""
    now = datetime.now(UTC)
    block = block_of(state, now)
    status = state.effective(now)
    return [
        ("route", state.path),
        ("service", state.service or ""),
        ("status", str(status)),
        ("without its window", str(state.status) if state.window and state.status != status else ""),
        ("reason", block.reason if block else state.reason),
        ("window", timing(state, zone, now)),
        ("read-only", "yes, only writes are blocked" if block and block.read_only else ""),
        ("environments", ", ".join(state.allowed_envs)),
        ("protected", "by @force_active in the code" if state.force_active else ""),
        ("sunset", shown(state.sunset_date, zone) if state.sunset_date else ""),
        ("successor", state.successor_path or ""),
        ("set by", _author(state)),
        ("the code says", _code_says(state, now) if state.origin == "operator" else ""),
        ("note", state.note),
        ("changed", shown(state.updated_at, zone) if state.updated_at else ""),
        ("revision", str(state.revision)),
    ]


def route_data(state: RouteState) -> Data:
    """Return all fields, and the status that callers meet now as ``effective``."""
    return {**state.model_dump(), "effective": str(state.effective())}


def scope_fields(scope: Scope, config: GlobalMaintenanceConfig, zone: tzinfo | None) -> list[tuple[str, str]]:
    """Return everything that is known of a scope's maintenance."""
    now = datetime.now(UTC)
    block = block_of(config, now)
    return [
        ("scope", scope.label),
        ("maintenance", "on" if block else "off"),
        ("reason", block.reason if block else config.reason),
        ("window", timing(config, zone, now)),
        ("read-only", "yes, only writes are blocked" if block and block.read_only else ""),
        ("exempt", ", ".join(config.exempt_paths)),
        ("@force_active", "blocked too" if config.include_force_active else ""),
        ("note", config.note),
        ("changed", f"{shown(config.updated_at, zone)} by {config.updated_by}" if config.updated_at else ""),
    ]


def scope_data(config: GlobalMaintenanceConfig) -> Data:
    """Return all fields, and whether maintenance is in force now as ``effective``."""
    return {**config.model_dump(), "effective": config.in_force(datetime.now(UTC))}


def route_sentence(state: RouteState, zone: tzinfo | None) -> str:
    """Return what a route answers now, as a message after a change."""
    now = datetime.now(UTC)
    said = str(state.effective(now))
    if state.allowed_envs:
        said += f" (only in {', '.join(state.allowed_envs)})"
    return f"{state.path} is now {_told(said, state, zone, now)}"


def scope_sentence(scope: Scope, config: GlobalMaintenanceConfig, zone: tzinfo | None) -> str:
    """Return whether a scope is in maintenance now, as a message after a change."""
    now = datetime.now(UTC)
    said = "in maintenance" if config.in_force(now) else "out of maintenance"
    exempt = (
        f"; exempt: {', '.join(config.exempt_paths)}" if config.in_force(now) and config.exempt_paths else ""
    )
    return f"{subject(scope)} is now {_told(said, config, zone, now)}{exempt}"


def subject(scope: Scope) -> str:
    """Return what a sentence about a scope begins with."""
    return scope.label[0].upper() + scope.label[1:]


def exempt_sentence(scope: Scope, config: GlobalMaintenanceConfig) -> str:
    """Return what a scope's maintenance lets through, as a message after a change of that."""
    listed = ", ".join(config.exempt_paths) or "nothing"
    switch = "on" if config.in_force(datetime.now(UTC)) else "off"
    return f"Exempt from the maintenance of {scope.label}: {listed}; maintenance is {switch}"


def wider_maintenance(client: Client, services: Iterable[str | None], zone: tzinfo | None) -> list[str]:
    """Return a sentence for each maintenance in force that stands above routes of ``services``."""
    now = datetime.now(UTC)
    scopes = [EVERYTHING, *map(Scope.service, sorted({name for name in services if name}))]
    configs = [(scope, client.get_maintenance(scope)) for scope in scopes]
    return [
        f"Note: {scope.label} is {_told('in maintenance', config, zone, now)}, whatever the routes say."
        for scope, config in configs
        if config.in_force(now)
    ]


def _told(said: str, held: RouteState | GlobalMaintenanceConfig, zone: tzinfo | None, now: datetime) -> str:
    block = block_of(held, now)
    when = timing(held, zone, now)
    parts = [
        "read-only" if block and block.read_only else "",
        when,
        f'reason "{block.reason}"' if block and block.reason else "",
    ]
    return ", ".join([said, *filter(None, parts)])


def _code_says(state: RouteState, now: datetime) -> str:
    return str(state.replace(**dict(state.code)).effective(now))


def _author(state: RouteState) -> str:
    return f"the operator {state.updated_by}" if state.origin == "operator" else "the code"
