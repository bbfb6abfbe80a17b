"""A process that has not seen its store yet opens nothing, and waits for it once."""

import asyncio
import threading
import time

import pytest

from shield_core.decorators import maintenance
from shield_core.exceptions import BackendError
from shield_core.models import RouteState

from .notebook import NotebookBackend
from .rules import declare

DISABLED = RouteState(path="GET:/x", status="disabled", origin="operator", revision=1).model_dump_json()
PATIENCE = 0.3


pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.fixture
def backend():
    backend = NotebookBackend({"GET:/x": DISABLED})
    yield backend
    backend.stuck = backend.down = False


def test_the_first_decision_waits_for_the_store(backend, make_engine):
    assert make_engine(backend).decide("GET", "/x").cause == "disabled"


def test_many_first_decisions_share_one_load(backend, make_engine):
    backend.shared_across_processes = False  # no heartbeat, which looks at the store as well
    engine = make_engine(backend, refresh_interval=30)
    causes = []
    threads = [
        threading.Thread(target=lambda: causes.append(engine.decide("GET", "/x").cause)) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert causes == ["disabled"] * 20
    assert backend.loads == 1


async def test_a_context_awaits_the_first_load(backend, make_engine):
    async with make_engine(backend) as engine:
        assert engine.replica.ruleset is not None
        assert engine.decide("GET", "/x").cause == "disabled"


async def test_a_loop_is_not_blocked_while_its_first_requests_wait(backend, make_engine):
    backend.stuck = True
    engine = make_engine(backend, init_timeout=PATIENCE)
    waiting = asyncio.gather(*(engine.check("/x") for _ in range(5)), return_exceptions=True)
    beats = 0
    while not waiting.done():
        await asyncio.sleep(0.01)
        beats += 1
        if beats == 3:
            backend.stuck = False
    assert beats > 3
    assert [type(found).__name__ for found in await waiting] == ["RouteDisabledException"] * 5


def test_a_store_that_hangs_is_waited_for_once_and_not_longer_than_agreed(backend, make_engine, wait_until):
    backend.stuck = True
    engine = make_engine(backend, init_timeout=PATIENCE)
    engine.declare([declare("GET:/code", maintenance("code"))])
    started = time.monotonic()
    engine.decide("GET", "/x")
    first = time.monotonic() - started
    started = time.monotonic()
    for _ in range(100):
        engine.decide("GET", "/x")
    assert PATIENCE * 0.9 <= first < PATIENCE + 1
    assert time.monotonic() - started < PATIENCE
    backend.stuck = False
    wait_until(lambda: engine.decide("GET", "/x").cause == "disabled")


@pytest.mark.parametrize("trouble", ["stuck", "down"])
@pytest.mark.parametrize(
    ("no_store", "answers"),
    [
        ("decorators", {"/x": None, "/code": "maintenance"}),
        ("maintenance", {"/x": "maintenance", "/code": "maintenance"}),
    ],
)
def test_without_its_store_a_process_serves_what_was_agreed(
    backend, make_engine, wait_until, caplog, trouble, no_store, answers
):
    setattr(backend, trouble, True)
    engine = make_engine(backend, init_timeout=0.05, no_store=no_store)
    engine.declare([declare("GET:/code", maintenance("code")), declare("GET:/x")])
    for _ in range(3):
        assert {path: engine.decide("GET", path).cause for path in answers} == answers
    assert caplog.text.count("The store has not answered within 0.05 s") == 1
    setattr(backend, trouble, False)
    wait_until(lambda: engine.decide("GET", "/x").cause == "disabled")
    assert engine.decide("GET", "/code").reason == "code"


async def test_requests_that_wait_together_say_once_that_the_store_is_away(backend, make_engine, caplog):
    backend.down = True
    replica = make_engine(backend, init_timeout=0.05).replica
    rules = await asyncio.gather(*(replica.ready_async() for _ in range(5)))
    assert all(one is rules[0] for one in rules)
    assert caplog.text.count("The store has not answered within 0.05 s") == 1


def test_a_process_without_rules_does_not_say_that_they_stay_in_force(
    backend, make_engine, wait_until, caplog
):
    backend.down = True
    engine = make_engine(backend, init_timeout=0.05)
    assert engine.decide("GET", "/x").allowed
    wait_until(lambda: "The store does not answer; nothing is known of it yet." in caplog.text)
    assert "stay in force" not in caplog.text


def test_a_process_may_refuse_to_serve_without_its_store(backend, make_engine, wait_until):
    backend.down = True
    engine = make_engine(backend, init_timeout=0.05, no_store="refuse")
    for _ in range(3):
        with pytest.raises(BackendError, match="SHIELD_NO_STORE is 'refuse'"):
            engine.decide("GET", "/x")
    backend.down = False
    wait_until(lambda: engine.status().state == "live")
    assert engine.decide("GET", "/x").cause == "disabled"


def test_what_is_declared_while_the_store_is_away_is_in_force(backend, make_engine):
    backend.down = True
    engine = make_engine(backend, init_timeout=0.05)
    assert engine.decide("GET", "/late").allowed
    engine.declare([declare("GET:/late", maintenance("code"))])
    assert engine.decide("GET", "/late").cause == "maintenance"
