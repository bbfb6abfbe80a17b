"""The log of blocked requests: noted in this process, and stored in batches by the replica's thread."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

from shield_core import forking
from shield_core.exceptions import InvalidInputError
from shield_core.keys import RouteKey
from shield_core.models import RateLimitHit
from shield_core.texts import UNPRINTABLE

#: How many hits wait to be stored at most; of a flood the latest are kept.
WAITING = 1000
#: How many hits a store keeps.
KEPT = 10_000
#: Characters of a path: that of an unknown URL may be as long as the client likes.
_LONGEST_PATH = 500


@dataclass(frozen=True, slots=True)
class HitQuery:
    """Which hits are asked for: of one key (a bare path means all methods), the newest ``limit``."""

    key: RouteKey | None = None
    limit: int | None = 100

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 0:
            raise InvalidInputError(f"limit must not be negative, got {self.limit}.")

    def select(self, newest_first: Iterable[RateLimitHit]) -> list[RateLimitHit]:
        return list(islice((hit for hit in newest_first if self.matches(hit)), self.limit))

    def matches(self, hit: RateLimitHit) -> bool:
        if self.key is None:
            return True
        same_path = hit.path == str(self.key._replace(method=None))
        return same_path and self.key.method in (None, hit.method)


class _Note(NamedTuple):
    moment: float
    path: str
    method: str
    key: str
    limit: str
    tier: str | None
    reset_after: float
    scope: str
    shadow: bool


class Hits:
    """Those hits that wait to be stored. Noting one costs a request next to nothing."""

    def __init__(self) -> None:
        self._notes: deque[_Note] = deque(maxlen=WAITING)
        self._lock = threading.Lock()
        #: How many threads are storing what they have taken out.
        self._storing = 0
        forking.watch(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._storing = 0
        self._notes.clear()  # the parent stores them

    def note(
        self,
        *,
        path: str,
        method: str,
        key: str,
        limit: str,
        tier: str | None,
        reset_after: float,
        scope: str,
        shadow: bool,
    ) -> None:
        self._notes.append(_Note(time.time(), path, method, key, limit, tier, reset_after, scope, shadow))

    def __bool__(self) -> bool:
        return bool(self._notes)

    @property
    def is_storing(self) -> bool:
        """Whether hits were taken out that are not stored yet."""
        return self._storing > 0

    @contextmanager
    def batch(self, service: str | None = None) -> Iterator[list[RateLimitHit]]:
        """Take out all hits that wait, the oldest first, to store them; they wait on where that fails.

        ``service`` is put before their paths.
        """
        with self._lock:
            notes = [self._notes.popleft() for _ in range(len(self._notes))]
            self._storing += 1
        try:
            yield [_hit(note, f"{service}:" if service else "") for note in notes]
        except BaseException:
            with self._lock:
                room = WAITING - len(self._notes)
                self._notes.extendleft(reversed(notes[-room:] if room else []))
            raise
        finally:
            with self._lock:
                self._storing -= 1


def _hit(note: _Note, prefix: str) -> RateLimitHit:
    """Return a hit that can be stored and shown, whatever a caller has put into a path or a key."""
    return RateLimitHit(
        timestamp=datetime.fromtimestamp(note.moment, UTC),
        path=f"{prefix}{_printable(note.path[:_LONGEST_PATH])}",
        method=note.method,
        key=_printable(note.key),
        limit=note.limit,
        tier=note.tier,
        reset_at=datetime.fromtimestamp(note.moment + note.reset_after, UTC),
        scope=note.scope,
        shadow=note.shadow,
    )


def _printable(text: str) -> str:
    return UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
