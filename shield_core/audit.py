"""The audit log's hash chain and its queries.

Each entry is sealed with the SHA-256 of its content and of the entry before it, in the order of
revisions, so that a changed, removed or inserted line shows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from shield_core.exceptions import InvalidInputError
from shield_core.models import AuditEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery:
    """Which entries to read, newest first. Filters work before ``limit`` (None: no limit).

    ``cursor`` is the id of an entry: only what is older follows. ``search`` looks for a text in
    path, actor, reason and note.
    """

    path: str | None = None
    service: str | None = None
    actor: str | None = None
    action: str | None = None
    platform: str | None = None
    since: datetime | None = None
    search: str | None = None
    id: str | None = None
    cursor: str | None = None
    limit: int | None = 100

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 0:
            raise InvalidInputError(f"limit must not be negative, got {self.limit}.")
        if self.since is not None and self.since.tzinfo is None:
            raise InvalidInputError(f"since must name a time zone, got {self.since.isoformat()}.")

    def matches(self, entry: AuditEntry) -> bool:
        exact = (
            (self.path, entry.path),
            (self.service, entry.service),
            (self.actor, entry.actor),
            (self.action, entry.action),
            (self.platform, entry.platform),
            (self.id, entry.id),
        )
        if any(wanted is not None and wanted != found for wanted, found in exact):
            return False
        if self.since is not None and entry.timestamp < self.since:
            return False
        if self.search:
            text = "\n".join((entry.path, entry.actor, entry.reason, entry.note)).lower()
            return self.search.lower() in text
        return True

    def select(self, newest_first: Iterable[AuditEntry]) -> list[AuditEntry]:
        """Return the matching entries of an iterable that runs from the newest to the oldest."""
        found: list[AuditEntry] = []
        waiting = self.cursor is not None
        for entry in newest_first:
            if self.limit is not None and len(found) >= self.limit:
                break
            if waiting:
                waiting = entry.id != self.cursor
            elif self.matches(entry):
                found.append(entry)
        return found


def seal(entries: Sequence[AuditEntry], revision: int, previous_hash: str) -> tuple[AuditEntry, ...]:
    """Return ``entries`` with ``revision``, chained behind ``previous_hash``."""
    sealed = []
    for entry in entries:
        linked = entry.replace(revision=revision, prev_hash=previous_hash, hash="")
        previous_hash = digest(linked)
        sealed.append(linked.replace(hash=previous_hash))
    return tuple(sealed)


def digest(entry: AuditEntry) -> str:
    """Return the SHA-256 (hexadecimal) of an entry's content, its own hash left out."""
    content = entry.model_dump(mode="json", exclude={"hash"})
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def first_break(oldest_first: Iterable[AuditEntry]) -> AuditEntry | None:
    """Return the first entry that does not fit the one before it, None when the chain holds.

    The oldest kept entry is taken as the start, because limits drop older ones.
    """
    previous: AuditEntry | None = None
    for entry in oldest_first:
        if entry.hash != digest(entry) or (previous is not None and entry.prev_hash != previous.hash):
            return entry
        previous = entry
    return None
