"""Where requests are counted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

from shield_core.rate_limit.counters import Counter, Verdict


class RateLimitStorage(ABC):
    """Counts requests; all counters of one request at once.

    A request is charged to all of its counters, or where one of them denies it (and is not a
    shadow) to none. ``immediate``: ``take`` returns at once, so that an event loop may call it.
    """

    immediate: ClassVar[bool] = False
    #: Whether several processes count together.
    shared_across_processes: ClassVar[bool] = False

    @abstractmethod
    def take(self, counters: Sequence[Counter], keys: Sequence[str]) -> Sequence[Verdict]:
        """Charge one request by ``keys[i]`` to ``counters[i]``, in the order global, service, route.

        Raises BackendError where the counters cannot be reached.
        """

    async def take_async(self, counters: Sequence[Counter], keys: Sequence[str]) -> Sequence[Verdict]:
        """Do what ``take`` does, without blocking the event loop."""
        return self.take(counters, keys)

    def keep(self, names: Iterable[str]) -> None:
        """Forget the counts of scopes that are not among ``names``, where they take memory here."""

    def start(self) -> None:
        """Take up what was counted before, and begin to save it."""

    def stop(self) -> None:
        """Save, and close connections."""
