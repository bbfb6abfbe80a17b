"""The models backend: state, audit entry and revision in the project's own database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

from asgiref.sync import sync_to_async
from django.db import IntegrityError, OperationalError, connections, models, router, transaction

from shield_core import forking
from shield_core.audit import AuditQuery
from shield_core.backends.base import (
    WHOLE_ATTEMPTS,
    Result,
    SyncNativeBackend,
    check_expectations,
    stamped,
)
from shield_core.models import INSTANCE_TTL, AuditEntry, Instance, RateLimitHit
from shield_core.rate_limit.hits import KEPT, HitQuery
from shield_core.snapshot import Changes, Commit, Cursor, Snapshot, Write
from shield_django import rows
from shield_django.models import (
    Stored,
    StoredAuditEntry,
    StoredDeletion,
    StoredInstance,
    StoredRateLimitHit,
    StoreRevision,
)
from shield_django.wakeup import Wakeup, has_layer

_ROW = 1
_BATCH = 500
_LOCKED_PATIENCE = 20.0


class ModelsBackend(SyncNativeBackend):
    """Stores everything in relational tables of the database ``using`` (else what routers say).

    The first statement of a commit updates the one revision row, which orders all commits and
    makes SQLite take its write lock at once. Inside a caller's transaction a commit is part of
    it: other processes and this one's rules follow when it is committed. Over ``channel_layer``
    (None: not) processes tell each other of commits.
    """

    def __init__(
        self,
        using: str | None = None,
        audit_limit: int | None = None,
        channel_layer: str | None = "default",
    ) -> None:
        self._using = using
        self._audit_limit = audit_limit
        self._layer = channel_layer if has_layer(channel_layer) else None
        self._news: Wakeup | _Quiet
        self.after_fork()
        forking.watch(self)

    def after_fork(self) -> None:
        self._news = Wakeup(self._layer) if self._layer is not None else _Quiet()

    @property
    def alias(self) -> str:
        """The database, for reading too: a lagging replica would look like an older revision."""
        return self._using or router.db_for_write(StoreRevision)

    def described(self) -> str:
        options = connections[self.alias].settings_dict
        host = f" on {options['HOST']}" if options["HOST"] else ""
        return f"database {options['NAME']}{host}"

    async def hop(self, function: Callable[..., Result], *args: Any) -> Result:
        return await sync_to_async(function, thread_sensitive=True)(*args)

    def after_commit(self, publish: Callable[[], None]) -> None:
        def tell() -> None:
            publish()
            self._news.send()

        transaction.on_commit(tell, using=self.alias)

    def wake(self) -> None:
        self._news.wake()

    def close_sync(self) -> None:
        with forking.held_off():
            connections[self.alias].close()
        self._news.close()

    # -- reading ----------------------------------------------------------------------------

    @forking.held_off()
    def load_sync(self) -> Snapshot:
        position = self._position()
        attempts = 0
        while True:
            attempts += 1
            objects = {row.key: rows.from_row(row) for row in self._rows()}
            before, position = position, self._position()
            # What was committed while the rows were read is here in part: a restored store may look accepted
            # and still empty. In a store that never rests the feed, which goes on from the position before
            # the rows, brings the rest; but what is emptied meanwhile is another store.
            if before == position or (attempts > WHOLE_ATTEMPTS and before.epoch == position.epoch):
                return Snapshot(before.epoch, before.revision, objects)

    def watch_sync(self, since: Cursor, timeout: float = 0.0) -> Changes:
        if timeout:
            # The replica's thread has no request around it that would do this. A caller without
            # patience is in a request, perhaps in a transaction, and keeps its connection.
            with forking.held_off():
                connections[self.alias].close_if_unusable_or_obsolete()
                position = self._position()
            if position == since:
                self._news.wait(timeout)
        with forking.held_off():
            return self._changes(since)

    def _changes(self, since: Cursor) -> Changes:
        position = self._position()
        if position == since:
            return Changes(position)
        if position.epoch != since.epoch or position.revision < since.revision:
            return Changes(position, reset=True)
        writes = [Write(row.key, rows.from_row(row)) for row in self._rows(since.revision)]
        gone = StoredDeletion.objects.using(self.alias).filter(revision__gt=since.revision)
        writes += [Write(row.key, None) for row in gone]
        return Changes(position, tuple(writes))

    @forking.held_off()
    def read_audit_sync(self, query: AuditQuery) -> list[AuditEntry]:
        entries = StoredAuditEntry.objects.using(self.alias)
        for name in ("id", "path", "service", "actor", "action", "platform"):
            if (wanted := getattr(query, name)) is not None:
                entries = entries.filter(**{name: wanted})
        if query.since is not None:
            entries = entries.filter(timestamp__gte=rows.to_column(query.since))
        if query.search:
            text = models.Q()
            for name in ("path", "actor", "reason", "note"):
                text |= models.Q(**{f"{name}__icontains": query.search})
            entries = entries.filter(text)
        if query.cursor is not None:
            after = StoredAuditEntry.objects.using(self.alias).filter(id=query.cursor).values("number")
            entries = entries.filter(number__lt=models.Subquery(after))
        return [rows.from_audit_row(row) for row in entries[: query.limit]]

    @forking.held_off()
    def beat_sync(self, instance: Instance) -> None:
        table = StoredInstance.objects.using(self.alias)
        seen_at = rows.to_column(instance.seen_at)
        told = {**instance.model_dump(exclude={"id"}), "seen_at": seen_at}
        # Written without a look first: SQLite would refuse it at once while somebody else writes.
        if not table.filter(id=instance.id).update(**told):
            table.create(id=instance.id, **told)
            table.filter(seen_at__lt=seen_at - timedelta(seconds=INSTANCE_TTL)).delete()

    @forking.held_off()
    def instances_sync(self) -> list[Instance]:
        return [rows.from_instance_row(row) for row in StoredInstance.objects.using(self.alias)]

    @forking.held_off()
    def write_hits_sync(self, hits: Sequence[RateLimitHit]) -> None:
        """Keep hits beside the state, without a revision: nobody's rules depend on them."""
        if not hits:
            return
        table = StoredRateLimitHit.objects.using(self.alias)
        with transaction.atomic(using=self.alias):
            table.bulk_create([rows.to_hit_row(hit) for hit in hits], batch_size=_BATCH)
            newest = table.aggregate(newest=models.Max("number"))["newest"]
            table.filter(number__lte=newest - KEPT).delete()

    @forking.held_off()
    def read_hits_sync(self, query: HitQuery) -> list[RateLimitHit]:
        hits = StoredRateLimitHit.objects.using(self.alias)
        if query.key is not None:
            hits = hits.filter(path=str(query.key._replace(method=None)))
            if query.key.method is not None:
                hits = hits.filter(method=query.key.method)
        return [rows.from_hit_row(row) for row in hits[: query.limit]]

    def _position(self) -> Cursor:
        found = StoreRevision.objects.using(self.alias).filter(pk=_ROW).values_list("epoch", "revision")
        return Cursor(*next(iter(found), ("", 0)))

    def _rows(self, after: int = -1) -> Iterable[Stored]:
        for table in rows.TABLES:
            yield from table._default_manager.using(self.alias).filter(revision__gt=after)

    # -- writing ----------------------------------------------------------------------------

    def prepare_sync(self) -> None:
        """Begin to write at once: SQLite refuses a transaction that has read and wants to write later."""
        connection = connections[self.alias]
        if connection.vendor == "sqlite" and connection.in_atomic_block:
            self._revision_row.update(revision=models.F("revision"))

    def commit_sync(self, commit: Commit) -> Changes:
        patience = time.monotonic() + _LOCKED_PATIENCE
        while True:
            try:
                with forking.held_off(), transaction.atomic(using=self.alias):
                    return self._commit(commit)
            except OperationalError as error:
                # SQLite gives up on a busy file after its own time-out; in a caller's transaction
                # the caller must decide, elsewhere the commit is simply repeated.
                busy = "locked" in str(error) and not connections[self.alias].in_atomic_block
                if not busy or time.monotonic() > patience:
                    raise

    def _commit(self, commit: Commit) -> Changes:
        position, audit_head = self._advance()
        check_expectations(commit, self._revisions(commit.expect).__getitem__)
        changes = stamped(commit, position, audit_head)
        self._write(changes)
        if changes.audit:
            entries = [rows.to_audit_row(entry) for entry in changes.audit]
            StoredAuditEntry.objects.using(self.alias).bulk_create(entries, batch_size=_BATCH)
            self._revision_row.update(audit_head=changes.audit[-1].hash)
            self._trim_audit()
        return changes

    def _advance(self) -> tuple[Cursor, str]:
        if not self._revision_row.update(revision=models.F("revision") + 1):
            try:
                with transaction.atomic(using=self.alias):
                    StoreRevision.objects.using(self.alias).create(pk=_ROW, epoch=uuid4().hex[:12])
            except IntegrityError:
                pass  # another process made the row between the two statements
            self._revision_row.update(revision=models.F("revision") + 1)
        row = self._revision_row.get()
        return Cursor(row.epoch, row.revision), row.audit_head

    @property
    def _revision_row(self) -> models.QuerySet[StoreRevision]:
        return StoreRevision.objects.using(self.alias).filter(pk=_ROW)

    def _revisions(self, keys: Iterable[str]) -> dict[str, int]:
        revisions = dict.fromkeys(keys, 0)
        for table, group in _by_table(revisions):
            for start in range(0, len(group), _BATCH):
                found = table.objects.using(self.alias).filter(pk__in=group[start : start + _BATCH])
                revisions.update(found.values_list("pk", "revision"))
        return revisions

    def _write(self, changes: Changes) -> None:
        put = {key: rows.to_row(key, value) for key, value in changes.writes if value is not None}
        gone = [key for key, value in changes.writes if value is None]
        deletions = StoredDeletion.objects.using(self.alias)
        for table, group in _by_table(put):
            table.objects.using(self.alias).bulk_create(
                [put[key] for key in group],
                batch_size=_BATCH,
                update_conflicts=True,
                unique_fields=["key"],
                update_fields=rows.columns(table),
            )
            for start in range(0, len(group), _BATCH):
                deletions.filter(pk__in=group[start : start + _BATCH]).delete()
        for table, group in _by_table(gone):
            table.objects.using(self.alias).filter(pk__in=group).delete()
        for key in gone:
            deletions.update_or_create(key=key, defaults={"revision": changes.cursor.revision})

    def _trim_audit(self) -> None:
        if self._audit_limit is None:
            return
        numbers = StoredAuditEntry.objects.using(self.alias).values_list("number", flat=True)
        for oldest_kept in numbers[self._audit_limit : self._audit_limit + 1]:
            StoredAuditEntry.objects.using(self.alias).filter(number__lte=oldest_kept).delete()


class _Quiet:
    """Stands for the channel layer where there is none: the next look is after the time-out."""

    def __init__(self) -> None:
        self._woken = threading.Event()

    def send(self) -> None:
        """Tell nobody."""

    def wait(self, timeout: float) -> None:
        self._woken.wait(timeout)
        self._woken.clear()

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        """Keep nothing open."""


def _by_table(keys: Iterable[str]) -> list[tuple[Any, list[str]]]:
    groups: dict[Any, list[str]] = {}
    for key in keys:
        groups.setdefault(rows.table_of(key), []).append(key)
    return list(groups.items())
