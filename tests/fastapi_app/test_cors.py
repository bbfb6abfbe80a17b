"""Browsers on another origin: preflights pass, and a blocked answer can be read."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from shield_fastapi import ShieldMiddleware, env_only, maintenance
from tests.fastapi_app.caller import Caller

ORIGIN = {"Origin": "https://shop.example"}
PREFLIGHT = {**ORIGIN, "Access-Control-Request-Method": "POST"}


def application(engine: Any, *, cors: str) -> FastAPI:
    app = FastAPI()
    app.post("/x")(maintenance("why")(lambda: None))
    app.post("/gate")(env_only("dev")(lambda: None))
    if cors == "inside":
        app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"])
    app.add_middleware(ShieldMiddleware, engine=engine)
    if cors == "outside":
        app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"])
    return app


async def test_a_browser_reads_the_503_when_cors_is_outside(
    engine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await Caller(application(engine, cors="outside")).post("/x", headers=ORIGIN)

    assert answer.status == 503
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "CORSMiddleware" not in caplog.text


async def test_a_warning_once_when_cors_is_inside(engine: Any, caplog: pytest.LogCaptureFixture) -> None:
    caller = Caller(application(engine, cors="inside"))

    for _ in range(3):
        assert "access-control-allow-origin" not in (await caller.post("/x", headers=ORIGIN)).headers

    assert caplog.text.count("CORSMiddleware stands inside ShieldMiddleware") == 1


@pytest.mark.parametrize("cors", ["inside", "outside"])
@pytest.mark.parametrize("path", ["/x", "/nowhere"])
async def test_a_preflight_is_never_blocked(engine: Any, cors: str, path: str) -> None:
    caller = Caller(application(engine, cors=cors))
    await engine.enable_global_maintenance(reason="all")

    answer = await caller.request("OPTIONS", path, headers=PREFLIGHT)

    assert answer.status == 200
    assert "POST" in answer.headers["access-control-allow-methods"]


@pytest.mark.parametrize("cors", ["inside", "outside", "none"])
async def test_a_preflight_does_not_reveal_a_gate(engine: Any, cors: str) -> None:
    caller = Caller(application(engine, cors=cors))

    answers = [await caller.request("OPTIONS", path, headers=PREFLIGHT) for path in ("/gate", "/nowhere")]

    assert answers[0].whole == answers[1].whole


async def test_a_request_that_only_looks_like_a_preflight_is_blocked(engine: Any) -> None:
    caller = Caller(application(engine, cors="none"))
    await engine.enable_global_maintenance(reason="all")

    assert await caller.status("/x", "OPTIONS", headers=ORIGIN) == 503
    assert await caller.status("/x", "POST", headers=PREFLIGHT) == 503
