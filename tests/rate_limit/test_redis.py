"""Counters in Redis: what they say, what they store, and what they send."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.cluster import RedisCluster
from redis.crc import key_slot
from redis.sentinel import Sentinel

from shield_core.backends.redis import RedisBackend
from shield_core.exceptions import BackendError
from shield_core.models import Algorithm
from shield_core.rate_limit.counters import Counter
from shield_core.rate_limit.storage.redis import RedisRateLimitStorage
from tests.conftest import eventually
from tests.postgres import free_port
from tests.rate_limit.redis_fixtures import ALGORITHMS, LONG, SimulatedClock, commands_of, counter, layers
from tests.redis_server import RedisServer

ROOT = Path(__file__).parents[2]
SPAWN = multiprocessing.get_context("spawn")
KEYS = ["*", "*", "203.0.113.7"]
every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)


@pytest.fixture
def storage(redis_server: RedisServer) -> Iterator[RedisRateLimitStorage]:
    storage = RedisRateLimitStorage(redis_server.url, timeout=5.0)
    yield storage
    storage.stop()


@pytest.fixture
def clock(redis_server: RedisServer) -> Iterator[SimulatedClock]:
    clock = SimulatedClock(redis_server)
    yield clock
    clock.close()


def admitted(storage: RedisRateLimitStorage, one: Counter, times: int, key: str = "k") -> int:
    return sum(storage.take((one,), (key,))[0][0] for _ in range(times))


# -- what is admitted ---------------------------------------------------------------------------


@every_algorithm
def test_a_limit_admits_its_amount_and_the_burst(
    storage: RedisRateLimitStorage, algorithm: Algorithm
) -> None:
    assert admitted(storage, counter(f"3/{LONG}", algorithm=algorithm, burst=2), 10) == 5


@every_algorithm
def test_each_key_is_counted_by_itself(storage: RedisRateLimitStorage, algorithm: Algorithm) -> None:
    one = counter(f"2/{LONG}", algorithm=algorithm)
    keys = ("a", "b", "ä\n\r\n", "\udcff", "")
    assert [admitted(storage, one, 3, key) for key in keys] == [2] * len(keys)


@every_algorithm
def test_a_denied_request_charges_nothing_and_hears_of_every_counter(
    storage: RedisRateLimitStorage, algorithm: Algorithm
) -> None:
    wide, narrow = counter(f"5/{LONG}", "global:"), counter(f"1/{LONG}", algorithm=algorithm)
    watching = counter(f"5/{LONG}", "service:s", shadow=True)
    asked = (wide, watching, narrow)
    assert [verdict[:2] for verdict in storage.take(asked, KEYS)] == [(True, 4), (True, 4), (True, 0)]
    for _ in range(3):
        verdicts = storage.take(asked, KEYS)
        assert [verdict[:2] for verdict in verdicts] == [(True, 3), (True, 3), (False, 0)]
        assert verdicts[2][3] > 0
    assert storage.take((wide,), ("*",))[0][:2] == (True, 3)


@every_algorithm
def test_a_shadow_denies_nobody(storage: RedisRateLimitStorage, algorithm: Algorithm) -> None:
    shadow = counter(f"1/{LONG}", "global:", algorithm=algorithm, shadow=True)
    route = counter(f"3/{LONG}")
    seen = [[verdict[0] for verdict in storage.take((shadow, route), ("*", "k"))] for _ in range(4)]
    assert seen == [[True, True], [False, True], [False, True], [False, False]]


@every_algorithm
def test_a_reset_is_another_generation(storage: RedisRateLimitStorage, algorithm: Algorithm) -> None:
    before = counter(f"2/{LONG}", algorithm=algorithm)
    neighbour = counter(f"2/{LONG}", "route:GET:/xx", algorithm=algorithm)
    assert admitted(storage, before, 3) == admitted(storage, neighbour, 3) == 2
    assert admitted(storage, counter(f"2/{LONG}", algorithm=algorithm, generation=7), 3) == 2
    assert admitted(storage, neighbour, 1) == 0


@every_algorithm
def test_a_raised_limit_admits_only_what_it_adds(
    storage: RedisRateLimitStorage, algorithm: Algorithm
) -> None:
    assert admitted(storage, counter(f"2/{LONG}", algorithm=algorithm), 5) == 2
    assert admitted(storage, counter(f"2/{LONG}", algorithm=algorithm, burst=3), 5) == 3
    assert admitted(storage, counter(f"2/{LONG}", algorithm=algorithm), 5) == 0


@every_algorithm
def test_a_shorter_period_ends_the_ban_of_the_longer_one(clock: SimulatedClock, algorithm: Algorithm) -> None:
    assert admitted(clock.storage, counter("4/hour", algorithm=algorithm), 5) == 4
    one = counter("4/minute", algorithm=algorithm)
    assert 0 < clock.storage.take((one,), ("k",))[0][3] <= 60
    clock.set(clock.now + 61_000_000)
    assert admitted(clock.storage, one, 5) == 4


@every_algorithm
def test_a_clock_put_back_bans_nobody(clock: SimulatedClock, algorithm: Algorithm) -> None:
    one, start = counter("4/minute", algorithm=algorithm), clock.now
    assert admitted(clock.storage, one, 5) == 4
    clock.set(start - 3_600_000_000)
    assert clock.storage.take((one,), ("k",))[0][3] <= 60
    clock.set(start - 3_600_000_000 + 61_000_000)
    assert admitted(clock.storage, one, 5) == 4


# -- together with others -----------------------------------------------------------------------


@every_algorithm
def test_threads_admit_no_more_than_the_limit(storage: RedisRateLimitStorage, algorithm: Algorithm) -> None:
    one, found = counter(f"100/{LONG}", algorithm=algorithm), []
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        found.append(admitted(storage, one, 40))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(found) == 100


def _work(url: str, algorithm: Algorithm, start: Any, told: Any) -> None:
    storage = RedisRateLimitStorage(url, timeout=5.0)
    start.wait()
    told.put(admitted(storage, counter(f"100/{LONG}", algorithm=algorithm), 40))
    storage.stop()


@pytest.mark.parametrize("algorithm", [Algorithm.SLIDING_WINDOW])
def test_processes_admit_no_more_than_the_limit(redis_server: RedisServer, algorithm: Algorithm) -> None:
    start, told = SPAWN.Barrier(4), SPAWN.Queue()
    processes = [
        SPAWN.Process(target=_work, args=(redis_server.url, algorithm, start, told)) for _ in range(4)
    ]
    for process in processes:
        process.start()
    assert sum(told.get(timeout=60) for _ in processes) == 100
    for process in processes:
        process.join()


@every_algorithm
async def test_a_thousand_tasks_share_one_connection(
    redis_server: RedisServer, storage: RedisRateLimitStorage, algorithm: Algorithm
) -> None:
    one = counter(f"600/{LONG}", algorithm=algorithm)
    connected = redis_server("INFO", "clients")["connected_clients"]
    found = await asyncio.gather(*(storage.take_async((one,), ("k",)) for _ in range(1000)))
    assert sum(verdict[0] for (verdict,) in found) == 600
    assert sorted(verdict[1] for (verdict,) in found if verdict[0]) == list(range(600))
    assert redis_server("INFO", "clients")["connected_clients"] == connected + 1


async def test_a_request_that_is_given_up_leaves_the_others_their_answers(
    storage: RedisRateLimitStorage,
) -> None:
    limits = [counter(f"{number}/{LONG}", f"route:{number}") for number in range(2, 102)]
    await storage.take_async(limits[:1], ("warm",))
    tasks = [asyncio.create_task(storage.take_async((one,), ("k",))) for one in limits]
    await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    for number, told in enumerate(found):
        if number % 3:
            assert not isinstance(told, BaseException)
            assert told[0][1] == number + 1


def test_a_fork_has_connections_of_its_own(redis_server: RedisServer) -> None:
    program = f"""
