"""A store that is gone, or came back empty, opens nothing, whatever the store is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from shield_core.backends import redis as redis_backends
from shield_core.exceptions import BackendError
from tests.backends import faults
from tests.backends.following import is_open
from tests.conftest import eventually


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch: pytest.MonkeyPatch, quick_retries: None) -> None:
    monkeypatch.setattr(redis_backends, "_SOCKET_TIMEOUT", 1.0)


@pytest.fixture(params=faults.KINDS)
def store(request: pytest.FixtureRequest) -> Iterator[faults.FragileStore]:
    with ExitStack() as stack:
        yield faults.fragile(request.param, request, stack)


@pytest.fixture
def engines(store: faults.FragileStore, start_engine: Any) -> tuple[Any, Any]:
    """Two processes that enforce what an operator has set: /x disabled, a service in maintenance."""
    one, other = (start_engine(store.make_backend()) for _ in range(2))
    one.sync.register_batch([("GET:/x", {}), ("GET:/y", {})])
    one.sync.disable("GET:/x", "fraud", actor="ann")
    one.sync.enable_service_maintenance("billing", "moving")
    assert not is_open(one)
    eventually(lambda: not is_open(other) and other.status().revision == one.status().revision)
    return one, other


def states(engines: tuple[Any, ...]) -> set[str]:
    return {engine.status().state for engine in engines}


def test_a_store_that_is_gone_changes_nothing_until_it_is_back(
    store: faults.FragileStore, engines: tuple[Any, Any], caplog: pytest.LogCaptureFixture
) -> None:
    store.take_away()
    eventually(lambda: states(engines) == {"stale"})
    before = [engine.status().seconds_since_contact for engine in engines]
    for engine, seconds in zip(engines, before, strict=True):
        eventually(
            lambda engine=engine, seconds=seconds: engine.status().seconds_since_contact > seconds + 0.3
        )
        assert engine.status().error
        assert (is_open(engine), is_open(engine, "/y")) == (False, True)
    assert caplog.text.count("The store does not answer") == 2

    store.bring_back()
    eventually(lambda: states(engines) == {"live"})
    one, other = engines
    one.sync.enable("GET:/x")
    eventually(lambda: is_open(other))
    assert other.status().seconds_since_contact < 5


def test_a_process_that_starts_while_the_store_is_gone_follows_it_when_it_is_back(
    store: faults.FragileStore, engines: tuple[Any, Any], start_engine: Any
) -> None:
    store.take_away()
    late = start_engine(store.make_backend(), init_timeout=0.2)
    assert is_open(late)  # nothing is decorated here
    assert late.status().state == "cold"
    store.bring_back()
    eventually(lambda: not is_open(late))


def test_an_emptied_store_opens_nothing_and_is_restored(
    store: faults.FragileStore,
    engines: tuple[Any, Any],
    start_engine: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store.empty()
    eventually(lambda: states(engines) == {"store_lost"})
    assert not any(map(is_open, engines))
    assert caplog.text.count("The store came back empty") == 2

    operator = start_engine(store.make_backend(), threads=False)
    operator.sync.restore(reason="disk failure", actor="ann")
    eventually(lambda: states(engines) == {"live"})
    assert not any(map(is_open, engines))
    assert operator.sync.get_state("GET:/x").reason == "fraud"
    assert operator.sync.get_service_maintenance("billing").reason == "moving"
    assert operator.sync.get_audit_log()[0].action == "store_restored"
    engines[1].sync.enable("GET:/x")
    eventually(lambda: is_open(engines[0]))


def test_the_loss_of_a_store_is_accepted_by_a_reset_of_everything(
    store: faults.FragileStore, engines: tuple[Any, Any], start_engine: Any
) -> None:
    store.empty()
    eventually(lambda: states(engines) == {"store_lost"})
    operator = start_engine(store.make_backend(), threads=False)
    operator.sync.reset_all(actor="ann")
    eventually(lambda: all(map(is_open, engines)))
    assert states(engines) == {"live"}


def test_nobody_restores_what_no_process_has_kept(store: faults.FragileStore, start_engine: Any) -> None:
    operator = start_engine(store.make_backend(), threads=False)
    with pytest.raises(BackendError, match="shield reset --all"):
        operator.sync.restore(timeout=0.3)


def test_an_emptied_store_is_recognised_although_another_process_has_written_since(
    store: faults.FragileStore, engines: tuple[Any, Any], start_engine: Any
) -> None:
    """Revisions count from the start in a new store, and may be higher when a process looks again."""
    store.take_away()
    eventually(lambda: states(engines) == {"stale"})
    store.bring_back()
    store.empty()
    newcomer = start_engine(store.make_backend(), threads=False)
    for number in range(8):
        newcomer.sync.register(f"GET:/new/{number}", {})
    eventually(lambda: states(engines) == {"store_lost"})
    assert not any(map(is_open, engines))
