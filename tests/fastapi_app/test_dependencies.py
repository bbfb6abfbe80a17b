"""``Depends(maintenance(…))`` and ``Depends(ShieldGuard(engine))``."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body, Depends, FastAPI, WebSocket
from starlette.responses import PlainTextResponse, Response

from shield_core.engine import ShieldEngine
from shield_fastapi import ShieldGuard, deprecated, disabled, env_only, maintenance, rate_limit
from tests.fastapi_app.caller import Caller

BODY = (
    '{"error":{"code":"MAINTENANCE_MODE","message":"This endpoint is temporarily unavailable",'
    '"reason":"zurück um 4","path":"GET:/items/{item}","retry_after":null}}'
).encode()

in_maintenance = maintenance(reason="zurück um 4")


async def ok() -> Any:
    return {"ok": True}


async def composed(_: Annotated[None, Depends(in_maintenance)]) -> None: ...


async def as_parameter(item: str, _: Annotated[None, Depends(in_maintenance)]) -> Any:
    return {"item": item}


def on_the_route(app: FastAPI) -> None:
    app.get("/items/{item}", dependencies=[Depends(in_maintenance)])(ok)


def on_a_router(app: FastAPI) -> None:
    router = APIRouter(dependencies=[Depends(in_maintenance)])
    router.get("/{item}")(ok)
    app.include_router(router, prefix="/items")


def at_the_inclusion(app: FastAPI) -> None:
    router = APIRouter()
    router.get("/{item}")(ok)
    app.include_router(router, prefix="/items", dependencies=[Depends(in_maintenance)])


def in_a_parameter(app: FastAPI) -> None:
    app.get("/items/{item}")(as_parameter)


def in_another_dependency(app: FastAPI) -> None:
    app.get("/items/{item}", dependencies=[Depends(composed)])(ok)


PLACES = [on_the_route, on_a_router, at_the_inclusion, in_a_parameter, in_another_dependency]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
async def test_a_stamp_as_a_dependency_is_a_stamp_of_the_route(serve: Any, engine: Any, place: Any) -> None:
    app = FastAPI()
    place(app)
    caller = await serve(app)

    answer = await caller.get("/items/7")
    assert (answer.status, answer.content) == (503, BODY)

    await engine.enable("GET:/items/{item}")
    assert await caller.status("/items/7") == 200


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
async def test_a_stamp_as_a_dependency_works_without_middleware(place: Any) -> None:
    app = FastAPI()
    place(app)

    answer = await Caller(app).get("/items/7")

    assert answer.status == 503
    assert answer.error["reason"] == "zurück um 4"


@pytest.mark.parametrize("middleware", [True, False])
@pytest.mark.parametrize(
    "stamp, status, code",
    [
        (maintenance("x"), 503, "MAINTENANCE_MODE"),
        (disabled("x"), 503, "ROUTE_DISABLED"),
        (env_only("dev"), 404, None),
        (env_only("test"), 200, None),
        (rate_limit("1/hour"), 200, None),
        (disabled("x", response=lambda request, exc: PlainTextResponse(exc.reason, 418)), 418, None),
    ],
)
async def test_each_stamp_as_a_dependency(
    app: FastAPI,
    shielded: Any,
    monkeypatch: pytest.MonkeyPatch,
    middleware: bool,
    stamp: Any,
    status: int,
    code: str | None,
) -> None:
    monkeypatch.setenv("SHIELD_ENV", "test")
    app.get("/x", dependencies=[Depends(stamp)])(ok)
    caller = shielded(app) if middleware else Caller(app)

    answer = await caller.get("/x")

    assert answer.status == status
    if code:
        assert answer.error["code"] == code
    if status == 404:
        assert answer.whole == (await caller.get("/nowhere")).whole


async def test_without_middleware_a_gate_is_closed_where_the_environment_was_forgotten(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHIELD_ENV", raising=False)
    app.get("/x", dependencies=[Depends(env_only("dev"))])(ok)

    assert await Caller(app).status("/x") == 404


async def test_gates_of_router_and_route_add_up(app: FastAPI, shielded: Any) -> None:
    router = APIRouter(dependencies=[Depends(env_only("dev", "test"))])
    router.get("/both", dependencies=[Depends(env_only("dev"))])(ok)
    router.get("/one")(ok)
    app.include_router(router)
    caller = shielded(app)

    assert [await caller.status(path) for path in ("/both", "/one")] == [404, 200]


async def test_a_stamped_endpoint_used_as_a_dependency_closes_only_itself(
    app: FastAPI, shielded: Any
) -> None:
    @app.get("/a")
    @maintenance("x")
    async def a() -> Any:
        return 1

    app.get("/b", dependencies=[Depends(a)])(ok)
    caller = shielded(app)

    assert [await caller.status(path) for path in ("/a", "/b")] == [503, 200]


async def test_a_stamp_adds_no_parameter_to_the_schema(app: FastAPI) -> None:
    on_the_route(app)

    parameters = app.openapi()["paths"]["/items/{item}"]["get"].get("parameters", [])

    assert [one["name"] for one in parameters] == []


@pytest.fixture
def guarded(engine: ShieldEngine) -> Any:
    """An application with a guard on everything and no middleware."""
    app = FastAPI(dependencies=[Depends(ShieldGuard(engine))])
    app.get("/items/{item}")(in_maintenance(as_plain()))
    app.get("/items/{item}/open")(ok)
    app.get("/gate")(env_only("dev")(as_plain()))
    app.get("/old")(deprecated("2030-01-01", "/new")(as_plain()))
    app.get("/own")(disabled("mine", response=own)(as_plain()))
    return app


def as_plain() -> Any:
    async def endpoint() -> Any:
        return {"ok": True}

    return endpoint


async def own(request: Any, exc: Any) -> Any:
    return PlainTextResponse(f"{request.url.path} {exc.reason}", 418)


async def test_the_guard_answers_with_the_exact_bytes_on_parameterised_routes(guarded: FastAPI) -> None:
    answer = await Caller(guarded).get("/items/7")

    assert (answer.status, answer.content) == (503, BODY)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"


async def test_what_the_guard_blocks_is_logged_as_planned(
    guarded: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "shield.blocked"):
        await Caller(guarded).get("/items/7")

    (record,) = [one for one in caplog.records if one.name == "shield.blocked"]
    assert (record.levelno, record.getMessage()) == (
        logging.INFO,
        "GET GET:/items/{item} is blocked: maintenance",
    )


async def test_the_guard_follows_operators(guarded: FastAPI, engine: Any) -> None:
    caller = Caller(guarded)
    assert await caller.status("/items/7/open") == 200

    await engine.enable("GET:/items/{item}")
    await engine.disable("GET:/items/{item}/open", reason="by hand")
    assert await caller.status("/items/7") == 200
    assert (await caller.get("/items/7/open")).error["path"] == "GET:/items/{item}/open"

    await engine.enable_global_maintenance(reason="all")
    assert (await caller.get("/items/7")).error["reason"] == "all"


async def test_the_guard_answers_gates_deprecations_and_custom_answers(guarded: FastAPI) -> None:
    caller = Caller(guarded)

    assert (await caller.get("/gate")).whole == (await caller.get("/nowhere")).whole
    assert (await caller.get("/old")).headers["sunset"] == "Tue, 01 Jan 2030 00:00:00 GMT"
    answer = await caller.get("/own")
    assert (answer.status, answer.content) == (418, b"/own mine")


async def test_a_custom_answer_reads_the_body_that_the_framework_has_read(guarded: FastAPI) -> None:
    async def echo(request: Any, exc: Any) -> Response:
        return Response(await request.body(), 418)

    @guarded.post("/echo")
    @disabled(response=echo)
    def view(sent: Annotated[dict[str, int], Body()]) -> None: ...

    async with asyncio.timeout(30):
        answer = await Caller(guarded).post("/echo", json={"a": 1})
    assert (answer.status, answer.json) == (418, {"a": 1})


async def test_an_answer_that_is_no_response_is_an_error_that_says_so(guarded: FastAPI) -> None:
    guarded.get("/dict")(disabled(response=lambda request, exc: {"a": "dict"})(as_plain()))

    with pytest.raises(TypeError, match="Response"):
        await Caller(guarded).get("/dict")


@pytest.mark.parametrize("how", ["application", "router", "route"])
async def test_the_guard_finds_its_route_inside_mounts(app: FastAPI, engine: Any, how: str) -> None:
    inner: Any = FastAPI() if how == "application" else APIRouter()
    inner.get("/x/{y}", dependencies=[Depends(ShieldGuard(engine))])(in_maintenance(as_plain()))
    app.mount("/sub", inner)

    answer = await Caller(app).get("/prefix/sub/x/1", root_path="/prefix")

    assert answer.error["path"] == ("GET:/x/{y}" if how == "application" else "GET:/sub/x/{y}")


async def test_a_guard_lets_an_operator_open_a_dependency_stamp_after_it(app: FastAPI, engine: Any) -> None:
    app.get("/x", dependencies=[Depends(ShieldGuard(engine)), Depends(in_maintenance)])(ok)
    caller = Caller(app)
    assert await caller.status("/x") == 503

    await engine.enable("GET:/x")

    assert await caller.status("/x") == 200


async def test_guard_and_middleware_decide_once(shielded: Any, engine: Any, guarded: FastAPI) -> None:
    caller = shielded(guarded)

    assert (await caller.get("/items/7")).content == BODY
    await engine.enable("GET:/items/{item}")
    assert await caller.status("/items/7") == 200


@pytest.mark.parametrize(
    "stamp, code", [(in_maintenance, 1013), (disabled("x"), 1008), (env_only("dev"), 1008)]
)
@pytest.mark.parametrize("how", ["guard", "dependency"])
async def test_websockets_are_closed_before_accept_without_middleware(
    app: FastAPI, engine: Any, stamp: Any, code: int, how: str
) -> None:
    dependency = stamp if how == "dependency" else ShieldGuard(engine)

    @app.websocket("/ws", dependencies=[Depends(dependency)])
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()

    if how == "guard":
        stamp(socket)

    sent = await Caller(app).websocket("/ws")

    assert [(one["type"], one.get("code")) for one in sent] == [("websocket.close", code)]


async def test_dependencies_of_an_application_work_in_the_documentation(guarded: FastAPI) -> None:
    caller = Caller(guarded)
    await caller.get("/old")

    assert "/gate" not in (await caller.get("/openapi.json")).json["paths"]
