"""When to go on without an event stream, because it does not get through, but other requests may."""

from __future__ import annotations

import random
import time

from shield_core.exceptions import (
    BackendError,
    NotAllowedError,
    NotAuthenticatedError,
    RefusedError,
    ServerError,
)

#: Streams that fail one after the other, before it is asked without one.
_FAILED_STREAMS = 3
#: Seconds without a stream: the first time, and at most.
_WITHOUT_STREAM = (60.0, 900.0)
#: What a server answers that has no streams.
_NO_STREAMS = 501


class Unheard(ServerError):
    """A stream was opened, and nothing of it gets through."""


class Fallback:
    """``pause`` is how many seconds pass, on average, before a server that failed is asked again."""

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._failed_streams = 0
        #: How often there was no stream for a while, since the last that got through.
        self._times = 0
        self._until = 0.0

    @property
    def holds(self) -> bool:
        """Whether to ask without a stream for now."""
        return time.monotonic() < self._until

    def begins(self, error: BackendError) -> bool:
        """Take note that a stream has failed; return whether to go on without one for a while."""
        if isinstance(error, NotAuthenticatedError | NotAllowedError):
            return False
        self._failed_streams += 1
        unheard = isinstance(error, Unheard) or (
            isinstance(error, RefusedError) and error.status == _NO_STREAMS
        )
        if not unheard and not self._times and self._failed_streams < _FAILED_STREAMS:
            return False
        self._failed_streams = 0
        if unheard or self._times:
            first, longest = _WITHOUT_STREAM
            pause = min(first * 2 ** max(self._times - 1, 0), longest)
        else:
            # Other requests may work because the server has just come back. They are tried once, at least,
            # whatever the pause before it.
            pause = 3 * self._pause
        self._times = max(self._times, int(unheard)) + 1
        self._until = time.monotonic() + pause * random.uniform(0.8, 1.2)
        return True

    def ends(self) -> None:
        """Take note that a stream has got through."""
        self._failed_streams = self._times = 0

    def is_no_help(self) -> None:
        """Take note that other requests fail as well: it is not the streams, the server has been away."""
        self._until = 0.0
        self._times = max(0, self._times - 1)
