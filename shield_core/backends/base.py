"""What a backend is: six methods to write, and what the engine makes of them.

``ShieldBackend`` is the class to subclass for a store of one's own: its six abstract methods
suffice. Our own backends override ``load``, ``commit``, ``watch`` and ``read_audit``, which are
atomic there, and get the six methods from ``RevisionedBackend``.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar, TypeVar
from uuid import uuid4

from shield_core import audit
from shield_core.audit import AuditQuery
from shield_core.exceptions import ConflictError
from shield_core.keys import INSTANCE_PREFIX, Scope, is_route_key
from shield_core.models import (
    AuditEntry,
    Instance,
    RateLimitHit,
    RateLimitPolicy,
    RouteState,
    StoredObject,
    value_type,
)
from shield_core.rate_limit.hits import KEPT, HitQuery
from shield_core.rate_limit.storage.base import RateLimitStorage
from shield_core.rate_limit.storage.memory import MemoryRateLimitStorage
from shield_core.snapshot import Changes, Commit, Cursor, Snapshot, Write

Result = TypeVar("Result")

#: How often a store that changes while it is read is read again, before the feed has to mend it.
WHOLE_ATTEMPTS = 5


class ShieldBackend(ABC):
    """A store of route states and of the audit log.

    Flags tell what a store can do: ``atomic`` (a commit happens as a whole),
    ``shared_across_processes`` and ``durable`` (survives the process).
    """

    atomic: bool = False
    shared_across_processes: bool = True
    durable: bool = True

    #: Whether those who follow it write down the boundaries of windows, and restore it when it was lost.
    reconciles: bool = True
    #: Whether a write waits for somebody far away, so that whoever follows must not do it.
    writes_apart: bool = False
    #: Whether it stores whatever it is given, as it is; else it judges what each client may write.
    verbatim: bool = True

    #: Seconds between two looks at the store, where it cannot tell of changes by itself.
    refresh_interval: float = 1.0
    #: Seconds after which it is asked again, on average, when it does not answer.
    reconnect_delay: float = 5.0
    #: Seconds between two deliveries of hits of rate limits.
    hits_interval: float = 0.0
    #: Seconds within which, at a random moment, it wants to hear which revision was applied.
    beats_within: float = 0.0
    #: The revision that the store is known to have learnt this process has applied; None: it is not told.
    acknowledged: int | None = None

    def described(self) -> str:
        """Return which store it is, in an operator's words."""
        return type(self).__name__

    # -- the six methods of a custom backend -------------------------------------------------

    @abstractmethod
    async def get_state(self, path: str) -> RouteState:
        """Return the state of one route. Raises KeyError when there is none."""

    @abstractmethod
    async def set_state(self, path: str, state: RouteState) -> None:
        """Store the state of one route."""

    @abstractmethod
    async def delete_state(self, path: str) -> None:
        """Forget the state of one route; one that is not there is no error."""

    @abstractmethod
    async def list_states(self) -> list[RouteState]:
        """Return all states."""

    @abstractmethod
    async def write_audit(self, entry: AuditEntry) -> None:
        """Append one entry to the audit log."""

    @abstractmethod
    async def get_audit_log(self, path: str | None = None, limit: int = 100) -> list[AuditEntry]:
        """Return entries, of one route or of all, newest first."""

    # -- hooks ------------------------------------------------------------------------------

    async def startup(self) -> None:
        """Open connections."""

    async def shutdown(self) -> None:
        """Close connections."""

    async def revision(self) -> object:
        """Return a value that differs after every change, or None where the store knows no such thing.

        Optional: while it stays the same, ``list_states`` is not called.
        """
        return None

    # -- what the engine calls; made of the six methods unless overridden ----------------------

    async def load(self) -> Snapshot:
        """Return the whole state."""
        async with self._seen.lock:
            return await self._look()

    async def commit(self, commit: Commit) -> Changes:
        """Write ``commit`` and return it with the revision it got.

        Raises ConflictError when an object is not at its expected revision. Made of six methods
        this is not atomic: another process may write in between.
        """
        async with self._seen.lock:
            snapshot = await self._look()
            check_expectations(commit, snapshot.revision_of)
            latest = await self.get_audit_log(limit=1)
            head = latest[0].hash if latest else ""
            changes = stamped(commit, Cursor(snapshot.epoch, snapshot.revision + 1), head)
            for key, value in changes.writes:
                if value is None:
                    await self.delete_state(key)
                else:
                    await self.set_state(key, encoded(key, value))
            for entry in changes.audit:
                await self.write_audit(entry)
            self._seen.snapshot = snapshot.apply(changes, advance=True)
            return changes

    async def watch(self, since: Cursor, timeout: float = 0.0) -> Changes:
        """Return what changed after ``since``; wait up to ``timeout`` seconds for something.

        The answer may be empty. ``Changes.reset`` says: load again.
        """
        if timeout:
            await asyncio.sleep(min(timeout, self.refresh_interval))
        async with self._seen.lock:
            before = self._seen.snapshot
            after = await self._look()
        if since != before.cursor or after.epoch != before.epoch:
            return Changes(after.cursor, reset=True)
        changed = {key: value for key, value in after.objects.items() if before.objects.get(key) != value}
        if any(value.revision <= before.revision for value in changed.values()):
            return Changes(after.cursor, reset=True)  # written by somebody who counts differently
        gone = [Write(key, None) for key in before.objects if key not in after.objects]
        return Changes(after.cursor, (*(Write(key, value) for key, value in changed.items()), *gone))

    async def read_audit(self, query: AuditQuery) -> list[AuditEntry]:
        """Return the entries that ``query`` selects, newest first."""
        return query.select(await self.get_audit_log(query.path, 1_000_000))

    def last_known(self) -> tuple[Snapshot, datetime] | None:
        """Return a state from before this process and when it was kept, to begin with without the store."""
        return None

    def disconnect(self) -> None:
        """Close what any thread may close; the next use opens it anew."""

    async def beat(self, instance: Instance) -> None:
        """Note that ``instance`` is alive, and the revision it has applied."""
        key = f"{INSTANCE_PREFIX}{instance.id}__"
        await self.set_state(key, RouteState(path=key, reason=instance.model_dump_json()))
        if instance.id not in self._seen.beating:
            self._seen.beating.add(instance.id)
            for one in await self.instances():
                if not one.alive_at(instance.seen_at):
                    await self.delete_state(f"{INSTANCE_PREFIX}{one.id}__")

    async def instances(self) -> list[Instance]:
        """Return the instances that were heard of, also those that may be gone."""
        noted = [state for state in await self.list_states() if state.path.startswith(INSTANCE_PREFIX)]
        return [Instance.model_validate_json(state.reason) for state in noted]

    async def write_hits(self, hits: Sequence[RateLimitHit]) -> None:
        """Keep hits of rate limits, the oldest first, for a while; here for this process alone."""
        self._hits.extend(hits)

    async def read_hits(self, query: HitQuery) -> list[RateLimitHit]:
        """Return the hits that ``query`` selects, newest first."""
        return query.select(reversed(list(self._hits)))

    def rate_limit_storage(self) -> RateLimitStorage:
        """Return where requests are counted, unless ``rate_limit_backend`` says where."""
        return MemoryRateLimitStorage()

    @cached_property
    def _hits(self) -> deque[RateLimitHit]:
        return deque(maxlen=KEPT)

    def after_commit(self, publish: Callable[[], None]) -> None:
        """Call ``publish`` once the last commit is certain; at once, outside a transaction."""
        publish()

    async def _look(self) -> Snapshot:
        """Read all states; what differs from the last time gets a new revision.

        A store that holds nothing any more of what it held is another one, with an epoch of its own.
        """
        seen = self._seen.snapshot
        mark = await self.revision()
        if mark is not None and mark == self._seen.mark:
            return seen
        states = [one for one in await self.list_states() if not one.path.startswith(INSTANCE_PREFIX)]
        objects = {state.path: decoded(state) for state in states}
        if objects != seen.objects:
            newest = max((found.revision for found in objects.values()), default=0)
            if seen.objects and objects.keys().isdisjoint(seen.objects):
                self._seen.snapshot = Snapshot(_empty().epoch, newest, objects)
            else:
                self._seen.snapshot = Snapshot(seen.epoch, max(newest, seen.revision + 1), objects)
        self._seen.mark = mark
        return self._seen.snapshot

    @cached_property
    def _seen(self) -> _Seen:
        return _Seen()


