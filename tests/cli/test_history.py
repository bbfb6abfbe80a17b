"""The audit log and the services."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from shield_core.engine import ShieldEngine
from shield_core.models import Instance
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


def test_verify_says_that_the_chain_holds(shield: Shield) -> None:
    data = json.loads(shield("audit verify --format json").stdout)
    fields = dict(line.split(maxsplit=1) for line in shield("log verify").stdout.splitlines())

    assert (data["ok"], data["entries"], data["broken"]) == (True, 3, None)
    assert (fields["chain"], fields["entries"]) == ("holds", "3")
    assert fields["last"].split() == ["hash", data["head"]]


@pytest.mark.parametrize(
    "spoilt, why",
    [
        ({"actor": "nobody"}, "it was changed after it was written"),
        (None, "what stood before it was changed, taken out or put in"),
    ],
)
def test_verify_names_the_first_entry_that_does_not_fit(
    shield: Shield,
    engine: ShieldEngine,
    monkeypatch: pytest.MonkeyPatch,
    spoilt: dict[str, str] | None,
    why: str,
) -> None:
    newest, middle, oldest = engine.sync.get_audit_log()
    log = [newest, middle.replace(**spoilt), oldest] if spoilt else [newest, oldest]
    monkeypatch.setattr(type(engine.sync), "get_audit_log", lambda *_, **__: log)
    broken = log[1] if spoilt else newest

    result = shield("audit verify")
    data = json.loads(shield("audit verify --format json").stdout)

    assert result.exit_code == 1
    assert f"breaks at {broken.id} (revision {broken.revision}, " in result.stderr
    assert why in result.stderr
    assert (data["ok"], data["broken"]["id"]) == (False, broken.id)


def test_verify_tells_that_the_oldest_are_gone(
    shield: Shield, engine: ShieldEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert json.loads(shield("audit verify --format json").stdout)["complete"] is True
    log = engine.sync.get_audit_log()[:-1]
    monkeypatch.setattr(type(engine.sync), "get_audit_log", lambda *_, **__: log)

    result = shield("audit verify")
    data = json.loads(shield("audit verify --format json").stdout)

    assert "older ones  not kept any more" in result.stdout
    assert (data["ok"], data["complete"]) == (True, False)


def test_verify_reads_the_whole_log(shield: Shield) -> None:
    assert shield("audit verify --actor ann@desk").exit_code == 2
    assert json.loads(shield("audit verify --format json", client=ShieldEngine().sync).stdout)["entries"] == 0


def test_instances(shield: Shield, engine: ShieldEngine) -> None:
    store, now = engine.sync.current(), datetime.now(UTC)
    told = {"host": "web-1", "pid": 7, "release": "v3", "epoch": store.epoch, "seen_at": now}
    for number, (service, behind) in enumerate([("shop", 2), ("shop", 0), (None, 0)]):
        engine.sync.heard_of(
            Instance(id=str(number), service=service, revision=store.revision - behind, **told)
        )
    engine.sync.heard_of(Instance(id="other", service="billing", revision=99, **{**told, "epoch": "old"}))

    rows = [line.split() for line in shield("instances").stdout.splitlines()]
    data = json.loads(shield("instances --service shop --format json").stdout)

    assert rows[0] == ["SERVICE", "HOST", "PID", "RELEASE", "REVISION", "LAG", "LAST", "SEEN"]
    assert [row[:7] for row in rows[2:3]] == [["billing", "web-1", "7", "v3", "99", "another", "history"]]
    assert sorted(one["lag"] for one in data) == [0, 2]
    assert {(one["host"], one["pid"], one["release"]) for one in data} == {("web-1", 7, "v3")}
    assert all(one["seen_at"].endswith("Z") for one in data)


def test_no_instance_is_said(shield: Shield) -> None:
    assert shield("instances").stderr == "No live process is known.\n"
