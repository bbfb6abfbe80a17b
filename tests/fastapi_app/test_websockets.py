"""WebSockets are decided upon before they are accepted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from starlette.endpoints import WebSocketEndpoint
from starlette.routing import WebSocketRoute

from shield_fastapi import disabled, env_only, force_active, maintenance


def socket(*stamps: Any) -> Any:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    for stamp in stamps:
        stamp(endpoint)
    return endpoint


def types(sent: list[dict[str, Any]]) -> list[str]:
    return [one["type"] for one in sent]


@pytest.mark.parametrize(
    "stamp, code", [(maintenance("m"), "MAINTENANCE_MODE"), (disabled("d"), "ROUTE_DISABLED")]
)
async def test_refused_with_a_denial_response(app: FastAPI, serve: Any, stamp: Any, code: str) -> None:
    app.websocket("/ws/{room}")(socket(stamp))

    start, body = await (await serve(app)).websocket("/ws/1")

    assert (start["type"], start["status"]) == ("websocket.http.response.start", 503)
    error = json.loads(body["body"])["error"]
    assert (error["code"], error["path"]) == (code, "WS:/ws/{room}")


@pytest.mark.parametrize("stamp, code", [(maintenance("m"), 1013), (disabled("d"), 1008)])
async def test_refused_with_a_close_code_where_the_server_offers_no_response(
    app: FastAPI, shielded: Any, stamp: Any, code: int
) -> None:
    app.websocket("/ws")(socket(stamp))

    sent = await shielded(app).websocket("/ws", denial=False)

    assert [(one["type"], one.get("code")) for one in sent] == [("websocket.close", code)]


@pytest.mark.parametrize("denial", [True, False])
@pytest.mark.parametrize("path", ["/gate", "/sub/gate"])
async def test_a_closed_gate_answers_as_an_unknown_url(
    app: FastAPI, shielded: Any, denial: bool, path: str
) -> None:
    inner = FastAPI()
    for one in (app, inner):
        one.websocket("/gate")(socket(env_only("dev")))
    app.mount("/sub", inner)
    caller = shielded(app)

    sent = await caller.websocket(path, denial=denial)

    assert sent == await caller.websocket(path.replace("gate", "nope"), denial=denial)
    assert "websocket.accept" not in types(sent)


async def test_keys_have_the_method_ws(app: FastAPI, shielded: Any, engine: Any) -> None:
    app.websocket("/x")(socket())
    app.get("/x")(lambda: "http")
    caller = shielded(app)
    assert types(await caller.websocket("/x")) == ["websocket.accept", "websocket.close"]

    await engine.disable("WS:/x")

    assert types(await caller.websocket("/x", denial=False)) == ["websocket.close"]
    assert await caller.status("/x") == 200
    await engine.disable("GET:/x")
    await engine.enable("WS:/x")
    assert types(await caller.websocket("/x"))[0] == "websocket.accept"
    assert await caller.status("/x") == 503


async def test_routers_endpoint_classes_and_wider_scopes(app: FastAPI, shielded: Any, engine: Any) -> None:
    @maintenance("class")
    class Echo(WebSocketEndpoint):
        pass

    router = APIRouter()
    router.websocket("/x")(socket(maintenance("router")))
    router.websocket("/health")(socket(force_active))
    app.include_router(router, prefix="/api")
    app.router.routes.append(WebSocketRoute("/echo", Echo))
    caller = shielded(app)

    for path, reason in (("/api/x", "router"), ("/echo", "class")):
        _, body = await caller.websocket(path)
        assert json.loads(body["body"])["error"]["reason"] == reason
    await engine.enable_global_maintenance(reason="all")
    assert types(await caller.websocket("/nowhere", denial=False)) == ["websocket.close"]
    assert types(await caller.websocket("/api/health"))[0] == "websocket.accept"
