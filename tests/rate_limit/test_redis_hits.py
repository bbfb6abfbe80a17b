"""The log of blocked requests in Redis."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from shield_core.backends import redis as backends
from shield_core.backends.redis import RedisBackend
from shield_core.keys import RouteKey
from shield_core.models import RateLimitHit
from shield_core.rate_limit.hits import HitQuery
from tests.redis_server import RedisServer


def hit(number: int, path: str = "/x", method: str = "GET") -> RateLimitHit:
    moment = datetime.fromtimestamp(1_700_000_000 + number, UTC)
    return RateLimitHit(
        timestamp=moment, path=path, method=method, key=str(number), limit="1/minute", reset_at=moment
    )


def keys(found: list[RateLimitHit]) -> list[str]:
    return [one.key for one in found]


@pytest.fixture
def backend(redis_server: RedisServer) -> Any:
    backend = RedisBackend(redis_server.url)
    yield backend
    backend.close_sync()


def test_hits_are_read_by_others_newest_first(redis_server: RedisServer, backend: RedisBackend) -> None:
    backend.write_hits_sync([hit(1), hit(2)])
    backend.write_hits_sync([hit(3)])
    backend.write_hits_sync([])
    other = RedisBackend(redis_server.url)
    assert keys(other.read_hits_sync(HitQuery())) == ["3", "2", "1"]
    assert keys(other.read_hits_sync(HitQuery(limit=1))) == ["3"]
    other.close_sync()


def test_hits_of_one_route(backend: RedisBackend) -> None:
    backend.write_hits_sync([hit(1), hit(2, "/pay"), hit(3, "/pay", "POST"), hit(4, "/payments")])
    assert keys(backend.read_hits_sync(HitQuery(RouteKey.parse("/pay")))) == ["3", "2"]
    assert keys(backend.read_hits_sync(HitQuery(RouteKey.parse("GET:/pay")))) == ["2"]


def test_only_the_latest_hits_are_kept(
    redis_server: RedisServer, backend: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "KEPT", 5)
    for start in range(0, 12, 3):
        backend.write_hits_sync([hit(number) for number in range(start, start + 3)])
    assert keys(backend.read_hits_sync(HitQuery(limit=None))) == ["11", "10", "9", "8", "7"]
    assert redis_server("LLEN", "shield:hits") == 5


def test_what_cannot_be_read_is_passed_over(redis_server: RedisServer, backend: RedisBackend) -> None:
    backend.write_hits_sync([hit(1)])
    redis_server("LPUSH", "shield:hits", "{}")
    backend.write_hits_sync([hit(2)])
    assert keys(backend.read_hits_sync(HitQuery())) == ["2", "1"]
