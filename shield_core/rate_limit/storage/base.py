"""Where requests are counted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from shield_core.rate_limit.counters import Counter, Verdict


class RateLimitStorage(ABC):
    """Counts requests; all counters of one request at once.

    A request is charged to all of its counters, or where one of them denies it (and is not a
    shadow) to none. ``immediate``: ``take`` returns at once, so that an event loop may call it.
    """

    immediate: bool = False
    #: Whether ``take`` and ``take_async`` end by themselves in some 50 ms, whatever happens.
    prompt: bool = False
    #: Whether several processes count together.
    shared_across_processes: bool = False

    @abstractmethod
    def take(self, counters: Sequence[Counter], keys: Sequence[str]) -> Sequence[Verdict]:
        """Charge one request by ``keys[i]`` to ``counters[i]``, in the order global, service, route.

        Each counter is of another scope. Raises BackendError where the counters cannot be reached.
        """

    def take_one(self, counter: Counter, key: str) -> Verdict:
        """Do what ``take`` does, for one counter."""
        return self.take((counter,), (key,))[0]

    async def take_async(self, counters: Sequence[Counter], keys: Sequence[str]) -> Sequence[Verdict]:
        """Do what ``take`` does, without blocking the event loop."""
        return self.take(counters, keys)

    def keep(self, tables: Iterable[str]) -> None:
        """Forget what is not counted in one of ``tables`` (``Counter.table``), where it takes memory here."""

    def stop(self) -> None:
        """Save, and close connections."""
