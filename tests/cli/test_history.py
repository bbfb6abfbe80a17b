"""The audit log and the services."""

from __future__ import annotations

import json

import pytest

from shield_core.engine import ShieldEngine
from tests.cli.conftest import Shield


@pytest.fixture(autouse=True)
def history(shield: Shield, engine: ShieldEngine) -> None:
    shield("disable GET:/payments/ -r hotfix")
    shield("maintenance shop:GET:/cart -r prices --actor bob@desk")
    shield("global enable -r deploy")


@pytest.mark.parametrize("command", ["audit", "log"])
def test_audit_lists_newest_first(shield: Shield, command: str) -> None:
    heads, *lines = shield(command).stdout.splitlines()

    assert heads.split() == ["TIME", "ACTION", "WHAT", "FROM", "TO", "ACTOR", "VIA", "REASON", "NOTE"]
    assert [line.split()[3] for line in lines] == ["global_maintenance_on", "maintenance_on", "disable"]
    assert lines[2].split()[4:] == ["GET:/payments/", "active", "disabled", "ann@desk", "cli", "hotfix"]
    assert "everything" in lines[0]


@pytest.mark.parametrize(
    "options, reasons",
    [
        ("--route GET:/payments/", ["hotfix"]),
        ("--route /cart --service shop", ["prices"]),
        ("--service shop", ["prices"]),
        ("--actor bob@desk", ["prices"]),
        ("--action disable", ["hotfix"]),
        ("--since 2h", ["deploy", "prices", "hotfix"]),
        ("--since '2h ago'", ["deploy", "prices", "hotfix"]),
        ("--since 2999-01-01", []),
        ("--limit 1", ["deploy"]),
        ("--actor ann@desk -n 2", ["deploy", "hotfix"]),
    ],
)
def test_filters_work_before_the_limit(shield: Shield, options: str, reasons: list[str]) -> None:
    entries = json.loads(shield(f"audit {options} --format json").stdout)

    assert [entry["reason"] for entry in entries] == reasons
    assert all(entry["timestamp"].endswith("Z") for entry in entries)


@pytest.mark.parametrize("options, code", [("--since soon", 2), ("--since 'in 2h'", 2), ("--limit 0", 2)])
def test_wrong_usage(shield: Shield, options: str, code: int) -> None:
    assert shield(f"audit {options}").exit_code == code


def test_an_unknown_route_is_an_error_not_an_empty_list(shield: Shield) -> None:
    result = shield("audit --route GET:/paymets/")

    assert result.exit_code == 1
    assert "Did you mean GET:/payments/" in result.stderr


def test_a_route_that_is_gone_keeps_its_history(shield: Shield, engine: ShieldEngine) -> None:
    entry = engine.sync.get_audit_log(path="GET:/payments/")
    gone = ShieldEngine(engine.backend).sync
    engine.backend._snapshot = type(engine.backend._snapshot)("another")  # type: ignore[attr-defined]

    assert entry
    assert "hotfix" in shield("audit --route GET:/payments/", client=gone).stdout


def test_an_empty_answer_is_said_on_stderr(shield: Shield) -> None:
    assert shield("audit --actor nobody").stderr == "No such entries.\n"
    assert shield("audit", client=ShieldEngine().sync).stderr == "Nothing has happened yet.\n"


def test_services(shield: Shield) -> None:
    assert shield("services").stdout.split() == ["SERVICE", "archive", "billing", "shop"]
    assert json.loads(shield("services --format json").stdout) == ["archive", "billing", "shop"]
    assert shield("services", client=ShieldEngine().sync).stderr == "No route names a service.\n"


def test_current_service(shield: Shield) -> None:
    assert shield("current-service").stderr.startswith("None: commands act on all services.")
    assert shield("current-service", env={"SHIELD_SERVICE": "shop"}).stdout.split() == ["SERVICE", "shop"]
    assert shield("current-service -s billing", service="shop").stdout.split() == ["SERVICE", "billing"]
    assert shield("current-service --format json", service="shop").stdout == '"shop"\n'
    assert shield("current-service --format json").stdout == "null\n"
