"""The tutorial of the seeds, with the import names of this package."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from shield_core.backends.memory import MemoryBackend
from shield_core.engine import ShieldEngine
from shield_fastapi.decorators import force_active, maintenance
from shield_fastapi.middleware import ShieldMiddleware
from shield_fastapi.router import ShieldRouter
from tests.fastapi_app.caller import Caller, lifespan

BODY = (
    '{"error":{"code":"MAINTENANCE_MODE","message":"This endpoint is temporarily unavailable",'
    '"reason":"Database migration — back at 04:00 UTC","path":"GET:/payments","retry_after":null}}'
).encode()


def tutorial() -> tuple[ShieldEngine, FastAPI, Any]:
    engine = ShieldEngine(backend=MemoryBackend())
    app = FastAPI()
    app.add_middleware(ShieldMiddleware, engine=engine)
    router = ShieldRouter(engine=engine)

    @router.get("/payments")
    @maintenance(reason="Database migration — back at 04:00 UTC")
    async def get_payments() -> Any:
        return {"payments": []}

    @router.get("/health")
    @force_active
    async def health() -> Any:
        return {"status": "ok"}

    app.include_router(router)
    return engine, app, get_payments


async def test_the_tutorial_runs_as_written() -> None:
    engine, app, _ = tutorial()
    async with lifespan(app):
        caller = Caller(app)

        answer = await caller.get("/payments")
        assert (answer.status, answer.content) == (503, BODY)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert (await caller.get("/health")).json == {"status": "ok"}

        await engine.enable("GET:/payments")
        assert (await caller.get("/payments")).json == {"payments": []}

        await engine.set_maintenance("GET:/payments", reason="Second migration wave")
        assert (await caller.get("/payments")).error["reason"] == "Second migration wave"


async def test_a_decorator_stamps_the_function_and_leaves_it_alone() -> None:
    engine, _, get_payments = tutorial()

    assert get_payments.__shield_meta__ == {
        "status": "maintenance",
        "reason": "Database migration — back at 04:00 UTC",
    }
    assert await get_payments() == {"payments": []}
    await engine.stop()


async def test_the_router_names_its_routes_before_the_application_runs() -> None:
    engine, app, _ = tutorial()

    await engine.enable("GET:/payments")

    assert (await Caller(app).get("/payments")).status == 200
    await engine.stop()


async def test_all_that_is_public_comes_from_the_package() -> None:
    import shield_fastapi

    for name in ("ShieldMiddleware", "ShieldRouter", "ShieldGuard", "maintenance", "env_only", "rate_limit"):
        assert name in shield_fastapi.__all__
        assert hasattr(shield_fastapi, name)
