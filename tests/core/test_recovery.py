"""An emptied store is restored by a process that kept its rules, or accepted by an operator."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shield_core import recovery
from shield_core.backends.file import FileBackend
from shield_core.exceptions import BackendError
from shield_core.models import RouteState
from shield_core.snapshot import Snapshot

from .rules import NOW, override


def is_open(engine):
    return engine.decide("GET", "/x").allowed


@pytest.fixture
def backend(tmp_path):
    return FileBackend(tmp_path / "state.json")


@pytest.fixture
def lost(backend, make_engine, wait_until):
    """Two processes whose store lost what an operator had put there, and a third, new one."""
    first, second = (make_engine(FileBackend(backend.path)) for _ in range(2))
    for engine in (first, second):
        engine.sync.register_batch([("GET:/x", {}), ("GET:/y", {})])
        assert is_open(engine)
    first.sync.disable("GET:/x", "fraud")
    first.sync.enable_service_maintenance("billing", "moving")
    wait_until(lambda: second.status().revision == first.status().revision)
    backend.path.unlink()
    wait_until(lambda: all(one.status().state == "store_lost" for one in (first, second)))
    return first, second, make_engine(FileBackend(backend.path))


def test_restore_puts_the_rules_back_and_says_who_asked(lost, wait_until):
    first, second, operator = lost
    operator.sync.restore(reason="disk failure", actor="ann")
    wait_until(lambda: all(one.status().state == "live" for one in (first, second)))
    assert not is_open(first)
    assert not is_open(second)
    assert operator.sync.get_state("GET:/x").reason == "fraud"
    assert operator.sync.get_service_maintenance("billing").reason == "moving"
    (entry,) = operator.sync.get_audit_log(action="store_restored")
    assert (entry.actor, entry.reason) == ("ann", "disk failure")


def test_reset_all_accepts_the_loss(lost, wait_until):
    first, second, operator = lost
    operator.sync.reset_all(reason="start anew", actor="ann")
    wait_until(lambda: is_open(first) and is_open(second))
    assert first.status().state == "live"


def test_what_operators_set_meanwhile_is_enforced_without_opening_the_rest(lost, wait_until):
    first, _, operator = lost
    wait_until(lambda: operator.sync.route_exists("GET:/y"))
    operator.sync.disable("GET:/y")
    wait_until(lambda: not first.decide("GET", "/y").allowed)
    assert not is_open(first)
    assert first.status().state == "store_lost"


def test_a_process_that_lost_its_store_enforces_its_own_writes_at_once(lost, wait_until):
    first, _, operator = lost
    wait_until(lambda: operator.sync.route_exists("GET:/y"))
    first.sync.disable("GET:/y")
    assert not first.decide("GET", "/y").allowed
    assert not is_open(first)


def test_restore_keeps_what_was_set_meanwhile(lost, wait_until):
    first, _, operator = lost
    wait_until(lambda: operator.sync.route_exists("GET:/x"))
    operator.sync.set_maintenance("GET:/x", "newer")
    operator.sync.restore()
    wait_until(lambda: first.status().state == "live")
    assert operator.sync.get_state("GET:/x").reason == "newer"


def test_restore_says_when_nobody_has_kept_anything(backend, make_engine):
    engine = make_engine(backend)
    engine.sync.register("GET:/x", {})
    with pytest.raises(BackendError, match="No running process"):
        engine.sync.restore(timeout=0.2)
    engine.sync.disable("GET:/x")
    assert engine.sync.get_state("GET:/x").status == "disabled"


def test_reset_all_on_a_healthy_store_lifts_everything_and_tells_each_change(backend, make_engine):
    engine = make_engine(backend)
    engine.sync.register_batch([("GET:/x", {}), ("GET:/y", {"status": "disabled"})])
    engine.sync.disable("GET:/x")
    engine.sync.enable("GET:/y")
    engine.sync.enable_global_maintenance("r")
    engine.sync.reset_all(actor="ann")
    assert is_open(engine)
    assert not engine.decide("GET", "/y").allowed
    assert not engine.sync.get_global_maintenance().enabled
    told = [entry.path for entry in engine.sync.get_audit_log(actor="ann")]
    assert {"GET:/x", "GET:/y", "__shield:global__"} <= set(told)


def stored(revision, *states, epoch="first"):
    return Snapshot(epoch, revision, {state.path: state for state in states})


X = override("GET:/x", "disabled", revision=7, updated_at=NOW)
X_OPEN = RouteState(path="GET:/x", revision=8, updated_at=NOW)
Y = RouteState(path="GET:/y", revision=3, updated_at=NOW)
Y_AGAIN = Y.replace(updated_at=NOW + timedelta(minutes=1))
Y_OF_OTHERS = Y.replace(updated_at=None)


@pytest.mark.parametrize(
    ("before", "after", "emptied"),
    [
        (stored(7, X, Y), stored(8, X_OPEN, Y), False),
        (stored(7, X, Y), stored(8, X_OPEN, Y, epoch="second"), False),
        (stored(7, X, Y), stored(8, Y, epoch="second"), True),
        (stored(7, X, Y), Snapshot("second", 8, {"GET:/y": Y}, {"GET:/x": 8}), False),
        (stored(7, X, Y), stored(8, X_OPEN, Y_AGAIN, epoch="second"), True),
        (stored(7, X, Y_OF_OTHERS), stored(8, X_OPEN, Y_OF_OTHERS, epoch="second"), True),
        (stored(7, X, Y), stored(0, epoch="second"), True),
        (stored(7, X, Y), stored(6, Y), True),
        (stored(7, X, Y), stored(8, X, Y_AGAIN, epoch="second"), False),
        (stored(7, Y), stored(0, epoch="second"), False),
    ],
    ids=[
        "somebody lifted the last override",
        "somebody did when the store had lost its head",
        "the override has gone with the head, and left no trace",
        "somebody deleted it when the store had lost its head",
        "the code has registered its routes again",
        "another program writes its routes, which look the same, again",
        "nothing is there",
        "a backup from before the override",
        "the override is still there",
        "no operator had used it",
    ],
)
def test_what_is_taken_for_an_emptied_store(before, after, emptied):
    assert recovery.was_emptied(before, after) is emptied
