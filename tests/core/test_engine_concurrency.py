"""Many writers: every acknowledged change is in the store and in the log, none twice."""

import asyncio
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from shield_core.audit import first_break
from shield_core.exceptions import ConflictError
from shield_core.keys import EVERYTHING

ROUTES = 20
ROUNDS = 5


def test_threads_on_different_routes_never_conflict(backend, make_engine):
    engine = make_engine(backend)
    engine.sync.start()
    engine.sync.register_batch([(f"GET:/{number}", {}) for number in range(ROUTES)])

    def switch(number):
        acknowledged = []
        for turn in range(ROUNDS):
            operation = (engine.sync.disable, engine.sync.enable)[turn % 2]
            state = operation(f"GET:/{number}", actor=f"thread{number}")
            seen = engine.decide("GET", f"/{number}")
            acknowledged.append((state.path, state.revision, state.status, seen.allowed))
        return acknowledged

    with ThreadPoolExecutor(ROUTES) as pool:
        acknowledged = [change for changes in pool.map(switch, range(ROUTES)) for change in changes]

    assert len(acknowledged) == ROUTES * ROUNDS
    assert all(allowed is (status == "active") for _, _, status, allowed in acknowledged)
    log = engine.sync.get_audit_log(limit=None)
    told = Counter((entry.path, entry.revision) for entry in log)
    assert told == Counter((path, revision) for path, revision, _, _ in acknowledged)
    assert set(told.values()) == {1}
    assert {state.status for state in engine.sync.list_states()} == {"disabled"}
    assert first_break(reversed(log)) is None


def test_threads_on_one_route_all_get_through(backend, make_engine):
    engine = make_engine(backend)
    engine.sync.start()
    engine.sync.register("GET:/x", {})

    def switch(number):
        return engine.sync.disable("GET:/x", reason=f"reason {number}").revision

    with ThreadPoolExecutor(10) as pool:
        revisions = list(pool.map(switch, range(30)))
    assert len(set(revisions)) == 30
    log = engine.sync.get_audit_log(limit=None)
    assert {entry.revision for entry in log} == set(revisions)
    assert engine.sync.get_state("GET:/x").revision == max(revisions)
    newest = max(log, key=lambda entry: entry.revision)
    assert engine.decide("GET", "/x").reason == newest.reason


def test_threads_that_exempt_a_path_each_lose_none(backend, make_engine):
    engine = make_engine(backend)
    paths = [f"/{number}" for number in range(20)]
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda path: engine.sync.exempt_path(EVERYTHING, path), paths))
    assert sorted(engine.sync.get_global_maintenance().exempt_paths) == sorted(paths)
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda path: engine.sync.exempt_path(EVERYTHING, path, exempt=False), paths))
    assert engine.sync.get_global_maintenance().exempt_paths == ()


def test_of_many_who_saw_the_same_revision_one_wins(backend, make_engine):
    engine = make_engine(backend)
    engine.sync.start()
    engine.sync.register("GET:/x", {})
    seen = engine.sync.get_state("GET:/x").revision
    start = threading.Barrier(8)

    def switch(number):
        start.wait()
        try:
            return engine.sync.disable("GET:/x", reason=str(number), expected_revision=seen)
        except ConflictError:
            return None

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(switch, range(8)))
    [winner] = [state for state in results if state is not None]
    assert engine.sync.get_state("GET:/x") == winner
    assert len(engine.sync.get_audit_log(limit=None)) == 1


async def test_coroutines_and_threads_together(backend, make_engine):
    async with make_engine(backend) as engine:
        await engine.register_batch([(f"GET:/{number}", {}) for number in range(10)])
        await asyncio.gather(
            *(engine.disable(f"GET:/{number}") for number in range(5)),
            *(asyncio.to_thread(engine.sync.disable, f"GET:/{number}") for number in range(5, 10)),
        )
        assert {state.status for state in await engine.list_states()} == {"disabled"}
        assert len({entry.revision for entry in await engine.get_audit_log()}) == 10


async def test_readers_never_see_a_half_changed_ruleset(backend, make_engine):
    async with make_engine(backend) as engine:
        await engine.register("GET:/x", {})
        stop = threading.Event()

        def read():
            seen = set()
            while not stop.is_set():
                decision = engine.decide("GET", "/x")
                seen.add((decision.cause, decision.reason))
            return seen

        readers = [asyncio.create_task(asyncio.to_thread(read)) for _ in range(3)]
        for _ in range(20):
            await engine.disable("GET:/x", "r")
            await engine.enable("GET:/x")
        stop.set()
        seen = set().union(*await asyncio.gather(*readers))
        assert seen <= {("disabled", "r"), (None, "")}


async def test_a_change_that_is_always_overtaken_is_given_up(backend, make_engine, monkeypatch):
    from shield_core.exceptions import BackendError

    async with make_engine(backend) as engine:
        await engine.register("GET:/x", {})

        async def overtaken(commit, publish):
            raise ConflictError("GET:/x", 1, 2)

        monkeypatch.setattr(engine._port, "commit", overtaken)
        monkeypatch.setattr("shield_core.operations.commits._ATTEMPTS", 5)
        with pytest.raises(BackendError, match="overtaken 5 times"):
            await engine.disable("GET:/x")
