"""What happens while shared counters cannot be reached."""

from __future__ import annotations

from shield_core.rate_limit.storage.base import RateLimitStorage


def guarded(storage: RateLimitStorage, *, fail_open: bool) -> RateLimitStorage:
    """Return a storage that never fails: over one in this process it is that one itself."""
    return storage
