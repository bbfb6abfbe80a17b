"""Counters in Redis, shared by all instances of a deployment: one command for all limits of a request.

Threads and event loops have connections of their own, made as the given client makes its own but with
another patience: whoever asks waits 50 ms at most, connecting included, and then gets a BackendError.

A client of which no connection can be made for asyncio (with Sentinel, or a connection class of one's
own) serves coroutines through threads; a cluster's client is asked as it is, in threads of which nobody
waits for the end.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

try:
    import redis
    import redis.asyncio
    from redis.cluster import RedisCluster
    from redis.exceptions import NoScriptError
except ImportError as error:
    raise ImportError("RedisRateLimitStorage needs redis: pip install 'shield-django[redis]'") from error

from shield_core import forking
from shield_core.exceptions import BackendError
from shield_core.rate_limit.counters import Counter, Verdict
from shield_core.rate_limit.storage.base import RateLimitStorage
from shield_core.rate_limit.storage.hurried import TIMEOUT, soon, soon_async
from shield_core.rate_limit.storage.redis_loops import Channel
from shield_core.rate_limit.storage.redis_script import Script
from shield_core.rate_limit.storage.redis_threads import Connections

#: Seconds in which a helper thread connects, when nobody waits any more.
_CONNECTING = 1.0

Client: TypeAlias = "redis.Redis | redis.asyncio.Redis | RedisCluster"

#: What of a connection's arguments means the same to threads and to asyncio.
_COMMON = {
    *("host", "port", "path", "db", "username", "password", "credential_provider", "client_name", "protocol"),
    *("socket_keepalive", "socket_keepalive_options", "lib_name", "lib_version", "driver_info"),
}
#: What belongs to the pool that the arguments were taken from.
_OF_THE_POOL = ("maint_notifications_", "maintenance_", "orig_", "oss_cluster_", "event_dispatcher")


class RedisRateLimitStorage(RateLimitStorage):
    """Counts under ``key_prefix``, in one slot of a cluster: without a hash tag it gets one.

    Give a ``url``, or a redis-py client (plain, asyncio or cluster), or a function that returns one.
    ``timeout`` is in seconds. Needs Redis 5 or later.
    """

    prompt = True
    shared_across_processes = True

    def __init__(
        self,
        url: str = "redis://localhost:6379/0",
        *,
        client: Client | Callable[[], Client] | None = None,
        key_prefix: str = "shield:",
        timeout: float = TIMEOUT,
    ) -> None:
        self._make_client = (
            client
            if callable(client)
            else lambda: client if client is not None else redis.Redis.from_url(url)
        )
        self._timeout = timeout
        self._script = Script(key_prefix)
        self._clear()
        if not callable(client):
            self._open()  # which says at once what is wrong with a URL, and connects to nothing
        forking.watch(self)

    def _clear(self) -> None:
        self._opening = threading.Lock()
        self._ways: _Ways | None = None
        self._channels: dict[asyncio.AbstractEventLoop, Channel] = {}

    def after_fork(self) -> None:
        self._left_by_fork = self._channels  # whose loops are the parent's: they must not be torn down here
        self._clear()

    # -- taking -------------------------------------------------------------------------------

    def take(self, counters: Sequence[Counter], keys: Sequence[str]) -> Sequence[Verdict]:
        try:
            ways = self._ways or self._open()
            if ways.threads is None:
                answer = soon(self._ask_cluster, ways.client, counters, keys, timeout=self._timeout)
            else:
                command = self._script.command(counters, keys)
                try:
                    answer = ways.threads.ask(command)
                except NoScriptError:
                    answer = ways.threads.ask(self._script.in_full(command), time.monotonic())
        except redis.RedisError as error:
            raise self._failed(error) from error
        return self._script.verdicts(answer)

    async def take_async(self, counters: Sequence[Counter], keys: Sequence[str]) -> Sequence[Verdict]:
        ways = self._ways or self._open()
        if ways.make_awaiting is None:
            return await soon_async(self.take, counters, keys, timeout=self._timeout)
        command = self._script.command(counters, keys)
        try:
            try:
                answer = await self._ask(command, ways.make_awaiting)
            except NoScriptError:
                answer = await self._ask(self._script.in_full(command), ways.make_awaiting)
        except redis.RedisError as error:
            raise self._failed(error) from error
        return self._script.verdicts(answer)

    async def _ask(self, command: bytes, make: Callable[[], Any]) -> Any:
        """Ask on the connection of the running loop; one that was closed is replaced once."""
        loop = asyncio.get_running_loop()
        channel = self._channels.get(loop)
        if channel is None or not channel.is_open:
            channel = self._connect(loop, make)
        if not channel.is_connected:
            return await channel.ask(command)
        began = loop.time()
        try:
            return await channel.ask(command)
        except redis.ConnectionError:
            other = self._channels.get(loop)
            if other is None or not other.is_open:
                other = self._connect(loop, make)
            return await other.ask(command, began)

    def _connect(self, loop: asyncio.AbstractEventLoop, make: Callable[[], Any]) -> Channel:
        with self._opening:
            self._channels = {one: kept for one, kept in self._channels.items() if not one.is_closed()}
            channel = self._channels[loop] = Channel(make(), self._timeout)
            return channel

    def _ask_cluster(self, client: Any, counters: Sequence[Counter], keys: Sequence[str]) -> Any:
        count, arguments = self._script.arguments(counters, keys)
        try:
            return client.evalsha(self._script.sha, count, *arguments)
        except NoScriptError:
            return client.eval(self._script.text, count, *arguments)

    # -- connections --------------------------------------------------------------------------

    def stop(self) -> None:
        self._close_all()

    def _failed(self, error: redis.RedisError) -> BackendError:
        """Give up all connections: those that are idle may be as dead as the one that failed."""
        self._close_all()
        return BackendError(f"Redis does not answer as it should: {error}")

    def _close_all(self) -> None:
        if self._ways is not None and self._ways.threads is not None:
            self._ways.threads.close()
        for channel in list(self._channels.values()):
            channel.close()

    def _open(self) -> _Ways:
        with self._opening:
            if self._ways is None:
                client = self._make_client()
                if isinstance(client, RedisCluster):
                    self._ways = _Ways(client, None, None)
                else:
                    pool = client.connection_pool
                    threads = Connections(_maker(pool, redis, self._timeout), self._timeout)
                    awaits = _class(pool, redis.asyncio) is not None
                    self._ways = _Ways(client, threads, _maker(pool, redis.asyncio, None) if awaits else None)
            return self._ways


class _Ways(NamedTuple):
    """How threads and loops of this process reach Redis."""

    #: Kept, because a Sentinel's connections ask its pool for the address.
    client: Any
    threads: Connections | None
    make_awaiting: Callable[[], Any] | None


def _class(pool: Any, world: Any) -> Any:
    """Return the connection class of ``world`` (redis or redis.asyncio) that does what the pool's does."""
    given = pool.connection_class
    name = given.__name__
    for one in (redis, redis.asyncio):
        if given is getattr(one.connection, name, None):
            return getattr(world.connection, name)
    return given if issubclass(given, world.connection.AbstractConnection) else None


def _maker(pool: Any, world: Any, timeout: float | None) -> Callable[[], Any]:
    """Return what makes connections as the pool does, but with timeouts of our own and no retries."""
    kind = _class(pool, world)
    if kind is None:
        raise TypeError(f"{pool.connection_class.__name__} is for asyncio only: give a synchronous client.")
    same_world = issubclass(pool.connection_class, world.connection.AbstractConnection)
    arguments = {
        name: value
        for name, value in pool.connection_kwargs.items()
        if (name in _COMMON or name.startswith("ssl_") or same_world) and not name.startswith(_OF_THE_POOL)
    }
    arguments.update(
        socket_timeout=timeout,
        socket_connect_timeout=_CONNECTING,
        retry_on_timeout=False,
        retry_on_error=[],
        health_check_interval=0,
        decode_responses=False,
    )
    arguments.pop("retry", None)
    return lambda: kind(**arguments)
