import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from shield_core.backends.base import ShieldBackend
from shield_core.backends.memory import MemoryBackend
from shield_core.engine import ShieldEngine

from .notebook import NotebookBackend


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., None]:
    """Wait for a condition, and fail when it does not come true."""

    def wait(condition: Callable[[], object], timeout: float = 10.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"not within {timeout} s: {condition}"
            time.sleep(0.002)

    return wait


def shield_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("shield-")}


@pytest.fixture(autouse=True)
def no_thread_stays_behind() -> Iterator[None]:
    before = shield_threads()
    yield
    left = shield_threads() - before
    for thread in left:
        with suppress(RuntimeError):  # it is just being started, by somebody else's engine
            thread.join(timeout=2)
    assert not [thread for thread in left if thread.is_alive()]


@pytest.fixture
def make_engine() -> Iterator[Callable[..., ShieldEngine]]:
    """Make engines that look at their store often, and stop them at the end."""
    made: list[ShieldEngine] = []

    def make(
        backend: ShieldBackend | None = None, env: str | None = "dev", **options: object
    ) -> ShieldEngine:
        engine = ShieldEngine(backend, env, **{"refresh_interval": 0.02, **options})
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.sync.stop()


@pytest.fixture(params=[MemoryBackend, NotebookBackend])
def backend(request: pytest.FixtureRequest) -> ShieldBackend:
    """Every behaviour of the engine holds over our own backends and over a custom one."""
    return request.param()


@pytest.fixture(params=["async", "sync"])
async def call(
    request: pytest.FixtureRequest, backend, make_engine
) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Call an operation of one engine by name, awaited or in a plain thread through ``sync``."""
    engine = make_engine(backend)

    async def call(operation: str, *args: object, **fields: object) -> Any:
        if request.param == "async":
            return await getattr(engine, operation)(*args, **fields)
        return await asyncio.to_thread(partial(getattr(engine.sync, operation), *args, **fields))

    call.engine = engine  # type: ignore[attr-defined]
    await call("start")
    yield call
    await call("stop")
