"""Counters in Redis say what counters in memory say, and never admit more than they promise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shield_core.models import Algorithm
from shield_core.rate_limit.counters import Counter
from shield_core.rate_limit.grammar import Rate
from shield_core.rate_limit.storage.memory import MemoryRateLimitStorage
from tests.rate_limit.redis_fixtures import SimulatedClock
from tests.redis_server import RedisServer

NAMES = ("global:", "service:shop", "route:shop:GET:/x")
EIGHTH = 125_000

algorithms = st.sampled_from(Algorithm)
#: Amount, burst and shadow. The algorithm stays, and the period but that of a token bucket: of a sliding
#: window Redis forgets at once what is over; of a fixed one memory keeps the end of a window refunded.
changing = st.tuples(st.integers(1, 5), st.integers(0, 2), st.booleans())
layer = st.tuples(algorithms, st.tuples(st.integers(1, 4), st.integers(1, 4)), st.tuples(changing, changing))
steps = st.lists(
    st.tuples(
        st.sampled_from((0, 0, 0, 1, 2, 5, 8, 13, 40)),
        st.sets(st.integers(0, 2), min_size=1).map(sorted),
        st.sampled_from("ab"),
        st.sampled_from((0, 0, 0, 1)),
    ),
    min_size=1,
    max_size=40,
)
with_redis = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def clock(redis_server: RedisServer) -> Iterator[SimulatedClock]:
    clock = SimulatedClock(redis_server)
    yield clock
    clock.close()


def limit(
    name: str, algorithm: Algorithm, seconds: int, said: tuple[int, int, bool], generation: int
) -> Counter:
    amount, burst, shadow = said
    return Counter.make(
        name,
        Rate(amount, seconds),
        text="",
        algorithm=algorithm,
        burst=burst,
        shadow=shadow,
        generation=generation,
    )


@with_redis
@given(described=st.tuples(layer, layer, layer), steps=steps)
def test_redis_says_what_memory_says(clock: SimulatedClock, described: Any, steps: Any) -> None:
    generation = next(_generations)
    memory = MemoryRateLimitStorage(clock=lambda: clock.now / 1_000_000)
    for passed, asked, key, variant in steps:
        clock.set(clock.now + passed * EIGHTH)
        counters = [
            limit(
                NAMES[index], algorithm, _period(algorithm, periods, variant), variants[variant], generation
            )
            for index, (algorithm, periods, variants) in enumerate(described)
            if index in asked
        ]
        keys = [key] * len(counters)
        expected = memory.take(counters, keys)
        found = clock.storage.take(counters, keys)
        assert [verdict[:2] for verdict in found] == [verdict[:2] for verdict in expected]
        for one, other in zip(found, expected, strict=True):
            assert one[2:] == pytest.approx(other[2:], abs=1e-5)


@with_redis
@given(
    algorithm=st.sampled_from((Algorithm.SLIDING_WINDOW, Algorithm.TOKEN_BUCKET)),
    amount=st.integers(1, 4),
    seconds=st.integers(1, 3),
    passed=st.lists(st.sampled_from((0, 0, 0, 1, 2, 3, 5, 8, 24, -1, -3, -24, -4000)), max_size=40),
)
def test_no_window_has_more_than_the_limit_whatever_the_clock_does(
    clock: SimulatedClock, algorithm: Algorithm, amount: int, seconds: int, passed: list[int]
) -> None:
    one = limit("route:x", algorithm, seconds, (amount, 0, False), next(_generations))
    moments: list[int] = []
    elapsed = 0
    for eighths in passed:
        clock.set(clock.now + eighths * EIGHTH)
        elapsed += max(0, eighths)
        if clock.storage.take((one,), ("k",))[0][0]:
            moments.append(elapsed)
    for index, moment in enumerate(moments):
        later = [other - moment for other in moments[index:]]
        if algorithm is Algorithm.SLIDING_WINDOW:
            assert sum(after < seconds * 8 for after in later) <= amount
        else:
            for count, after in enumerate(later, 1):
                assert count <= amount * (1 + after / (seconds * 8)) + 1e-6


def _period(algorithm: Algorithm, periods: tuple[int, int], variant: int) -> int:
    return periods[variant if algorithm is Algorithm.TOKEN_BUCKET else 0]


def _count() -> Iterator[int]:
    number = 0
    while True:
        yield (number := number + 1)


#: Each example has counters of its own.
_generations = _count()
