"""State and audit log in one JSON file, for single-instance deployments and the command line.

A write takes the lock file, reads what is there, writes a temporary file beside it, syncs it
and renames it. So a reader sees the old content or the new one, also after a crash. A file that
somebody edited by hand loads (``statefile`` tells how the file looks).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import random
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from uuid import uuid4

from pydantic import ValidationError

from shield_core import forking
from shield_core.audit import AuditQuery
from shield_core.backends import statefile
from shield_core.backends.base import SyncNativeBackend, check_expectations, stamped
from shield_core.backends.statefile import Document
from shield_core.directories import sync_directory
from shield_core.exceptions import BackendError
from shield_core.models import AuditEntry, Instance, RateLimitHit
from shield_core.rate_limit.hits import KEPT, HitQuery
from shield_core.rate_limit.storage.base import RateLimitStorage
from shield_core.rate_limit.storage.file import FileRateLimitStorage
from shield_core.snapshot import Changes, Commit, Cursor, Snapshot, branch

logger = logging.getLogger("shield.file")

#: Seconds between two looks at the file's metadata.
_STAT_INTERVAL = 0.1
#: Seconds to wait for the lock file, which a stopped process may hold.
_LOCK_PATIENCE = 15.0

#: Bytes of a file of hits that is put aside: enough for all that are to be kept.
_HITS_SIZE = KEPT * 800

_Signature = tuple[int, int, int, int]


class FileBackend(SyncNativeBackend):
    """Keeps ``audit_limit`` entries (None: all)."""

    def __init__(
        self, path: str | os.PathLike[str] = "shield-state.json", audit_limit: int | None = 1000
    ) -> None:
        self.path = Path(path).absolute()
        self._audit_limit = audit_limit
        self._document = Document()
        self._signature: _Signature | None = None
        self._pin: _Pin | None = None
        self._guard = threading.Lock()
        self._writing = threading.Lock()
        self._woken = threading.Event()
        self._known: set[str] = set()
        forking.watch(self)

    def after_fork(self) -> None:
        self._guard = threading.Lock()
        self._writing = threading.Lock()
        self._woken = threading.Event()

    def described(self) -> str:
        return f"file {self.path}"

    def wake(self) -> None:
        self._woken.set()

    # -- reading ----------------------------------------------------------------------------

    def load_sync(self) -> Snapshot:
        return self._read().snapshot

    def watch_sync(self, since: Cursor, timeout: float = 0.0) -> Changes:
        deadline = time.monotonic() + timeout
        while (snapshot := self._read().snapshot).cursor == since:
            left = deadline - time.monotonic()
            if left <= 0 or self._woken.wait(min(_STAT_INTERVAL, left)):
                break
        if timeout:
            self._woken.clear()
        if snapshot.cursor == since:
            return Changes(since)
        if snapshot.epoch != since.epoch or snapshot.revision < since.revision:
            return Changes(snapshot.cursor, reset=True)
        return snapshot.since(since)

    def read_audit_sync(self, query: AuditQuery) -> list[AuditEntry]:
        return query.select(self._newest_first())

    def _newest_first(self) -> Iterable[AuditEntry]:
        for entry in reversed(self._read().audit):
            try:
                yield AuditEntry.model_validate(entry)
            except ValidationError as error:
                logger.warning("An audit entry in %s cannot be read and is passed over: %s", self.path, error)

    def _read(self) -> Document:
        """Return the file's content, reading it again only when its metadata changed."""
        with self._guard:
            if _signature(self.path) != self._signature:
                self._reread()
            return self._document

    def _reread(self) -> None:
        try:
            pin = _Pin(os.open(self.path, os.O_RDONLY))
        except FileNotFoundError:
            self._document, self._signature, self._pin = Document(), None, None
            return
        except OSError as error:
            said = error.strerror or error
            raise BackendError(f"The state file {self.path} cannot be read: {said}") from error
        try:
            signature = _signature(pin.descriptor)
            with open(pin.descriptor, encoding="utf-8-sig", closefd=False) as file:
                document = statefile.parse(file.read())
        except OSError as error:
            said = error.strerror or error
            raise BackendError(f"The state file {self.path} cannot be read: {said}") from error
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise BackendError(
                f"The state file {self.path} is not valid: {error}. Correct it, or move it away."
            ) from error
        self._document, self._signature, self._pin = document, signature, pin

    # -- writing ----------------------------------------------------------------------------

    def commit_sync(self, commit: Commit) -> Changes:
        with self._locked():
            document = self._read()
            before = document.snapshot
            check_expectations(commit, before.revision_of)
            if document.edited or not before.epoch:
                # Nobody who followed the file knows what was edited by hand: they load it again.
                before = replace(before, epoch=branch(before.epoch, uuid4().hex[:12]))
            changes = stamped(commit, Cursor(before.epoch, before.revision + 1), document.audit_head)
            audit = (*document.audit, *map(statefile.line, changes.audit))
            kept = audit if self._audit_limit is None else audit[max(0, len(audit) - self._audit_limit) :]
            head = changes.audit[-1].hash if changes.audit else document.audit_head
            self._write(Document(before.apply(changes, advance=True), kept, head, document.others))
            return changes

    def _write(self, document: Document) -> None:
        target = self._target
        pin = _replace(target, statefile.dump(document), sync=True)
        with self._guard:
            self._document, self._signature, self._pin = document, _signature(pin.descriptor), pin

    @property
    def _target(self) -> Path:
        """The file itself, where ``path`` is a symbolic link."""
        return self.path.resolve()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock file, which is never removed: a removed one would be two locks."""
        lock = _beside(self._target, ".lock")
        deadline = time.monotonic() + _LOCK_PATIENCE
        busy = BackendError(
            f"Another process has held {lock} for {_LOCK_PATIENCE:.0f} s; nothing is written."
        )
        if not self._writing.acquire(timeout=_LOCK_PATIENCE):
            raise busy
        try:
            descriptor = _open_lock(lock)
            try:
                while not _try_lock(descriptor):
                    if time.monotonic() > deadline:
                        raise busy
                    time.sleep(random.uniform(0.001, 0.004))
                yield
            finally:
                # Said, and not left to the closing: a child forked meanwhile has the file open, too.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
                os.close(descriptor)
        finally:
            self._writing.release()

    # -- instances --------------------------------------------------------------------------

    def beat_sync(self, instance: Instance) -> None:
        """Note it in a file of its own, so that heartbeats neither rewrite the state nor wait for it."""
        folder = self._instances
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise BackendError(f"{folder} cannot be made: {error}") from error
        _replace(folder / f"{instance.id}.json", instance.model_dump_json(), sync=False)
        if instance.id not in self._known:
            self._known.add(instance.id)
            for path, one in self._noted():
                if not one.alive_at(instance.seen_at):
                    path.unlink(missing_ok=True)

    def instances_sync(self) -> list[Instance]:
        return [one for _, one in self._noted()]

    def _noted(self) -> Iterator[tuple[Path, Instance]]:
        for path in self._instances.glob("*.json"):
            with contextlib.suppress(OSError, ValueError):  # gone meanwhile, or damaged
                yield path, Instance.model_validate(json.loads(path.read_text(encoding="utf-8")))

    @property
    def _instances(self) -> Path:
        return _beside(self._target, ".instances")

    # -- rate limits --------------------------------------------------------------------------

    def write_hits_sync(self, hits: Sequence[RateLimitHit]) -> None:
        """Append them to a file of its own, so that they neither rewrite the state nor wait for it.

        Each line is a hit. A file that is long enough is put aside for the next, in the place of the
        one before, so that the two hold at least what is to be kept.
        """
        lines = "".join(f"\n{hit.model_dump_json()}" for hit in hits).encode()
        try:
            with self._appending() as descriptor:
                os.write(descriptor, lines)  # a torn line of a crash ends where this begins
                if os.fstat(descriptor).st_size > _HITS_SIZE:
                    os.replace(self._hits_file, self._older_hits_file)
        except OSError as error:
            raise BackendError(f"{self._hits_file} cannot be written: {error}") from error

    def read_hits_sync(self, query: HitQuery) -> list[RateLimitHit]:
        return query.select(islice(self._newest_hits(), KEPT))

    def rate_limit_storage(self) -> RateLimitStorage:
        """Count in this process, and save it beside the state: ``shield-state.limits.json``."""
        return FileRateLimitStorage(self.path.with_suffix(".limits.json"))

    @contextlib.contextmanager
    def _appending(self) -> Iterator[int]:
        """Open the file of hits for one writer at a time, with the state's owner and mode."""
        while True:
            descriptor = os.open(
                self._hits_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                found = os.fstat(descriptor)
                if _signature(descriptor) != _signature(self._hits_file):
                    continue  # somebody has put it aside meanwhile
                if not found.st_size and self._target.exists():
                    _take_over(descriptor, self._target.stat())
                yield descriptor
                return
            finally:
                os.close(descriptor)

    def _newest_hits(self) -> Iterator[RateLimitHit]:
        for path in (self._hits_file, self._older_hits_file):
            try:
                text = path.read_text(encoding="utf-8", errors="replace")
            except FileNotFoundError:
                continue
            except OSError as error:
                raise BackendError(f"{path} cannot be read: {error}") from error
            for line in reversed(text.split("\n")):
                with contextlib.suppress(ValueError):  # empty, or torn by a crash
                    yield RateLimitHit.model_validate_json(line)

    @property
    def _hits_file(self) -> Path:
        return self._target.with_suffix(".hits.jsonl")

    @property
    def _older_hits_file(self) -> Path:
        return self._target.with_suffix(".hits.1.jsonl")


class _Pin:
    """Holds a file open, because the number of its inode goes to another file once it is closed."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)


def _signature(file: Path | int) -> _Signature | None:
    try:
        found = os.stat(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BackendError(f"The state file {file} cannot be read: {error.strerror or error}") from error
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _open_lock(lock: Path) -> int:
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        pass  # another user made it: what can be read can be locked
    except OSError as error:
        raise BackendError(f"The lock file {lock} cannot be opened: {error}") from error
    try:
        return os.open(lock, os.O_RDONLY)
    except OSError as error:
        raise BackendError(f"The lock file {lock} cannot be opened: {error}") from error


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _replace(target: Path, text: str, *, sync: bool) -> _Pin:
    """Put a new file in the place of ``target`` and return it; there is one writer at a time.

    What a killed writer has left is removed by the next one, because it has the same name.
    """
    temporary = _beside(target, ".tmp")
    try:
        old = target.stat() if target.exists() else None
        temporary.unlink(missing_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        pin = _Pin(os.open(temporary, flags, 0o666 if old is None else 0o600))
        try:
            with open(pin.descriptor, "w", encoding="utf-8", closefd=False) as file:
                file.write(text)
            if old is not None:
                _take_over(pin.descriptor, old)
            if sync:
                os.fsync(pin.descriptor)
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if sync:
            sync_directory(target.parent)
    except (OSError, UnicodeEncodeError) as error:
        raise BackendError(f"{target} cannot be written: {error}") from error
    return pin


def _take_over(descriptor: int, old: os.stat_result) -> None:
    """Give the new file the old one's owner and mode."""
    with contextlib.suppress(PermissionError):
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, old.st_mode & 0o7777)
