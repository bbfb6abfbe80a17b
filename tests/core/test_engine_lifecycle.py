"""Who starts what, on which loop, and that it all ends."""

import asyncio
import threading
import time

import pytest

from shield_core.backends.memory import MemoryBackend
from shield_core.engine import ShieldEngine
from shield_core.exceptions import ShieldException

from .conftest import shield_threads
from .notebook import NotebookBackend, StoreDown


async def test_a_context_starts_the_backend_up_and_shuts_it_down():
    backend = NotebookBackend()
    async with ShieldEngine(backend, refresh_interval=0.02) as engine:
        assert backend.events == ["startup"]
        await engine.register("GET:/x", {})
    assert backend.events == ["startup", "shutdown"]
    assert backend.loops == [asyncio.get_running_loop()]


async def test_an_error_inside_a_context_shuts_the_backend_down_too():
    backend = NotebookBackend()
    with pytest.raises(ZeroDivisionError):
        async with ShieldEngine(backend, refresh_interval=0.02):
            raise ZeroDivisionError
    assert backend.events == ["startup", "shutdown"]


def test_a_backend_without_a_loop_gets_one_of_its_own(make_engine):
    backend = NotebookBackend()
    engine = make_engine(backend)
    engine.sync.start()
    engine.sync.register("GET:/x", {})
    assert backend.events == ["startup"]
    assert threading.get_ident() not in backend.threads
    engine.sync.stop()
    assert backend.events == ["startup", "shutdown"]
    assert backend.loops[0].is_closed()


async def test_the_loop_that_started_the_engine_serves_threads_too(make_engine):
    backend = NotebookBackend()
    async with make_engine(backend) as engine:
        await asyncio.gather(
            *(asyncio.to_thread(engine.sync.register, f"GET:/{number}", {}) for number in range(5)),
            *(engine.register(f"POST:/{number}", {}) for number in range(5)),
        )
        assert len(await engine.list_states()) == 10
        assert backend.threads == {threading.get_ident()}


async def test_coroutines_of_another_loop_reach_the_home(make_engine):
    backend = NotebookBackend()
    async with make_engine(backend) as engine:
        await asyncio.to_thread(asyncio.run, engine.register("GET:/x", {}))
        assert len(backend.loops) == 1
        assert await engine.route_exists("GET:/x")


async def test_the_plain_form_on_the_backends_own_loop_is_a_clear_error(make_engine):
    async with make_engine(NotebookBackend()) as engine:
        with pytest.raises(ShieldException, match="Await the engine's own method there"):
            engine.sync.enable_global_maintenance("r")


async def test_the_plain_form_on_a_loop_works_where_the_backend_needs_none(make_engine):
    async with make_engine(MemoryBackend()) as engine:
        engine.sync.enable_global_maintenance("r")
        assert not engine.decide("GET", "/x").allowed


@pytest.mark.parametrize("backend", [NotebookBackend, MemoryBackend])
def test_no_thread_runs_before_the_first_decision_and_none_after_stop(make_engine, backend):
    before = shield_threads()
    engine = make_engine(backend())
    assert shield_threads() == before
    engine.decide("GET", "/x")
    assert {thread.name for thread in shield_threads() - before} >= {"shield-replica"}
    engine.sync.stop()
    assert shield_threads() == before


async def test_a_change_needs_no_replica_thread(make_engine):
    before = shield_threads()
    engine = make_engine(MemoryBackend())
    await engine.register("GET:/x", {})
    await engine.disable("GET:/x")
    assert shield_threads() == before


async def test_a_stopped_engine_can_start_again(make_engine):
    backend = NotebookBackend()
    engine = make_engine(backend)
    for _ in range(2):
        async with engine:
            await engine.register("GET:/x", {})
            assert await engine.route_exists("GET:/x")
    assert backend.events == ["startup", "shutdown"] * 2


def test_a_stopped_engine_can_start_again_on_another_loop(make_engine):
    backend = NotebookBackend()
    engine = make_engine(backend)

    async def serve():
        async with engine:
            await asyncio.gather(*(engine.register(f"GET:/{number}", {}) for number in range(5)))
            await asyncio.gather(*(engine.disable(f"GET:/{number}") for number in range(5)))

    for _ in range(2):
        asyncio.run(serve())
    assert len(backend.loops) == 2


async def test_stopping_on_the_home_loop_does_not_wait_for_the_next_refresh(caplog):
    async with asyncio.timeout(3), ShieldEngine(NotebookBackend(), refresh_interval=60) as engine:
        await engine.register("GET:/x", {})
    assert caplog.text == ""


def test_stopping_in_a_thread_does_not_wait_for_the_next_refresh(backend, caplog):
    engine = ShieldEngine(backend, refresh_interval=60)
    engine.sync.start()
    started = time.monotonic()
    engine.sync.stop()
    assert time.monotonic() - started < 3
    assert caplog.text == ""


class SlowStart(NotebookBackend):
    async def startup(self):
        await asyncio.sleep(0.2)
        await super().startup()


async def test_nothing_is_asked_of_a_backend_before_its_startup_is_over(make_engine):
    backend = SlowStart()
    engine = make_engine(backend)
    await asyncio.gather(engine.start(), engine.register("GET:/x", {}), engine.register("GET:/y", {}))
    assert backend.events == ["startup"]
    assert len(await engine.list_states()) == 2
    await engine.stop()


def test_threads_wait_for_one_startup(make_engine):
    backend = SlowStart()
    engine = make_engine(backend)
    threads = [
        threading.Thread(target=engine.sync.register, args=(f"GET:/{number}", {})) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert backend.events == ["startup"]
    assert len(engine.sync.list_states()) == 8


class BadStart(NotebookBackend):
    attempts = 0

    async def startup(self):
        self.attempts += 1
        if self.attempts <= 2:
            raise StoreDown("no route to host")
        await super().startup()


def test_a_startup_that_fails_leaves_nothing_behind_and_is_tried_again(make_engine):
    before = shield_threads()
    backend = BadStart()
    engine = make_engine(backend)
    for _ in range(2):
        with pytest.raises(StoreDown):
            engine.sync.register("GET:/x", {})
        assert shield_threads() == before
    engine.sync.register("GET:/x", {})
    assert backend.events == ["startup"]


async def test_a_startup_that_fails_under_a_loop_is_reported_and_tried_again(make_engine):
    backend = BadStart()
    engine = make_engine(backend)
    for _ in range(2):
        with pytest.raises(StoreDown):
            await engine.start()
    async with engine:
        assert backend.events == ["startup"]


async def test_a_slow_startup_in_a_thread_does_not_block_a_loop(make_engine):
    engine = make_engine(SlowStart())
    worker = asyncio.create_task(asyncio.to_thread(engine.sync.register, "GET:/x", {}))
    await asyncio.sleep(0.05)
    register = asyncio.create_task(engine.register("GET:/y", {}))
    beats = 0
    while not register.done():
        await asyncio.sleep(0.005)
        beats += 1
    await asyncio.gather(worker, register)
    assert beats > 5
    await engine.stop()