import asyncio, os
from shield_core.rate_limit.storage.redis import RedisRateLimitStorage
from tests.postgres import free_port
from tests.rate_limit.redis_fixtures import counter
storage, one = RedisRateLimitStorage({redis_server.url!r}, timeout=5.0), counter("100/366d")
async def more():
    await storage.take_async((one,), ("k",))
    child = os.fork()
    if child == 0:
        for _ in range(10):
            storage.take((one,), ("k",))
        os._exit(0)
    for _ in range(10):
        storage.take((one,), ("k",))
        await storage.take_async((one,), ("k",))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
storage.take((one,), ("k",))
asyncio.run(more())
child = os.fork()
if child == 0:
    asyncio.run(storage.take_async((one,), ("k",)))
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
left = storage.take((one,), ("k",))[0][1]
assert left == 100 - 34, left
storage.stop()
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, env=environment)


# -- what is stored and sent ----------------------------------------------------------------------


@every_algorithm
def test_a_request_is_one_command(
    redis_server: RedisServer, storage: RedisRateLimitStorage, algorithm: Algorithm
) -> None:
    asked = layers(algorithm=algorithm)
    storage.take(asked, KEYS)
    with commands_of(redis_server) as seen:
        for _ in range(3):
            storage.take(asked, KEYS)
    assert seen == ["EVALSHA"] * 3


