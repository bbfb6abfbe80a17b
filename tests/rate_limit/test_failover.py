"""What requests see of counters that cannot be reached: nothing but less exact limits."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from shield_core.rate_limit.counters import Counter, Verdict
from shield_core.rate_limit.storage.base import RateLimitStorage
from shield_core.rate_limit.storage.failover import GuardedStorage, guarded
from shield_core.rate_limit.storage.memory import MemoryRateLimitStorage
from shield_core.rate_limit.storage.redis import RedisRateLimitStorage
from tests.conftest import eventually
from tests.rate_limit.redis_fixtures import LONG, counter
from tests.redis_server import RedisServer

ROOT = Path(__file__).parents[2]
#: So many requests would take ten seconds, if each waited its 50 ms.
MANY = 200
SOON = 5.0
OPENED = "The counters of the rate limits cannot be reached"
CLOSED = "The counters of the rate limits answer again"


@pytest.fixture
def server(redis_process: RedisServer) -> Iterator[RedisServer]:
    """A server that the test may stop."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def guard() -> Iterator[Any]:
    """Make guarded storages over a Redis, and stop them at the end."""
    with ExitStack() as stack:

        def make(server: RedisServer | str, *, fail_open: bool = True, **options: Any) -> GuardedStorage:
            url = server if isinstance(server, str) else server.url
            return make_over(RedisRateLimitStorage(url, **options), fail_open=fail_open)

        def make_over(storage: RateLimitStorage, *, fail_open: bool = True) -> GuardedStorage:
            found = guarded(storage, fail_open=fail_open)
            assert isinstance(found, GuardedStorage)
            stack.callback(found.stop)
            return found

        make.over = make_over  # type: ignore[attr-defined]
        yield make


