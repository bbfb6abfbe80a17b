"""Counters in this process: exact under threads, bounded in memory.

Each limit has a table with a lock of its own. A request takes the locks of its tables in the order
global, service, route and charges one after the other; when one denies, the others get theirs back
before any lock is released. The clock is monotonic: a wall clock that is put back bans nobody.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from shield_core import forking
from shield_core.rate_limit.counters import Counter, Verdict, algorithm_of
from shield_core.rate_limit.storage.base import RateLimitStorage
from shield_core.rate_limit.storage.tables import TABLES, Table

#: Bytes for which all tables together are meant. Where one has used it up before others were opened, each
#: of these may still take its share of it, so that it may get twice as much.
BUDGET = 32 * 1024 * 1024
#: Bytes that are asked for between two sums of what all tables take.
_BETWEEN_SUMS = 64 * 1024


class MemoryRateLimitStorage(RateLimitStorage):
    """Counts in this process alone. ``budget`` is in bytes; ``clock`` in seconds, never going back.

    More than 100,000 callers at a time fit into the default budget. For a new one beyond, one that is
    not banned is forgotten, and may begin anew.
    """

    immediate = True

    def __init__(self, *, budget: int = BUDGET, clock: Callable[[], float] = time.monotonic) -> None:
        self.now = clock
        self.budget = budget
        self._tables: dict[str, Table] = {}
        self._opening = threading.Lock()
        #: What all tables took when it was last summed up, and for how many more bytes that will do.
        self._cost = 0
        self._until_sum = 0
        self._share = budget
        forking.watch(self)

    def after_fork(self) -> None:
        self._opening = threading.Lock()
        for table in self._tables.values():
            table.lock = threading.Lock()

    def take_one(self, counter: Counter, key: str) -> Verdict:
        table = self._tables.get(counter.table) or self._open(counter.table)
        lock = table.lock
        lock.acquire()  # which costs half of what "with" does
        try:
            return table.take(counter, key, self.now())
        finally:
            lock.release()

    def take(self, counters: Sequence[Counter], keys: Sequence[str]) -> Sequence[Verdict]:
        tables, clock = self._tables, self.now
        opened: list[Table] = []
        verdicts: list[Verdict] = []
        denied = False
        try:
            for counter, key in zip(counters, keys):  # noqa: B905 - the hot path
                table = tables.get(counter.table) or self._open(counter.table)
                table.lock.acquire()
                opened.append(table)
                verdict = table.take(counter, key, clock())
                verdicts.append(verdict)
                if not verdict[0] and not counter.shadow:
                    denied = True
            if denied:
                for table, key, verdict in zip(opened, keys, verdicts, strict=True):
                    if verdict[0]:
                        table.refund(key)
            return verdicts
        finally:
            for table in opened:
                table.lock.release()

    def keep(self, tables: Iterable[str]) -> None:
        kept = set(tables)
        with self._opening:
            for name in [name for name in self._tables if name not in kept]:
                del self._tables[name]
            self._count_tables()

    @property
    def cost(self) -> int:
        """Bytes that the tables take."""
        return sum(table.cost for table in list(self._tables.values()))

    def _is_full(self, table: Table, size: int) -> bool:
        """Whether ``table`` must displace keys for ``size`` bytes.

        All tables take more than the budget then, and it more than its share.
        """
        self._until_sum -= size
        if self._until_sum < 0:
            self._until_sum = _BETWEEN_SUMS
            self._cost = self.cost
        return self._cost >= self.budget and table.cost >= self._share

    def _open(self, name: str) -> Table:
        with self._opening:
            found = self._tables.get(name)
            if found is None:
                found = self._tables[name] = TABLES[algorithm_of(name)](self._is_full)
                self._count_tables()
            return found

    def _count_tables(self) -> None:
        self._share = self.budget // max(1, len(self._tables))
        self._until_sum = 0
