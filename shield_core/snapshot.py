"""A consistent cut of a store, and the changes that lead from one to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from shield_core.keys import ACCEPTED_KEY, RESTORE_KEY, Scope
from shield_core.models import (
    AuditEntry,
    GlobalMaintenanceConfig,
    GlobalRateLimitPolicy,
    RateLimitPolicy,
    RateLimitReset,
    RouteState,
    StoredObject,
    StoredPolicy,
    TokenRecord,
)


class Cursor(NamedTuple):
    """A position in a store's history. Revisions of different epochs do not compare."""

    epoch: str
    revision: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.revision}"


def branch(epoch: str, name: str) -> str:
    """Return the epoch of a store whose history an edit by hand has broken; ``epoch`` "" is none."""
    store = epoch.partition(_BRANCH)[0]
    return f"{store}{_BRANCH}{name}" if store else name


_BRANCH = "~"


class Write(NamedTuple):
    """One object to put under ``key``, or with ``value`` None to delete."""

    key: str
    value: StoredObject | None


@dataclass(frozen=True, slots=True)
class Commit:
    """What a mutation wants: all of it or nothing.

    ``expect`` maps store keys to the revision the planner saw, 0 for "not there". ``result`` is
    the key whose object the caller gets back.
    """

    writes: tuple[Write, ...] = ()
    audit: tuple[AuditEntry, ...] = ()
    expect: Mapping[str, int] = field(default_factory=dict)
    result: str = ""

    def __bool__(self) -> bool:
        return bool(self.writes or self.audit)


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened after a cursor, up to ``cursor``; objects carry the revision they got.

    ``reset`` says that the history before ``cursor`` is not known: load the whole state again.
    """

    cursor: Cursor
    writes: tuple[Write, ...] = ()
    audit: tuple[AuditEntry, ...] = ()
    reset: bool = False


@dataclass(frozen=True)
class Snapshot:
    """The whole state of a store at one revision."""

    epoch: str = ""
    revision: int = 0
    objects: Mapping[str, StoredObject] = field(default_factory=dict)
    #: Revisions at which objects were deleted, so that an older write cannot bring one back.
    deleted: Mapping[str, int] = field(default_factory=dict)

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.epoch, self.revision)

    def is_another_store(self, before: Snapshot) -> bool:
        """Whether this is not the store that ``before`` was read from; one without an epoch may be any.

        A store that has lost its head alone begins another epoch, and yet what it holds is there as it
        was, and of what operators had put there and have lifted since there is a trace.
        """
        store, earlier = (one.epoch.partition(_BRANCH)[0] for one in (self, before))
        return bool(earlier) and store != earlier and not self._continues(before)

    def _continues(self, before: Snapshot) -> bool:
        return any(
            self.objects.get(key) == found for key, found in before.objects.items() if found.updated_at
        ) and all(key in self.objects or key in self.deleted for key in before.operator_keys)

    @cached_property
    def routes(self) -> Mapping[str, RouteState]:
        return {key: value for key, value in self.objects.items() if isinstance(value, RouteState)}

    @cached_property
    def keys_by_path(self) -> Mapping[str, tuple[str, ...]]:
        """Which route keys a bare path may stand for, in every service."""
        paths: dict[str, tuple[str, ...]] = {}
        for key in self.routes:
            path = key[key.index("/") :]
            paths[path] = (*paths.get(path, ()), key)
        return paths

    def route(self, key: str) -> RouteState | None:
        found = self.objects.get(key)
        return found if isinstance(found, RouteState) else None

    def maintenance(self, scope: Scope) -> GlobalMaintenanceConfig:
        found = self.objects.get(scope.store_key)
        return found if isinstance(found, GlobalMaintenanceConfig) else GlobalMaintenanceConfig()

    @cached_property
    def policies(self) -> Mapping[Scope, StoredPolicy]:
        """All stored rate limits by their scope."""
        return {
            Scope.of(key): value
            for key, value in self.objects.items()
            if isinstance(value, RateLimitPolicy | GlobalRateLimitPolicy)
        }

    def policy(self, scope: Scope) -> StoredPolicy | None:
        found = self.objects.get(scope.limit_key)
        return found if isinstance(found, RateLimitPolicy | GlobalRateLimitPolicy) else None

    def token(self, token_id: str) -> TokenRecord | None:
        found = self.objects.get(Scope("token", token_id).store_key)
        return found if isinstance(found, TokenRecord) else None

    @property
    def tokens(self) -> list[TokenRecord]:
        return [value for value in self.objects.values() if isinstance(value, TokenRecord)]

    def generation(self, scope: Scope) -> int:
        """Return how the counters of a scope's rate limit are numbered: by their last reset."""
        return self.revision_of(scope.reset_key)

    def revision_of(self, store_key: str) -> int:
        found = self.objects.get(store_key)
        return found.revision if found is not None else 0

    @property
    def operator_keys(self) -> list[str]:
        """Keys of what operators, not the code, put here, apart from what was agreed about a lost store."""
        return [
            key
            for key, value in self.objects.items()
            if key not in (ACCEPTED_KEY, RESTORE_KEY)
            and not isinstance(value, RateLimitReset)
            and not (isinstance(value, RouteState) and value.origin == "code")
        ]

    def since(self, cursor: Cursor) -> Changes:
        """Return what changed after an earlier cursor of the same epoch."""
        writes = [
            Write(key, found) for key, found in self.objects.items() if found.revision > cursor.revision
        ]
        gone = [Write(key, None) for key, revision in self.deleted.items() if revision > cursor.revision]
        return Changes(self.cursor, (*writes, *gone))

    def apply(self, changes: Changes, *, advance: bool) -> Snapshot:
        """Return the snapshot after ``changes``; what is older than what is here is passed over.

        ``advance`` False leaves the position where it was: a local write is ahead of the feed,
        which has still to reach it.
        """
        objects, deleted = dict(self.objects), dict(self.deleted)
        # A batch of several commits may write a key more than once: the last write counts. Deletions
        # have the revision of the batch, so an earlier one would hide a write that came after it.
        for key, value in dict(changes.writes).items():
            known = max(self.revision_of(key), deleted.get(key, 0))
            if value is None:
                if changes.cursor.revision >= known:
                    objects.pop(key, None)
                    deleted[key] = changes.cursor.revision
            elif value.revision >= known:
                objects[key] = value
                deleted.pop(key, None)
        position = changes.cursor if advance else self.cursor
        return Snapshot(position.epoch, position.revision, objects, deleted)
