"""When to ask again a store that does not answer."""

from __future__ import annotations

import random
import time

#: Attempts that may follow each other quickly.
_BURST = 3
#: Seconds that a store can make us wait at most by its own wish.
_LONGEST_WISH = 3600.0


class Retries:
    """Exponential backoff with full jitter, as AWS's architecture blog has it, up to twice ``pause``.

    Whatever happens, there are at most 12 attempts in any minute (of a ``pause`` of 5 seconds): the
    delays are also those of a leaky bucket (GCRA), which failures fill even if successes lie between.
    """

    def __init__(self, pause: float = 5.0) -> None:
        self.pause = pause
        self._failures = 0
        self._failed_at = float("-inf")
        self._bucket = 0.0

    def delay(self, wish: float = 0.0) -> float:
        """Take note of a failure; return the seconds to wait, ``wish`` at least."""
        now = time.monotonic()
        calm = now - self._failed_at > 4 * self.pause
        self._failures = 1 if calm else self._failures + 1
        self._failed_at = now
        jitter = random.uniform(0.0, self.pause * min(2.0, 0.2 * 2.0 ** min(self._failures - 1, 10)))
        interval = 1.5 * self.pause
        self._bucket = max(self._bucket, now) + interval
        return max(min(wish, _LONGEST_WISH) + jitter, self._bucket - now - _BURST * interval)
