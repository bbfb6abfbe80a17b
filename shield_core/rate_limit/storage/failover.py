"""What happens while shared counters cannot be reached: no request fails, and few wait.

The first request that gets no answer opens a breaker. While it is open no request asks; a thread
probes with a counter of its own, and closes it when the counters can be charged again.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterable, Sequence

from shield_core import forking
from shield_core.rate_limit.counters import Counter, Verdict
from shield_core.rate_limit.grammar import Rate
from shield_core.rate_limit.storage.base import RateLimitStorage
from shield_core.rate_limit.storage.hurried import HurriedStorage
from shield_core.rate_limit.storage.memory import MemoryRateLimitStorage

logger = logging.getLogger("shield.rate_limit")

#: Seconds until the first probe, and at most between two.
_FIRST_PROBE = 0.05
_PROBES = 0.4
#: A breaker that opens again within so many seconds has closed too early: its first probe comes later.
_CALM = 5.0
_SLOWEST_FIRST_PROBE = 5.0
#: What those are told who are denied because nobody can count, in seconds.
_RETRY_AFTER = 1.0

_PROBE = Counter.make("probe:", Rate(1_000_000, 1), text="1000000/second")


def guarded(storage: RateLimitStorage, *, fail_open: bool) -> RateLimitStorage:
    """Return a storage that never fails: over one in this process it is that one itself.

    While counters cannot be reached, requests are counted in this process alone (``fail_open``), or
    denied where they have a limit.
    """
    if storage.immediate:
        return storage
    prompt = storage if storage.prompt else HurriedStorage(storage)
    return GuardedStorage(prompt, MemoryRateLimitStorage() if fail_open else Denying())


class Denying(RateLimitStorage):
    """Has room for nobody; shadows deny nobody here either."""

    immediate = True

    def take(self, counters: Sequence[Counter], keys: Sequence[str]) -> Sequence[Verdict]:
        return [
            (True, counter.capacity, 0.0, 0.0) if counter.shadow else (False, 0, _RETRY_AFTER, _RETRY_AFTER)
            for counter in counters
        ]


class GuardedStorage(RateLimitStorage):
    """Asks ``primary``, or while that does not answer ``substitute``, which is immediate."""

    prompt = True

    def __init__(self, primary: RateLimitStorage, substitute: RateLimitStorage) -> None:
        self.primary = primary
        self.substitute = substitute
        self.shared_across_processes = primary.shared_across_processes
        self._first_probe = _FIRST_PROBE
        self._closed_at = 0.0
        self._clear()
        forking.watch(self)

    def _clear(self) -> None:
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        #: Whether the primary is not asked.
        self.is_open = False
        #: How often the breaker has opened; a failure from before the last time opens nothing.
        self._openings = 0

    def after_fork(self) -> None:
        self._clear()  # the parent's thread probes for the parent; this process finds out by itself

    def take(self, counters: Sequence[Counter], keys: Sequence[str]) -> Sequence[Verdict]:
        if not self.is_open:
            openings = self._openings
            try:
                return self.primary.take(counters, keys)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is not the request's fault
                self._failed(error, openings)
        return self.substitute.take(counters, keys)

    async def take_async(self, counters: Sequence[Counter], keys: Sequence[str]) -> Sequence[Verdict]:
        if not self.is_open:
            openings = self._openings
            try:
                return await self.primary.take_async(counters, keys)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is not the request's fault
                self._failed(error, openings)
        return self.substitute.take(counters, keys)

    def keep(self, tables: Iterable[str]) -> None:
        tables = list(tables)
        self.primary.keep(tables)
        self.substitute.keep(tables)

    def stop(self) -> None:
        self._stopped.set()
        self.primary.stop()

    # -- the breaker --------------------------------------------------------------------------

    def _failed(self, error: Exception, openings: int) -> None:
        with self._lock:
            if self.is_open or openings != self._openings:
                return
            now = time.monotonic()
            calm = now - self._closed_at > _CALM
            self._first_probe = _FIRST_PROBE if calm else min(self._first_probe * 2, _SLOWEST_FIRST_PROBE)
            thread = threading.Thread(
                target=self._probe, args=(now,), name="shield-limits-probe", daemon=True
            )
            self.is_open = True
            self._openings += 1
            self._stopped = threading.Event()
            try:
                thread.start()
            except RuntimeError:  # the interpreter ends, or has no thread left: the next request asks again
                self.is_open = False
        logger.warning(
            "The counters of the rate limits cannot be reached (%s). Until they answer again, %s.",
            error,
            "limited requests are denied"
            if isinstance(self.substitute, Denying)
            else "each process counts for itself",
            extra={"error": type(error).__name__},
        )

    def _probe(self, since: float) -> None:
        stopped, wait = self._stopped, self._first_probe
        while not stopped.wait(wait * random.uniform(0.75, 1.25)):
            try:
                self.primary.take((_PROBE,), ("probe",))
            except Exception:  # noqa: BLE001 - as it was said when the breaker opened
                wait = min(max(wait, _FIRST_PROBE) * 2, max(_PROBES, self._first_probe))
            else:
                break
        with self._lock:
            self.is_open = False
            self._closed_at = now = time.monotonic()
        if not stopped.is_set():
            logger.warning(
                "The counters of the rate limits answer again, after %.1f s.",
                now - since,
                extra={"seconds": now - since},
            )
