"""Stores of the published package, `api-shield` 0.8.3, which runs in an environment of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shield_core.backends.file import FileBackend
from shield_core.backends.redis import RedisBackend
from tests.conftest import eventually

PROGRAM = Path(__file__).with_name("api_shield_process.py")


@pytest.fixture
def api_shield_python(published: Path) -> str:
    """The interpreter of its environment."""
    return str(published / "python")


class Published:
    """A process of the published package."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, operation: str, *args: Any, **fields: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([operation, args, fields]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the process has ended"
        return json.loads(answer)


@contextmanager
def running(python: str, kind: str, where: str) -> Iterator[Published]:
    command = [python, str(PROGRAM), kind, where]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        try:
            yield Published(process)
        finally:
            process.stdin.close()


@pytest.fixture(params=["file", "redis"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str, Any]:
    if request.param == "file":
        path = str(tmp_path / "state.json")
        return "file", path, FileBackend(path)
    url = request.getfixturevalue("redis_server").url
    return "redis", url, RedisBackend(url)


def open_paths(engine: Any) -> set[str]:
    paths = ("/open", "/maintenance", "/disabled", "/health", "/elsewhere")
    return {path for path in paths if engine.decide("GET", path).allowed}


def test_a_store_that_it_wrote_loads(
    api_shield_python: str, stores: tuple[str, str, Any], start_engine: Any
) -> None:
    kind, where, backend = stores
    with running(api_shield_python, kind, where) as theirs:
        for name in ("open", "maintenance", "disabled"):
            theirs("register", f"GET:/{name}", {})
        theirs("set_maintenance", "GET:/maintenance", reason="database", actor="ann")
        theirs("disable", "GET:/disabled", reason="gone")
        theirs("enable_service_maintenance", "billing", reason="moving")
        theirs("enable_global_maintenance", reason="all", exempt_paths=["/health", "/disabled", "/open"])
        theirs("disable_global_maintenance")
        theirs("enable_global_maintenance", reason="again", exempt_paths=["/health", "/disabled", "/open"])
    engine = start_engine(backend)
    assert open_paths(engine) == {"/open", "/health"}
    assert engine.sync.get_global_maintenance().reason == "again"
    assert engine.sync.get_service_maintenance("billing").reason == "moving"
    log = engine.sync.get_audit_log(path="GET:/maintenance")
    assert [(entry.action, entry.actor, entry.reason) for entry in log] == [
        ("maintenance_on", "ann", "database")
    ]
    engine.sync.disable_global_maintenance()
    engine.sync.enable("GET:/disabled")
    assert open_paths(engine) == {"/open", "/disabled", "/health", "/elsewhere"}


def test_it_reads_what_was_written_since(
    api_shield_python: str, stores: tuple[str, str, Any], start_engine: Any
) -> None:
    kind, where, backend = stores
    engine = start_engine(backend)
    engine.sync.register_batch([("GET:/open", {}), ("GET:/disabled", {})])
    engine.sync.disable("GET:/disabled", "fraud")
    with running(api_shield_python, kind, where) as theirs:
        state = theirs("get_state", "GET:/disabled")
        assert (state["status"], state["reason"]) == ("disabled", "fraud")


def test_what_its_running_processes_publish_is_adopted(
    api_shield_python: str, redis_server: Any, start_engine: Any
) -> None:
    ours = [start_engine(RedisBackend(redis_server.url)) for _ in range(3)]
    with running(api_shield_python, "redis", redis_server.url) as theirs:
        theirs("register", "GET:/open", {})
        theirs("register", "GET:/disabled", {})
        ours[0].sync.register_batch([("GET:/open", {}), ("GET:/disabled", {})])
        assert all("/disabled" in open_paths(engine) for engine in ours)

        theirs("disable", "GET:/disabled", reason="theirs")
        for engine in ours:
            eventually(lambda engine=engine: "/disabled" not in open_paths(engine))
        theirs("enable_global_maintenance", reason="all", exempt_paths=["/health"])
        for engine in ours:
            eventually(lambda engine=engine: open_paths(engine) == {"/health"})
        theirs("disable_global_maintenance")
        theirs("enable", "GET:/disabled")
        for engine in ours:
            eventually(lambda engine=engine: open_paths(engine) >= {"/disabled", "/elsewhere"})

        assert ours[1].sync.disable("GET:/disabled", "ours").reason == "ours"
        assert theirs("get_state", "GET:/disabled")["reason"] == "ours"
        eventually(lambda: "/disabled" not in open_paths(ours[2]))


def test_an_adopted_change_is_one_commit_whoever_follows(
    api_shield_python: str, redis_server: Any, start_engine: Any
) -> None:
    ours = [start_engine(RedisBackend(redis_server.url)) for _ in range(4)]
    ours[0].sync.register("GET:/disabled", {})
    assert all("/disabled" in open_paths(engine) for engine in ours)
    for engine in ours:
        eventually(lambda engine=engine: engine.backend._pubsub is not None)
    before = ours[0].sync.get_state("GET:/disabled").revision
    with running(api_shield_python, "redis", redis_server.url) as theirs:
        theirs("disable", "GET:/disabled", reason="theirs")
    for engine in ours:
        eventually(lambda engine=engine: "/disabled" not in open_paths(engine))
    ours[3].sync.enable("GET:/disabled")
    eventually(lambda: all("/disabled" in open_paths(engine) for engine in ours))
    assert ours[0].sync.get_state("GET:/disabled").revision == before + 2


def limits_of(engine: Any) -> dict[str, str]:
    """Return the limits of GET /open, and of everything and of a service."""
    found = {str(policy.key): policy.limit for policy in engine.sync.list_limits()}
    everything, billing = engine.sync.get_global_rate_limit(), engine.sync.get_service_rate_limit("billing")
    return found | {name: one.limit for name, one in (("*", everything), ("billing", billing)) if one}


def test_the_limits_that_it_wrote_load_and_can_be_changed(
    api_shield_python: str, stores: tuple[str, str, Any], start_engine: Any
) -> None:
    kind, where, backend = stores
    with running(api_shield_python, kind, where) as theirs:
        theirs("register", "GET:/open", {})
        theirs(
            *("set_rate_limit_policy", "/open", "GET", "10/minute"),
            algorithm="sliding_window",
            key_strategy="user",
        )
        theirs("set_global_rate_limit", "100/minute", burst=5, exempt_routes=["/health"])
        theirs("set_service_rate_limit", "billing", "50/minute")
        theirs("disable_global_rate_limit")

    engine = start_engine(backend)

    assert limits_of(engine) == {"GET:/open": "10/minute", "*": "100/minute", "billing": "50/minute"}
    everything = engine.sync.get_global_rate_limit()
    assert (everything.enabled, everything.burst, everything.exempt_routes) == (False, 5, ("/health",))
    own = engine.sync.get_rate_limit_policy("GET:/open")
    assert (own.algorithm, own.key_strategy, own.updated_by) == ("sliding_window", "user", "api-shield")
    assert [layer.policy.limit for layer in engine.ruleset.limits("GET", "/open")] == ["10/minute"]

    engine.sync.enable_global_rate_limit()
    engine.sync.set_rate_limit_policy("GET:/open", limit="1/minute")
    assert engine.sync.get_rate_limit_policy("GET:/open").key_strategy == "user"
    engine.sync.delete_service_rate_limit("billing")
    assert limits_of(start_engine(type(backend)(where))) == {"GET:/open": "1/minute", "*": "100/minute"}
    engine.sync.delete_rate_limit_policy("GET:/open")
    assert limits_of(start_engine(type(backend)(where))) == {"*": "100/minute"}
