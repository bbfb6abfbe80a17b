"""The connection of an event loop to Redis, shared by all of its tasks.

Each question is written at once and answers come in the order of the questions, so that a thousand
requests at the same moment need one connection and wait for nobody. One timer watches over it: the
oldest question must be answered soon. A loop that was itself busy gets the time to read what has come.

redis-py connects, with all that belongs to it; then a protocol of our own reads the answers, so that
each wakes who has asked, without a task in between.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any

import redis
from redis.exceptions import NoScriptError

#: Seconds that connecting may go on after those who asked for it have given up.
_CONNECTING = 1.0
#: Seconds for a loop that looks at its clock late.
_GRACE = 0.001


class Channel:
    """One connection, from its opening on; it ends with the first error, with ``close`` or with its loop.

    ``connection`` is one of redis.asyncio, not yet connected and without a socket timeout.
    """

    def __init__(self, connection: Any, timeout: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._timeout = timeout
        self._asked: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._late: object = None
        self.is_open = True
        self._transport: Any = None
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._connected: asyncio.Future[None] = self._loop.create_future()
        self._task = self._loop.create_task(self._run(), name="shield-limits")

    @property
    def is_connected(self) -> bool:
        return self._connected.done()

    async def ask(self, command: bytes, began: float | None = None) -> Any:
        """Send a packed command and return its answer, within the timeout; else raise a RedisError.

        ``began`` (of the loop's clock) is when the time began to run, where that was not now.
        """
        began = began or self._loop.time()
        if not self._connected.done():
            await self._wait_for_connection(began + self._timeout)
        if self._lost.done() or self._transport.is_closing():
            raise redis.ConnectionError("Connection closed")
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._asked.append((answer, began))
        if self._timer is None:
            self._timer = self._loop.call_at(began + self._timeout, self._look)
        self._transport.write(command)
        return await answer

    def close(self) -> None:
        """End it, from any thread, when all that was asked is answered."""
        self.is_open = False
        with suppress(RuntimeError):  # the loop is closed, and the connection with it
            self._loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        if not self._asked:
            self._task.cancel()

    async def _wait_for_connection(self, deadline: float) -> None:
        """Wait as long as a request may; connecting goes on without it."""
        await asyncio.wait((self._connected,), timeout=deadline - self._loop.time())
        if not self._connected.done():
            raise redis.TimeoutError("Timeout connecting to server")
        if self._connected.cancelled():
            raise redis.ConnectionError("Connection closed")
        self._connected.result()

    async def _run(self) -> None:
        reason: BaseException = redis.ConnectionError("Connection closed")
        try:
            async with asyncio.timeout(_CONNECTING):
                await self._connection.connect()
            self._transport = self._connection._writer.transport
            self._transport.set_protocol(_Answers(self))
            self._connected.set_result(None)
            await self._lost
        except Exception as error:  # noqa: BLE001 - told to those who wait
            reason = error
        finally:
            self._end(reason)
            with suppress(redis.RedisError, OSError):
                await self._connection.disconnect(nowait=True)

    def answer(self, value: bytes | None, error: Exception | None = None) -> None:
        """Tell the oldest question's answer to whoever asked, unless he is gone."""
        future, _ = self._asked.popleft()
        if not future.done():
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)
        if not self.is_open and not self._asked:
            self._leave()

    def lose(self, reason: BaseException) -> None:
        """End because the connection did."""
        self._end(reason)
        if not self._lost.done():
            self._lost.set_result(None)

    def _look(self) -> None:
        """See whether the oldest question waits too long, and still does after a pass of the loop."""
        self._timer = None
        if not self._asked:
            return
        oldest, asked_at = self._asked[0]
        now = self._loop.time()
        if now < asked_at + self._timeout:
            self._timer = self._loop.call_at(asked_at + self._timeout, self._look)
        elif self._late is not oldest:
            self._late = oldest
            self._timer = self._loop.call_at(now + _GRACE, self._look)
        else:
            self._end(redis.TimeoutError("Timeout reading from socket"))
            self._task.cancel()

    def _end(self, reason: BaseException) -> None:
        self.is_open = False
        self._late = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._connected.done():
            self._connected.set_exception(_as_redis_error(reason))
            self._connected.exception()  # nobody has to ask for it
        while self._asked:
            future, _ = self._asked.popleft()
            if not future.done():
                future.set_exception(_as_redis_error(reason))


class _Answers(asyncio.Protocol):
    """Reads what a script answers: texts and errors, in RESP. Anything else was not asked for."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._unread = b""

    def data_received(self, data: bytes) -> None:
        unread = self._unread + data if self._unread else data
        while unread and (end := unread.find(b"\r\n")) >= 0:
            begin = end + 2
            match unread[:1]:
                case b"$" if unread[1:2] != b"-":
                    end = begin + int(unread[1:end])
                    if len(unread) < end + 2:
                        break
                    self._channel.answer(unread[begin:end])
                    begin = end + 2
                case b"-":
                    self._channel.answer(None, _error(unread[1:end].decode(errors="replace")))
                case _:
                    self._channel.lose(redis.InvalidResponse(f"Unexpected answer: {unread[:80]!r}"))
                    return
            unread = unread[begin:]
        self._unread = unread

    def connection_lost(self, exc: Exception | None) -> None:
        self._channel.lose(exc or redis.ConnectionError("Connection closed by server."))


def _error(text: str) -> redis.ResponseError:
    kind, _, message = text.partition(" ")
    return NoScriptError(message) if kind == "NOSCRIPT" else redis.ResponseError(text)


def _as_redis_error(error: BaseException) -> redis.RedisError:
    """Return an error of its own for each of those who wait."""
    kind = (
        redis.TimeoutError if isinstance(error, TimeoutError | redis.TimeoutError) else redis.ConnectionError
    )
    return kind(str(error) or type(error).__name__)
