"""``shield_core.testing``, as the tests of a FastAPI project use it."""

from __future__ import annotations

import asyncio
import inspect
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI

from shield_core.engine import ShieldEngine
from shield_core.exceptions import RouteNotFoundException, RouteProtectedException, ShieldException
from shield_core.testing import bypass, maintenance_state, route_state
from shield_fastapi import ShieldMiddleware, disabled, env_only, force_active, maintenance
from tests.conftest import eventually
from tests.core.notebook import NotebookBackend
from tests.fastapi_app.caller import Caller, lifespan

OPEN = [200, 200, 200, 200]


def application(engine: ShieldEngine) -> Caller:
    app = FastAPI()
    for path, stamp in (
        ("/plain", None),
        ("/maintenance", maintenance("x")),
        ("/disabled", disabled("x")),
        ("/gate", env_only("dev")),
        ("/health", force_active),
    ):

        async def endpoint() -> Any:
            return {}

        app.get(path)(stamp(endpoint) if stamp else endpoint)
        app.post(path)(_plain())
    app.add_middleware(ShieldMiddleware, engine=engine)
    return Caller(app)


def _plain() -> Any:
    async def endpoint() -> Any:
        return {}

    return endpoint


async def statuses(caller: Caller) -> list[int]:
    return [await caller.status(path) for path in ("/plain", "/maintenance", "/disabled", "/gate")]


@pytest.mark.parametrize("warm", [True, False])
async def test_bypass_lets_everything_pass_and_writes_nothing(engine: ShieldEngine, warm: bool) -> None:
    caller = application(engine)
    await engine.enable_global_maintenance(reason="all", include_force_active=True)
    if warm:
        await caller.get("/plain")
        await engine.list_states()
    before = engine.status().revision

    with bypass(engine):
        assert await statuses(caller) == OPEN
        assert await caller.status("/gate/") == 307
        assert engine.decide("GET", "/disabled").allowed
        await engine.check("GET:/plain")

    assert (await caller.get("/plain")).error["reason"] == "all"
    if warm:
        assert engine.status().revision == before
    assert [one.action for one in await engine.get_audit_log()] == ["global_maintenance_on"]


async def test_bypass_outlives_changes_and_new_routes(engine: ShieldEngine) -> None:
    caller = application(engine)
    await caller.get("/plain")

    with bypass(engine):
        await engine.disable("GET:/plain", reason="meanwhile")
        caller.app.get("/late")(maintenance("late")(_plain()))
        assert await statuses(caller) == OPEN
        assert await caller.status("/late") == 200

    assert (await caller.get("/plain")).error["reason"] == "meanwhile"
    assert await caller.status("/late") == 503


async def test_bypass_nests_and_ends_with_an_exception(engine: ShieldEngine) -> None:
    caller = application(engine)

    async def fail() -> None:
        with bypass(engine):
            with bypass(engine):
                pass
            assert await statuses(caller) == OPEN
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await statuses(caller) == [200, 503, 503, 404]


async def test_bypass_over_a_store_that_others_share_or_that_is_down() -> None:
    backend = NotebookBackend()
    engine = ShieldEngine(backend, "test", refresh_interval=0.02, init_timeout=0.1)
    caller = application(engine)
    async with lifespan(caller.app):
        pages = dict(backend.pages)
        with bypass(engine):
            assert await statuses(caller) == OPEN
            backend.down = True
            await asyncio.to_thread(eventually, lambda: engine.status().state == "stale")
            assert await statuses(caller) == OPEN
        assert await statuses(caller) == [200, 503, 503, 404]
        assert backend.pages == pages


async def test_bypass_as_a_decorator(engine: ShieldEngine) -> None:
    caller = application(engine)

    @bypass(engine)
    async def awaited() -> list[int]:
        return await statuses(caller)

    @bypass(engine)
    def plain() -> bool:
        return engine.decide("GET", "/disabled").allowed

    assert inspect.iscoroutinefunction(awaited)
    assert [await awaited(), await awaited()] == [OPEN, OPEN]
    assert (plain(), engine.decide("GET", "/disabled").allowed) == (True, False)


@pytest.mark.parametrize(
    "target, status, options, expected",
    [
        ("GET:/plain", "maintenance", {}, (503, 200)),
        ("/plain", "disabled", {}, (503, 503)),
        ("/plain", "maintenance", {"read_only": True}, (200, 503)),
        ("GET:/plain", "env_gated", {"envs": ["prod"]}, (404, 200)),
        ("/plain", "env_gated", {"envs": ["prod"]}, (404, 404)),
    ],
)
async def test_a_route_for_the_length_of_a_block(
    engine: ShieldEngine, target: str, status: str, options: Any, expected: tuple[int, int]
) -> None:
    caller = application(engine)
    await caller.get("/plain")

    with route_state(engine, target, status, **options):
        assert (await caller.status("/plain"), await caller.status("/plain", "POST")) == expected

    assert (await caller.status("/plain"), await caller.status("/plain", "POST")) == (200, 200)
    assert not [state for state in await engine.list_states() if state.origin == "operator"]


async def test_what_was_there_comes_back(engine: ShieldEngine) -> None:
    caller = application(engine)
    await caller.get("/plain")
    await engine.set_maintenance("GET:/plain", reason="before")

    with route_state(engine, "GET:/plain", "active"):
        with route_state(engine, "GET:/plain", "disabled", reason="inner"):
            assert (await caller.get("/plain")).error["reason"] == "inner"
        assert await caller.status("/plain") == 200

    assert (await caller.get("/plain")).error["reason"] == "before"


async def test_everything_or_a_service(engine: ShieldEngine) -> None:
    caller = application(engine)
    until = datetime.now(UTC) + timedelta(minutes=1)

    with maintenance_state(engine, reason="all", exempt_paths=["GET:/plain"]):
        assert (await caller.status("/plain"), await caller.status("/plain", "POST")) == (200, 503)
    with maintenance_state(engine, until=until):
        assert "retry-after" in (await caller.get("/plain")).headers
    with maintenance_state(engine, service="other"):
        assert await caller.status("/plain") == 200
    assert await caller.status("/plain") == 200


async def test_what_is_unknown_protected_or_shared_is_told(engine: ShieldEngine) -> None:
    await application(engine).get("/plain")
    shared = ShieldEngine(NotebookBackend(), "test")

    with pytest.raises(RouteNotFoundException), route_state(engine, "/nowhere", "disabled"):
        pass
    with pytest.raises(RouteProtectedException), route_state(engine, "GET:/health", "disabled"):
        pass
    with pytest.raises(ValueError, match="RouteStatus"):
        route_state(engine, "/plain", "no such status")
    for state in (route_state(shared, "/plain", "disabled"), maintenance_state(shared)):
        with pytest.raises(ShieldException, match="other processes share"), state:
            pass
    assert not [state for state in await engine.list_states() if state.origin == "operator"]
