"""What the processes of ``BackendContract`` do on one store; each is a function that can be pickled."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from shield_core.engine import ShieldEngine
from shield_core.exceptions import ConflictError

ROUTES = [f"GET:/{name}" for name in ("a", "b", "c")]


@dataclass
class Told:
    """What one writer was told: the reasons of acknowledged changes, and how many conflicts."""

    acknowledged: list[str] = field(default_factory=list)
    conflicts: int = 0


def write_overlapping(make_backend: Callable[[], Any], count: int, number: int) -> Told:
    """Change the same routes as all others do; writers with odd numbers name the revision they saw."""
    told = Told()
    engine = ShieldEngine(make_backend(), threads=False)
    for turn in range(count):
        path, reason = ROUTES[(turn + number) % len(ROUTES)], f"{number}-{turn}"
        by: Any = {"actor": f"writer {number}"}
        if number % 2:
            by["expected_revision"] = engine.sync.get_state(path).revision
        try:
            engine.sync.set_maintenance(path, reason, **by)
        except ConflictError:
            if not number % 2:
                raise
            told.conflicts += 1
        else:
            told.acknowledged.append(reason)
    engine.sync.stop()
    return told


def write_until_killed(make_backend: Callable[[], Any], path: str, told: Connection) -> None:
    """Change one route again and again, and tell before each change which one is begun."""
    engine = ShieldEngine(make_backend(), threads=False)
    for turn in itertools.count():
        reason = f"{os.getpid()}-{turn}"
        told.send(reason)
        engine.sync.set_maintenance(path, reason)
