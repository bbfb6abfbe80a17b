"""Another process on the same store: a server's worker, or a command line."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Self

from shield_core.engine import ShieldEngine

_SPAWN = multiprocessing.get_context("spawn")


class Neighbour:
    """A process with an engine of its own, whose plain operations are called by name."""

    def __init__(self, make_backend: Callable[[], Any], **options: Any) -> None:
        self._pipe, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=_live, args=(make_backend, options, theirs))
        self.process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._pipe.close()
        self.process.join(20)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()

    def __call__(self, operation: str, *args: Any, **fields: Any) -> Any:
        self._pipe.send((operation, args, fields))
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def lets_pass(self, path: str) -> bool:
        return bool(self("decide", "GET", path))


def _live(make_backend: Callable[[], Any], options: dict[str, Any], pipe: Connection) -> None:
    engine = ShieldEngine(make_backend(), **{"refresh_interval": 0.1, **options})
    engine.sync.start()
    while True:
        try:
            operation, args, fields = pipe.recv()
        except EOFError:
            break
        try:
            if operation == "decide":
                answer: Any = engine.decide(*args).allowed
            elif operation == "status":
                answer = engine.status()
            else:
                answer = getattr(engine.sync, operation)(*args, **fields)
        except Exception as error:
            answer = error
        pipe.send(answer)
    engine.sync.stop()
