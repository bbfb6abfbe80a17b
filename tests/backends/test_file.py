"""The file: its shape, who may edit it, and what happens when it is not what it should be."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shield_core.backends import file
from shield_core.backends.file import FileBackend
from shield_core.exceptions import BackendError
from shield_core.models import Instance
from tests.backends.following import is_open
from tests.backends.neighbour import Neighbour
from tests.conftest import eventually

HAND_WRITTEN = {
    "states": {
        "GET:/payments": {"path": "GET:/payments", "status": "maintenance", "reason": "by hand"},
        "/orders": {"status": "disabled"},
    },
    "audit": [
        {
            "id": "1",
            "timestamp": "2026-01-01T00:00:00Z",
            "path": "GET:/payments",
            "action": "maintenance_on",
            "actor": "ann",
        }
    ],
}


pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shield-state.json"


@pytest.fixture
def engine(path: Path, start_engine: Any) -> Any:
    return start_engine(FileBackend(path))


def edit(path: Path, **members: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **members}))


# -- shape ----------------------------------------------------------------------------------


def test_a_file_with_only_states_and_audit_loads(path: Path, engine: Any) -> None:
    path.write_text(json.dumps(HAND_WRITTEN))
    assert not is_open(engine, "/payments")
    assert not is_open(engine, "/orders")
    assert engine.sync.get_state("GET:/payments").reason == "by hand"
    assert [entry.actor for entry in engine.sync.get_audit_log()] == ["ann"]


def test_the_first_change_of_a_hand_written_file_is_enforced_when_the_call_returns(
    path: Path, start_engine: Any
) -> None:
    path.write_text(json.dumps(HAND_WRITTEN))
    engine = start_engine(FileBackend(path), refresh_interval=60.0)
    assert not is_open(engine, "/orders")
    engine.sync.enable("/orders")
    assert is_open(engine, "/orders")


def test_a_change_right_after_an_edit_by_hand_is_enforced_when_the_call_returns(
    path: Path, engine: Any
) -> None:
    engine.sync.register_batch([("GET:/x", {}), ("GET:/y", {})])
    assert is_open(engine)
    edit(path, states={})
    engine.sync.enable_global_maintenance("now")
    assert not is_open(engine)


def test_a_change_keeps_what_is_in_the_file(path: Path, engine: Any) -> None:
    path.write_text(json.dumps({**HAND_WRITTEN, "theirs": {"a": [1]}, "Größe": None}))
    engine.sync.disable("GET:/payments", "now")
    data = json.loads(path.read_text())
    assert data["theirs"] == {"a": [1]}
    assert "Größe" in data
    assert [entry["action"] for entry in data["audit"]] == ["maintenance_on", "disable"]
    assert data["states"]["GET:/payments"]["status"] == "disabled"
    assert data["states"]["/orders"]["status"] == "disabled"


def test_maintenance_that_api_shield_keeps_among_the_states_is_in_force(path: Path, engine: Any) -> None:
    states = {
        "__shield:global__": {
            "path": "__shield:global__",
            "status": "active",
            "reason": '{"enabled":true,"reason":"all","exempt_paths":["/health"]}',
        },
        "__shield:svc_global:pay__": {
            "path": "__shield:svc_global:pay__",
            "service": "pay",
            "reason": '{"enabled":true,"reason":"svc"}',
        },
    }
    path.write_text(json.dumps({"states": states, "audit": [], "rl_hits": [], "rl_policies": {}}))
    assert not is_open(engine)
    assert is_open(engine, "/health")
    assert engine.sync.get_service_maintenance("pay").enabled
    engine.sync.disable_global_maintenance()
    assert is_open(engine)
    assert "__shield:global__" not in json.loads(path.read_text())["states"]


def test_people_can_read_it_line_by_line(path: Path, engine: Any) -> None:
    engine.sync.register_batch([("GET:/ä", {}), ("GET:/y", {})])
    lines = path.read_text().splitlines()
    assert sum(line.startswith('"GET:/') for line in lines) == 2
    assert any(line.startswith('"GET:/ä"') for line in lines)


def test_only_as_many_audit_entries_as_agreed_are_kept(path: Path, start_engine: Any) -> None:
    engine = start_engine(FileBackend(path, audit_limit=3))
    engine.sync.register("GET:/x", {})
    for turn in range(5):
        engine.sync.set_maintenance("GET:/x", str(turn))
    assert [entry["reason"] for entry in json.loads(path.read_text())["audit"]] == ["2", "3", "4"]


# -- edits by hand ---------------------------------------------------------------------------


def test_an_edit_by_hand_is_followed(path: Path, engine: Any) -> None:
    engine.sync.register("GET:/x", {})
    assert is_open(engine)
    edit(path, states={"GET:/x": {"path": "GET:/x", "status": "disabled"}})
    eventually(lambda: not is_open(engine))


def test_a_change_is_not_lost_when_somebody_took_the_revision_away(path: Path, engine: Any) -> None:
    engine.sync.register("GET:/x", {})
    for _ in range(3):
        engine.sync.disable("GET:/x")
        engine.sync.enable("GET:/x")
    edit(path, revision=0, epoch="")
    engine.sync.disable("GET:/x")
    assert json.loads(path.read_text())["states"]["GET:/x"]["status"] == "disabled"


def test_the_key_counts_and_not_the_path_inside(path: Path, engine: Any) -> None:
    path.write_text(json.dumps({"states": {"GET:/x": {"path": "GET:/copied", "status": "disabled"}}}))
    assert not is_open(engine)
    assert is_open(engine, "/copied")


# -- what is not valid -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        '{"states": {"GET:/x": {"status": "disabled"',
        "[]",
        '{"states": []}',
        '{"states": {"no key": {}}}',
        '{"states": {"GET:/x": {"status": "unheard"}}}',
        '{"states": {"GET:/x": 1}}',
        '{"revision": "x"}',
        '{"audit": 3}',
        "[" * 100_000,
        "\xff",
    ],
    ids=str.__len__,
)
def test_a_damaged_file_is_an_error_that_names_it_and_the_rules_stay(
    path: Path, engine: Any, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    engine.sync.register("GET:/x", {})
    engine.sync.disable("GET:/x")
    assert not is_open(engine)
    whole = path.read_bytes()

    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(BackendError, match=f"{path} is not valid"):
        FileBackend(path).load_sync()
    with pytest.raises(BackendError, match=f"{path} is not valid"):
        engine.sync.enable("GET:/x")
    eventually(lambda: engine.status().state == "stale")
    assert str(path) in engine.status().error
    assert path.read_bytes() == content.encode("latin-1")
    assert not is_open(engine)
    assert caplog.text.count("does not answer") == 1

    path.write_bytes(whole)
    eventually(lambda: engine.status().state == "live")
    engine.sync.enable("GET:/x")
    assert is_open(engine)


def test_an_audit_entry_that_cannot_be_read_is_passed_over(
    path: Path, engine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text(json.dumps({"states": {}, "audit": [{"action": 7}, *HAND_WRITTEN["audit"]]}))
    assert [entry.actor for entry in engine.sync.get_audit_log()] == ["ann"]
    assert str(path) in caplog.text


def test_a_folder_that_is_not_there_is_a_clear_error(tmp_path: Path, start_engine: Any) -> None:
    engine = start_engine(FileBackend(tmp_path / "nowhere" / "state.json"))
    with pytest.raises(BackendError, match="nowhere"):
        engine.sync.enable_global_maintenance("r")


def test_a_directory_in_its_place_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=str(tmp_path)):
        FileBackend(tmp_path).load_sync()


def test_an_emptied_file_is_no_command_to_open_everything(path: Path, engine: Any) -> None:
    engine.sync.register("GET:/x", {})
    engine.sync.disable("GET:/x")
    assert not is_open(engine)
    path.write_text('{"states": {}, "audit": []}')
    eventually(lambda: engine.status().state == "store_lost")
    assert not is_open(engine)


# -- other processes ---------------------------------------------------------------------------


def test_a_command_line_and_a_server_see_each_others_changes(path: Path, engine: Any) -> None:
    engine.sync.register("GET:/x", {})
    assert is_open(engine)
    with Neighbour(file_backend(path)) as cli:
        cli("disable", "GET:/x", reason="from outside")
        eventually(lambda: not is_open(engine))
        engine.sync.enable("GET:/x")
        eventually(lambda: cli.lets_pass("/x"))
        pids = {instance.pid for instance in engine.sync.instances()}
        assert pids == {os.getpid(), cli.process.pid}


def file_backend(path: Path) -> Any:
    from functools import partial

    return partial(FileBackend, path)


def test_an_instance_is_gone_after_90_seconds(path: Path, engine: Any) -> None:
    backend = FileBackend(path)
    now = datetime.now(UTC)
    for name, age in (("old", 91), ("recent", 80)):
        backend.beat_sync(Instance(id=name, seen_at=now - timedelta(seconds=age)))
    assert [one.id for one in engine.sync.instances()] == ["recent"]
    backend.beat_sync(Instance(id="new", seen_at=now))
    assert {one.id for one in backend.instances_sync()} == {"recent", "new"}


def test_registering_a_thousand_routes_is_one_write(
    path: Path, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    replace = os.replace

    def counting(source: Any, target: Any) -> None:
        replace(source, target)
        if Path(target) == path:
            written.append(target)

    monkeypatch.setattr(file.os, "replace", counting)
    routes: Any = [(f"GET:/{number}", {}) for number in range(1000)]
    engine.sync.register_batch(routes)
    assert len(written) == 1
    engine.sync.register_batch(routes)
    assert len(written) == 1
