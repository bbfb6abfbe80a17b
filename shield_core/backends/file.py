"""State and audit log in one JSON file, for single-instance deployments and the command line.

The file has the published shape, ``{"states": {key: RouteState}, "audit": [AuditEntry]}``, oldest
entry last added; what else Shield needs stands beside it. A file with only the two loads, and
so does one that somebody edited by hand.

A write takes the lock file, reads what is there, writes a temporary file beside it, syncs it
and renames it. So a reader sees the old content or the new one, also after a crash.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import ValidationError

from shield_core import forking
from shield_core.audit import AuditQuery
from shield_core.backends.base import SyncNativeBackend, check_expectations, stamped
from shield_core.exceptions import BackendError
from shield_core.keys import is_route_key
from shield_core.models import AuditEntry, GlobalMaintenanceConfig, Instance, RouteState, StoredObject
from shield_core.snapshot import Changes, Commit, Cursor, Snapshot

#: Seconds between two looks at the file's metadata.
_STAT_INTERVAL = 0.1


@dataclass(frozen=True, slots=True)
class _Content:
    """What a file holds. ``others`` are top-level keys that this version does not know."""

    snapshot: Snapshot = field(default_factory=Snapshot)
    audit: tuple[AuditEntry, ...] = ()
    head: str = ""
    others: Mapping[str, Any] = field(default_factory=dict)


class FileBackend(SyncNativeBackend):
    """Keeps ``audit_limit`` entries (None: all)."""

    def __init__(
        self, path: str | os.PathLike[str] = "shield-state.json", audit_limit: int | None = 1000
    ) -> None:
        self.path = Path(path)
        self._audit_limit = audit_limit
        self._signature: tuple[int, ...] | None = None
        self._content = _Content()
        self._guard = threading.Lock()
        self._woken = threading.Event()
        forking.watch(self)

    def after_fork(self) -> None:
        self._guard = threading.Lock()
        self._woken = threading.Event()

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
        self._woken.clear()
        if snapshot.cursor == since:
            return Changes(since)
        if snapshot.epoch != since.epoch or snapshot.revision < since.revision:
            return Changes(snapshot.cursor, reset=True)
        return snapshot.since(since)

    def read_audit_sync(self, query: AuditQuery) -> list[AuditEntry]:
        return query.select(reversed(self._read().audit))

    def beat_sync(self, instance: Instance) -> None:
        """Note it in a file of its own, so that a heartbeat does not rewrite the state."""
        with self._locked():
            noted = {one.id: one for one in self.instances_sync() if one.alive_at(instance.seen_at)}
            noted[instance.id] = instance
            text = json.dumps([one.model_dump(mode="json") for one in noted.values()])
            self._replace(self._instances_path, text)

    def instances_sync(self) -> list[Instance]:
        try:
            noted = json.loads(self._instances_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # absent, or damaged: it is written anew with each heartbeat
            return []
        return [Instance.model_validate(one) for one in noted]

    @property
    def _instances_path(self) -> Path:
        return self.path.with_name(self.path.name + ".instances")

    def _read(self) -> _Content:
        """Return the file's content, reading it again only when its metadata changed."""
        with self._guard:
            signature = _signature(self.path)
            if signature != self._signature:
                self._content = self._parse() if signature is not None else _Content()
                self._signature = signature
            return self._content

    def _parse(self) -> _Content:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return _Content()
        except (OSError, UnicodeDecodeError) as error:
            raise BackendError(f"The state file {self.path} cannot be read: {error}") from error
        try:
            return _decode(json.loads(text))
        except (ValueError, TypeError, AttributeError, ValidationError) as error:
            raise BackendError(
                f"The state file {self.path} is not valid: {error}. Correct it, or move it away."
            ) from error

    # -- writing ----------------------------------------------------------------------------

    def commit_sync(self, commit: Commit) -> Changes:
        with self._locked():
            content = self._read()
            before = content.snapshot
            check_expectations(commit, before.revision_of)
            if not _is_ours(before):
                # Nobody who followed the file knows what was edited by hand: they load it again.
                before = Snapshot(uuid4().hex[:12], before.revision, before.objects, before.deleted)
            changes = stamped(commit, Cursor(before.epoch, before.revision + 1), content.head)
            audit = (*content.audit, *changes.audit)
            kept = audit if self._audit_limit is None else audit[max(0, len(audit) - self._audit_limit) :]
            head = changes.audit[-1].hash if changes.audit else content.head
            written = _Content(before.apply(changes, advance=True), kept, head, content.others)
            self._replace(self.path, json.dumps(_encode(written), ensure_ascii=False, indent=1))
            return changes

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock file, which is never removed: a removed one would be two locks."""
        lock = self.path.with_name(self.path.name + ".lock")
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise BackendError(f"The lock file {lock} cannot be opened: {error}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _replace(self, path: Path, text: str) -> None:
        target = path.resolve()
        try:
            descriptor, temporary = tempfile.mkstemp(prefix=target.name, suffix=".tmp", dir=target.parent)
        except OSError as error:
            raise BackendError(f"{path} cannot be written: {error}") from error
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                _keep_permissions(target, file.fileno())
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except OSError as error:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise BackendError(f"{path} cannot be written: {error}") from error
        _sync_directory(target.parent)


def _signature(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BackendError(f"The state file {path} cannot be read: {error}") from error
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _keep_permissions(target: Path, descriptor: int) -> None:
    """Give the new file the old one's mode and owner, or what a new file would get."""
    try:
        old = target.stat()
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        os.fchmod(descriptor, 0o666 & ~mask)
        return
    os.fchmod(descriptor, old.st_mode & 0o7777)
    with contextlib.suppress(PermissionError):
        os.fchown(descriptor, old.st_uid, old.st_gid)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _encode(content: _Content) -> dict[str, Any]:
    snapshot = content.snapshot
    objects = {key: found.model_dump(mode="json") for key, found in snapshot.objects.items()}
    states = {key: found for key, found in objects.items() if is_route_key(key)}
    configs = {key: found for key, found in objects.items() if not is_route_key(key)}
    return {
        **content.others,
        "states": states,
        "configs": configs,
        "audit": [entry.model_dump(mode="json") for entry in content.audit],
        "audit_head": content.head,
        "deleted": dict(snapshot.deleted),
        "epoch": snapshot.epoch,
        "revision": snapshot.revision,
        "digest": _digest(states, configs),
    }


