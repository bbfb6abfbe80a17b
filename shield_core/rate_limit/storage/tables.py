"""The counts of one limit in this process, one class for each algorithm.

Memory is bounded without timers and without scans: a new key clears away up to two old ones that
count nothing any more; when the budget is used up it displaces some that are not banned, and where only
banned ones are in sight the new key is let through without being counted. So no flood of new keys
lifts a ban.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from shield_core.models import Algorithm
from shield_core.rate_limit.counters import Counter, Verdict

#: How many old keys a new one looks at, to clear away and to displace.
_CLEARED = 2
_DISPLACED = 8
#: Bytes of a moment in a log, which is measured again after 16 more, and those that it asks for at once.
_MOMENT = 8
_STEP = 15
_ROOM = 512 * _MOMENT
#: Before all times of a clock.
_UNKNOWN = float("-inf")


class Table(ABC):
    """The counts of one limit by key. Use it while holding ``lock``.

    ``is_full(table, size)`` says whether so many more bytes must displace others.
    """

    __slots__ = ("before", "cost", "entries", "is_full", "lock", "order")

    algorithm: ClassVar[Algorithm]
    #: Bytes that a key takes apart from its characters: its entry, and its places here, as measured.
    key_cost: ClassVar[int]

    def __init__(self, is_full: Callable[[Table, int], bool]) -> None:
        self.is_full = is_full
        self.lock = threading.Lock()
        self.entries: dict[str, Any] = {}
        #: All keys, in turns: the next to look at is the first.
        self.order: deque[str] = deque()
        #: Bytes.
        self.cost = 0
        #: What the last charge has changed, for ``refund``.
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

    @abstractmethod
    def dump(self, entry: Any, now: float) -> list[Any]:
        """Return an entry as JSON values, its times in seconds from now."""

    @abstractmethod
    def load(self, dumped: list[Any], now: float) -> Any:
        """Return the entry that was dumped. Raises ValueError, TypeError for what is none."""

    def insert(self, key: str, entry: Any, now: float) -> None:
        """Add a new key, if there is room or can be."""
        if self._make_room(now, key, self.key_cost):
            self.entries[key] = entry
            self.order.append(key)
            self.cost += self.key_cost + len(key) + self.size_of(entry)

    def size_of(self, entry: Any) -> int:
        """Bytes that an entry takes beyond those of a new one."""
        return 0

    def _make_room(self, now: float, own: str, size: int) -> bool:
        """Clear old keys away, and where the budget is used up displace others than ``own``."""
        entries, order = self.entries, self.order
        for _ in range(min(_CLEARED, len(order))):
            key = order.popleft()
            if self.is_over(entries[key], now):
                self._drop(key)
            else:
                order.append(key)
        if not self.is_full(self, size):
            return True
        enough = self.cost - size
        for _ in range(min(_DISPLACED, len(order))):
            key = order.popleft()
            if key == own or self.is_banned(entries[key], now):
                order.append(key)
                continue
            self._drop(key)
            if self.cost <= enough:
                return True
        return False

    def _drop(self, key: str) -> None:
        self.cost -= self.key_cost + len(key) + self.size_of(self.entries.pop(key))


class FixedWindow(Table):
    """An entry is [end of the window, requests in it, capacity]."""

    __slots__ = ()
    algorithm = Algorithm.FIXED_WINDOW
    key_cost = 240

    def take(self, counter: Counter, key: str, now: float) -> Verdict:
        capacity = counter.capacity
        entry = self.entries.get(key)
        if entry is not None:
            after = entry[0] - now
            if after > 0.0:
                if after > counter.seconds:  # the period was another one
                    after = counter.seconds - now % counter.seconds
                    entry[0] = now + after
                count = entry[1]
                if count < capacity:
                    entry[1] = count + 1
                    return (True, capacity - count - 1, after, 0.0)
                entry[2] = capacity
                return (False, 0, after, after)
        after = counter.seconds - now % counter.seconds
        if entry is None:
            self.insert(key, [now + after, 1, capacity], now)
        else:
            entry[0] = now + after
            entry[1] = 1
            entry[2] = capacity
        return (True, capacity - 1, after, 0.0)

    def refund(self, key: str) -> None:
        if (entry := self.entries.get(key)) is not None:
            entry[1] -= 1

    def is_over(self, entry: Any, now: float) -> bool:
        return bool(entry[0] <= now)

    def is_banned(self, entry: Any, now: float) -> bool:
        return bool(entry[0] > now and entry[1] >= entry[2])

    def dump(self, entry: Any, now: float) -> list[Any]:
        return [entry[0] - now, entry[1], entry[2]]

    def load(self, dumped: list[Any], now: float) -> Any:
        after, count, capacity = dumped
        return [now + float(after), int(count), int(capacity)]


class TokenBucket(Table):
    """An entry is [when the bucket is full again, how many seconds before that it is empty] (GCRA)."""

    __slots__ = ()
    algorithm = Algorithm.TOKEN_BUCKET
    key_cost = 255

    def take(self, counter: Counter, key: str, now: float) -> Verdict:
        interval = counter.interval
        entry = self.entries.get(key)
        if entry is None:
            self.before = now
            self.insert(key, [now + interval, interval * (counter.capacity - 1)], now)
            return (True, counter.capacity - 1, interval, 0.0)
        self.before = full_at = entry[0]
        wait = full_at - now + interval if full_at > now else interval
        left = counter.depth - wait
        if left >= 0.0:
            entry[0] = now + wait
            return (True, int(left / interval), wait, 0.0)
        if left < -interval:  # it cannot be emptier than empty: the limit was another one
            left, wait = -interval, counter.depth + interval
            entry[0] = now + counter.depth
        entry[1] = interval * (counter.capacity - 1)
        return (False, 0, wait - interval, -left)

    def refund(self, key: str) -> None:
        if (entry := self.entries.get(key)) is not None:
            entry[0] = self.before

    def is_over(self, entry: Any, now: float) -> bool:
        return bool(entry[0] <= now)

    def is_banned(self, entry: Any, now: float) -> bool:
        return bool(entry[0] - now > entry[1])

    def dump(self, entry: Any, now: float) -> list[Any]:
        return [entry[0] - now, entry[1]]

    def load(self, dumped: list[Any], now: float) -> Any:
        after, empty = dumped
        return [now + float(after), float(empty)]


class _Log(array):  # type: ignore[type-arg]
    """The moments of requests, in the order of time; those before ``first`` are over.

    There is always one. Before ``until`` no more of them are over; what is not known is in the past.
    ``capacity`` is that of the last denial, ``seconds`` the period, ``size`` what the table knows of
    its bytes.
    """

    __slots__ = ("capacity", "first", "seconds", "size", "until")

    capacity: int
    first: int
    seconds: int
    size: int
    until: float

    def __new__(cls, moments: Iterable[float], capacity: int, seconds: int) -> _Log:
        log: _Log = super().__new__(cls, "d", moments)  # type: ignore[assignment]
        log.first = 0
        log.until = _UNKNOWN
        log.capacity = capacity
        log.seconds = seconds
        log.size = (len(log) - 1) * _MOMENT
        return log


class SlidingWindow(Table):
    """An entry is a log, so that it is exact. A clock that goes back stands still for a key.

    A log serves any limit: a smaller one forgets nothing, and a longer period counts what the
    former one still knew.
    """

    __slots__ = ("newest",)
    algorithm = Algorithm.SLIDING_WINDOW
    key_cost = 300

    def __init__(self, is_full: Callable[[Table, int], bool]) -> None:
        super().__init__(is_full)
        #: The last moment that was noted, of all logs whose ``until`` is known.
        self.newest = _UNKNOWN

    def take(self, counter: Counter, key: str, now: float) -> Verdict:
        log = self.entries.get(key)
        seconds = counter.seconds
        if log is not None and self.newest <= now < log.until and log.seconds == seconds:
            first = log.first
            length = len(log)
            left = counter.capacity - length + first
            if left > 0:
                self.before = first
                self.newest = now
                log.append(now)
                if not length & _STEP:
                    self._grow(log, key, now)
                return (True, left - 1, seconds, 0.0)
        return self._take_slowly(log, counter, key, now)

    def _take_slowly(self, log: _Log | None, counter: Counter, key: str, now: float) -> Verdict:
        """Do that where requests may be over, the clock may have gone back, or the limit is another one."""
        capacity, seconds = counter.capacity, counter.seconds
        if log is None:
            self.before = None
            self.insert(key, _Log((now,), capacity, seconds), now)
            return (True, capacity - 1, float(seconds), 0.0)
        self.before = first = log.first
        length = len(log)
        newest = log[-1]
        moment = now if now >= newest else newest
        begin = moment - seconds
        if log.seconds != seconds:
            log.seconds, log.until = seconds, _UNKNOWN
            self.before = first = 0
        if log[first] <= begin:
            first += 1
            if first < length and log[first] <= begin:
                first = bisect_right(log, begin, first)
        left = capacity - length + first
        if left <= 0:
            log.capacity = capacity
            return (False, 0, newest + seconds - now, log[length - capacity] + seconds - now)
        log.append(moment)
        log.first = first
        log.until = log[first] + seconds
        if moment > self.newest:
            self.newest = moment
        if not length & _STEP:
            self._grow(log, key, now)
        return (True, left - 1, moment - now + seconds, 0.0)

    def refund(self, key: str) -> None:
        log = self.entries.get(key)
        if log is None:
            return
        if self.before is None:
            self.order.pop()
            self._drop(key)
        else:
            log.pop()
            log.first = self.before
            log.until = _UNKNOWN

    def _grow(self, log: _Log, key: str, now: float) -> None:
        """Cut off what was over before the last charge; else ask for room now and then."""
        length, over = len(log), self.before
        if over * 2 >= length:
            log.first, self.before = log.first - over, 0  # first, for a fork in between
            del log[:over]
            length -= over
        size = (length - 1) * _MOMENT
        self.cost += size - log.size
        log.size = size
        if not size % _ROOM:
            self._make_room(now, key, _ROOM)

    def size_of(self, entry: Any) -> int:
        return int(entry.size)

    def is_over(self, entry: Any, now: float) -> bool:
        return bool(entry[-1] + entry.seconds <= now)

    def is_banned(self, entry: Any, now: float) -> bool:
        over = len(entry) - entry.capacity
        return bool(over >= 0 and entry[over] > now - entry.seconds)

    def dump(self, entry: Any, now: float) -> list[Any]:
        """Times are whole milliseconds: a request is rather a little younger than too old."""
        ages = [int((now - moment) * 1000) for moment in entry[entry.first :]]
        return [entry.seconds, entry.capacity, ages]

    def load(self, dumped: list[Any], now: float) -> Any:
        seconds, capacity, ages = dumped
        moments = [now - age / 1000 for age in ages]
        if not moments or moments != sorted(moments):
            raise ValueError("a log of requests is not in order")
        return _Log(moments, int(capacity), int(seconds))


TABLES: dict[Algorithm, type[Table]] = {
    table.algorithm: table for table in (FixedWindow, TokenBucket, SlidingWindow)
}
