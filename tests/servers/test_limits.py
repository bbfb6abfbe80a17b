"""Limits on real servers: several processes share a Redis, policies travel, and Redis goes away."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from shield_core.backends.redis import RedisBackend
from shield_core.engine import ShieldEngine
from tests.conftest import eventually, missing_service
from tests.redis_server import RedisServer
from tests.servers.processes import Response, Server
from tests.servers.test_proof import manage

pytestmark = [pytest.mark.servers, pytest.mark.parametrize("database", ["sqlite"], indirect=True)]

FASTAPI = "tests.servers.limited:app"
#: A path that no limit counts.
WARM = "/warm/"
UNREACHED = "counters of the rate limits cannot be reached"
#: How each is started; daphne, which has no workers, twice.
SERVERS: dict[str, dict[str, Any]] = {
    "Django on gunicorn gthread": {"kind": "gunicorn gthread", "args": ("--workers", "2")},
    "Django on uvicorn": {"kind": "uvicorn", "args": ("--workers", "2")},
    "Django on daphne": {"kind": "daphne"},
    "FastAPI on uvicorn": {"kind": "uvicorn", "args": ("--workers", "2"), "app": FASTAPI},
}


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis of this test alone, which it may stop."""
    try:
        server = RedisServer()
    except FileNotFoundError as error:
        missing_service("Redis", str(error))
        raise
    with server:
        yield server


@pytest.fixture
def shop(own_redis: RedisServer, serve: Any) -> Any:
    """``shop("Django on uvicorn")`` starts a server whose rules and counters are in the Redis."""

    def start(name: str, **env: str) -> Server:
        options = dict(SERVERS[name])
        known = {"SHIELD_BACKEND": "redis", "SHIELD_REDIS_URL": own_redis.url, "SHIELD_ENV": "test"}
        started: Server = serve(options.pop("kind"), env={**known, **env}, **options)
        return started

    return start


@pytest.fixture
def processes(shop: Any) -> Any:
    """``processes("Django on uvicorn")`` starts the servers of two processes."""

    def start(name: str, **env: str) -> list[Server]:
        return [shop(name, **env) for _ in range(1 if "args" in SERVERS[name] else 2)]

    return start


@contextmanager
def operating(redis: RedisServer) -> Iterator[Any]:
    engine = ShieldEngine(RedisBackend(redis.url), threads=False)
    try:
        yield engine.sync
    finally:
        engine.sync.stop()


@pytest.fixture
def shared(own_redis: RedisServer) -> Iterator[Any]:
    """An operator on the same Redis, in a process of its own: this one."""
    with operating(own_redis) as sync:
        yield sync


#: A machine that is too busy to answer in time must not let anybody pass: these tests are exact.
CLOSED = {"SHIELD_FAIL_OPEN": "false"}


def limit_everything(operator: Any, algorithm: str) -> None:
    operator.set_global_rate_limit(
        "30/hour", algorithm=algorithm, key_strategy="global", exempt_routes=[WARM]
    )


def flood(servers: list[Server], paths: list[str]) -> list[Response]:
    """Send a request for each path to every server, many at once."""
    work = [(server, path) for path in paths for server in servers]
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda one: one[0].ask(one[1]), work))


def warm(servers: list[Server], operator: Any, processes: int) -> None:
    """Ask until so many processes follow the store: a cold one knows no operator's limit yet."""
    eventually(
        lambda: [server.status(WARM) for server in servers] and len(operator.instances()) == processes,
        within=60,
    )


def assert_admitted(limit: int, answers: list[Response], servers: list[Server]) -> None:
    counts = Counter(one.status for one in answers)
    assert set(counts) == {200, 429}
    assert counts[200] <= limit
    if not any(UNREACHED in server.log for server in servers):
        assert counts[200] == limit


@pytest.mark.parametrize("name", SERVERS)
def test_processes_that_share_a_redis_never_admit_more_than_the_limit(
    processes: Any, shared: Any, name: str
) -> None:
    limit_everything(shared, "sliding_window")
    servers = processes(name, **CLOSED)
    warm(servers, shared, 2)

    assert_admitted(30, flood(servers, ["/shop/"] * 100), servers)


def test_django_and_fastapi_count_a_limit_of_everything_together(shop: Any, shared: Any) -> None:
    limit_everything(shared, "token_bucket")
    names = ("Django on gunicorn gthread", "Django on uvicorn", "FastAPI on uvicorn")
    servers = [shop(name, **CLOSED) for name in names]
    warm(servers, shared, 6)

    assert_admitted(30, flood(servers, ["/shop/"] * 40), servers)


def test_a_limit_of_the_code_holds_over_all_workers(shop: Any) -> None:
    server = shop("FastAPI on uvicorn", **CLOSED)

    answers = flood([server], [f"/items/{item}" for item in range(100)])

    assert_admitted(20, answers, [server])
    remaining = [int(one.headers["X-RateLimit-Remaining"]) for one in answers if one.status == 200]
    assert len(set(remaining)) == len(remaining)
    assert {json.loads(one.body)["error"]["path"] for one in answers if one.status == 429} == {
        "GET:/items/{item}"
    }


