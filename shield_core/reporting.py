"""What a process that follows a store writes into it by itself.

The routes of its code, the boundaries of windows, that it is alive and what it has applied, and which
requests limits have blocked. Nobody waits for it: where the store is a server, a thread of its own writes.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from shield_core.backends.base import ShieldBackend
from shield_core.exceptions import InvalidInputError
from shield_core.models import INSTANCE_TTL, Instance
from shield_core.ports import PlainPort, drive
from shield_core.snapshot import Snapshot

logger = logging.getLogger("shield.replica")

#: Seconds between attempts to write to a store that can only be read.
WRITE_AGAIN = (5.5, 8.0)
_HEARTBEAT = 30.0
#: Seconds between two signs of life at least, however much changes.
_HEARTBEATS_APART = 1.0
#: Seconds that stopping gives the writing thread to finish what it is doing.
_PATIENCE = 1.0


class Reporter:
    """Writes for the replica of one process; ``snapshot`` says what that has applied."""

    def __init__(
        self,
        backend: ShieldBackend,
        port: PlainPort,
        *,
        service: str | None,
        release: str,
        snapshot: Callable[[], Snapshot | None],
        register: Callable[[], object],
        write_boundaries: Callable[[], object],
        flush_hits: Callable[[], object],
    ) -> None:
        self._backend = backend
        self._port = port
        self._service = service
        self._release = release
        self._snapshot = snapshot
        self._register = register
        self._write_boundaries = write_boundaries
        self._flush_hits = flush_hits
        self._writer: threading.Thread | None = None
        self._due = threading.Event()
        self._next = 0.0
        self._next_hits = 0.0
        self._begin()

    def _begin(self) -> None:
        self._instance_id = uuid4().hex[:12]
        #: The revision that was told last, and when.
        self._beaten: tuple[int, float] | None = None
        self._turn_at: float | None = None

    def after_fork(self) -> None:
        self._writer = None
        self._due = threading.Event()
        self._begin()

    def report(self, stop: threading.Event) -> None:
        """Write what there is to write, or let it be written; nothing more once ``stop`` is set."""
        if time.monotonic() < self._next:
            return
        if not self._backend.writes_apart:
            self._write(stop)
            return
        self._due.set()
        if self._writer is None or not self._writer.is_alive():
            self._writer = threading.Thread(
                target=self._write_when_due, args=(stop,), name="shield-writer", daemon=True
            )
            self._writer.start()

    def nudge(self) -> None:
        """Let the writing thread see that it is to stop."""
        self._due.set()

    def end(self, *, answers: bool) -> None:
        """Finish; tell a store that ``answers`` that this process follows it no more."""
        if self._writer is not None:
            self._writer.join(timeout=_PATIENCE)
        if answers and self._beaten is not None and (snapshot := self._snapshot()) is not None:
            with suppress(Exception):  # without it, the store finds out by itself
                drive(self._port.beat(self._instance(snapshot, ended=True)))
        self._beaten = None

    def _write_when_due(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self._due.wait()
            self._due.clear()
            self._write(stop)

    def _write(self, stop: threading.Event) -> None:
        """Write all of it; a store that can only be read is followed all the same."""
        refused: InvalidInputError | None = None
        try:
            for write in (self._register, self._write_boundaries, self._beat, self._deliver_hits):
                if stop.is_set():
                    return
                try:
                    write()
                except InvalidInputError as error:
                    refused = refused or error  # a store that does not take one thing may take the others
            if refused is not None:
                raise refused
            self._next = 0.0
        except Exception as error:  # noqa: BLE001 - whatever a store raises, it is followed
            if not self._next:
                logger.warning(
                    "The store cannot be written, but is followed. %s: %s", type(error).__name__, error
                )
            self._next = time.monotonic() + random.uniform(*WRITE_AGAIN)

    def _deliver_hits(self) -> None:
        if time.monotonic() >= self._next_hits:
            self._next_hits = time.monotonic() + self._backend.hits_interval
            self._flush_hits()

    # -- signs of life ----------------------------------------------------------------------

    def _beat(self) -> None:
        """Tell the store which revision this process has applied: at each new one, and every 30 s."""
        snapshot = self._snapshot()
        if not self._backend.shared_across_processes or snapshot is None:
            return
        now, revision = time.monotonic(), snapshot.revision
        if self._beaten is not None:
            apart = _HEARTBEAT if self._beaten[0] == revision else _HEARTBEATS_APART
            if now - self._beaten[1] < apart or self._leaves_others_the_turn(revision, now):
                return
        drive(self._port.beat(self._instance(snapshot)))
        self._beaten, self._turn_at = (revision, now), None

    def _instance(self, snapshot: Snapshot, *, ended: bool = False) -> Instance:
        """Describe this process; one that has ended was last seen too long ago to be alive."""
        seen_at = datetime.now(UTC)
        return Instance(
            id=self._instance_id,
            service=self._service,
            host=socket.gethostname(),
            pid=os.getpid(),
            release=self._release,
            epoch=snapshot.epoch,
            revision=snapshot.revision,
            seen_at=seen_at - timedelta(seconds=INSTANCE_TTL) if ended else seen_at,
        )

    def _leaves_others_the_turn(self, revision: int, now: float) -> bool:
        """Whether to wait, because all who have applied a revision would tell so at once."""
        if self._beaten is None or self._beaten[0] == revision:
            return False
        if self._turn_at is None:
            self._turn_at = now + random.uniform(0.0, self._backend.beats_within)
        return now < self._turn_at
