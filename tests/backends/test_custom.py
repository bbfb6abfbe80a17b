"""Custom backends: what plain functions may rely on, and what their faults do to requests."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shield_core.backends.base import ShieldBackend
from shield_core.decorators import maintenance
from shield_core.exceptions import BackendError
from shield_core.keys import INSTANCE_PREFIX
from shield_core.models import Instance, RouteState
from tests.backends.custom import Ledger
from tests.backends.following import is_open
from tests.conftest import eventually
from tests.core.rules import declare

pytestmark = pytest.mark.usefixtures("quick_retries")


def test_plain_functions_run_on_one_thread_of_their_own(start_engine: Any) -> None:
    ledger = Ledger()
    engine = start_engine(ledger)
    engine.sync.register("GET:/x", {})
    engine.sync.disable("GET:/x")
    assert not is_open(engine)
    asyncio.run(_disabled_by_coroutine(engine))
    engine.sync.stop()
    assert len(ledger.threads) == 1
    assert threading.get_ident() not in ledger.threads
    assert ledger.events == ["startup", "shutdown"]


async def _disabled_by_coroutine(engine: Any) -> None:
    assert (await engine.enable("GET:/x")).status == "active"


def test_a_plain_backend_does_not_block_the_event_loop(start_engine: Any) -> None:
    ledger = Ledger()
    engine = start_engine(ledger)
    engine.sync.register("GET:/x", {})

    async def work() -> int:
        ledger.stuck = threading.Event()
        change = asyncio.create_task(engine.disable("GET:/x"))
        turns = 0
        for turns in range(1, 20):  # noqa: B007 - the count is the result
            await asyncio.sleep(0)
        ledger.stuck.set()
        await change
        return turns

    assert asyncio.run(work()) == 19


def test_a_startup_that_fails_is_an_error_and_tried_again(start_engine: Any) -> None:
    class Broken(Ledger):
        def startup(self) -> None:
            super().startup()
            if len(self.events) < 3:
                raise ConnectionError("no connection")

    engine = start_engine(Broken())
    for _ in range(2):
        with pytest.raises(ConnectionError, match="no connection"):
            engine.sync.list_states()
    assert engine.sync.list_states() == []


def test_an_unchanged_store_is_not_scanned_where_it_knows_its_revision(start_engine: Any) -> None:
    ledger = Ledger(counts=True)
    engine = start_engine(ledger, refresh_interval=0.01)
    engine.sync.register("GET:/x", {})
    assert is_open(engine)
    eventually(lambda: any(key.startswith(INSTANCE_PREFIX) for key in ledger.pages))
    scans, calls = _settled(ledger), ledger.calls
    eventually(lambda: ledger.calls > calls + 20)
    assert ledger.scans == scans

    ledger.set_state("GET:/x", RouteState(path="GET:/x", status="disabled", origin="operator"))
    eventually(lambda: not is_open(engine))


def _settled(ledger: Ledger) -> int:
    """Return the number of scans once it stands still for ten looks at the store."""
    while True:
        scans, calls = ledger.scans, ledger.calls
        eventually(lambda calls=calls: ledger.calls > calls + 10)
        if ledger.scans == scans:
            return scans


def test_the_notes_of_instances_that_are_gone_are_removed(start_engine: Any) -> None:
    ledger = Ledger()
    engine = start_engine(ledger)
    long_ago = datetime.now(UTC) - timedelta(seconds=91)
    asyncio.run(_beaten(ledger, Instance(id="gone", seen_at=long_ago)))
    engine.sync.register("GET:/x", {})
    assert is_open(engine)
    eventually(lambda: [key for key in ledger.pages if key.startswith(INSTANCE_PREFIX)])
    eventually(lambda: f"{INSTANCE_PREFIX}gone__" not in ledger.pages)
    assert [one.revision for one in engine.sync.instances()] == [engine.status().revision]
    assert [state.path for state in engine.sync.list_states()] == ["GET:/x"]


async def _beaten(ledger: Ledger, instance: Instance) -> None:
    ledger.set_state(
        f"{INSTANCE_PREFIX}{instance.id}__",
        RouteState(path=f"{INSTANCE_PREFIX}{instance.id}__", reason=instance.model_dump_json()),
    )


# -- faults --------------------------------------------------------------------------------------


def test_a_backend_that_raises_is_logged_once_and_the_rules_stay(
    start_engine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger()
    engine = start_engine(ledger)
    engine.sync.register("GET:/x", {})
    engine.sync.disable("GET:/x")
    assert not is_open(engine)
    ledger.down = True
    eventually(lambda: engine.status().state == "stale")
    calls = ledger.calls
    eventually(lambda: ledger.calls > calls + 10)
    assert not is_open(engine)
    assert caplog.text.count("The store does not answer") == 1
    with pytest.raises(ConnectionError):
        engine.sync.enable("GET:/x")


def test_a_cold_process_whose_store_hangs_waits_once_and_not_for_long(start_engine: Any) -> None:
    ledger = Ledger()
    ledger.stuck = threading.Event()
    engine = start_engine(ledger, init_timeout=0.2)
    engine.declare([declare("GET:/x", maintenance("code"))])
    try:
        began = time.monotonic()
        assert not is_open(engine)
        assert is_open(engine, "/y")
        assert 0.2 <= time.monotonic() - began < 2
        began = time.monotonic()
        for _ in range(100):
            assert not is_open(engine)
        assert time.monotonic() - began < 0.1
    finally:
        ledger.stuck.set()


@pytest.mark.parametrize(("no_store", "answer"), [("decorators", True), ("maintenance", False)])
def test_without_a_store_a_cold_process_serves_as_it_was_told(
    start_engine: Any, no_store: str, answer: bool
) -> None:
    ledger = Ledger()
    ledger.down = True
    engine = start_engine(ledger, init_timeout=0.2, no_store=no_store)
    assert is_open(engine) is answer
    assert engine.status().state == "cold"
    ledger.down = False
    eventually(lambda: engine.status().state == "live" and is_open(engine))


def test_a_cold_process_may_refuse_to_serve_without_a_store(start_engine: Any) -> None:
    ledger = Ledger()
    ledger.down = True
    engine = start_engine(ledger, init_timeout=0.2, no_store="refuse")
    with pytest.raises(BackendError, match="connection refused"):
        is_open(engine)
    ledger.down = False
    eventually(lambda: engine.status().state == "live")
    assert is_open(engine)


def test_a_store_that_is_down_is_asked_at_most_twelve_times_a_minute(
    start_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    scale = 1 / 40  # a minute takes a second and a half
    monkeypatch.setattr(ShieldBackend, "reconnect_delay", 5 * scale)
    attempts: list[float] = []

    class Counting(Ledger):
        def revision(self) -> object:
            if self.down:
                attempts.append(time.monotonic())
            return super().revision()

    ledger = Counting()
    engine = start_engine(ledger)
    engine.sync.register("GET:/x", {})
    assert is_open(engine)
    ledger.down = True
    eventually(lambda: len(attempts) > 20)
    minutes = [[later for later in attempts if 0 <= later - first < 60 * scale] for first in attempts]
    assert max(map(len, minutes)) <= 12


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_django_request_is_answered_although_the_store_raises(
    client: Any, settings: Any, method: str
) -> None:
    from shield_django import project

    settings.SHIELD_TESTING = False
    settings.SHIELD_INIT_TIMEOUT = 0.2
    settings.SHIELD_BACKEND = "tests.backends.custom.Unreachable"
    try:
        assert client.generic(method, "/shop/").status_code in (200, 405)
    finally:
        project.reset()
