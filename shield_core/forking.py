"""Forks: keep them away from threads that are inside a library, and tell objects of them in the child.

A child has only the thread that forked. What another thread held then stays held for ever in the
child: Python's own locks can be made anew, those inside a database library or pydantic cannot. So
a fork waits, for a moment, until no thread of ours is in there.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

#: Seconds that a fork waits at most: on a busy machine an import takes some.
_PATIENCE = 10.0


class ForkAware(Protocol):
    def after_fork(self) -> None:
        """Make new locks and forget threads; start nothing."""


_watched: weakref.WeakSet[ForkAware] = weakref.WeakSet()
_calm = threading.Condition()
_inside = 0
_forking = False
_mine = threading.local()


def watch(one: ForkAware) -> None:
    _watched.add(one)


@contextmanager
def held_off() -> Iterator[None]:
    """Let forks wait for the end of the block."""
    global _inside
    depth = getattr(_mine, "depth", 0)
    with _calm:
        if not depth:
            _calm.wait_for(lambda: not _forking, _PATIENCE)
        _inside += 1
    _mine.depth = depth + 1
    try:
        yield
    finally:
        _mine.depth = depth
        with _calm:
            _inside -= 1
            _calm.notify_all()


def _before() -> None:
    global _forking
    _calm.acquire()
    _forking = True
    _calm.wait_for(lambda: _inside == getattr(_mine, "depth", 0), _PATIENCE)


def _after_in_parent() -> None:
    global _forking
    _forking = False
    _calm.notify_all()
    _calm.release()


def _after_in_child() -> None:
    global _calm, _inside, _forking
    _calm, _inside, _forking = threading.Condition(), getattr(_mine, "depth", 0), False
    for one in list(_watched):
        one.after_fork()


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
