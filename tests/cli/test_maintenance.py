"""Maintenance of everything and of one service: the same commands."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from shield_core.engine import ShieldEngine
from shield_core.keys import EVERYTHING, RouteKey, Scope
from tests.cli.conftest import Shield

SHOP = Scope.service("shop")
GROUPS = [
    pytest.param("global {} ", EVERYTHING, id="global"),
    pytest.param("sm {} shop ", SHOP, id="sm"),
    pytest.param("service-maintenance {} shop ", SHOP, id="service-maintenance"),
]
by_group = pytest.mark.parametrize("group, scope", GROUPS)


@by_group
def test_enable_switches_maintenance_on(
    shield: Shield, engine: ShieldEngine, group: str, scope: Scope
) -> None:
    line = group.format("enable") + "-r 'Deploying v3' --note t12 -e /health --exempt GET:/ready --read-only"

    result = shield(f"{line} --include-force-active")

    config = engine.sync.get_maintenance(scope)
    assert (config.enabled, config.reason, config.note) == (True, "Deploying v3", "t12")
    assert config.exempt_paths == ("/health", "GET:/ready")
    assert config.include_force_active
    assert config.read_only
    assert "is now in maintenance, read-only" in result.stderr
    assert 'reason "Deploying v3"; exempt: /health, GET:/ready [the test store' in result.stderr
    [entry] = engine.sync.get_audit_log()
    assert (entry.action, entry.actor, entry.platform) == (
        f"{scope.kind}_maintenance_on",
        "ann@desk",
        "cli",
    )


@by_group
def test_enable_for_a_time_ends_by_itself(
    shield: Shield, engine: ShieldEngine, group: str, scope: Scope
) -> None:
    result = shield(group.format("enable") + "-r deploy --for 2h --format json")

    config = engine.sync.get_maintenance(scope)
    assert config.window is not None
    assert not config.enabled
    assert config.window.end - config.window.start == pytest.approx(
        timedelta(hours=2), abs=timedelta(seconds=1)
    )
    assert config.window.reason == "deploy"
    shown = json.loads(result.stdout)
    assert shown["effective"] is True
    assert shown["window"]["end"].endswith("Z")


@by_group
def test_enable_in_a_window_to_come(shield: Shield, group: str, scope: Scope) -> None:
    result = shield(group.format("enable") + "--start 2035-01-01T10:00 --end 2035-01-01T11:00")

    assert "out of maintenance, maintenance from 2035-01-01 10:00:00 CET until" in result.stderr


@by_group
def test_disable_ends_it_with_a_reason(
    shield: Shield, engine: ShieldEngine, group: str, scope: Scope
) -> None:
    shield(group.format("enable"))

    result = shield(group.format("disable") + "--reason 'v3 is out'")

    assert not engine.sync.get_maintenance(scope).enabled
    assert "is now out of maintenance" in result.stderr
    assert engine.sync.get_audit_log(limit=1)[0].reason == "v3 is out"


@by_group
def test_schedule_cancel_takes_a_future_window_away(
    shield: Shield, engine: ShieldEngine, group: str, scope: Scope
) -> None:
    shield(group.format("enable") + "--start 'in 2h' --for 1h")
    shield(group.format("disable"))
    assert engine.sync.get_maintenance(scope).window is not None

    result = shield(group.format("schedule-cancel") + "-r postponed")

    assert engine.sync.get_maintenance(scope).window is None
    assert result.exit_code == 0
    assert shield(group.format("schedule-cancel")).exit_code == 1


@by_group
def test_exempt_add_never_switches_maintenance_on(
    shield: Shield, engine: ShieldEngine, group: str, scope: Scope
) -> None:
    first = shield(group.format("exempt-add") + "/health")
    again = shield(group.format("exempt-add") + "/health/")

    config = engine.sync.get_maintenance(scope)
    assert config.exempt_paths == ("/health",)
    assert not config.enabled
    assert f"Exempt from the maintenance of {scope.label}: /health; maintenance is off" in first.stderr
    assert again.exit_code == 0
    assert len(engine.sync.get_audit_log()) == 1


@by_group
def test_exempt_remove(shield: Shield, engine: ShieldEngine, group: str, scope: Scope) -> None:
    shield(group.format("enable") + "-e /health -e /ready")

    assert shield(group.format("exempt-remove") + "/health/").exit_code == 0
    unknown = shield(group.format("exempt-remove") + "/health")

    config = engine.sync.get_maintenance(scope)
    assert config.enabled
    assert config.exempt_paths == ("/ready",)
    assert unknown.exit_code == 1
    assert (
        f"/health is not exempt from the maintenance of {scope.label}: exempt are /ready." in unknown.stderr
    )


@by_group
def test_enable_without_exempt_keeps_those_there_are(
    shield: Shield, engine: ShieldEngine, group: str, scope: Scope
) -> None:
    shield(group.format("exempt-add") + "/health")

    shield(group.format("enable"))

    assert engine.sync.get_maintenance(scope).exempt_paths == ("/health",)


@by_group
def test_status(shield: Shield, group: str, scope: Scope) -> None:
    off = shield(group.format("status"))
    shield(group.format("enable") + "-r deploy -e /health")
    on = shield(group.format("status"))
    data = json.loads(shield(group.format("status") + "--format json").stdout)

    assert [line.split() for line in off.stdout.splitlines()] == [
        ["scope", *scope.label.split()],
        ["maintenance", "off"],
    ]
    fields = [line.split(maxsplit=1) for line in on.stdout.splitlines()]
    assert ["maintenance", "on"] in fields
    assert ["reason", "deploy"] in fields
    assert ["exempt", "/health"] in fields
    assert (data["enabled"], data["effective"], data["exempt_paths"]) == (True, True, ["/health"])


@pytest.mark.parametrize("words", ["enable", "disable", "exempt-add /x", "exempt-remove /x"])
def test_where_it_would_reach_nobody_a_change_is_refused(
    shield: Shield, engine: ShieldEngine, words: str
) -> None:
    result = shield(f"global {words}", refuses="memory.")

    assert result.exit_code == 1
    assert "it would reach nobody" in result.stderr
    assert engine.sync.get_audit_log() == []


@pytest.mark.parametrize(
    "line",
    [
        "global enable -e nopath",
        "global exempt-add nopath",
        "global enable --for 1h --until 2h",
        "sm enable",
        "sm enable 'not a service'",
        "sm status",
    ],
)
def test_wrong_usage_is_exit_2(shield: Shield, engine: ShieldEngine, line: str) -> None:
    assert shield(line).exit_code == 2
    assert engine.sync.get_audit_log() == []


def blocks(shield: Shield, line: str) -> list[str]:
    """Return what is told before maintenance is switched on."""
    result = shield(line)
    assert result.exit_code == 0, result.stderr
    *before, done = result.stderr.splitlines()
    assert "in maintenance" in done or "out of maintenance" in done
    return before


def test_enable_first_tells_what_it_blocks(shield: Shield) -> None:
    told = blocks(shield, "global enable -e /payments/ -r deploy")

    assert told == [
        "This blocks 7 routes (1 of archive, 1 of billing, 4 of no service, 1 of shop).",
        "Stays open: /health (@force_active); GET:/payments/, POST:/payments/ (exempt).",
    ]


def test_of_a_service_only_its_own_routes_are_told(shield: Shield) -> None:
    shield("global enable -r deploy")

    assert blocks(shield, "sm enable shop --for 2h") == ["This blocks 1 route (1 of shop)."]
    assert blocks(shield, "sm enable shpo") == [
        "This blocks 0 routes.",
        "Warning: no route of this service is known, only routes of archive, billing, shop.",
    ]


def test_a_window_to_come_tells_what_it_will_block(shield: Shield) -> None:
    assert "This blocks 9 routes" in blocks(shield, "global enable --start 1h --end 2h")[0]


def test_read_only_blocks_writes(shield: Shield) -> None:
    told = blocks(shield, "global enable --read-only --include-force-active")

    assert told[0] == "This blocks 2 routes."
    assert told[1] == "Stays open: 8 routes for reading."


@pytest.mark.parametrize(
    "key, options, warned",
    [
        ("GET:/metrics", "", True),
        ("GET:/api/-/ready", "", True),
        ("GET:/livez", "", True),
        ("shop:GET:/internal/health/db", "", True),
        ("GET:/metrics", "-e /metrics", False),
        ("GET:/metrics", "-e GET:/metrics/", False),
        ("GET:/delivery", "", False),
        ("GET:/already", "", False),
    ],
)
def test_probes_that_would_be_blocked_are_warned_of(
    shield: Shield, engine: ShieldEngine, key: str, options: str, warned: bool
) -> None:
    parsed = RouteKey.parse(key)
    ShieldEngine(engine.backend, service=parsed.service).sync.register(parsed.local, {})

    told = blocks(shield, f"global enable {options}")

    warning = f"Warning: what probes ask will be blocked: {key}. Let it pass with '--exempt {parsed.path}'"
    assert any(line.startswith(warning) for line in told) is warned


def test_a_probe_under_force_active_needs_no_warning(shield: Shield) -> None:
    assert not any("Warning" in line for line in blocks(shield, "global enable"))
    forced = blocks(shield, "global enable --include-force-active")
    assert any("Warning: what probes ask will be blocked: /health." in line for line in forced)
