"""Redis behind Sentinel: a failover is a short absence, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from redis.sentinel import Sentinel

from shield_core.backends.redis import RedisBackend
from shield_core.exceptions import BackendError
from tests.conftest import eventually
from tests.redis_server import RedisServer

NAME = "mymaster"


@pytest.fixture
def servers(redis_process: RedisServer) -> Iterator[tuple[RedisServer, RedisServer, RedisServer]]:
    """A master, its replica, and the sentinel that watches them."""
    with ExitStack() as stack:
        master = stack.enter_context(RedisServer())
        other = stack.enter_context(RedisServer(f"replicaof 127.0.0.1 {master.port}"))
        eventually(lambda: other("INFO", "replication")["master_link_status"] == "up")
        watch = (
            f"sentinel monitor {NAME} 127.0.0.1 {master.port} 1",
            f"sentinel down-after-milliseconds {NAME} 200",
            f"sentinel failover-timeout {NAME} 1000",
        )
        sentinel = stack.enter_context(RedisServer(*watch, sentinel=True))
        client = stack.enter_context(sentinel.client())
        eventually(lambda: client.sentinel_slaves(NAME))
        yield master, other, sentinel


@pytest.mark.heavy
def test_a_failover_loses_no_rule_and_changes_go_on(
    servers: tuple[RedisServer, RedisServer, RedisServer], start_engine: Any, quick_retries: None
) -> None:
    master, other, sentinel = servers
    found = Sentinel([("127.0.0.1", sentinel.port)], socket_timeout=1.0)
    engine, follower = (
        start_engine(RedisBackend(client=lambda: found.master_for(NAME, socket_timeout=1.0)))
        for _ in range(2)
    )
    engine.sync.register_batch([("GET:/x", {}), ("GET:/y", {})])
    engine.sync.disable("GET:/x")
    eventually(lambda: not follower.decide("GET", "/x").allowed)
    with master.client() as client:
        client.wait(1, 5000)

    master.stop()
    eventually(lambda: _disabled(engine), within=60)
    assert not engine.decide("GET", "/x").allowed
    eventually(lambda: not follower.decide("GET", "/y").allowed)
    assert [entry.path for entry in follower.sync.get_audit_log(limit=2)] == ["GET:/y", "GET:/x"]
    assert other("ROLE")[0] == b"master"


def _disabled(engine: Any) -> bool:
    try:
        engine.sync.disable("GET:/y")
    except BackendError:
        time.sleep(0.1)
        return False
    return True
