"""One event stream of a server, read by a thread of its own.

What was committed waits here, complete, for whoever follows. The thread ends with the stream; a
forked process has none of it, and leaves the parent's socket alone.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import httpx2

from shield_core import forking
from shield_core.backends.base import merged
from shield_core.events import FULL
from shield_core.exceptions import BackendError, ServerError
from shield_core.remote.connection import LARGEST, Connection, whatever_is_refused
from shield_core.remote.reading import Feed, Reader
from shield_core.snapshot import Changes, Cursor, Snapshot

#: Seconds without a byte after which a stream is taken to be half-open; the server says something every 15.
SILENCE = 45.0


class Stream:
    """Follows the server from ``known`` on. ``silence`` is in seconds."""

    def __init__(
        self,
        connection: Connection,
        reader: Reader,
        known: Snapshot,
        service: str | None,
        silence: float = SILENCE,
    ) -> None:
        self._connection = connection
        self._feed = Feed(reader, known)
        self._service = service
        self._silence = silence
        self._news = threading.Condition()
        self._commits: list[Changes] = []
        self._socket: socket.socket | None = None
        self._closed = threading.Event()
        #: When it was asked for, and when the server has begun to answer, by the monotonic clock.
        self.begun_at = time.monotonic()
        self.answered_at: float | None = None
        #: How many commit points and heartbeats have come.
        self.heard = 0
        #: Why it ended; None while it has not.
        self.error: BackendError | None = None
        self._thread = threading.Thread(target=self._run, name="shield-stream", daemon=True)
        self._thread.start()

    @property
    def snapshot(self) -> Snapshot:
        """The state after all that has come."""
        return self._feed.snapshot

    @property
    def durable(self) -> bool:
        return self._feed.durable

    def wait(self, timeout: float, ended: Callable[[], bool]) -> None:
        """Wait for commits, for the end of the stream, or until ``ended`` says so at a ``nudge``."""
        with self._news:
            self._news.wait_for(lambda: self._commits or self.error is not None or ended(), timeout)

    def nudge(self) -> None:
        with self._news:
            self._news.notify_all()

    def commits(self) -> Changes | None:
        """Take out all commits that wait as one batch; a ``reset`` where a whole state is among them."""
        with self._news:
            found, self._commits = self._commits, []
        if not found:
            return None
        position = found[-1].cursor
        if any(one.reset for one in found):
            return Changes(position, reset=True)
        return merged(found, position)

    def close(self) -> None:
        """End the stream, and wait for its thread a moment."""
        self._closed.set()
        if (open_socket := self._socket) is not None:
            with suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)  # which wakes the thread that reads from it
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=1.0)

    # -- the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with whatever_is_refused(self._connection):
                self._read()
            error: BackendError = ServerError(
                f"The stream of {self._connection.address} has ended.", self._feed.retry_after
            )
        except BackendError as raised:
            error = raised
        except (httpx2.ReadTimeout, TimeoutError):
            error = BackendError(f"{self._connection.address} has said nothing for {self._silence:g} s.")
        except Exception as raised:  # noqa: BLE001 - whatever ends it, whoever follows has to learn of it
            said = str(raised) or type(raised).__name__
            error = ServerError(
                f"The stream of {self._connection.address} broke: {said}", self._feed.retry_after
            )
        with self._news:
            self._socket = None
            self.error = error
            self._news.notify_all()

    def _read(self) -> None:
        params: dict[str, str] = {"proto": str(FULL)}
        if self._service:
            params["service"] = self._service
        if self._feed.snapshot.epoch:
            params["since"] = str(self._feed.snapshot.cursor)
        with self._connection.stream("/sdk/events", params=params, silence=self._silence) as response:
            self._socket = response.extensions["network_stream"].get_extra_info("socket")
            if self._closed.is_set():
                return  # while it was being opened
            self.answered_at = time.monotonic()
            for event in httpx2.EventSource(response, max_event_size=LARGEST):
                if self._closed.is_set():
                    return
                with forking.held_off():
                    self._take(json.loads(event.data) if event.data else None)

    def _take(self, content: object) -> None:
        commit = self._feed.take(content)
        if commit is None:
            return
        with self._news:
            self.heard += 1
            if commit.writes or commit.reset or self._moves(commit.cursor):
                self._commits.append(commit)
            if self._commits or self.heard == 1:
                self._news.notify_all()

    def _moves(self, position: Cursor) -> bool:
        return not self._commits or self._commits[-1].cursor != position
