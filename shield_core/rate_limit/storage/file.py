"""Counters in this process that a restart takes up again: saved to a file every few seconds.

Each process counts by itself and saves to a file of its own. The first takes the path that was given, the
next ones of the same host ``name.1.json``, ``name.2.json`` …; which of them are taken, lock files tell. So
no worker overwrites what another one has saved, and after a restart each takes up what one of before has
counted. A crash loses what was counted since the file was last saved.

A file holds one JSON value in each line: what it is and when it was saved, then keys of a table with what
is counted of them, and in the end a checksum. Times are relative to the moment of saving. They are taken
up by the wall clock; where that was put back no time has passed, so that no ban gets longer.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from shield_core.directories import sync_directory
from shield_core.rate_limit.counters import algorithm_of
from shield_core.rate_limit.storage.memory import BUDGET, MemoryRateLimitStorage
from shield_core.rate_limit.storage.tables import TABLES, Table

logger = logging.getLogger("shield.rate_limit")

#: Stands in the first line, with the version of the format.
_MARK, _VERSION = "shield_limits", 1
#: Processes of one host that save.
_PROCESSES = 256
#: Keys that are read from a table while requests to its limit wait.
_AT_ONCE = 200


class FileRateLimitStorage(MemoryRateLimitStorage):
    """Saves every ``interval`` seconds and at ``stop``; takes up what was saved with the first request.

    What cannot be read is reported and set aside. Where nothing can be saved it counts all the same.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        interval: float = 10.0,
        budget: int = BUDGET,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(budget=budget, clock=clock)
        self.path = Path(path).absolute()
        self.interval = interval
        self._wall_clock = wall_clock
        self._starting = threading.Lock()
        self._saving = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        #: The file of this process, and what holds the lock on it.
        self._file: Path | None = None
        self._descriptor: int | None = None
        #: Tables of before a fork or a stop: the next request finds none, and starts again.
        self._resting: dict[str, Table] = {}
        self._was_taken_up = False
        self._is_empty = True
        self._failed = False

    def after_fork(self) -> None:
        super().after_fork()
        self._starting = threading.Lock()
        self._saving = threading.Lock()
        self._stopping = threading.Event()
        self._thread = self._file = None
        if self._descriptor is not None:
            os.close(self._descriptor)  # the lock stays the parent's
            self._descriptor = None
        self._rest()

    def start(self) -> None:
        with self._starting:
            if self._thread is not None:
                return
            self._stopping.clear()
            self._file = self._claim()
            if self._file is not None and not self._was_taken_up:
                self._take_up(self._file)
            self._was_taken_up = True
            self._tables = {**self._resting, **self._tables}
            self._resting = {}
            self._count_tables()
            self._thread = threading.Thread(target=self._save_regularly, name="shield-limits", daemon=True)
            self._thread.start()
            atexit.register(self.stop)

    def stop(self) -> None:
        with self._starting:
            thread, self._thread = self._thread, None
            if thread is None:
                return
            atexit.unregister(self.stop)
            self._stopping.set()
            thread.join()
            self.save()
            self._file = None
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
            self._rest()

    def save(self) -> None:
        """Save now what is counted; what goes wrong is logged, once until it works again."""
        file = self._file
        if file is None:
            return
        with self._saving:
            try:
                self._write(file)
            except OSError as error:
                if not self._failed:
                    logger.error("Rate limit counters cannot be saved to %s: %s", file, error)
                self._failed = True
            else:
                self._failed = False

    def _open(self, name: str) -> Table:
        if self._thread is None:
            self.start()
        return super()._open(name)

    def _rest(self) -> None:
        self._resting, self._tables = {**self._resting, **self._tables}, {}

    def _save_regularly(self) -> None:
        while not self._stopping.wait(self.interval):
            self.save()

    # -- whose file it is ---------------------------------------------------------------------

    def _claim(self) -> Path | None:
        """Return the first file that no other process has, and lock it; None where there is none."""
        try:
            for number in range(_PROCESSES):
                file = self.path.with_suffix(f".{number}{self.path.suffix}") if number else self.path
                descriptor = os.open(_beside(file, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(descriptor)
                except OSError:
                    os.close(descriptor)
                    raise
                else:
                    self._descriptor = descriptor
                    return file
            logger.error("Rate limit counters are not saved: %s processes do already.", _PROCESSES)
        except OSError as error:
            logger.error("Rate limit counters are not saved, they begin anew at a restart: %s", error)
        return None

    # -- writing ------------------------------------------------------------------------------

    def _write(self, file: Path) -> None:
        now, wall = self.now(), self._wall_clock()
        lines = self._lines(now)
        first = next(lines, None)
        if first is None and self._is_empty:
            return
        temporary = _beside(file, ".tmp")
        temporary.unlink(missing_ok=True)
        digest = hashlib.sha256()
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "w", encoding="utf-8") as target:
                for value in ({_MARK: _VERSION, "saved_at": wall}, *([first] if first else [])):
                    _put(target, digest, value)
                for value in lines:
                    _put(target, digest, value)
                target.write(json.dumps({"sha256": digest.hexdigest()}) + "\n")
                target.flush()
                os.fsync(descriptor)
            os.replace(temporary, file)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self._is_empty = first is None
        sync_directory(file.parent)

    def _lines(self, now: float) -> Iterator[Any]:
        """Read the tables in small parts, so that no request waits for long."""
        for name, table in list(self._tables.items()):
            with table.lock:
                keys = iter(list(table.entries))
            while part := list(islice(keys, _AT_ONCE)):
                with table.lock:
                    counted = {
                        key: table.dump(entry, now)
                        for key in part
                        if (entry := table.entries.get(key)) is not None and not table.is_over(entry, now)
                    }
                if counted:
                    yield [name, counted]

    # -- reading ------------------------------------------------------------------------------

    def _take_up(self, file: Path) -> None:
        try:
            self._read(file)
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            aside = _beside(file, f".refused-{int(self._wall_clock())}")
            logger.error(
                "The rate limit counters in %s cannot be taken up (%s: %s), so they begin anew. What was "
                "there is kept as %s.",
                file,
                type(error).__name__,
                error,
                aside,
            )
            try:
                os.replace(file, aside)
            except OSError as failure:
                logger.error("%s cannot be set aside, so nothing is saved: %s", file, failure)
                self._file = None

    def _read(self, file: Path) -> None:
        """Raises ValueError and others for what is no file of ours."""
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        if len(lines) < 2:
            raise ValueError("it is no file of rate limit counters")
        head, *parts = (json.loads(line) for line in lines[:-1])
        if head.get(_MARK) != _VERSION:
            raise ValueError(f"it is not of version {_VERSION}")
        if json.loads(lines[-1]).get("sha256") != hashlib.sha256("".join(lines[:-1]).encode()).hexdigest():
            raise ValueError("its checksum is wrong")
        now = self.now()
        saved = now - max(0.0, self._wall_clock() - float(head["saved_at"]))
        loaded: dict[str, Table] = {}
        for name, counted in parts:
            if name not in loaded:
                loaded[name] = TABLES[algorithm_of(name)](self._is_full)
            table = loaded[name]
            for key, dumped in counted.items():
                entry = table.load(dumped, saved)
                if not table.is_over(entry, now):
                    table.insert(key, entry, now)
        self._resting = {**loaded, **self._resting}


def _put(target: Any, digest: Any, value: object) -> None:
    line = json.dumps(value, separators=(",", ":")) + "\n"
    target.write(line)
    digest.update(line.encode())


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