async def test_a_request_of_a_coroutine_is_one_command(
    redis_server: RedisServer, storage: RedisRateLimitStorage
) -> None:
    await storage.take_async(layers(), KEYS)
    with commands_of(redis_server) as seen:
        for _ in range(3):
            await storage.take_async(layers(), KEYS)
    assert seen == ["EVALSHA"] * 3


@pytest.mark.parametrize("prefix", ["shield:", "{shield}:", "my app:"])
@every_algorithm
def test_keys_expire_and_stand_in_one_slot(
    redis_server: RedisServer, algorithm: Algorithm, prefix: str
) -> None:
    storage = RedisRateLimitStorage(redis_server.url, key_prefix=prefix, timeout=5.0)
    for generation in range(2):
        storage.take(layers("10/minute", algorithm=algorithm, generation=generation), KEYS)
    storage.stop()
    with redis_server.client() as client:
        names = client.keys()
        assert len(names) == 6
        assert all(name.startswith(prefix.encode()) for name in names)
        assert len({key_slot(name) for name in names}) == 1
        assert all(0 < client.pttl(name) <= 60_000 for name in names)


@every_algorithm
def test_what_a_denied_request_leaves_expires_too(
    redis_server: RedisServer, storage: RedisRateLimitStorage, algorithm: Algorithm
) -> None:
    assert admitted(storage, counter("2/minute", algorithm=algorithm), 6) == 2
    with redis_server.client() as client:
        assert [0 < client.pttl(name) <= 60_000 for name in client.scan_iter()] == [True]


def test_a_sliding_window_keeps_no_moment_that_counts_nothing(
    clock: SimulatedClock, redis_server: RedisServer
) -> None:
    one = counter("5/minute", algorithm=Algorithm.SLIDING_WINDOW)
    for step in range(20):
        clock.set(clock.now + 15_000_000 + step)
        assert clock.storage.take((one,), ("k",))[0][0]
    (name,) = (name for name in redis_server("KEYS", "*") if name != b"clock")
    assert redis_server("LLEN", name) == 4


