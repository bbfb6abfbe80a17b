"""Every process follows the store by itself, and keeps its rules when the store is gone."""

import itertools
import logging
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from shield_core import outages
from shield_core.backends.memory import MemoryBackend
from shield_core.decorators import maintenance
from shield_core.keys import EVERYTHING
from shield_core.models import GlobalMaintenanceConfig, MaintenanceWindow, RouteState

from .notebook import NotebookBackend
from .rules import declare

pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.fixture
def backend():
    return NotebookBackend()


def is_open(engine, path="/x"):
    return engine.decide("GET", path).allowed


def test_a_change_in_one_process_is_enforced_in_another(backend, make_engine, wait_until):
    one, other = (make_engine(NotebookBackend(backend.pages, backend.log)) for _ in range(2))
    one.sync.register("GET:/x", {})
    assert is_open(other)
    one.sync.disable("GET:/x")
    wait_until(lambda: not is_open(other))
    other.sync.enable("GET:/x")
    wait_until(lambda: is_open(one))
    one.sync.enable_global_maintenance("r")
    wait_until(lambda: not is_open(other, "/elsewhere"))


def test_processes_with_one_memory_backend_follow_each_other(make_engine, wait_until):
    backend = MemoryBackend()
    one, other = make_engine(backend, refresh_interval=30), make_engine(backend, refresh_interval=30)
    one.sync.register("GET:/x", {})
    assert is_open(other)
    one.sync.disable("GET:/x")
    wait_until(lambda: not is_open(other), timeout=5)


def test_processes_that_change_the_same_route_agree_in_the_end(backend, make_engine, wait_until):
    one, other = (make_engine(NotebookBackend(backend.pages, backend.log)) for _ in range(2))
    one.sync.register("GET:/x", {})
    for turn in range(10):
        (one, other)[turn % 2].sync.disable("GET:/x", reason=str(turn))
        (other, one)[turn % 2].sync.enable("GET:/x")
    wait_until(lambda: is_open(one) and is_open(other))
    assert one.sync.get_state("GET:/x") == other.sync.get_state("GET:/x")


@pytest.mark.parametrize("revision", [0, 1])
def test_what_somebody_else_writes_without_counting_revisions_is_enforced(
    backend, make_engine, wait_until, revision
):
    engine = make_engine(backend)
    engine.sync.register("GET:/x", {})
    engine.sync.disable("GET:/x")
    engine.sync.enable("GET:/x")
    assert is_open(engine)
    foreign = RouteState(path="GET:/x", status="disabled", origin="operator", revision=revision)
    backend.pages["GET:/x"] = foreign.model_dump_json()
    wait_until(lambda: not is_open(engine))
    engine.sync.enable("GET:/x")
    assert is_open(engine)


def test_a_foreign_change_is_not_lost_behind_a_local_one(backend, make_engine, wait_until):
    engine = make_engine(backend, refresh_interval=0.2)
    engine.sync.register_batch([("GET:/x", {}), ("GET:/y", {})])
    assert is_open(engine)
    for turn in range(3):
        status = ("disabled", "active")[turn % 2]
        foreign = RouteState(path="GET:/x", status=status, origin="operator")
        backend.pages["GET:/x"] = foreign.model_dump_json()
        engine.sync.disable("GET:/y")
        wait_until(lambda status=status: is_open(engine) is (status == "active"))


def test_a_foreign_deletion_is_followed(backend, make_engine, wait_until):
    engine = make_engine(backend)
    engine.sync.register_batch([("GET:/x", {}), ("GET:/y", {})])
    engine.sync.disable("GET:/x")
    assert not is_open(engine)
    del backend.pages["GET:/x"]
    wait_until(lambda: is_open(engine))


def test_what_is_declared_later_is_registered_by_the_thread(backend, make_engine, wait_until):
    engine = make_engine(backend)
    assert is_open(engine)
    engine.declare([declare("GET:/x", maintenance("code"))])
    assert not is_open(engine)
    wait_until(lambda: "GET:/x" in backend.pages)


def test_the_boundaries_of_a_window_are_written_once_by_many_processes(make_engine, wait_until):
    backend = MemoryBackend()
    engines = [make_engine(backend) for _ in range(4)]
    engines[0].sync.register("GET:/x", {})
    now = datetime.now(UTC)
    window = MaintenanceWindow(
        start=now + timedelta(seconds=0.1), end=now + timedelta(seconds=0.2), reason="w"
    )
    engines[0].sync.schedule_maintenance("GET:/x", window)
    assert all(is_open(engine) for engine in engines)

    def told():
        return [entry.action for entry in engines[0].sync.get_audit_log(limit=None)]

    wait_until(lambda: "window_closed" in told())
    wait_until(lambda: all(engine.status().revision == engines[0].status().revision for engine in engines))
    assert told() == ["window_closed", "window_opened", "schedule"]
    assert engines[0].sync.get_state("GET:/x").origin == "code"


def test_windows_that_come_and_go_in_other_threads_do_not_stop_the_follower(make_engine, caplog):
    engine = make_engine(MemoryBackend(), refresh_interval=0.001)
    paths = [f"GET:/{number}" for number in range(60)]
    engine.sync.register_batch([(path, {}) for path in paths])
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    window = MaintenanceWindow(start=tomorrow, end=tomorrow + timedelta(hours=1))
    for path in paths[:30]:
        engine.sync.schedule_maintenance(path, window)
    engine.sync.start()
    ends = time.monotonic() + 1.0
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for path in itertools.cycle(paths[30:]):
            engine.sync.schedule_maintenance(path, window)
            engine.sync.clear_override(path)
            if time.monotonic() > ends:
                break
    finally:
        sys.setswitchinterval(interval)
    assert not [one for one in caplog.records if one.name.startswith("shield")]


