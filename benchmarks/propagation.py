"""How soon another process enforces a change: ``python benchmarks/propagation.py [store …]``.

From the beginning of the call in one process to the first decision that differs in another, which
decides all the time; at random moments of the follower's waiting. The refresh interval is 1 s.
"""

from __future__ import annotations

import multiprocessing
import random
import time
from multiprocessing.connection import Connection
from statistics import median, quantiles

from stores import MakeBackend, chosen, opened

from shield_core.engine import ShieldEngine

CHANGES = 120
SPAWN = multiprocessing.get_context("spawn")


def follow(make_backend: MakeBackend, pipe: Connection) -> None:
    """Tell the moment of each change of the answer."""
    engine = ShieldEngine(make_backend())
    engine.sync.start()
    answer = engine.decide("GET", "/x").allowed
    pipe.send(None)
    while True:
        now = engine.decide("GET", "/x").allowed
        if now is not answer:
            answer = now
            pipe.send(time.monotonic())
        elif pipe.poll():
            break
        time.sleep(0.0005)
    engine.sync.stop()


def change(make_backend: MakeBackend, pipe: Connection) -> None:
    """Change the route and tell the moments of the calls."""
    engine = ShieldEngine(make_backend(), threads=False)
    engine.sync.register_batch([("GET:/x", {}), ("GET:/y", {})])
    pipe.send(None)
    for turn in range(CHANGES):
        pipe.recv()
        pipe.send(time.monotonic())
        (engine.sync.enable if turn % 2 else engine.sync.disable)("GET:/x")
    engine.sync.stop()


def delays(make_backend: MakeBackend) -> list[float]:
    """Return the milliseconds of each change."""
    writer, theirs = SPAWN.Pipe()
    changing = SPAWN.Process(target=change, args=(make_backend, theirs))
    changing.start()
    writer.recv()
    reader, theirs = SPAWN.Pipe()
    following = SPAWN.Process(target=follow, args=(make_backend, theirs))
    following.start()
    reader.recv()
    found = []
    for _ in range(CHANGES):
        time.sleep(random.uniform(0.0, 0.3))
        writer.send(None)
        began = writer.recv()
        found.append((reader.recv() - began) * 1000)
    reader.send(None)
    for process in (changing, following):
        process.join()
    return found


def main() -> None:
    print(f"{'ms, of ' + str(CHANGES) + ' changes':40}{'median':>10}{'99 %':>10}{'worst':>10}")
    with opened() as stores:
        for name, make_backend in chosen(stores).items():
            found = delays(make_backend)
            worst = quantiles(found, n=100)[98]
            print(
                f"{name:40}{median(found):>10.1f}{min(worst, max(found)):>10.1f}{max(found):>10.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
