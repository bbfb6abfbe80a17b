"""What the log says of a store that does not answer: once for each outage, and not of all of them.

A store that comes and goes would else fill the log, and says nothing new.
"""

from __future__ import annotations

import logging
import time
from collections import deque

from shield_core.exceptions import BackendError

logger = logging.getLogger("shield.replica")

#: How many outages are logged in how many seconds at most.
_TOLD, _WITHIN = 3, 300.0


class Outages:
    """Logs when an outage begins and when it ends; one that is passed over, later if it lasts."""

    def __init__(self) -> None:
        #: When outages were logged, and whether this one was.
        self._told: deque[float] = deque(maxlen=_TOLD)
        self._is_told = False

    def failed(self, error: Exception, *, is_cold: bool = False) -> None:
        """Log that the store does not answer, to a process that ``is_cold`` and has no rules of it yet."""
        if self._is_told or not self._may_tell():
            return
        self._is_told = True
        logger.error(
            "The store does not answer; %s. %s: %s",
            "nothing is known of it yet" if is_cold else "the last known rules stay in force",
            type(error).__name__,
            error,
            exc_info=None if isinstance(error, BackendError) else error,
        )

    def ended(self) -> None:
        if self._is_told:
            self._is_told = False
            logger.info("The store answers again.")

    def _may_tell(self) -> bool:
        now, full = time.monotonic(), len(self._told) == _TOLD
        if full and now - self._told[0] < _WITHIN:
            return False
        self._told.append(now)
        return True
