"""What the tests of counters in Redis have in common."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shield_core.models import Algorithm
from shield_core.rate_limit.counters import Counter
from shield_core.rate_limit.grammar import Rate
from shield_core.rate_limit.storage import redis_script
from shield_core.rate_limit.storage.redis import RedisRateLimitStorage
from shield_core.rate_limit.storage.redis_script import Script
from tests.redis_server import RedisServer

ALGORITHMS = list(Algorithm)
#: A period in which no window ends while a test runs.
LONG = "366d"


def counter(limit: str = f"3/{LONG}", name: str = "route:GET:/x", **options: Any) -> Counter:
    rate = Rate.parse(limit)
    assert rate is not None
    return Counter.make(name, rate, text=limit, **options)


def layers(limit: str = f"1000/{LONG}", **options: Any) -> list[Counter]:
    return [counter(limit, name, **options) for name in ("global:", "service:shop", "route:shop:GET:/x")]


class SimulatedClock:
    """Microseconds, also for storages that were made with ``storage``: they read it from Redis."""

    def __init__(self, server: RedisServer, now: int = 1_700_000_000_000_000) -> None:
        self._client = server.client()
        self.storage = RedisRateLimitStorage(server.url, timeout=5.0)
        text = redis_script.SCRIPT.replace("redis.call('TIME')", "redis.call('LRANGE', 'clock', 0, -1)")
        # Keys must not expire in real time.
        self.storage._script = Script("shield:", text.replace("SPARE", "3600000"))
        self.now = now
        self.set(now)

    def set(self, now: int) -> None:
        self.now = now
        with self._client.pipeline() as pipeline:
            pipeline.delete("clock").rpush("clock", now // 1_000_000, now % 1_000_000).execute()

    def close(self) -> None:
        self.storage.stop()
        self._client.close()


@contextmanager
def commands_of(server: RedisServer) -> Iterator[list[str]]:
    """Collect the commands that clients send meanwhile; what scripts do is not among them."""
    seen: list[str] = []
    with server.client() as last, server.client() as client:
        last.ping()  # which connects, before anybody listens
        with client.monitor() as monitor:
            yield from _heard(monitor, last, seen)


def _heard(monitor: Any, last: Any, seen: list[str]) -> Iterator[list[str]]:
    def listen() -> None:
        while (told := monitor.next_command())["command"] != "ECHO done":
            if told["client_type"] != "lua":
                seen.append(told["command"].partition(" ")[0])

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield seen
    finally:
        last.echo("done")
        thread.join()
