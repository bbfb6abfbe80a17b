"""Stores that were written before there were limits load, and take limits then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shield_core.backends.file import FileBackend
from shield_core.backends.redis import RedisBackend
from shield_core.models import RouteState
from tests.backends.custom import Ledger

#: A route as it was stored then; the published package knows even less of it.
THEN = {"path": "GET:/x", "status": "disabled", "reason": "fraud", "origin": "operator", "revision": 3}


def takes_limits(engine: Any, again: Any) -> None:
    """Assert that the store's rules are in force, and that limits are kept beside them."""
    assert not engine.decide("GET", "/x").allowed
    assert engine.sync.list_limits() == []
    assert engine.sync.get_global_rate_limit() is None
    assert engine.sync.get_rate_limit_hits() == []
    engine.sync.set_rate_limit_policy("GET:/x", limit="10/minute")
    engine.sync.set_global_rate_limit("100/minute")
    assert [layer.policy.limit for layer in again.ruleset.limits("GET", "/x")] == ["100/minute", "10/minute"]
    assert again.sync.get_state("GET:/x").reason == "fraud"


def test_a_file(tmp_path: Path, start_engine: Any) -> None:
    path = tmp_path / "state.json"
    path.write_text(json.dumps({"states": {"GET:/x": THEN}, "audit": [], "theirs": {"a": 1}}))

    takes_limits(start_engine(FileBackend(path)), start_engine(FileBackend(path)))

    data = json.loads(path.read_text())
    assert data["rl_policies"]["GET:/x"]["limit"] == "10/minute"
    assert data["theirs"] == {"a": 1}
    assert set(data["states"]) == {"GET:/x"}


def test_a_redis(redis_server: Any, start_engine: Any) -> None:
    with redis_server.client() as client:
        client.set("shield:state:GET:/x", json.dumps(THEN))

    takes_limits(*(start_engine(RedisBackend(redis_server.url)) for _ in range(2)))


def test_a_custom_store(start_engine: Any) -> None:
    pages: dict[str, str] = {}
    Ledger(pages=pages).set_state("GET:/x", RouteState.model_validate(THEN))

    takes_limits(*(start_engine(Ledger(pages=pages)) for _ in range(2)))


def test_a_limit_that_cannot_be_read_is_passed_over_in_redis(
    redis_server: Any, start_engine: Any, caplog: Any
) -> None:
    with redis_server.client() as client:
        client.set("shield:state:GET:/x", json.dumps(THEN))
        client.sadd("shield:rl-policy-index", "GET:/x", "GET:/gone")
        client.set("shield:rlpolicy:GET:/x", json.dumps({"path": "/x", "method": "GET", "limit": "often"}))

    engine = start_engine(RedisBackend(redis_server.url))

    assert engine.sync.list_limits() == []
    assert "The rate limit of GET:/x cannot be read and is passed over" in caplog.text
