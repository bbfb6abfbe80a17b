"""How many changes a store takes per second: ``python benchmarks/commits.py [store …]``.

One writer, and eight processes that change eight routes each; every change is a commit of state,
audit entry and event, in a store of 100 routes that keeps 1000 audit entries (models: all).
"""

from __future__ import annotations

import multiprocessing
import time
from functools import partial

from stores import MakeBackend, chosen, opened

from shield_core.engine import ShieldEngine

SECONDS = 4.0
ROUTES = 100
SPAWN = multiprocessing.get_context("spawn")


def prepare(make_backend: MakeBackend) -> None:
    engine = ShieldEngine(make_backend(), threads=False)
    engine.sync.register_batch([(f"GET:/{number}", {}) for number in range(ROUTES)])
    engine.sync.stop()


def write(make_backend: MakeBackend, begin: float, number: int) -> int:
    """Change routes from ``begin`` (monotonic) on; return how often."""
    engine = ShieldEngine(make_backend(), threads=False)
    engine.sync.get_state("GET:/0")
    time.sleep(max(0.0, begin - time.monotonic()))
    done = 0
    while time.monotonic() < begin + SECONDS:
        engine.sync.set_maintenance(f"GET:/{number * 8 + done % 8}", str(done))
        done += 1
    engine.sync.stop()
    return done


def per_second(make_backend: MakeBackend, writers: int) -> float:
    with SPAWN.Pool(writers) as pool:
        # Every process is up before the first one writes.
        work = partial(write, make_backend, time.monotonic() + 3.0 + writers)
        return sum(pool.map(work, range(writers), chunksize=1)) / SECONDS


def main() -> None:
    print(f"{'commits per second':40}{'1 writer':>12}{'8 writers':>12}")
    with opened() as stores:
        for name, make_backend in chosen(stores).items():
            process = SPAWN.Process(target=prepare, args=(make_backend,))
            process.start()
            process.join()
            one, eight = (per_second(make_backend, writers) for writers in (1, 8))
            print(f"{name:40}{one:>12,.0f}{eight:>12,.0f}", flush=True)


if __name__ == "__main__":
    main()