def _decode(data: Any) -> _Content:
    if not isinstance(data, dict):
        raise TypeError("it holds no JSON object")
    known = {name: data.get(name) for name in ("states", "configs", "audit", "deleted")}
    states, configs = known["states"] or {}, known["configs"] or {}
    objects: dict[str, StoredObject] = {
        key: RouteState.model_validate({"path": key, **found}) for key, found in states.items()
    }
    objects |= {key: GlobalMaintenanceConfig.model_validate(found) for key, found in configs.items()}
    digest = _digest(states, configs)
    epoch = data.get("epoch") or ""
    if not epoch or data.get("digest") != digest:
        epoch = f"{_EDITED}{digest[:12]}"
    audit = tuple(AuditEntry.model_validate(entry) for entry in known["audit"] or ())
    head = data.get("audit_head") or (audit[-1].hash if audit else "")
    others = {name: found for name, found in data.items() if name not in _OURS}
    snapshot = Snapshot(epoch, int(data.get("revision") or 0), objects, known["deleted"] or {})
    return _Content(snapshot, audit, head, others)


_OURS = frozenset({"states", "configs", "audit", "audit_head", "deleted", "epoch", "revision", "digest"})
#: The epoch of a file whose content nobody of us wrote: the content itself names it.
_EDITED = "edited-"


def _is_ours(snapshot: Snapshot) -> bool:
    return bool(snapshot.epoch) and not snapshot.epoch.startswith(_EDITED)


def _digest(states: Mapping[str, Any], configs: Mapping[str, Any]) -> str:
    text = json.dumps([states, configs], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