def limit_of(server: Server, path: str = "/shop/") -> str | None:
    return server.ask(path).headers["X-RateLimit-Limit"]


@pytest.mark.parametrize("name", ["Django on gunicorn gthread", "FastAPI on uvicorn"])
def test_a_policy_is_live_in_all_processes_and_survives_a_restart(
    shop: Any, shared: Any, own_redis: RedisServer, name: str
) -> None:
    server = shop(name, **CLOSED)
    assert {limit_of(server) for _ in range(4)} == {None}

    eventually(lambda: shared.list_states())
    shared.set_rate_limit_policy("/shop/", limit="5/hour", algorithm="sliding_window")
    eventually(lambda: all(limit_of(server) == "5" for _ in range(8)))
    assert server.status("/shop/") == 429

    server.stop()
    own_redis.stop(save=True)
    own_redis.start()
    again = shop(name, **CLOSED)

    assert (again.status("/shop/"), limit_of(again)) == (429, "5")
    with operating(own_redis) as operator:
        operator.reset_rate_limit("/shop/")
        eventually(lambda: again.status("/shop/") == 200)
        operator.delete_rate_limit_policy("/shop/")
        eventually(lambda: all(limit_of(again) is None for _ in range(8)))


@pytest.mark.parametrize("name", ["Django on gunicorn gthread", "Django on uvicorn"])
def test_a_limit_set_in_a_terminal_is_live_in_the_servers_and_survives_their_restart(
    serve: Any, database: dict[str, Any], name: str
) -> None:
    options = dict(SERVERS[name])
    kind = options.pop("kind")
    server = serve(kind, **options)
    assert server.status("/shop/") == 200

    manage(database, "shield", "rl", "set", "/shop/", "1000/hour", "--actor", "ada@ops")
    eventually(lambda: all(limit_of(server) == "1000" for _ in range(8)))
    server.stop()
    again = serve(kind, **options)
    assert {limit_of(again) for _ in range(8)} == {"1000"}

    # What is not named stays; each worker counts for itself here, as the check about it says.
    manage(database, "shield", "rl", "set", "/shop/", "--burst", "5", "--actor", "ada@ops")
    eventually(lambda: all(limit_of(again) == "1005" for _ in range(8)))
    manage(database, "shield", "grl", "set", "1/hour", "--key", "global", "--actor", "ada@ops")
    eventually(lambda: all(again.status("/shop/items/1/") == 429 for _ in range(8)))
    assert "1/hour" in manage(database, "shield", "rl", "hits", "--format", "json")
    manage(database, "shield", "grl", "delete", "--actor", "ada@ops")
    manage(database, "shield", "rl", "delete", "/shop/", "--actor", "ada@ops")
    eventually(lambda: all(limit_of(again) is None for _ in range(8)))


class Callers:
    """Threads that ask a server again and again, until the block ends."""

    def __init__(self, server: Server, path: str) -> None:
        self._server = server
        self._path = path
        self._end = threading.Event()
        self._lock = threading.Lock()
        self.seen: Counter[Any] = Counter()
        self._threads = [threading.Thread(target=self._run) for _ in range(4)]

    def _run(self) -> None:
        while not self._end.is_set():
            try:
                seen: Any = self._server.status(self._path)
            except OSError as error:  # told by the assertion at the end
                seen = repr(error)
            with self._lock:
                self.seen[seen] += 1

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def pass_by(self, count: int) -> None:
        """Wait until so many more requests were answered."""
        before = self.seen.total()
        eventually(lambda: self.seen.total() >= before + count, within=60)


@pytest.mark.parametrize("how", ["killed", "hanging"])
@pytest.mark.parametrize("name", ["Django on gunicorn gthread", "Django on uvicorn", "FastAPI on uvicorn"])
def test_without_redis_requests_are_counted_in_each_process_and_none_fails(
    shop: Any, shared: Any, own_redis: RedisServer, name: str, how: str
) -> None:
    limit_everything(shared, "sliding_window")
    server = shop(name)
    warm([server], shared, 2)
    with Callers(server, "/shop/") as callers:
        callers.pass_by(50)
        if how == "killed":
            own_redis.stop(save=True)
        else:
            own_redis.hang()
        eventually(lambda: UNREACHED in server.log, within=30)
        callers.pass_by(200)

        if how == "killed":
            own_redis.start()
        else:
            own_redis.resume()
        eventually(lambda: "answer again" in server.log, within=30)
        callers.pass_by(50)
    assert set(callers.seen) == {200, 429}

    with operating(own_redis) as operator:
        operator.reset_global_rate_limit()
        eventually(lambda: server.status("/shop/") == 200)
