"""How many changes a store takes per second: ``python benchmarks/commits.py [store …]``.

One writer, and eight processes that change eight routes each; every change is a commit of state,
audit entry and event, in a store of 100 routes that keeps 1000 audit entries (models: all).
"""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier

from stores import MakeBackend, chosen, opened

from shield_core.engine import ShieldEngine

SECONDS = 4.0
ROUTES = 100
SPAWN = multiprocessing.get_context("spawn")


def prepare(make_backend: MakeBackend) -> None:
    engine = ShieldEngine(make_backend(), threads=False)
    engine.sync.register_batch([(f"GET:/{number}", {}) for number in range(ROUTES)])
    engine.sync.stop()


def write(make_backend: MakeBackend, start: Barrier, number: int, told: Queue[int]) -> None:
    """Change routes for some seconds, once every writer is up; tell how often."""
    engine = ShieldEngine(make_backend(), threads=False)
    engine.sync.get_state("GET:/0")
    start.wait()
    end, done = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        engine.sync.set_maintenance(f"GET:/{number * 8 + done % 8}", str(done))
        done += 1
    engine.sync.stop()
    told.put(done)


def per_second(make_backend: MakeBackend, writers: int) -> float:
    start, told = SPAWN.Barrier(writers), SPAWN.Queue()
    processes = [
        SPAWN.Process(target=write, args=(make_backend, start, number, told)) for number in range(writers)
    ]
    for process in processes:
        process.start()
    done = sum(told.get() for _ in processes)
    for process in processes:
        process.join()
    return done / SECONDS


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
