"""A process that is killed at one step of writing the state file: ``python -m tests.backends.dying``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from shield_core.backends import file
from shield_core.backends.file import FileBackend
from shield_core.models import RouteState
from shield_core.snapshot import Commit, Write


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dies_before(function: Callable[..., Any], when: Callable[..., bool]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        if when(*args):
            die()
        return function(*args, **kwargs)

    return run


def dies_after(function: Callable[..., Any], when: Callable[..., bool]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if when(*args):
            die()
        return result

    return run


def is_temporary(path: Any, *_: Any) -> bool:
    return str(path).endswith(".tmp")


def is_lock(path: Any, *_: Any) -> bool:
    return str(path).endswith(".lock")


def always(*_: Any) -> bool:
    return True


def half(dump: Callable[[Any], str]) -> Callable[[Any], str]:
    """Write half of the content, and die when it is synced."""

    def run(document: Any) -> str:
        text = dump(document)
        return text[: len(text) // 2]

    return run


def arm(step: str) -> None:
    match step:
        case "lock opened":
            file.os.open = dies_after(os.open, is_lock)
        case "lock held":
            file.FileBackend._read = die  # type: ignore[method-assign,assignment]
        case "temporary file made":
            file.os.open = dies_after(os.open, is_temporary)
        case "half written":
            file.statefile.dump = half(file.statefile.dump)
            file.os.fsync = dies_after(os.fsync, always)
        case "written":
            file.os.fsync = dies_before(os.fsync, always)
        case "permissions taken over":
            file.os.fchmod = dies_after(os.fchmod, always)
        case "synced":
            file.os.replace = dies_before(os.replace, always)
        case "renamed":
            file.os.replace = dies_after(os.replace, always)
        case "folder synced":
            file.sync_directory = die
        case _:
            raise AssertionError(step)


def main(path: str, step: str) -> None:
    backend = FileBackend(path)
    backend.load_sync()
    arm(step)
    state = RouteState(path="GET:/x", status="disabled", origin="operator", reason="new")
    backend.commit_sync(Commit((Write("GET:/x", state),)))


if __name__ == "__main__":
    main(*sys.argv[1:])