class _Seen:
    """What a six-method backend was last seen to hold."""

    def __init__(self) -> None:
        self.snapshot = _empty()
        #: What ``revision()`` said before the snapshot was read.
        self.mark: object = None
        #: The instances that have been noted here.
        self.beating: set[str] = set()
        self._lock = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def lock(self) -> asyncio.Lock:
        """A lock of the running loop: after a fork or a restart the home is another one."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._lock, self._loop = asyncio.Lock(), loop
        return self._lock


def _empty() -> Snapshot:
    return Snapshot(uuid4().hex[:12])


class RevisionedBackend(ShieldBackend):
    """A backend that overrides ``load``, ``commit``, ``watch`` and ``read_audit``, and so has the six."""

    atomic = True

    async def get_state(self, path: str) -> RouteState:
        found = (await self.load()).objects[path]
        return encoded(path, found)

    async def set_state(self, path: str, state: RouteState) -> None:
        await self.commit(Commit((Write(path, decoded(state)),)))

    async def delete_state(self, path: str) -> None:
        await self.commit(Commit((Write(path, None),)))

    async def list_states(self) -> list[RouteState]:
        return list((await self.load()).routes.values())

    async def write_audit(self, entry: AuditEntry) -> None:
        await self.commit(Commit(audit=(entry,)))

    async def get_audit_log(self, path: str | None = None, limit: int = 100) -> list[AuditEntry]:
        return await self.read_audit(AuditQuery(path=path, limit=limit))


class SyncNativeBackend(RevisionedBackend):
    """A backend whose store is synchronous by nature: plain functions, and their async form.

    The engine calls the plain ones from synchronous code, in the caller's own thread and
    transaction, and reaches them through ``hop`` from coroutines.
    """

    #: Whether the plain functions return at once, so that coroutines and first requests may call them.
    immediate: ClassVar[bool] = False

    @abstractmethod
    def load_sync(self) -> Snapshot: ...

    @abstractmethod
    def commit_sync(self, commit: Commit) -> Changes: ...

    @abstractmethod
    def watch_sync(self, since: Cursor, timeout: float = 0.0) -> Changes: ...

    @abstractmethod
    def read_audit_sync(self, query: AuditQuery) -> list[AuditEntry]: ...

    def beat_sync(self, instance: Instance) -> None:
        """Note that ``instance`` is alive; a store of one process has nobody to tell."""

    def instances_sync(self) -> list[Instance]:
        return []

    def write_hits_sync(self, hits: Sequence[RateLimitHit]) -> None:
        """Keep hits of rate limits, the oldest first, for a while; here for this process alone."""
        self._hits.extend(hits)

    def read_hits_sync(self, query: HitQuery) -> list[RateLimitHit]:
        """Return the hits that ``query`` selects, newest first."""
        return query.select(reversed(list(self._hits)))

    def prepare_sync(self) -> None:
        """Take what a commit will need before its plan is read, in a transaction of the caller's."""

    def close_sync(self) -> None:
        """Close what the calling thread opened."""

    def wake(self) -> None:
        """End a wait in ``watch_sync`` early."""

    async def hop(self, function: Callable[..., Result], *args: Any) -> Result:
        """Run a plain function for a coroutine."""
        return await asyncio.to_thread(function, *args)

    async def load(self) -> Snapshot:
        return await self.hop(self.load_sync)

    async def commit(self, commit: Commit) -> Changes:
        return await self.hop(self.commit_sync, commit)

    async def watch(self, since: Cursor, timeout: float = 0.0) -> Changes:
        return await self.hop(self.watch_sync, since, timeout)

    async def read_audit(self, query: AuditQuery) -> list[AuditEntry]:
        return await self.hop(self.read_audit_sync, query)

    async def beat(self, instance: Instance) -> None:
        await self.hop(self.beat_sync, instance)

    async def instances(self) -> list[Instance]:
        return await self.hop(self.instances_sync)

    async def write_hits(self, hits: Sequence[RateLimitHit]) -> None:
        await self.hop(self.write_hits_sync, hits)

    async def read_hits(self, query: HitQuery) -> list[RateLimitHit]:
        return await self.hop(self.read_hits_sync, query)


