"""What may happen to a Redis server and to the connections with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shield_core.backends import redis as backends
from shield_core.backends.redis import RedisBackend
from shield_core.exceptions import BackendError
from tests.backends.following import blocking_x, is_open
from tests.conftest import eventually
from tests.redis_server import RedisServer

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch: pytest.MonkeyPatch, quick_retries: None) -> None:
    monkeypatch.setattr(backends, "_SOCKET_TIMEOUT", 0.5)


@pytest.fixture
def own_server(redis_process: RedisServer) -> Iterator[RedisServer]:
    """A server that the test may stop."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def engine(redis_server: RedisServer, start_engine: Any) -> Any:
    return blocking_x(start_engine(RedisBackend(redis_server.url)))


def test_a_killed_connection_is_opened_again(
    redis_server: RedisServer, engine: Any, start_engine: Any
) -> None:
    other = start_engine(RedisBackend(redis_server.url))
    assert not is_open(other)
    for kind in ("normal", "pubsub"):
        redis_server("CLIENT", "KILL", "TYPE", kind)
    engine.sync.enable("GET:/x")
    assert is_open(engine)
    eventually(lambda: is_open(other))


def test_a_forgotten_script_is_sent_again(redis_server: RedisServer, engine: Any) -> None:
    redis_server("SCRIPT", "FLUSH")
    engine.sync.enable("GET:/x")
    assert is_open(engine)


def test_a_restart_that_keeps_the_data_is_passed_over(own_server: RedisServer, start_engine: Any) -> None:
    engine = blocking_x(start_engine(RedisBackend(own_server.url)))
    own_server.stop(save=True)
    eventually(lambda: engine.status().state == "stale")
    assert not is_open(engine)
    with pytest.raises(BackendError, match="Redis does not answer"):
        engine.sync.enable("GET:/x")
    own_server.start()
    eventually(lambda: engine.status().state == "live")
    engine.sync.enable("GET:/x")
    assert is_open(engine)


def test_a_restart_that_loses_the_data_opens_nothing(own_server: RedisServer, start_engine: Any) -> None:
    engine = blocking_x(start_engine(RedisBackend(own_server.url)))
    own_server.stop()
    own_server.start()
    eventually(lambda: engine.status().state == "store_lost")
    assert not is_open(engine)


def test_a_redis_that_hangs_holds_up_no_decision_and_bounds_a_change(
    own_server: RedisServer, start_engine: Any
) -> None:
    engine = blocking_x(start_engine(RedisBackend(own_server.url)))
    cold = start_engine(RedisBackend(own_server.url), init_timeout=0.3)
    own_server.hang()
    began = time.monotonic()
    for _ in range(1000):
        assert not is_open(engine)
    assert time.monotonic() - began < 0.3
    began = time.monotonic()
    assert is_open(cold)  # the decorators', which block nothing here
    assert time.monotonic() - began < 3
    began = time.monotonic()
    with pytest.raises(BackendError):
        engine.sync.enable("GET:/x")
    assert time.monotonic() - began < 5
    eventually(lambda: engine.status().state == "stale")
    own_server.resume()
    eventually(lambda: engine.status().state == "live" and not is_open(cold))


def test_a_commit_whose_answer_was_lost_is_not_made_twice(
    redis_server: RedisServer, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = engine.backend._connection.script
    run = type(script).run
    lost = threading.Event()

    def losing(self: Any, *args: Any) -> bool:
        done = run(self, *args)
        if not lost.is_set():
            lost.set()
            raise backends.redis.TimeoutError("the answer got lost")
        return done

    monkeypatch.setattr(type(script), "run", losing)
    engine.sync.set_maintenance("GET:/y", "once")
    assert lost.is_set()
    assert [entry.reason for entry in engine.sync.get_audit_log()] == ["once", "fraud"]
    assert not is_open(engine, "/y")


def test_a_replica_that_takes_no_writes_is_a_clear_error(
    own_server: RedisServer, redis_server: RedisServer, engine: Any, start_engine: Any
) -> None:
    own_server("REPLICAOF", "127.0.0.1", redis_server.port)
    eventually(lambda: own_server("INFO", "replication")["master_link_status"] == "up")
    reader = start_engine(RedisBackend(own_server.url))
    assert not is_open(reader)
    with pytest.raises(BackendError, match="read-only replica"):
        reader.sync.enable("GET:/x")
    engine.sync.enable("GET:/x")
    eventually(lambda: is_open(reader))

    own_server("REPLICAOF", "NO", "ONE")
    reader.sync.disable("GET:/x")
    assert not is_open(reader)


def test_a_store_whose_head_is_gone_goes_on_with_newer_revisions(
    redis_server: RedisServer, engine: Any
) -> None:
    revision = engine.sync.get_state("GET:/x").revision
    redis_server("DEL", "shield:head")
    engine.sync.enable("GET:/x")
    assert engine.sync.get_state("GET:/x").revision > revision
    eventually(lambda: engine.status().state == "live" and is_open(engine))


def test_who_is_too_far_behind_loads_again(redis_server: RedisServer, engine: Any, start_engine: Any) -> None:
    behind = RedisBackend(redis_server.url)
    since = behind.load_sync().cursor
    engine.sync.enable("GET:/x")
    assert not behind.watch_sync(since).reset
    redis_server("XTRIM", "shield:stream", "MAXLEN", 0)
    assert behind.watch_sync(since).reset


def test_flushall_is_no_command_to_open_everything(redis_server: RedisServer, engine: Any) -> None:
    redis_server("FLUSHALL")
    eventually(lambda: engine.status().state == "store_lost")
    assert not is_open(engine)
