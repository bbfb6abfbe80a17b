"""Tell objects that they live in a forked child now, where threads and held locks are gone."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class ForkAware(Protocol):
    def after_fork(self) -> None:
        """Make new locks and forget threads; start nothing."""


_watched: weakref.WeakSet[ForkAware] = weakref.WeakSet()


def watch(one: ForkAware) -> None:
    _watched.add(one)


def _after_in_child() -> None:
    for one in list(_watched):
        one.after_fork()


os.register_at_fork(after_in_child=_after_in_child)
