"""What limits cost in the process: ``python benchmarks/rate_limit.py`` (``uv sync --group benchmark``).

Calls as an adapter makes them: the caller's address, all layers, the result with all that the headers
need; what it takes to make the caller, once per request whatever its limits, stands by itself. Beside
them a GCRA dictionary with a lock, written by hand, which only says yes or no, and `limits` with what
its users call for the same headers: ``hit`` and ``get_window_stats``. CPU time of one thread, in turns and
in an order of chance, so that a busy machine slows all columns alike; medians, and ratios of them.
"""

from __future__ import annotations

import gc
import random
import threading
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

from shield_core.engine import ShieldEngine
from shield_core.keys import EVERYTHING, Scope
from shield_core.models import Algorithm, GlobalRateLimitPolicy, RateLimitPolicy
from shield_core.rate_limit.addresses import client_address
from shield_core.rate_limit.caller import Caller
from shield_core.rate_limit.layers import Layer, Layers

REPETITIONS = 21
CALLS = 20_000
KEYS = [f"203.0.{number // 200}.{number % 200}" for number in range(1000)]
#: One limit costs at most so many dictionaries, three so many; one at most this part of `limits`.
ONE, THREE, OF_LIMITS = 3.0, 8.0, 0.25
PER_MINUTE = 1_000


class Dictionary:
    """The generic cell rate algorithm over a dictionary."""

    def __init__(self, limit: int, seconds: float) -> None:
        self._interval = seconds / limit
        self._tolerance = seconds
        self._full_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def hit(self, key: str) -> bool:
        with self._lock:
            now = time.monotonic()
            full_at = max(self._full_at.get(key, now), now) + self._interval
            if full_at - now > self._tolerance:
                return False
            self._full_at[key] = full_at
            return True


class ConnectionCaller(Caller):
    """A request as an ASGI scope shows it."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self._scope = scope

    @property
    def address(self) -> str | None:
        client = self._scope["client"]
        return client_address(client[0] if client else None, None, 0)

    def header(self, name: str) -> str | None:
        return None

    async def user(self) -> object | None:
        return None

    async def call(self, function: Callable[..., Any]) -> Any:
        return None


def layers(algorithm: Algorithm, count: int) -> Layers:
    """The limits of a route, a service and everything, from the route on."""
    limit = f"{PER_MINUTE}/minute"
    wide = GlobalRateLimitPolicy(limit=limit, algorithm=algorithm)
    route = RateLimitPolicy(path="/items/{id}", method="GET", limit=limit, algorithm=algorithm)
    compiled = (
        Layer.compile(EVERYTHING, wide),
        Layer.compile(Scope.service("shop"), wide),
        Layer.compile(Scope("route", "GET:/items/{id}"), route),
    )
    return Layers(compiled[-count:])


def ours(algorithm: Algorithm, count: int) -> Callable[[str], object]:
    limiter = ShieldEngine(threads=False).limiter
    asked = layers(algorithm, count)
    callers = {key: ConnectionCaller({"client": (key, 4711)}) for key in KEYS}

    def call(key: str) -> object:
        return limiter.limit(asked, callers[key], method="GET", path="/items/{id}")

    return call


def theirs(algorithm: Algorithm) -> Callable[[str], object]:
    """`limits`, which has no token bucket: its fixed window stands for it."""
    kind = MovingWindowRateLimiter if algorithm is Algorithm.SLIDING_WINDOW else FixedWindowRateLimiter
    limiter, item = kind(MemoryStorage()), RateLimitItemPerMinute(PER_MINUTE)

    def call(key: str) -> object:
        return limiter.hit(item, key), limiter.get_window_stats(item, key)

    return call


def timed(call: Callable[[str], object]) -> float:
    """Nanoseconds per call, the loop's own cost taken off."""
    keys = KEYS * (CALLS // len(KEYS))
    gc.disable()
    started = time.thread_time_ns()
    for key in keys:
        call(key)
    calling = time.thread_time_ns()
    for _ in keys:
        pass
    looping = time.thread_time_ns() - calling
    gc.enable()
    return (calling - started - looping) / len(keys)


def main() -> None:
    scope = {"client": ("203.0.113.7", 4711)}
    measured: dict[str, Callable[[str], object]] = {
        "dictionary": Dictionary(PER_MINUTE, 60).hit,
        "caller": lambda key: ConnectionCaller(scope),
    }
    for algorithm in Algorithm:
        measured[f"{algorithm} one"] = ours(algorithm, 1)
        measured[f"{algorithm} three"] = ours(algorithm, 3)
        measured[f"{algorithm} limits"] = theirs(algorithm)
    times: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(REPETITIONS):
        for name in random.sample(list(measured), len(measured)):
            times[name].append(timed(measured[name]))
            time.sleep(0.02)  # the thread that `limits` cleans up in ends, and is in nobody's way
    found = {name: median(one) for name, one in times.items()}
    dictionary = found["dictionary"]
    print(
        f"a dictionary with a lock: {dictionary:.0f} ns (median of {REPETITIONS}); "
        f"making a caller: {found['caller']:.0f} ns\n"
    )
    print(
        f"{'':16}{'one layer':>12}{'<= 3':>8}{'of limits':>12}{'<= 0.25':>9}{'three layers':>14}{'<= 8':>7}"
    )
    for algorithm in Algorithm:
        one, three, other = (found[f"{algorithm} {what}"] for what in ("one", "three", "limits"))
        ratios = (one / dictionary, one / other, three / dictionary)
        good = [ratio <= aim for ratio, aim in zip(ratios, (ONE, OF_LIMITS, THREE), strict=True)]
        said = ["ok" if one else "MISSED" for one in good]
        print(
            f"{algorithm:16}{ratios[0]:>11.2f}x{said[0]:>8}{ratios[1]:>11.2f}x{said[1]:>9}"
            f"{ratios[2]:>13.2f}x{said[2]:>7}"
        )


if __name__ == "__main__":
    main()
