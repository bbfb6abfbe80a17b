"""The OpenAPI schema says what callers meet now."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel

from shield_fastapi import deprecated, disabled, env_only, maintenance
from tests.fastapi_app.caller import Caller


class Part(BaseModel):
    name: str


class Secret(BaseModel):
    parts: list[Part]


class Known(BaseModel):
    part: Part


def endpoint(*stamps: Any, takes: Any = None) -> Any:
    async def view(body: takes = None) -> Any:  # type: ignore[valid-type]
        """What it does."""

    view.__annotations__ = {"body": takes} if takes else {}
    if takes is None:

        async def view() -> Any:  # type: ignore[no-redef]
            """What it does."""

    for stamp in stamps:
        stamp(view)
    return view


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()
    app.get("/plain")(endpoint())
    app.get("/maintenance")(endpoint(maintenance("until four")))
    app.get("/disabled")(endpoint(disabled("gone")))
    app.get("/gate")(endpoint(env_only("dev")))
    app.post("/gate")(endpoint(env_only("dev")))
    app.get("/open-gate")(endpoint(env_only("test")))
    app.get("/old")(endpoint(deprecated("2030-01-01")))
    app.get("/old-closed")(endpoint(deprecated("2030-01-01"), maintenance("x")))
    return app


async def paths(caller: Caller, url: str = "/openapi.json") -> Any:
    return (await caller.get(url)).json["paths"]


async def test_the_schema_hides_flags_and_shows(app: FastAPI, serve: Any) -> None:
    found = await paths(await serve(app))

    assert set(found) == {"/plain", "/maintenance", "/open-gate", "/old", "/old-closed"}
    assert found["/maintenance"]["get"]["x-shield-status"] == "maintenance"
    assert found["/maintenance"]["get"]["description"] == "In maintenance: until four\n\nWhat it does."
    assert found["/old"]["get"]["deprecated"] is True
    assert found["/old-closed"]["get"]["deprecated"] is True
    assert "deprecated" not in found["/plain"]["get"]
    assert "x-shield-status" not in found["/plain"]["get"]


async def test_the_cached_schema_follows_runtime_changes(app: FastAPI, shielded: Any, engine: Any) -> None:
    caller = shielded(app)
    before = await paths(caller)

    await engine.disable("GET:/plain")
    await engine.set_env_only("GET:/old", ["dev"])
    await engine.enable("GET:/maintenance")
    await engine.set_env_only("POST:/gate", [])
    found = await paths(caller)
    assert set(found) == {"/maintenance", "/open-gate", "/old-closed", "/gate"}
    assert set(found["/gate"]) == {"post"}
    assert "x-shield-status" not in found["/maintenance"]["get"]

    for key in ("GET:/plain", "GET:/old", "GET:/maintenance", "POST:/gate"):
        await engine.clear_override(key)
    assert await paths(caller) == before


async def test_the_schema_is_made_again_only_when_something_changed(
    app: FastAPI, shielded: Any, engine: Any
) -> None:
    await shielded(app).get("/plain")
    first = app.openapi()

    assert app.openapi() is first
    await engine.disable("GET:/plain")
    assert app.openapi() is not first


async def test_a_route_added_later_appears(app: FastAPI, shielded: Any) -> None:
    caller = shielded(app)
    await caller.get("/plain")

    app.get("/late")(endpoint(env_only("dev")))
    app.get("/later")(endpoint())
    await caller.get("/later")

    found = await paths(caller)
    assert "/late" not in found
    assert "/later" in found


async def test_global_maintenance_does_not_reveal_gates(app: FastAPI, shielded: Any, engine: Any) -> None:
    caller = shielded(app)
    await caller.get("/plain")
    await engine.enable_global_maintenance(reason="all")

    found = await paths(caller)

    assert "/gate" not in found
    assert found["/plain"]["get"]["description"].startswith("In maintenance: all")


@pytest.mark.parametrize("url", ["/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect"])
async def test_the_documentation_stays_usable(app: FastAPI, shielded: Any, engine: Any, url: str) -> None:
    caller = shielded(app)
    await engine.enable_global_maintenance(reason="all", include_force_active=True)

    assert await caller.status(url) == 200


async def test_the_documentation_is_no_route_of_an_operator(app: FastAPI, shielded: Any, engine: Any) -> None:
    await shielded(app).get("/plain")

    assert not [state.path for state in await engine.list_states() if "docs" in state.path]


async def test_models_of_hidden_operations_are_hidden_too(shielded: Any) -> None:
    app = FastAPI()
    app.post("/gate")(endpoint(env_only("dev"), takes=Secret))
    app.post("/plain")(endpoint(takes=Known))
    caller = shielded(app)
    await caller.get("/plain")

    schemas = (await caller.get("/openapi.json")).json["components"]["schemas"]

    assert {"Known", "Part"} <= set(schemas)
    assert "Secret" not in schemas


async def test_included_routers_and_mounted_applications(shielded: Any, engine: Any) -> None:
    app, inner, router = FastAPI(), FastAPI(), APIRouter()
    for one in (inner, router):
        one.get("/gate/{item:int}")(endpoint(env_only("dev")))
        one.get("/plain")(endpoint())
    app.include_router(router, prefix="/api")
    app.mount("/sub", inner)
    caller = shielded(app)

    assert set(await paths(caller)) == {"/api/plain"}
    assert set(await paths(caller, "/sub/openapi.json")) == {"/plain"}
    await engine.disable("GET:/sub/plain")
    assert set(await paths(caller, "/sub/openapi.json")) == set()
    await engine.enable_global_maintenance()
    assert await caller.status("/sub/docs") == 200


async def test_a_schema_of_the_applications_own(app: FastAPI, shielded: Any) -> None:
    original = app.openapi
    app.openapi = lambda: {**original(), "x-own": 1}  # type: ignore[method-assign]

    schema = (await shielded(app).get("/openapi.json")).json

    assert schema["x-own"] == 1
    assert "/gate" not in schema["paths"]
