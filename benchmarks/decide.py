"""How long a decision takes, and one change among many routes: ``python benchmarks/decide.py``.

Medians of interleaved repetitions, so that a busy machine slows all columns alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import median

from shield_core.declarations import Declaration
from shield_core.keys import EVERYTHING, RouteKey, Scope
from shield_core.models import (
    GlobalMaintenanceConfig,
    MaintenanceWindow,
    RouteState,
    RouteStatus,
    StoredObject,
)
from shield_core.plan import Disable
from shield_core.ruleset import Ruleset
from shield_core.snapshot import Changes, Cursor, Snapshot, Write

FEW, MANY = 10, 10_000
REPETITIONS = 41
CALLS = 20_000
CHANGES = 20


def rules(count: int, *, everything: GlobalMaintenanceConfig | None = None) -> Ruleset:
    """A service with ``count`` routes, a tenth of them disabled by an operator."""
    keys = [RouteKey(None, "GET", f"/api/v1/resources/{number}/items/{{pk}}/") for number in range(count)]
    states = [
        RouteState(
            path=str(key),
            status=RouteStatus.DISABLED if number % 10 == 5 else RouteStatus.ACTIVE,
            origin="operator" if number % 10 == 5 else "code",
            revision=1,
        )
        for number, key in enumerate(keys)
    ]
    objects: dict[str, StoredObject] = {state.path: state for state in states}
    if everything is not None:
        objects[EVERYTHING.store_key] = everything
    return Ruleset.compile(Snapshot("epoch", 1, objects), {key: Declaration(key) for key in keys}, env="dev")


def path(number: int) -> str:
    return f"/api/v1/resources/{number}/items/{{pk}}/"


def decisions(ruleset: Ruleset, method: str, paths: list[str]) -> Callable[[], float]:
    """Return a measurement: nanoseconds per decision, the loop's own cost taken off."""
    decide, repeated = ruleset.decide, (paths * (CALLS // len(paths) + 1))[:CALLS]

    def measure() -> float:
        started = time.perf_counter_ns()
        for one in repeated:
            decide(method, one)
        deciding = time.perf_counter_ns()
        for _ in repeated:
            pass
        looping = time.perf_counter_ns() - deciding
        return (deciding - started - looping) / CALLS

    return measure


def changes(ruleset: Ruleset) -> dict[str, Callable[[], float]]:
    """Return measurements of one change: nanoseconds of planning, and of putting it in force."""
    snapshot = ruleset.snapshot
    state = next(iter(snapshot.routes.values()))
    written = state.replace(status="disabled", origin="operator", revision=2)
    batch = Changes(Cursor("epoch", 2), (Write(state.path, written),))
    command = Disable(target=state.path, reason="r")

    def enforce() -> object:
        return ruleset.evolve(snapshot.apply(batch, advance=True), [state.path])

    return {"plan a change": timed(lambda: command.plan(snapshot)), "put it in force": timed(enforce)}


def timed(work: Callable[[], object]) -> Callable[[], float]:
    def measure() -> float:
        started = time.perf_counter_ns()
        for _ in range(CHANGES):
            work()
        return (time.perf_counter_ns() - started) / CHANGES

    return measure


def measurements(count: int) -> dict[str, Callable[[], float]]:
    now = datetime.now(UTC)
    future = MaintenanceWindow(start=now + timedelta(days=1), end=now + timedelta(days=2))
    plain = rules(count)
    windowed = plain.evolve(
        Snapshot(
            "epoch",
            2,
            {
                f"GET:{path(0)}": RouteState(
                    path=f"GET:{path(0)}", window=future, origin="operator", revision=2
                )
            },
        ),
        [f"GET:{path(0)}"],
    )
    down = rules(count, everything=GlobalMaintenanceConfig(enabled=True, exempt_paths=("/health",)))
    assert not plain.decide("GET", path(5)).allowed
    assert down.decide("GET", path(0)).scope == Scope("global")
    return {
        "decide: open": decisions(plain, "GET", [path(0)]),
        "decide: many different": decisions(plain, "GET", [path(number) for number in range(FEW)]),
        "decide: disabled": decisions(plain, "GET", [path(5)]),
        "decide: unknown path": decisions(plain, "GET", ["/nowhere"]),
        "decide: route with a window": decisions(windowed, "GET", [path(0)]),
        "decide: global maintenance": decisions(down, "GET", [path(0)]),
        **changes(plain),
    }


def main() -> None:
    few, many = measurements(FEW), measurements(MANY)
    times: dict[tuple[str, int], list[float]] = {(name, count): [] for name in few for count in (FEW, MANY)}
    for _ in range(REPETITIONS):
        for name in few:
            times[name, FEW].append(few[name]())
            times[name, MANY].append(many[name]())
    print(f"{'ns, median of ' + str(REPETITIONS):30}{FEW:>10,} routes{MANY:>10,} routes{'ratio':>8}")
    for name in few:
        small, large = median(times[name, FEW]), median(times[name, MANY])
        print(f"{name:30}{small:>17,.0f}{large:>17,.0f}{large / small:>8.2f}")


if __name__ == "__main__":
    main()
