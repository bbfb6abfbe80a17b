from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from shield_core.backends.base import SyncNativeBackend
from shield_core.engine import ShieldEngine
from tests.backends import stores


@pytest.fixture
def make_backend(request: pytest.FixtureRequest) -> Iterator[stores.MakeBackend]:
    """Open the store that the test is parametrised with (indirectly), again with each call."""
    with ExitStack() as stack:
        yield stores.open_store(request.param, request, stack)


@pytest.fixture
def start_engine() -> Iterator[Callable[..., ShieldEngine]]:
    """Make engines, each as in a process of its own, and stop them at the end."""
    with ExitStack() as stack:

        def start(backend: Any, **options: Any) -> ShieldEngine:
            engine = ShieldEngine(backend, **{"refresh_interval": 0.1, **options})
            stack.callback(_close, engine)
            return engine

        yield start


def _close(engine: ShieldEngine) -> None:
    engine.sync.stop()
    if isinstance(engine.backend, SyncNativeBackend):
        engine.backend.close_sync()  # what this thread has opened
