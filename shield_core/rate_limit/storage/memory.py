"""Counters in this process: exact under threads, bounded in memory.

Each limit has a table with a lock of its own. A request takes the locks of its tables in the order
global, service, route and charges one after the other; when one denies, the others get theirs back
before any lock is released. The clock is monotonic: a wall clock that is put back bans nobody.

Memory is bounded without timers and without scans: a new key clears away up to two old ones that
count nothing any more; when the budget is used up it displaces the oldest of those that are not
banned, and where only banned ones are in sight the new key is let through without being counted.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from shield_core import forking
from shield_core.models import Algorithm
from shield_core.rate_limit.counters import Counter, Verdict
from shield_core.rate_limit.storage.base import RateLimitStorage

#: Bytes for which all tables together are meant: they stay below twice as much.
BUDGET = 32 * 1024 * 1024
#: Bytes that a key takes with its dictionary entry, its number and its place in the order of age.
KEY_COST = 250
_EVENT_COST = 8
#: How many old keys a new one looks at, to clear away and to displace.
_CLEARED = 2
_DISPLACED = 8
#: New keys between two sums of what all tables take.
_BETWEEN_SUMS = 256
#: Part of an interval by which two sums of floating point numbers may differ.
_ROUNDING = 1e-6


class Table(ABC):
    """The counts of one limit by key. Use it while holding ``lock``."""

    __slots__ = ("before", "cost", "entries", "lock", "order", "storage")

    algorithm: ClassVar[Algorithm]

    def __init__(self, storage: MemoryRateLimitStorage) -> None:
        self.storage = storage
        self.lock = threading.Lock()
        self.entries: dict[str, Any] = {}
        #: Keys from the oldest on.
        self.order: deque[str] = deque()
        #: Bytes.
        self.cost = 0
        #: What the last charge has replaced, for ``refund``.
        self.before: Any = None

    @abstractmethod
    def take(self, counter: Counter, key: str, now: float) -> Verdict:
        """Charge a request if there is room."""

    @abstractmethod
    def refund(self, key: str) -> None:
        """Undo the last charge, which was to ``key``."""

    @abstractmethod
    def is_over(self, entry: Any, now: float) -> bool:
        """Whether an entry counts nothing any more."""

    @abstractmethod
    def is_banned(self, entry: Any, now: float) -> bool:
        """Whether the key of an entry has no room for a request."""

    def insert(self, key: str, entry: Any, now: float, cost: int = 0) -> None:
        """Add a new key, and clear away old ones."""
        if self._make_room(now):
            self.entries[key] = entry
            self.order.append(key)
            self.cost += KEY_COST + cost

    def _make_room(self, now: float) -> bool:
        entries, order = self.entries, self.order
        for _ in range(min(_CLEARED, len(order))):
            key = order.popleft()
            if self.is_over(entries[key], now):
                self._drop(key)
            else:
                order.append(key)
        if not self.storage.is_full(self):
            return True
        for _ in range(min(_DISPLACED, len(order))):
            key = order.popleft()
            if not self.is_banned(entries[key], now):
                self._drop(key)
                return True
            order.append(key)
        return False

    def _drop(self, key: str) -> None:
        self.cost -= KEY_COST + self.cost_of(self.entries.pop(key))

    def cost_of(self, entry: Any) -> int:
        return 0


class FixedWindow(Table):
    """An entry is [end of the window, requests in it, capacity]."""

    __slots__ = ()
    algorithm = Algorithm.FIXED_WINDOW

    def take(self, counter: Counter, key: str, now: float) -> Verdict:
        seconds, capacity = counter.seconds, counter.capacity
        entry = self.entries.get(key)
        after = seconds - now % seconds
        if entry is None:
            self.insert(key, [now + after, 1, capacity], now)
            return (True, capacity - 1, after, 0.0)
        if entry[0] <= now or entry[0] > now + seconds:
            entry[0] = now + after
            entry[1] = 1
            return (True, capacity - 1, after, 0.0)
        count = entry[1]
        if count < capacity:
            entry[1] = count + 1
            return (True, capacity - count - 1, after, 0.0)
        entry[2] = capacity
        return (False, 0, after, after)

    def refund(self, key: str) -> None:
        if (entry := self.entries.get(key)) is not None:
            entry[1] -= 1

    def is_over(self, entry: Any, now: float) -> bool:
        return bool(entry[0] <= now)

    def is_banned(self, entry: Any, now: float) -> bool:
        return bool(entry[0] > now and entry[1] >= entry[2])


class TokenBucket(Table):
    """An entry is [when the bucket is full again, how many seconds before that it is empty] (GCRA)."""

    __slots__ = ()
    algorithm = Algorithm.TOKEN_BUCKET

    def take(self, counter: Counter, key: str, now: float) -> Verdict:
        interval = counter.interval
        entry = self.entries.get(key)
        if entry is None:
            self.before = now
            self.insert(key, [now + interval, interval * (counter.capacity - 1)], now)
            return (True, counter.capacity - 1, interval, 0.0)
        full_at = self.before = entry[0]
        wait = (full_at if full_at > now else now) + interval - now
        left = interval * counter.capacity - wait
        if left >= interval * -_ROUNDING:
            entry[0] = now + wait
            return (True, int(left / interval + _ROUNDING), wait, 0.0)
        entry[1] = interval * (counter.capacity - 1)
        return (False, 0, wait - interval, -left)

    def refund(self, key: str) -> None:
        if (entry := self.entries.get(key)) is not None:
            entry[0] = self.before

    def is_over(self, entry: Any, now: float) -> bool:
        return bool(entry[0] <= now)

    def is_banned(self, entry: Any, now: float) -> bool:
        return bool(entry[0] - now > entry[1])


class _Log:
    """The moments of the last ``capacity`` requests: a ring in the order of time."""

    __slots__ = ("capacity", "moments", "oldest", "seconds")

    def __init__(self, capacity: int, seconds: int) -> None:
        self.moments = array("d")
        #: Where the oldest moment is, once the ring is full.
        self.oldest = 0
        self.capacity = capacity
        self.seconds = seconds

    def resize(self, capacity: int) -> None:
        in_order = self.moments[self.oldest :] + self.moments[: self.oldest]
        self.moments, self.oldest, self.capacity = in_order[-capacity:], 0, capacity

    def count_after(self, moment: float) -> int:
        """How many requests were later than ``moment``."""
        moments, oldest = self.moments, self.oldest
        if moments[oldest] > moment:
            return len(moments)
        if oldest and moments[-1] <= moment:
            return oldest - bisect_right(moments, moment, 0, oldest)
        return len(moments) - bisect_right(moments, moment, oldest) + oldest

    def add(self, moment: float) -> float | None:
        """Return the moment that had to go."""
        moments, oldest = self.moments, self.oldest
        if len(moments) < self.capacity:
            moments.append(moment)
            return None
        gone = moments[oldest]
        moments[oldest] = moment
        oldest += 1
        self.oldest = oldest if oldest < self.capacity else 0
        return gone

    def take_back(self, gone: float | None) -> None:
        if gone is None:
            self.moments.pop()
        else:
            self.oldest = (self.oldest or self.capacity) - 1
            self.moments[self.oldest] = gone

    @property
    def newest(self) -> float:
        return self.moments[self.oldest - 1] if self.moments else 0.0


class SlidingWindow(Table):
    """An entry is a log of moments: exact. A clock that goes back stands still for a key."""

    __slots__ = ()
    algorithm = Algorithm.SLIDING_WINDOW

    def take(self, counter: Counter, key: str, now: float) -> Verdict:
        capacity, seconds = counter.capacity, counter.seconds
        log = self.entries.get(key)
        if log is None:
            log = _Log(capacity, seconds)
            log.add(now)
            self.before = None
            self.insert(key, log, now, _EVENT_COST)
            return (True, capacity - 1, float(seconds), 0.0)
        if log.capacity != capacity or log.seconds != seconds:
            self._adapt(log, capacity, seconds)
        moments = log.moments
        length = len(moments)
        moment = now
        used = 0
        if length:
            newest = moments[log.oldest - 1]
            if newest > now:
                moment = newest
            if length == capacity and moments[log.oldest] > moment - seconds:
                return (False, 0, newest + seconds - now, moments[log.oldest] + seconds - now)
            used = log.count_after(moment - seconds)
        self.before = log.add(moment)
        if length < capacity:
            self.cost += _EVENT_COST
            if not length % 64:
                self._make_room(now)
        return (True, capacity - used - 1, moment + seconds - now, 0.0)

    def refund(self, key: str) -> None:
        if (log := self.entries.get(key)) is not None:
            log.take_back(self.before)
            if self.before is None:
                self.cost -= _EVENT_COST

    def _adapt(self, log: _Log, capacity: int, seconds: int) -> None:
        """Let a log serve a changed limit, with all that it has counted."""
        before = len(log.moments)
        log.resize(capacity)
        log.seconds = seconds
        self.cost += (len(log.moments) - before) * _EVENT_COST

    def is_over(self, entry: Any, now: float) -> bool:
        return bool(entry.newest + entry.seconds <= now)

    def is_banned(self, entry: Any, now: float) -> bool:
        full = len(entry.moments) == entry.capacity
        return bool(full and entry.moments[entry.oldest] > now - entry.seconds)

    def cost_of(self, entry: Any) -> int:
        return len(entry.moments) * _EVENT_COST


_TABLES: dict[Algorithm, type[Table]] = {
    table.algorithm: table for table in (FixedWindow, TokenBucket, SlidingWindow)
}


class MemoryRateLimitStorage(RateLimitStorage):
    """Counts in this process alone. ``budget`` is in bytes; ``clock`` in seconds, never going back."""

    immediate = True

    def __init__(self, *, budget: int = BUDGET, clock: Callable[[], float] = time.monotonic) -> None:
        self.now = clock
        self.budget = budget
        self._tables: dict[str, Table] = {}
        self._opening = threading.Lock()
        #: What all tables took when it was last summed up, and for how many new keys that will do.
        self._cost = 0
        self._until_sum = 0
        self._share = budget
        forking.watch(self)

    def after_fork(self) -> None:
        self._opening = threading.Lock()
        for table in self._tables.values():
            table.lock = threading.Lock()

    def take(self, counters: Sequence[Counter], keys: Sequence[str]) -> Sequence[Verdict]:
        opened = self._tables
        if len(counters) == 1:
            counter = counters[0]
            table = opened.get(counter.table) or self._open(counter)
            with table.lock:
                return (table.take(counter, keys[0], self.now()),)
        tables = [opened.get(counter.table) or self._open(counter) for counter in counters]
        for table in tables:
            table.lock.acquire()
        try:
            now = self.now()
            verdicts = []
            for table, counter, key in zip(tables, counters, keys):  # noqa: B905 - the hot path
                verdict = table.take(counter, key, now)
                verdicts.append(verdict)
                if not verdict[0] and not counter.shadow:
                    break
            else:
                return verdicts
            for table, counter, key in list(zip(tables, counters, keys, strict=True))[len(verdicts) :]:
                verdicts.append(table.take(counter, key, now))
            for table, key, verdict in zip(tables, keys, verdicts, strict=True):
                if verdict[0]:
                    table.refund(key)
            return verdicts
        finally:
            for table in tables:
                table.lock.release()

    def keep(self, names: Iterable[str]) -> None:
        kept = set(names)
        with self._opening:
            tables = {text: table for text, table in self._tables.items() if _name(text) in kept}
            self._replace(tables)

    def is_full(self, table: Table) -> bool:
        """Whether ``table`` must displace keys: all take more than the budget, and it more than its share."""
        self._until_sum -= 1
        if self._until_sum < 0:
            self._until_sum = _BETWEEN_SUMS
            self._cost = sum(one.cost for one in list(self._tables.values()))
        return self._cost >= self.budget and table.cost >= self._share

    @property
    def cost(self) -> int:
        """Bytes that the tables take."""
        return sum(table.cost for table in list(self._tables.values()))

    def _open(self, counter: Counter) -> Table:
        """Return the counter's table; one of an earlier generation than its last but one is dropped."""
        with self._opening:
            found = self._tables.get(counter.table)
            if found is None:
                found = _TABLES[counter.algorithm](self)
                earlier = [text for text in self._tables if _name(text) == counter.name]
                # Threads that have still the rules of before may yet ask for the latest of them.
                gone = set(earlier[:-1])
                kept = {text: table for text, table in self._tables.items() if text not in gone}
                self._replace({**kept, counter.table: found})
            return found

    def _replace(self, tables: dict[str, Table]) -> None:
        self._tables = tables
        self._share = self.budget // max(1, len(tables))
        self._until_sum = 0


def _name(table: str) -> str:
    return table.split("|", 2)[2]
