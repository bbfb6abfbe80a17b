"""Many writers on one database: nothing that was acknowledged is lost, nothing is written twice."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connections, transaction

from shield_core.audit import first_break
from shield_core.declarations import Declaration
from shield_core.engine import ShieldEngine
from shield_core.exceptions import ConflictError
from shield_core.keys import RouteKey
from shield_core.models import Instance
from shield_django.backends import ModelsBackend
from tests import databases
from tests.conftest import eventually
from tests.heavy import HEAVY

WRITERS = 20
ROUNDS = 4 if HEAVY else 2


@pytest.fixture(params=["sqlite_database", "postgres_database"], ids=["sqlite", "postgresql"])
def alias(request: pytest.FixtureRequest, django_db_blocker: Any) -> Iterator[str]:
    """Another database of the project, a file or PostgreSQL, empty and migrated."""
    options = request.getfixturevalue(request.param)
    with django_db_blocker.unblock(), databases.attached(options) as alias:
        yield alias


def engine(alias: str, *, routes: int = WRITERS) -> ShieldEngine:
    made = ShieldEngine(ModelsBackend(using=alias), "prod", refresh_interval=0.05)
    made.declare([Declaration(RouteKey(None, None, f"/r{number}/")) for number in range(routes)])
    return made


def in_threads(work: Any, count: int = WRITERS) -> list[Any]:
    """Run ``work(number)`` in as many threads at once; return what they return, or raise."""
    results: list[Any] = [None] * count
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        barrier.wait()
        try:
            results[number] = work(number)
        except BaseException as error:
            results[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


@pytest.mark.parametrize("processes", [1, 4])
def test_twenty_threads_change_twenty_routes(alias: str, processes: int) -> None:
    engines = [engine(alias) for _ in range(processes)]

    def work(number: int) -> list[int]:
        sync, key = engines[number % processes].sync, f"/r{number}/"
        revisions = []
        for turn in range(ROUNDS):
            revisions.append(sync.disable(key, reason=f"{number}.{turn}", actor=f"op{number}").revision)
            revisions.append(sync.enable(key, reason=f"{number}.{turn}", actor=f"op{number}").revision)
        sync.disable(key, reason="last")
        return revisions

    acknowledged = [revision for revisions in in_threads(work) for revision in revisions]

    assert len(set(acknowledged)) == len(acknowledged) == WRITERS * ROUNDS * 2
    fresh = engine(alias).sync
    states = fresh.list_states()
    assert {(state.status.value, state.reason) for state in states} == {("disabled", "last")}
    log = fresh.get_audit_log(limit=None)
    told = Counter((entry.path, entry.action, entry.reason) for entry in log)
    assert set(told.values()) == {1}
    assert len(log) == WRITERS * (ROUNDS * 2 + 1)
    assert {entry.revision for entry in log} >= set(acknowledged)
    assert first_break(reversed(log)) is None


def test_twenty_threads_change_one_route(alias: str) -> None:
    engines = [engine(alias) for _ in range(2)]
    in_threads(lambda number: engines[number % 2].sync.disable("/r0/", reason=str(number)))

    log = engines[0].sync.get_audit_log(limit=None)
    assert sorted(int(entry.reason) for entry in log) == list(range(WRITERS))
    assert engines[0].sync.get_state("/r0/").reason == log[0].reason
    assert first_break(reversed(log)) is None


def test_of_many_who_saw_the_same_revision_one_wins(alias: str) -> None:
    """What a stale form does: a conflict for all others, and no lost update."""
    shared = engine(alias)
    seen = shared.sync.get_state("/r0/").revision

    def work(number: int) -> bool:
        try:
            shared.sync.disable("/r0/", reason=str(number), expected_revision=seen)
        except ConflictError:
            return False
        return True

    assert sum(in_threads(work)) == 1
    assert len(shared.sync.get_audit_log(limit=None)) == 1


def test_twenty_cold_processes_register_once(alias: str) -> None:
    engines = [engine(alias, routes=30) for _ in range(WRITERS)]
    in_threads(lambda number: len(engines[number].sync.list_states()))

    states = engines[0].sync.list_states()
    assert len(states) == 30
    assert {state.revision for state in states} == {1}


@pytest.mark.parametrize("known", [True, False])
def test_a_sign_of_life_waits_for_the_transaction_of_another(alias: str, known: bool) -> None:
    shared, beats = engine(alias), ModelsBackend(using=alias)
    if known:
        beats.beat_sync(Instance(id="one", seen_at=datetime.now(UTC)))
    told = threading.Thread(
        target=in_threads,
        args=(lambda _: beats.beat_sync(Instance(id="one", revision=7, seen_at=datetime.now(UTC))), 1),
    )
    with transaction.atomic(using=alias):
        shared.sync.disable("/r0/")
        told.start()
        told.join(0.3)
    told.join()
    assert [one.revision for one in beats.instances_sync() if one.id == "one"] == [7]


def test_changes_in_transactions_of_their_own(alias: str) -> None:
    shared = engine(alias)
    shared.sync.list_states()

    def work(number: int) -> None:
        for attempt in (True, False):
            try:
                with transaction.atomic(using=alias):
                    shared.sync.disable(f"/r{number}/", reason=f"kept {attempt}")
                    if attempt:
                        raise ZeroDivisionError
            except ZeroDivisionError:
                continue

    in_threads(work)

    log = shared.sync.get_audit_log(limit=None)
    assert {entry.reason for entry in log} == {"kept False"}
    assert len(log) == WRITERS
    assert first_break(reversed(log)) is None


def test_another_process_follows(alias: str) -> None:
    writer, reader = engine(alias), engine(alias)
    with_thread = reader.sync
    with_thread.start()
    try:
        writer.sync.disable("/r1/", reason="told")
        eventually(lambda: reader.decide("GET", "/r1/").reason == "told")
        writer.sync.clear_override("/r1/")
        eventually(lambda: reader.decide("GET", "/r1/").allowed)
    finally:
        with_thread.stop()
