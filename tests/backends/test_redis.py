"""Redis: the published keys, what requests cost, and who follows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from shield_core.backends import redis as backends
from shield_core.backends.redis import RedisBackend
from shield_core.models import Instance
from tests.backends.following import blocking_x, is_open
from tests.backends.neighbour import Neighbour
from tests.conftest import eventually
from tests.redis_server import RedisServer

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch: pytest.MonkeyPatch, quick_retries: None) -> None:
    monkeypatch.setattr(backends, "_SOCKET_TIMEOUT", 0.5)


@pytest.fixture
def engine(redis_server: RedisServer, start_engine: Any) -> Any:
    return blocking_x(start_engine(RedisBackend(redis_server.url)))


# -- keys -------------------------------------------------------------------------------------


def test_the_published_keys_hold_what_is_published(redis_server: RedisServer, engine: Any) -> None:
    engine.sync.enable_global_maintenance("all", exempt_paths=["/health"])
    state = json.loads(redis_server("GET", "shield:state:GET:/x"))
    assert (state["path"], state["status"], state["reason"]) == ("GET:/x", "disabled", "fraud")
    config = json.loads(redis_server("GET", "shield:global"))
    assert (config["enabled"], config["exempt_paths"]) == (True, ["/health"])
    entries = [json.loads(entry) for entry in redis_server("LRANGE", "shield:audit", 0, -1)]
    assert [entry["action"] for entry in entries] == ["global_maintenance_on", "disable"]


def test_every_change_is_published(redis_server: RedisServer, engine: Any) -> None:
    with redis_server.client() as client, client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe("shield:changes")
        listener.get_message(timeout=5)
        engine.sync.enable("GET:/x")
        message = eventually(lambda: listener.get_message(timeout=1))
        state = json.loads(message["data"])
    assert (state["path"], state["status"]) == ("GET:/x", "active")


def test_a_hand_written_store_loads(redis_server: RedisServer, start_engine: Any) -> None:
    redis_server("SET", "shield:state:GET:/x", json.dumps({"path": "GET:/x", "status": "disabled"}))
    redis_server("SET", "shield:global", json.dumps({"enabled": True, "exempt_paths": ["/x", "/y"]}))
    engine = start_engine(RedisBackend(redis_server.url))
    assert [is_open(engine, path) for path in ("/x", "/y", "/z")] == [False, True, False]


def test_what_cannot_be_read_is_passed_over(
    redis_server: RedisServer, start_engine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for key, text in (("GET:/broken", "{"), ("no key", "{}"), ("GET:/x", '{"status": "disabled"}')):
        redis_server("SET", f"shield:state:{key}", text)
    redis_server("LPUSH", "shield:audit", "?")
    engine = start_engine(RedisBackend(redis_server.url))
    assert not is_open(engine)
    assert engine.sync.get_audit_log() == []
    assert "GET:/broken" in caplog.text


def test_a_key_prefix_is_before_every_key(redis_server: RedisServer, start_engine: Any) -> None:
    engine = blocking_x(start_engine(RedisBackend(redis_server.url, key_prefix="{shield}:")))
    other = start_engine(RedisBackend(redis_server.url, key_prefix="{shield}:"))
    assert not is_open(other)
    engine.sync.enable_global_maintenance("all")
    names = [name.decode() for name in redis_server("KEYS", "*")]
    assert {"{shield}:state:GET:/x", "{shield}:global", "{shield}:audit"} <= set(names)
    assert all(name.startswith("{shield}:") for name in names)


@pytest.mark.parametrize(
    ("limit", "kept"), [(3, ["4", "3", "2"]), (0, []), (None, ["4", "3", "2", "1", "0"])]
)
def test_as_many_audit_entries_as_agreed_are_kept(
    redis_server: RedisServer, start_engine: Any, limit: int | None, kept: list[str]
) -> None:
    engine = start_engine(RedisBackend(redis_server.url, audit_limit=limit))
    engine.sync.register("GET:/x", {})
    for turn in range(5):
        engine.sync.set_maintenance("GET:/x", str(turn))
    assert [entry.reason for entry in engine.sync.get_audit_log()] == kept


def test_a_client_of_ones_own_serves(redis_server: RedisServer, start_engine: Any) -> None:
    with redis_server.client(decode_responses=True) as client:
        engine = start_engine(RedisBackend(client=client))
        blocking_x(engine)
        other = start_engine(RedisBackend(client=redis_server.client))
        assert not is_open(other)
        engine.sync.enable("GET:/x")
        eventually(lambda: is_open(other))
        assert engine.sync.get_audit_log()[0].action == "enable"
        engine.sync.stop()
        other.sync.stop()


def test_a_follower_of_a_client_with_a_short_time_out_is_not_disturbed(
    redis_server: RedisServer, start_engine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_server.client() as client:
        client.connection_pool.connection_kwargs["socket_timeout"] = 0.2
        engine = blocking_x(start_engine(RedisBackend(client=client), refresh_interval=1.0))
        contacts: set[float] = set()
        eventually(lambda: len(contacts) > 5 or contacts.add(_last_contact(engine)))
        engine.sync.stop()
    assert "does not answer" not in caplog.text


def _last_contact(engine: Any) -> float:
    """Return the moment of the last contact, to a tenth of a second."""
    return round(time.monotonic() - engine.status().seconds_since_contact, 1)


# -- requests ----------------------------------------------------------------------------------


def test_a_decision_sends_no_command(redis_server: RedisServer, engine: Any) -> None:
    engine.sync.stop()
    eventually(lambda: redis_server("CLIENT", "LIST").count(b"cmd=xread") == 0)
    before = redis_server("INFO", "stats")["total_commands_processed"]
    for _ in range(1000):
        assert not is_open(engine)
        assert is_open(engine, "/y")
    after = redis_server("INFO", "stats")["total_commands_processed"]
    assert after - before < 10


def test_a_waiting_follower_asks_a_few_times_a_second(redis_server: RedisServer, start_engine: Any) -> None:
    engine = blocking_x(start_engine(RedisBackend(redis_server.url), refresh_interval=0.2))
    before = redis_server("INFO", "stats")["total_commands_processed"]
    began, ended = time.monotonic(), time.monotonic() + 1
    while time.monotonic() < ended:
        assert not is_open(engine)
    after = redis_server("INFO", "stats")["total_commands_processed"]
    assert after - before < 40 * (time.monotonic() - began)


# -- processes ---------------------------------------------------------------------------------


def test_an_instance_is_gone_after_90_seconds(redis_server: RedisServer, engine: Any) -> None:
    now = datetime.now(UTC)
    for name, age in (("old", 91), ("recent", 80)):
        engine.backend.beat_sync(Instance(id=name, seen_at=now - timedelta(seconds=age)))
    assert "recent" in {one.id for one in engine.sync.instances()}
    assert "old" not in {one.id for one in engine.sync.instances()}
    assert 0 < redis_server("TTL", "shield:instance:old") <= 90


def test_two_processes_follow_each_other(redis_server: RedisServer, engine: Any) -> None:
    with Neighbour(partial(RedisBackend, redis_server.url)) as other:
        assert not other.lets_pass("/x")
        other("enable", "GET:/x")
        eventually(lambda: is_open(engine))
        engine.sync.enable_global_maintenance("all")
        eventually(lambda: not other.lets_pass("/y"))


def test_a_forked_child_has_a_connection_of_its_own(redis_server: RedisServer) -> None:
    program = f"""
import os, time, warnings
warnings.filterwarnings("ignore", message=".*multi-threaded.*fork")
from shield_core.backends.redis import RedisBackend
from shield_core.engine import ShieldEngine
engine = ShieldEngine(RedisBackend({redis_server.url!r}), refresh_interval=0.1)
engine.sync.register_batch([("GET:/x", {{}}), ("GET:/y", {{}})])
assert engine.decide("GET", "/x").allowed
def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
child = os.fork()
if child == 0:
    engine.sync.disable("GET:/x")
    until(lambda: not engine.decide("GET", "/y").allowed)
    engine.sync.stop()
    os._exit(0)
until(lambda: not engine.decide("GET", "/x").allowed)
engine.sync.disable("GET:/y")
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert [entry.action for entry in engine.sync.get_audit_log()] == ["disable", "disable"]
engine.sync.stop()
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, env=environment)