def test_status_tells_how_fresh_the_rules_are(backend, make_engine, wait_until):
    engine = make_engine(backend)
    cold = engine.status()
    assert (cold.state, cold.revision, cold.seconds_since_contact) == ("cold", 0, None)
    engine.sync.register("GET:/x", {})
    engine.sync.start()
    wait_until(lambda: engine.status().seconds_since_contact is not None)
    live = engine.status()
    assert (live.state, live.error) == ("live", "")
    assert live.epoch


def test_a_store_that_is_down_leaves_the_rules_in_force_and_is_logged_once(
    backend, make_engine, wait_until, caplog
):
    caplog.set_level(logging.INFO, "shield")
    engine = make_engine(backend)
    engine.sync.register("GET:/x", {})
    engine.sync.disable("GET:/x")
    assert not is_open(engine)
    backend.down = True
    wait_until(lambda: engine.status().state == "stale")
    calls = backend.calls
    wait_until(lambda: backend.calls > calls + 5)
    assert not is_open(engine)
    assert engine.status().error == "StoreDown: connection refused"
    assert caplog.text.count("does not answer; the last known rules stay in force") == 1

    backend.down = False
    wait_until(lambda: "The store answers again" in caplog.text)
    assert engine.status().state == "live"
    engine.sync.enable("GET:/x")
    assert is_open(engine)


def test_a_store_that_went_down_again_is_logged_again(backend, make_engine, wait_until, caplog):
    engine = make_engine(backend)
    assert is_open(engine)
    for _ in range(2):
        backend.down = True
        wait_until(lambda: engine.status().state == "stale")
        backend.down = False
        wait_until(lambda: engine.status().state == "live")
    assert caplog.text.count("does not answer; the last known rules stay in force") == 2


def test_a_store_that_comes_and_goes_is_logged_a_few_times_and_an_outage_that_lasts_later(
    backend, make_engine, wait_until, caplog, monkeypatch
):
    caplog.set_level(logging.INFO, "shield")
    engine = make_engine(backend)
    assert is_open(engine)
    for _ in range(5):
        backend.down = True
        wait_until(lambda: engine.status().state == "stale")
        backend.down = False
        wait_until(lambda: engine.status().state == "live")
    told = "does not answer; the last known rules stay in force"
    assert (caplog.text.count(told), caplog.text.count("answers again")) == (3, 3)
    backend.down = True
    wait_until(lambda: engine.status().state == "stale")
    monkeypatch.setattr(outages, "_WITHIN", 0.0)
    wait_until(lambda: caplog.text.count(told) == 4)


def test_a_store_that_cannot_be_written_is_followed_all_the_same(backend, make_engine, wait_until):
    class ReadOnly(NotebookBackend):
        async def set_state(self, path, state):
            raise PermissionError("read-only")

    writer, reader = make_engine(backend), make_engine(ReadOnly(backend.pages, backend.log))
    reader.declare([declare("GET:/x"), declare("GET:/unknown")])
    writer.sync.register("GET:/x", {})
    assert is_open(reader)
    writer.sync.disable("GET:/x")
    wait_until(lambda: not is_open(reader))


@pytest.mark.parametrize("content", ["override", "maintenance"])
def test_an_emptied_store_is_no_command_to_open_everything(backend, make_engine, wait_until, caplog, content):
    engine = make_engine(backend)
    engine.sync.register("GET:/x", {})
    if content == "override":
        engine.sync.disable("GET:/x")
    else:
        engine.sync.enable_global_maintenance("r")
    assert not is_open(engine)
    pages = dict(backend.pages)
    backend.pages.clear()
    wait_until(lambda: engine.status().state == "store_lost")
    calls = backend.calls
    wait_until(lambda: backend.calls > calls + 5)
    assert not is_open(engine)
    assert caplog.text.count("The store came back empty") == 1

    backend.pages.update(pages)
    wait_until(lambda: engine.status().state == "live")
    assert not is_open(engine)


def test_an_emptied_store_that_no_operator_had_touched_is_filled_again(backend, make_engine, wait_until):
    engine = make_engine(backend)
    engine.declare([declare("GET:/x", maintenance("code"))])
    assert not is_open(engine)
    wait_until(lambda: "GET:/x" in backend.pages)
    backend.pages.clear()
    wait_until(lambda: "GET:/x" in backend.pages)
    assert not is_open(engine)


def test_an_operator_who_opens_everything_is_obeyed(backend, make_engine, wait_until):
    one, other = (make_engine(NotebookBackend(backend.pages, backend.log)) for _ in range(2))
    one.sync.register("GET:/x", {})
    one.sync.disable("GET:/x")
    assert not is_open(other)
    one.sync.clear_override("GET:/x")
    wait_until(lambda: is_open(other))
    assert other.status().state == "live"


def test_maintenance_in_the_reserved_keys_of_other_clients_is_understood(backend, make_engine):
    config = GlobalMaintenanceConfig(enabled=True, reason="from outside")
    state = {"path": EVERYTHING.store_key, "status": "maintenance", "reason": config.model_dump_json()}
    backend.pages[EVERYTHING.store_key] = RouteState.model_validate(state).model_dump_json()
    assert make_engine(backend).decide("GET", "/x").reason == "from outside"