@pytest.mark.parametrize("still_counting", [1, 2, 7])
def test_a_burst_that_is_over_costs_no_command_per_request(
    clock: SimulatedClock, redis_server: RedisServer, still_counting: int
) -> None:
    one = counter("6000/minute", algorithm=Algorithm.SLIDING_WINDOW)
    key = ("k",)
    assert clock.storage.take((one,), key)[0][0]
    (name,) = (name for name in redis_server("KEYS", "*") if name != b"clock")
    with redis_server.client() as client:
        client.rpush(name, *([clock.now] * (5000 - 1)))
        client.rpush(name, *(clock.now + 30_000_000 for _ in range(still_counting)))
        clock.set(clock.now + 60_000_000)
        client.config_resetstat()
        assert clock.storage.take((one,), key)[0][:2] == (True, 6000 - still_counting - 1)
        stats: dict[str, Any] = client.info("commandstats")
    assert sum(stat["calls"] for stat in stats.values()) < 50
    assert redis_server("LLEN", name) == still_counting + 1


async def test_a_forgotten_script_is_sent_again(
    redis_server: RedisServer, storage: RedisRateLimitStorage
) -> None:
    one = counter(f"10/{LONG}")
    for left in range(9, 0, -2):
        redis_server("SCRIPT", "FLUSH")
        assert storage.take((one,), ("k",))[0][1] == left
        redis_server("SCRIPT", "FLUSH")
        assert (await storage.take_async((one,), ("k",)))[0][1] == left - 1


async def test_a_restarted_server_costs_no_request(redis_process: RedisServer) -> None:
    with RedisServer() as server:
        storage = RedisRateLimitStorage(server.url, timeout=5.0)
        for _ in range(2):
            assert storage.take((counter(),), ("k",))[0][1] == 2
            assert (await storage.take_async((counter(),), ("k",)))[0][1] == 1
            server.stop()
            with pytest.raises(BackendError, match="Redis does not answer as it should"):
                storage.take((counter(),), ("k",))
            with pytest.raises(BackendError, match="Redis does not answer as it should"):
                await storage.take_async((counter(),), ("k",))
            server.start()
        storage.take((counter(),), ("k",))
        storage.stop()


async def test_a_closed_connection_is_replaced_unnoticed(
    redis_server: RedisServer, storage: RedisRateLimitStorage
) -> None:
    one = counter(f"10/{LONG}")
    for _ in range(2):
        assert storage.take((one,), ("k",))[0][0]
        assert (await storage.take_async((one,), ("k",)))[0][0]
        redis_server("CLIENT", "KILL", "TYPE", "normal")
    assert storage.take((one,), ("k",))[0][1] == 5


def test_each_loop_has_its_connection_and_takes_it_along(
    redis_server: RedisServer, storage: RedisRateLimitStorage
) -> None:
    connected = redis_server("INFO", "clients")["connected_clients"]
    for left in (2, 1, 0):
        ((_, found, *_),) = asyncio.run(storage.take_async((counter(),), ("k",)))
        assert found == left
    eventually(lambda: redis_server("INFO", "clients")["connected_clients"] == connected)


# -- from which client ------------------------------------------------------------------------------


async def both_worlds(storage: RedisRateLimitStorage) -> list[int]:
    """Return what is left of three requests of a thread and then of a coroutine."""
    one = counter()
    ((_, first, *_),) = await asyncio.to_thread(storage.take, (one,), ("k",))
    ((_, second, *_),) = await storage.take_async((one,), ("k",))
    storage.stop()
    await asyncio.sleep(0)
    return [first, second]


async def test_a_given_client_serves_threads_and_coroutines(redis_server: RedisServer) -> None:
    with redis.Redis(port=redis_server.port, decode_responses=True, db=1) as client:
        storage = RedisRateLimitStorage(client=client, timeout=5.0)
        assert await both_worlds(storage) == [2, 1]
        assert client.dbsize() == 1


async def test_an_asyncio_client_serves_threads_and_coroutines(redis_server: RedisServer) -> None:
    async with redis.asyncio.Redis(port=redis_server.port, decode_responses=True) as client:
        assert await both_worlds(RedisRateLimitStorage(client=client, timeout=5.0)) == [2, 1]


