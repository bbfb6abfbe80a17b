"""State in this process: for development, tests and demos. Nothing survives, nobody else sees it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from shield_core import forking
from shield_core.audit import AuditQuery
from shield_core.backends.base import (
    RecentChanges,
    Result,
    SyncNativeBackend,
    check_expectations,
    stamped,
)
from shield_core.models import AuditEntry, Instance
from shield_core.snapshot import Changes, Commit, Cursor, Snapshot


class MemoryBackend(SyncNativeBackend):
    """Keeps ``audit_limit`` entries (None: all)."""

    shared_across_processes = False
    durable = False
    immediate = True

    def __init__(self, audit_limit: int | None = 1000) -> None:
        self._audit: deque[AuditEntry] = deque(maxlen=audit_limit)
        self._snapshot = Snapshot(uuid4().hex[:12])
        self._recent = RecentChanges()
        self._head = ""
        self._instances: dict[str, Instance] = {}
        self._changed = threading.Condition()
        forking.watch(self)

    def after_fork(self) -> None:
        self._changed = threading.Condition()

    async def hop(self, function: Callable[..., Result], *args: Any) -> Result:
        return function(*args)

    async def watch(self, since: Cursor, timeout: float = 0.0) -> Changes:
        return await super().hop(self.watch_sync, since, timeout)

    def load_sync(self) -> Snapshot:
        return self._snapshot

    def commit_sync(self, commit: Commit) -> Changes:
        with self._changed:
            before = self._snapshot
            check_expectations(commit, before.revision_of)
            changes = stamped(commit, Cursor(before.epoch, before.revision + 1), self._head)
            self._snapshot = before.apply(changes, advance=True)
            self._audit.extend(changes.audit)
            if changes.audit:
                self._head = changes.audit[-1].hash
            self._recent.append(changes)
            self._changed.notify_all()
        return changes

    def watch_sync(self, since: Cursor, timeout: float = 0.0) -> Changes:
        with self._changed:
            if timeout and since == self._snapshot.cursor:
                self._changed.wait(timeout)
            return self._recent.after(since, self._snapshot.cursor)

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def read_audit_sync(self, query: AuditQuery) -> list[AuditEntry]:
        with self._changed:
            newest_first = list(reversed(self._audit))
        return query.select(newest_first)

    def beat_sync(self, instance: Instance) -> None:
        """Note a process that follows over HTTP; this one itself has nobody to tell."""
        with self._changed:
            for one in [one for one in self._instances.values() if not one.alive_at(instance.seen_at)]:
                del self._instances[one.id]
            self._instances[instance.id] = instance

    def instances_sync(self) -> list[Instance]:
        with self._changed:
            return list(self._instances.values())