@pytest.fixture(params=["thread", "coroutine"])
def take(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Take one request, as a thread does or as a coroutine does."""
    if request.param == "thread":
        yield lambda storage, *counters: storage.take(counters, ["k"] * len(counters))
        return
    with asyncio.Runner() as runner:

        async def take_async(storage: RateLimitStorage, *counters: Counter) -> Sequence[Verdict]:
            return await storage.take_async(counters, ["k"] * len(counters))

        yield lambda storage, *counters: runner.run(take_async(storage, *counters))


def lines(caplog: pytest.LogCaptureFixture, beginning: str) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "shield.rate_limit" and record.getMessage().startswith(beginning)
    ]


def closes(storage: GuardedStorage) -> bool:
    return eventually(lambda: not storage.is_open)


# -- without an outage ----------------------------------------------------------------------------


def test_counters_in_the_process_need_no_guard() -> None:
    storage = MemoryRateLimitStorage()
    assert guarded(storage, fail_open=True) is storage


def test_what_answers_is_asked(server: RedisServer, guard: Any, take: Any) -> None:
    storage = guard(server, timeout=5.0)
    assert storage.shared_across_processes
    assert not storage.immediate
    assert [take(storage, counter())[0][0] for _ in range(4)] == [True, True, True, False]
    assert len(server("KEYS", "*route:GET:/x*")) == 1


async def test_a_loop_that_is_busy_itself_is_no_outage(
    server: RedisServer, guard: Any, caplog: pytest.LogCaptureFixture
) -> None:
    storage = guard(server)
    await storage.take_async((counter(f"100/{LONG}"),), ("k",))
    await asyncio.to_thread(closes, storage)
    caplog.clear()
    for _ in range(5):
        asked = asyncio.create_task(storage.take_async((counter(f"100/{LONG}"),), ("k",)))
        await asyncio.sleep(0)
        time.sleep(0.2)  # what a bad view does
        await asked
        assert not storage.is_open
    assert not caplog.records


async def test_a_thousand_tasks_at_once_are_no_outage(server: RedisServer, guard: Any) -> None:
    storage = guard(server, timeout=5.0)  # other tests may have the processor for a second
    found = await asyncio.gather(
        *(storage.take_async((counter(f"900/{LONG}"),), ("k",)) for _ in range(1000))
    )
    assert not storage.is_open
    assert sum(verdict[0] for (verdict,) in found) == 900


def test_many_threads_below_the_limit_are_all_admitted(server: RedisServer, guard: Any) -> None:
    storage, start = guard(server), threading.Barrier(64)
    found: list[bool] = []

    def work() -> None:
        start.wait()
        found.extend(storage.take((counter(f"5000/{LONG}"),), ("k",))[0][0] for _ in range(20))

    run_all([threading.Thread(target=work) for _ in range(64)])
    assert found == [True] * 64 * 20


# -- an outage -----------------------------------------------------------------------------------


def hangs(server: RedisServer, stack: ExitStack) -> None:
    server.hang()
    stack.callback(server.resume)


def is_gone(server: RedisServer, stack: ExitStack) -> None:
    server.stop()
    stack.callback(server.start)


def is_slow(server: RedisServer, stack: ExitStack) -> None:
    """Take two seconds for what comes next."""
    server("CLIENT", "PAUSE", 2000, "ALL")


def is_full(server: RedisServer, stack: ExitStack) -> None:
    server("CONFIG", "SET", "maxmemory", "1")
    stack.callback(server, "CONFIG", "SET", "maxmemory", "0")


def is_a_replica(server: RedisServer, stack: ExitStack) -> None:
    server("REPLICAOF", "127.0.0.1", "1")
    stack.callback(server, "REPLICAOF", "NO", "ONE")


def wants_a_password(server: RedisServer, stack: ExitStack) -> None:
    server("CONFIG", "SET", "requirepass", "secret")
    with server.client(password="secret") as client:
        client.client_kill_filter(_type="normal")

    def end() -> None:
        with server.client(password="secret") as client:
            client.config_set("requirepass", "")

    stack.callback(end)


outages = pytest.mark.parametrize(
    "outage", [hangs, is_gone, is_slow, is_full, is_a_replica, wants_a_password]
)


@outages
def test_an_outage_is_waited_for_once_and_ends_by_itself(
    server: RedisServer, guard: Any, take: Any, outage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "shield.rate_limit")
    storage, limit = guard(server), counter(f"100/{LONG}")
    take(storage, limit)
    closes(storage)
    caplog.clear()
    with ExitStack() as stack:
        outage(server, stack)
        began = time.monotonic()
        found = [take(storage, limit)[0][0] for _ in range(MANY)]
        assert time.monotonic() - began < SOON
        assert storage.is_open
        assert 99 <= sum(found) <= 101  # those at the edges are counted here or there
        assert len(lines(caplog, OPENED)) == 1
    closes(storage)
    assert take(storage, limit)[0][0]
    assert len(lines(caplog, OPENED)) == len(lines(caplog, CLOSED)) == 1


def test_a_server_that_reads_its_data_is_waited_for(
    guard: Any, take: Any, redis_process: RedisServer
) -> None:
    slowly = ("key-load-delay 100", "loading-process-events-interval-bytes 1024")
    with RedisServer("enable-debug-command yes", *slowly) as server:
        server("DEBUG", "POPULATE", "10000")
        server.stop(save=True)
        starting = threading.Thread(target=server.start)
        starting.start()
        eventually(lambda: _loads(server))
        storage = guard(server)
        assert [take(storage, counter())[0][0] for _ in range(4)] == [True, True, True, False]
        closes(storage)
        starting.join()
        assert take(storage, counter())[0][0]


def _loads(server: RedisServer) -> bool:
    try:
        return bool(server("INFO", "persistence")["loading"])
    except redis.ConnectionError:
        return False


@pytest.mark.parametrize("outage", [hangs, is_gone])
def test_where_limits_fail_closed_limited_requests_are_denied(
    server: RedisServer, guard: Any, take: Any, outage: Any
) -> None:
    storage = guard(server, fail_open=False)
    take(storage, counter())
    closes(storage)
    shadow = counter(name="global:", shadow=True)
    with ExitStack() as stack:
        outage(server, stack)
        for _ in range(5):
            watching, denying = take(storage, shadow, counter())
            assert watching[0]
            assert not denying[0]
            assert 0 < denying[3] <= 5
            assert take(storage, shadow)[0][0]
    closes(storage)
    assert take(storage, counter())[0][0]


def test_threads_in_the_middle_of_it_wait_once_each(
    server: RedisServer, guard: Any, caplog: pytest.LogCaptureFixture
) -> None:
    storage, limit = guard(server), counter(f"100/{LONG}")
    storage.take((limit,), ("k",))
    closes(storage)
    caplog.clear()
    start, failures = threading.Barrier(17), []

    def work() -> None:
        start.wait()
        try:
            for _ in range(MANY):
                storage.take((limit,), ("k",))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    start.wait()
    began = time.monotonic()
    server.hang()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began < SOON
    assert not failures
    assert len(lines(caplog, OPENED)) <= 1  # none, where all were through before
    server.resume()
    closes(storage)


async def test_the_loop_goes_on_while_the_server_hangs(server: RedisServer, guard: Any) -> None:
    storage, limit = guard(server, timeout=0.5), counter(f"100000/{LONG}")
    await storage.take_async((limit,), ("k",))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    ticker = asyncio.create_task(tick())
    server.hang()
    for _ in range(3):
        ticks = 0
        storage.is_open = False  # as if it had just closed: the next request asks
        await asyncio.gather(*(storage.take_async((limit,), ("k",)) for _ in range(50)))
        assert ticks > 5
    server.resume()
    ticker.cancel()
    await asyncio.to_thread(closes, storage)


def test_an_outage_from_the_beginning(guard: Any, take: Any, server: RedisServer) -> None:
    server.hang()
    storage = guard(server)
    began = time.monotonic()
    assert [take(storage, counter())[0][0] for _ in range(MANY)] == [True] * 3 + [False] * (MANY - 3)
    assert time.monotonic() - began < SOON
    server.resume()
    closes(storage)
    assert take(storage, counter())[0][0]


def test_a_name_that_is_never_resolved_holds_nobody_up(
    guard: Any, take: Any, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve, asked, answered = socket.getaddrinfo, [], threading.Event()

    def hang(*args: Any, **kwargs: Any) -> Any:
        asked.append(args)
        answered.wait()
        return resolve("127.0.0.1", *args[1:], **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    storage = guard(server.url.replace("127.0.0.1", "redis.invalid"))
    began = time.monotonic()
    for _ in range(MANY):
        take(storage, counter(f"1000/{LONG}"))
    assert time.monotonic() - began < SOON
    eventually(lambda: len(asked) > 2)
    assert storage.is_open
    answered.set()
    closes(storage)
    assert len(asked) <= 12
    assert take(storage, counter())[0][0]


def test_what_fails_again_and_again_is_asked_less_and_less(guard: Any) -> None:
    class Fickle(MemoryRateLimitStorage):
        """Answers the probe and nobody else."""

        immediate, prompt, asked = False, True, 0

        def take(self, counters: Any, keys: Any) -> Any:
            if counters[0].name == "probe:":
                return super().take(counters, keys)
            self.asked += 1
            raise OSError("no")

    storage = guard.over(fickle := Fickle())
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        storage.take((counter(),), ("k",))
        time.sleep(0.001)
    assert 2 <= fickle.asked <= 7


# -- storages of others ---------------------------------------------------------------------------


class Custom(RateLimitStorage):
    """Knows no timeouts and no coroutines."""

    def __init__(self) -> None:
        self.counts = MemoryRateLimitStorage()
        self.answers = threading.Event()
        self.answers.set()
        self.error: Exception | None = None

    def take(self, counters: Sequence[Counter], keys: Sequence[str]) -> Sequence[Verdict]:
        self.answers.wait()
        if self.error is not None:
            raise self.error
        return self.counts.take(counters, keys)


class AsyncCustom(Custom):
    async def take_async(self, counters: Sequence[Counter], keys: Sequence[str]) -> Sequence[Verdict]:
        while not self.answers.is_set():
            await asyncio.sleep(0.01)
        return self.take(counters, keys)


@pytest.mark.parametrize("kind", [Custom, AsyncCustom])
def test_a_custom_storage_that_hangs_holds_nobody_up(guard: Any, take: Any, kind: type[Custom]) -> None:
    storage = guard.over(custom := kind())
    assert take(storage, counter())[0][1] == 2
    custom.answers.clear()
    began = time.monotonic()
    for _ in range(MANY):
        take(storage, counter())
    assert time.monotonic() - began < SOON
    custom.answers.set()
    closes(storage)


@pytest.mark.parametrize("kind", [Custom, AsyncCustom])
def test_a_custom_storage_that_raises_fails_no_request(guard: Any, take: Any, kind: type[Custom]) -> None:
    storage = guard.over(custom := kind())
    custom.error = ZeroDivisionError("a mistake in it")
    assert [take(storage, counter())[0][0] for _ in range(4)] == [True, True, True, False]
    custom.error = None
    closes(storage)
    assert take(storage, counter())[0][1] == 2


# -- forks ------------------------------------------------------------------------------------------


def test_a_child_of_a_process_without_counters_finds_them_by_itself(server: RedisServer) -> None:
    program = f"""
import os, sys, time
from shield_core.rate_limit.storage.failover import guarded
from shield_core.rate_limit.storage.redis import RedisRateLimitStorage
from tests.rate_limit.redis_fixtures import counter
def until(condition):
    end = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
storage = guarded(RedisRateLimitStorage({server.url!r}), fail_open=True)
storage.take((counter(),), ("k",))
assert storage.is_open
child = os.fork()
storage.take((counter(),), ("k",))
assert storage.is_open
print("hanging", child, flush=True)
if child:
    assert sys.stdin.readline() == "resumed\\n"
until(lambda: not storage.is_open)
if child:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
storage.take((counter("50/366d"),), ("k",))
storage.stop()
os._exit(0)
"""
    server.hang()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(2):
            assert process.stdout.readline().startswith("hanging")
        server.resume()
        process.stdin.write("resumed\n")
        process.stdin.flush()
        assert process.wait(30) == 0


def run_all(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