def stamped(commit: Commit, cursor: Cursor, previous_hash: str) -> Changes:
    """Return what ``commit`` becomes at ``cursor``: objects with their revision, sealed audit entries."""
    writes = tuple(
        Write(key, value.model_copy(update={"revision": cursor.revision}) if value is not None else None)
        for key, value in commit.writes
    )
    return Changes(cursor, writes, audit.seal(commit.audit, cursor.revision, previous_hash))


def check_expectations(commit: Commit, revision_of: Callable[[str], int]) -> None:
    """Raise ConflictError for the first object that is not at the revision the planner saw."""
    for key, expected in commit.expect.items():
        actual = revision_of(key)
        if actual != expected:
            raise ConflictError(Scope.of(key).label, expected, actual)


def encoded(key: str, value: StoredObject) -> RouteState:
    """Return ``value`` as a route state: maintenance and limits travel as JSON in the reason."""
    if isinstance(value, RouteState):
        return value
    return RouteState.model_construct(
        path=key, reason=value.model_dump_json(), origin="operator", revision=value.revision
    )


def decoded(state: RouteState) -> StoredObject:
    if is_route_key(state.path):
        return state
    return value_type(state.path).model_validate_json(state.reason)


def foreign_policy(data: Any) -> RateLimitPolicy:
    """Read the limit of a route as `api-shield` stores it, which does not say who has set it."""
    return RateLimitPolicy.model_validate({"updated_by": "api-shield", **data})


class RecentChanges:
    """The last changes of a store, for those who follow it from a cursor."""

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._changes: list[Changes] = []

    def append(self, changes: Changes) -> None:
        self._changes.append(changes)
        del self._changes[: -self._limit]

    def after(self, since: Cursor, current: Cursor) -> Changes:
        """Return everything after ``since`` as one batch, or a reset when it is not known any more."""
        if since == current:
            return Changes(current)
        known = since.epoch == current.epoch and since.revision < current.revision
        missed = [one for one in self._changes if one.cursor.revision > since.revision]
        if not known or len(missed) != current.revision - since.revision:
            return Changes(current, reset=True)
        return merged(missed, current)


def merged(batches: Iterable[Changes], cursor: Cursor) -> Changes:
    writes = tuple(write for one in batches for write in one.writes)
    return Changes(cursor, writes)