async def test_a_connection_class_of_ones_own_serves_threads_and_coroutines(
    redis_server: RedisServer,
) -> None:
    class Connection(redis.Connection):
        pass

    pool = redis.ConnectionPool(connection_class=Connection, port=redis_server.port)
    storage = RedisRateLimitStorage(client=lambda: redis.Redis(connection_pool=pool), timeout=5.0)
    assert await both_worlds(storage) == [2, 1]


def test_an_asyncio_connection_class_of_ones_own_is_refused() -> None:
    class Connection(redis.asyncio.Connection):
        pass

    client = redis.asyncio.Redis(connection_pool=redis.asyncio.ConnectionPool(connection_class=Connection))
    with pytest.raises(TypeError, match="give a synchronous client"):
        RedisRateLimitStorage(client=client)


def test_a_bad_url_is_an_error_at_start() -> None:
    with pytest.raises(ValueError, match="Redis URL must specify"):
        RedisRateLimitStorage("postgres://localhost")


async def test_a_unix_socket_serves_threads_and_coroutines(
    redis_process: RedisServer, tmp_path: Path
) -> None:
    path = f"/tmp/shield-{os.getpid()}.sock"
    with RedisServer(f"unixsocket {path}"):
        assert await both_worlds(RedisRateLimitStorage(f"unix://{path}", timeout=5.0)) == [2, 1]


async def test_a_password_is_used_in_both_worlds(redis_process: RedisServer) -> None:
    with RedisServer() as server:
        server("ACL", "SETUSER", "limits", "on", ">secret", "~shield:*", "+@all")
        server("CONFIG", "SET", "requirepass", "another")
        url = server.url.replace("//", "//limits:secret@")
        assert await both_worlds(RedisRateLimitStorage(url, timeout=5.0)) == [2, 1]


async def test_a_cluster_serves_threads_and_coroutines(redis_process: RedisServer) -> None:
    with RedisServer("cluster-enabled yes", f"cluster-port {free_port()}") as server:
        server("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        eventually(lambda: b"cluster_state:ok" in server("CLUSTER", "INFO"))
        with RedisCluster(host="127.0.0.1", port=server.port) as client:
            storage = RedisRateLimitStorage(client=client, timeout=5.0)
            assert [verdict[1] for verdict in storage.take(layers(f"5/{LONG}"), KEYS)] == [4, 4, 4]
            assert await both_worlds(storage) == [2, 1]
        storage = RedisRateLimitStorage(server.url, timeout=5.0)
        assert [verdict[1] for verdict in storage.take(layers(f"5/{LONG}"), KEYS)] == [3, 3, 3]
        storage.stop()


async def test_a_sentinels_client_serves_threads_and_coroutines(redis_server: RedisServer) -> None:
    watch = f"sentinel monitor mymaster 127.0.0.1 {redis_server.port} 1"
    with RedisServer(watch, sentinel=True) as server:
        sentinel = Sentinel([("127.0.0.1", server.port)], socket_timeout=5.0)
        storage = RedisRateLimitStorage(client=lambda: sentinel.master_for("mymaster"), timeout=5.0)
        assert await both_worlds(storage) == [2, 1]
        for one in sentinel.sentinels:
            one.close()


async def test_the_backend_counts_where_it_stores(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        for backend in (
            RedisBackend(redis_server.url, key_prefix="mine:"),
            RedisBackend(client=client, key_prefix="mine:"),
            RedisBackend(client=lambda: client, key_prefix="mine:"),
        ):
            storage = backend.rate_limit_storage()
            assert isinstance(storage, RedisRateLimitStorage)
            assert storage.prompt
            assert storage.shared_across_processes
            assert await both_worlds(storage) == [2, 1]
            (name,) = client.keys()
            assert name.startswith(b"mine:")
            client.flushall()
