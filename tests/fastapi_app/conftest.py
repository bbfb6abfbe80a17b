"""Applications under Shield, with lifespan and without."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
from fastapi import FastAPI

from shield_core.engine import ShieldEngine
from shield_fastapi import ShieldMiddleware
from tests.fastapi_app.caller import Caller, lifespan


@pytest.fixture(autouse=True)
def no_thread_stays_behind() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = [one for one in set(threading.enumerate()) - before if one.name.startswith("shield-")]
    for thread in left:
        with suppress(RuntimeError):  # it is just being started, by somebody else's engine
            thread.join(timeout=5)
    assert not [thread for thread in left if thread.is_alive()]


@pytest.fixture
async def engine() -> AsyncIterator[ShieldEngine]:
    engine = ShieldEngine(current_env="test")
    yield engine
    await engine.stop()


@pytest.fixture(params=["lifespan", "no lifespan"])
async def serve(
    request: pytest.FixtureRequest, engine: ShieldEngine
) -> AsyncIterator[Callable[..., Awaitable[Caller]]]:
    """Put an application behind Shield and serve it, with or without lifespan."""
    async with AsyncExitStack() as stack:

        async def serve(app: Any, **options: Any) -> Caller:
            app.add_middleware(ShieldMiddleware, **{"engine": engine, **options})
            if request.param == "lifespan":
                await stack.enter_async_context(lifespan(app))
            return Caller(app)

        yield serve


@pytest.fixture
def shielded(engine: ShieldEngine) -> Callable[..., Caller]:
    """An application behind Shield, where lifespan makes no difference."""

    def shielded(app: Any, **options: Any) -> Caller:
        app.add_middleware(ShieldMiddleware, **{"engine": engine, **options})
        return Caller(app)

    return shielded


@pytest.fixture
def app() -> FastAPI:
    return FastAPI()
