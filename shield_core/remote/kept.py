"""The last known state of a server on this machine's disk, to begin with where the server is absent.

Only its owner can read the file; one that others could have written is not believed. It is an image
of what the server said, never a source of changes.
"""

from __future__ import annotations

import glob
import hashlib
import json
import logging
import os
import stat
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shield_core.events import cut
from shield_core.exceptions import ShieldException
from shield_core.ownership import is_writable_by_others
from shield_core.remote.reading import Reader
from shield_core.snapshot import Cursor, Snapshot

logger = logging.getLogger("shield.remote")

FORMAT = 1
#: Seconds between two writes.
_INTERVAL = 1.0
#: Seconds after which nobody writes a file any more.
_ABANDONED = 60.0


def default_path(address: str, service: str | None) -> Path | None:
    """Return where the state of a service of one server is kept; None where there is no home."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    name = hashlib.sha256(f"{address}\n{service or ''}".encode()).hexdigest()[:16]
    return base / "shield" / f"{service or 'all'}-{name}.json"


class KeptSnapshot:
    """``path`` None keeps nothing."""

    def __init__(self, path: Path | None, service: str | None) -> None:
        self.path = path
        self._service = service
        self._kept: Cursor | None = None
        self._next = 0.0
        self._complains = True

    def keep(self, snapshot: Snapshot, *, now: bool = False) -> None:
        """Write a new state, at most once a second unless it must be ``now``; trouble is logged, once."""
        moment = time.monotonic()
        if self.path is None or snapshot.cursor == self._kept or (moment < self._next and not now):
            return
        self._next = moment + _INTERVAL
        try:
            self._write(self.path, snapshot)
        except OSError as error:
            if self._complains:
                logger.warning("The last known state cannot be kept in %s: %s", self.path, error)
            self._complains = False
        self._kept = snapshot.cursor

    def _write(self, path: Path, snapshot: Snapshot) -> None:
        if path.exists() and not (path.is_file() or path.is_symlink()):
            raise OSError("it is no regular file")  # root could put one in the place of /dev/null
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        payload = cut(snapshot, self._service)
        document = {
            "format": FORMAT,
            "service": self._service,
            "saved_at": datetime.now(UTC).isoformat(),
            "digest": _digest(payload),
            "snapshot": payload,
        }
        if self._kept is None:
            _sweep(path)
        # A name of its own: containers that share a volume may all be process 1.
        descriptor, name = tempfile.mkstemp(".tmp", f"{path.name}.", path.parent)
        temporary = Path(name)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump(document, file)
            # Not synced: what a power failure leaves of it is known by its digest.
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def read(self) -> tuple[Snapshot, datetime] | None:
        """Return the state that was kept, and when; None where there is none that can be believed."""
        if self.path is None:
            return None
        try:
            document = self._read(self.path)
            payload = document["snapshot"]
            if document["format"] != FORMAT or document["digest"] != _digest(payload):
                raise ValueError("it is damaged or of another version")
            if document["service"] != self._service:
                raise ValueError(f"it is of the service {document['service']!r}")
            saved_at = datetime.fromisoformat(document["saved_at"])
            return Reader(self._service).snapshot(payload, Snapshot()), saved_at
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError, ShieldException) as error:
            logger.error("The last known state in %s is not used: %s", self.path, error)
            return None

    def _read(self, path: Path) -> Any:
        # Without waiting: a pipe would keep us for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, encoding="utf-8") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise PermissionError("it is no regular file")
            if is_writable_by_others(found):
                raise PermissionError("others than its owner could have written it")
            return json.load(file)


def _sweep(path: Path) -> None:
    """Delete what processes that were killed have left half written."""
    for left in path.parent.glob(f"{glob.escape(path.name)}.*.tmp"):
        with suppress(FileNotFoundError):  # another process sweeps too
            if time.time() - left.lstat().st_mtime > _ABANDONED:
                left.unlink()


def _digest(payload: Any) -> str:
    return hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()
