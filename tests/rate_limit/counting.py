"""Counters under a clock that stands still until a test moves it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from shield_core.models import Algorithm
from shield_core.rate_limit.counters import Counter, Verdict
from shield_core.rate_limit.grammar import Rate
from shield_core.rate_limit.storage.memory import MemoryRateLimitStorage

FIXED, SLIDING, BUCKET = Algorithm.FIXED_WINDOW, Algorithm.SLIDING_WINDOW, Algorithm.TOKEN_BUCKET
ALL = list(Algorithm)


def counter(
    limit: str, algorithm: Algorithm = FIXED, name: str = "route:GET:/pay", **options: Any
) -> Counter:
    rate = Rate.parse(limit)
    assert rate is not None
    return Counter.make(name, rate, text=limit, algorithm=algorithm, **options)


class Clock:
    def __init__(self, now: float = 6000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Counting:
    """A storage in memory and its clock."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.storage = MemoryRateLimitStorage(clock=self.clock, **options)

    def take(self, asked: Counter, key: str = "a") -> Verdict:
        return self.storage.take_one(asked, key)

    def passes(self, asked: Counter, key: str = "a") -> bool:
        return self.take(asked, key)[0]

    def admitted(self, asked: Counter, requests: int, key: str = "a") -> int:
        """How many of so many requests pass."""
        return sum(self.passes(asked, key) for _ in range(requests))

    def later(self, seconds: float) -> None:
        self.clock.now += seconds


def wait_until(condition: Callable[[], object], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s: {condition}"
        time.sleep(0.002)
