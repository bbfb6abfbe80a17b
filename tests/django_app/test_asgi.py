"""The ASGI wrapper: WebSockets are refused before they are accepted, lifespan loads the rules."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.asgi import get_asgi_application as get_django_application

from shield_django import engine, project
from shield_django.asgi import ShieldASGIMiddleware, get_asgi_application
from tests.project.sockets import application, router

# Channels closes database connections that are too old around each of its consumers' messages.
pytestmark = pytest.mark.django_db(transaction=True)


async def connect(path: str, *, denial: bool = False, app: Any = application, **scope: Any) -> dict[str, Any]:
    """Open a WebSocket; return the server's first word, with a denial's body in it."""
    whole = {
        "type": "websocket",
        "path": path,
        "headers": [(b"host", b"testserver"), (b"origin", b"http://testserver")],
        "extensions": {"websocket.http.response": {}} if denial else {},
        **scope,
    }
    communicator = ApplicationCommunicator(app, whole)
    await communicator.send_input({"type": "websocket.connect"})
    first = await communicator.receive_output()
    if first["type"] == "websocket.http.response.start":
        first = {**first, **(await communicator.receive_output()), "type": first["type"]}
    if first["type"] == "websocket.accept":
        await communicator.send_input({"type": "websocket.disconnect", "code": 1000})
    await communicator.wait()
    return dict(first)


@pytest.mark.parametrize("path", ["/ws/open/", "/ws/always/", "/ws/nested/room/a/", "/ws/bare/room/a/"])
async def test_an_open_socket_is_accepted(path: str) -> None:
    assert (await connect(path))["type"] == "websocket.accept"


@pytest.mark.parametrize("path", ["/ws/closed/", "/ws/wrapped/", "/ws/nested/closed/", "/ws/bare/closed/"])
async def test_a_stamp_on_a_consumer_refuses_before_accept(path: str) -> None:
    refused = await connect(path, denial=True)

    assert (refused["type"], refused["status"]) == ("websocket.http.response.start", 503)
    error = json.loads(refused["body"])["error"]
    assert (error["code"], error["reason"]) == ("ROUTE_DISABLED", "no chat")
    assert error["path"].startswith("WS:/ws/")
    assert (await connect(path))["type"] == "websocket.close"


@pytest.mark.parametrize(
    "state, code, status",
    [("disable", 1008, 503), ("set_maintenance", 1013, 503), ("global", 1013, 503), ("gate", 1008, 404)],
)
async def test_an_operator_refuses(state: str, code: int, status: int) -> None:
    await connect("/ws/open/")
    match state:
        case "global":
            await engine.enable_global_maintenance()
        case "gate":
            await engine.set_env_only("WS:/ws/open/", ["dev"])
        case _:
            await getattr(engine, state)("WS:/ws/open/")

    assert await connect("/ws/open/") == {"type": "websocket.close", "code": code}
    assert (await connect("/ws/open/", denial=True))["status"] == status
    if state == "global":
        assert (await connect("/ws/always/"))["type"] == "websocket.accept"
        assert (await connect("/nowhere/"))["code"] == 1013


@pytest.mark.parametrize("root_path", ["/mounted"])
async def test_below_a_mount_point(root_path: str) -> None:
    assert (await connect("/mounted/ws/open/", root_path=root_path))["type"] == "websocket.accept"
    assert (await connect("/mounted/ws/closed/", root_path=root_path))["type"] == "websocket.close"


async def test_a_gated_socket() -> None:
    assert (await connect("/ws/gated/", denial=True))["status"] == 404


async def test_sockets_are_routes_for_operators() -> None:
    await connect("/ws/open/")

    assert "WS:/ws/nested/room/{name}/" in [state.path for state in await engine.list_states()]
    assert (await engine.disable("WS:/ws/nested/room/{name}/")).status == "disabled"
    assert (await connect("/ws/nested/room/b/"))["type"] == "websocket.close"


async def test_get_asgi_application_takes_websockets() -> None:
    assert (await connect("/ws/closed/", app=get_asgi_application(websocket=router)))[
        "type"
    ] == "websocket.close"
    assert (await connect("/ws/open/", app=get_asgi_application(router)))["type"] == "websocket.accept"
    with pytest.raises(ValueError, match="websocket"):
        await connect("/ws/open/", app=get_asgi_application())


async def lifespan(app: Any) -> list[dict[str, Any]]:
    communicator = ApplicationCommunicator(app, {"type": "lifespan"})
    answers = []
    for phase in ("startup", "shutdown"):
        await communicator.send_input({"type": f"lifespan.{phase}"})
        answers.append(await communicator.receive_output(5))
    await communicator.wait(5)
    return answers


COMPLETE = [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]


async def test_lifespan_loads_the_rules() -> None:
    seen = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        seen.append(project.current().replica.ruleset is not None)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    assert await lifespan(ShieldASGIMiddleware(inner)) == COMPLETE
    assert seen == [True]


async def refusing(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("no lifespan here")


@pytest.mark.parametrize("inner", [refusing, get_django_application(), application.app])
async def test_lifespan_of_an_application_that_has_none(inner: Any) -> None:
    assert await lifespan(ShieldASGIMiddleware(inner)) == COMPLETE


async def test_an_inner_failure_is_the_servers_to_know() -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no licence"})

    communicator = ApplicationCommunicator(ShieldASGIMiddleware(failing), {"type": "lifespan"})
    await communicator.send_input({"type": "lifespan.startup"})
    assert await communicator.receive_output(5) == {
        "type": "lifespan.startup.failed",
        "message": "no licence",
    }
    communicator.stop(exceptions=False)
    await asyncio.sleep(0)
