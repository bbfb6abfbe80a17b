"""Connections of threads to Redis, for questions that must be answered soon.

A thread that asks never connects: resolving a name cannot be interrupted. A helper thread connects
and lays the connection among the idle ones, for which the asking thread waits as long as it may.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import redis

from shield_core import forking

#: How many connections are being opened at the same time.
_OPENERS = 8


class _Line(NamedTuple):
    """A connection, and how often all had been closed before it was opened."""

    connection: Any
    era: int


class Connections:
    """Lends out connections; a question is answered within ``timeout`` seconds or raises a RedisError.

    ``make`` returns a new redis-py connection, not yet connected, whose socket timeout is ``timeout``.
    """

    def __init__(self, make: Callable[[], Any], timeout: float) -> None:
        self._make = make
        self._timeout = timeout
        self._clear()
        forking.watch(self)

    def _clear(self) -> None:
        #: The last one to come back is lent first: those that are not needed any more stay at the bottom.
        self._idle: deque[_Line] = deque()
        self._era = 0
        self._arrival = threading.Condition()
        self._waiting = 0
        self._openers = 0
        self._failures = 0
        self._failure: Exception | None = None

    def after_fork(self) -> None:
        self._clear()

    def ask(self, command: bytes, began: float | None = None) -> Any:
        """Send a packed command and return its answer; a connection that was closed is replaced once.

        ``began`` (of the monotonic clock) is when the time began to run, where that was not now.
        """
        deadline = (began or time.monotonic()) + self._timeout
        try:
            line = self._idle.pop()
        except IndexError:
            return self._exchange(self._fetch(deadline), command, deadline)
        try:
            return self._exchange(line, command, deadline if began else None)
        except redis.ConnectionError:
            self.close()
            return self._exchange(self._fetch(deadline), command, deadline)

    def close(self) -> None:
        """Close all connections: what has broken one has likely broken the others. New ones may follow."""
        self._era += 1
        while True:
            try:
                self._idle.pop().connection.disconnect()
            except IndexError:
                return

    def _exchange(self, line: _Line, command: bytes, deadline: float | None) -> Any:
        """Ask once; the socket's own timeout keeps the time where ``deadline`` is None."""
        connection = line.connection
        try:
            connection.send_packed_command([command], check_health=False)
            if deadline is not None and not connection.can_read(max(0, deadline - time.monotonic())):
                raise redis.TimeoutError("Timeout reading from socket")
            answer = connection.read_response()
        except redis.ResponseError:
            self._lay_down(line)
            raise
        except BaseException:
            connection.disconnect()
            raise
        self._lay_down(line)
        return answer

    def _lay_down(self, line: _Line) -> None:
        if line.era != self._era:
            line.connection.disconnect()
            return
        self._idle.append(line)
        if self._waiting:
            with self._arrival:
                self._arrival.notify()

    def _fetch(self, deadline: float) -> _Line:
        """Wait for a connection that is laid down, by a helper or by another thread."""
        with self._arrival:
            failures = self._failures
            self._waiting += 1
            try:
                if self._openers < _OPENERS:
                    self._openers += 1
                    threading.Thread(target=self._open, name="shield-limits-connect", daemon=True).start()
                while True:
                    try:
                        return self._idle.pop()
                    except IndexError:
                        pass
                    if failures != self._failures:
                        raise redis.ConnectionError(str(self._failure)) from self._failure
                    if not self._arrival.wait(deadline - time.monotonic()):
                        raise redis.TimeoutError("Timeout connecting to server")
            finally:
                self._waiting -= 1

    def _open(self) -> None:
        arrival = self._arrival
        connection = self._make()
        failure: Exception | None = None
        try:
            connection.connect()
        except Exception as error:  # noqa: BLE001 - told to those who wait
            connection.disconnect()
            failure = error
        with arrival:
            self._openers -= 1
            if failure is None:
                self._idle.append(_Line(connection, self._era))
                arrival.notify()
            else:
                self._failures += 1
                self._failure = failure
                arrival.notify_all()
