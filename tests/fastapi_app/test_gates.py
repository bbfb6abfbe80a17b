"""A closed environment gate answers as an unknown URL does, in every respect."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

from shield_core.engine import ShieldEngine
from shield_fastapi import ShieldMiddleware, disabled, env_only, maintenance
from shield_fastapi.routes import RouteTable
from tests.fastapi_app.caller import Caller
from tests.fastapi_app.test_route_table import METHODS, Asked, Built, node


async def ok() -> Any:
    return {"ok": True}


def gated(*stamps: Any) -> Any:
    async def endpoint() -> Any:
        return {"secret": True}

    for stamp in (env_only("dev"), *stamps):
        stamp(endpoint)
    return endpoint


def declare(app: FastAPI) -> None:
    """Gated routes of many kinds, beside open ones."""
    app.get("/gate")(gated())
    app.get("/slash/")(gated())
    app.api_route("/many", methods=["GET", "POST"])(gated())
    app.get("/split/")(gated())
    app.post("/split/")(gated())
    app.get("/with/{item}")(gated())
    app.get("/deep/{rest:path}")(gated())
    router = APIRouter()
    router.get("/gate")(gated())
    app.include_router(router, prefix="/included")
    inner = FastAPI()
    inner.get("/gate")(gated())
    inner.get("/slash/")(gated())
    inner.get("/open")(ok)
    app.mount("/sub", inner)
    root = FastAPI()
    root.get("/")(gated())
    app.mount("/root", root)
    app.get("/open")(ok)
    app.get("/open-slash/")(ok)


#: A gated URL and one that is unknown in the same place.
PAIRS = [
    ("/gate", "/nope"),
    ("/gate/", "/nope/"),
    ("/gate//", "/nope//"),
    ("/slash/", "/nopes/"),
    ("/slash", "/nopes"),
    ("/many", "/nope"),
    ("/many/", "/nope/"),
    ("/split", "/nopes"),
    ("/split/", "/nopes/"),
    ("/with/7", "/nope/7"),
    ("/with/7/", "/nope/7/"),
    ("/deep/a/b", "/nope/a/b"),
    ("/deep", "/nope"),
    ("/included/gate", "/included/nope"),
    ("/included/gate/", "/included/nope/"),
    ("/sub/gate", "/sub/nope"),
    ("/sub/gate/", "/sub/nope/"),
    ("/sub/slash", "/sub/nopes"),
    ("/root/", "/root/nope"),
    ("/root", "/nope"),
    ("/gate%0A", "/nope%0A"),
]


async def same(caller: Caller, gate: str, unknown: str, method: str = "GET") -> bool:
    """Whether both answers are the same to the byte, but for the path where it is repeated."""
    one, other = await caller.raw(gate, method), await caller.raw(unknown, method)
    text, expected = repr(one.whole), repr(other.whole)
    return one.status < 500 and text.replace(gate, "<url>") == expected.replace(unknown, "<url>")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PURGE"])
@pytest.mark.parametrize("gate, unknown", PAIRS)
async def test_the_whole_answer_is_that_of_an_unknown_url(
    app: FastAPI, shielded: Any, gate: str, unknown: str, method: str
) -> None:
    declare(app)
    caller = shielded(app)

    assert await same(caller, gate, unknown, method)
    assert await caller.status("/open") == 200
    assert await caller.status("/open-slash") == 307


async def test_a_custom_404_handler_answers_for_both(app: FastAPI, shielded: Any) -> None:
    declare(app)

    @app.exception_handler(404)
    async def not_found(request: Any, error: HTTPException) -> Any:
        return PlainTextResponse(f"own page, {error.detail}, {sorted(request.path_params)}", 404)

    caller = shielded(app)

    for gate, unknown in PAIRS:
        assert await same(caller, gate, unknown), gate
    assert (await caller.get("/with/7")).content == b"own page, Not Found, []"


async def test_a_route_further_down_answers_as_if_the_gate_were_not_there(
    app: FastAPI, shielded: Any, engine: Any
) -> None:
    declare(app)
    app.get("/{rest:path}")(ok)
    caller = shielded(app)

    assert (await caller.get("/gate")).json == {"ok": True}
    assert (await caller.get("/with/7")).json == {"ok": True}
    assert await caller.status("/gate", "POST") == 405

    await engine.disable("GET:/{rest}", reason="the fallback")

    assert (await caller.get("/gate")).error["path"] == "GET:/{rest}"


@pytest.mark.parametrize("env, status", [("dev", 200), ("test", 404), ("Dev", 404), ("", 404), (None, 404)])
async def test_the_environment_opens_it(app: FastAPI, env: str | None, status: int) -> None:
    declare(app)
    engine = ShieldEngine(current_env=env)
    app.add_middleware(ShieldMiddleware, engine=engine)

    assert await Caller(app).status("/gate") == status
    assert await Caller(app).status("/slash") == (307 if status == 200 else 404)
    await engine.stop()


@pytest.mark.parametrize("path", ["/open", "/open/", "/open-slash", "/sub/open", "/sub/open/"])
async def test_an_operator_closes_a_gate_at_run_time(
    app: FastAPI, shielded: Any, engine: Any, path: str
) -> None:
    declare(app)
    caller = shielded(app)
    assert await caller.status(path) in (200, 307)

    for key in ("GET:/open", "GET:/open-slash/", "GET:/sub/open"):
        await engine.set_env_only(key, ["dev"])

    for method in ("GET", "POST"):
        assert await same(caller, path, path.replace("open", "nope"), method)


async def test_an_operator_lifts_a_gate_at_run_time(app: FastAPI, shielded: Any, engine: Any) -> None:
    declare(app)
    caller = shielded(app)
    assert await caller.status("/slash") == 404

    await engine.set_env_only("GET:/slash/", [])

    assert [await caller.status(path) for path in ("/slash/", "/slash")] == [200, 307]


async def test_a_gate_of_one_method_closes_that_method_only(app: FastAPI, shielded: Any) -> None:
    app.get("/x/")(gated())
    app.post("/x/")(ok)
    app.post("/first/")(ok)
    app.get("/first/")(gated())
    caller = shielded(app)

    for path in ("/x/", "/first/"):
        assert await caller.status(path, "POST") == 200
        assert await caller.status(path[:-1], "POST") == 307
        for url in (path, path[:-1]):
            assert await same(caller, url, "/nope/"[: len(url)])
            assert await same(caller, url, "/nope/"[: len(url)], "HEAD")


@pytest.mark.parametrize("method", ["HEAD", "PATCH"])
async def test_a_gate_beside_an_open_parameter_is_in_no_allow_header(
    app: FastAPI, shielded: Any, method: str
) -> None:
    app.delete("/items/gate")(gated())
    app.get("/items/{item}")(ok)
    caller = shielded(app)

    assert (await caller.request(method, "/items/gate")).headers["allow"] == "GET"
    assert await same(caller, "/items/gate", "/items/nope", method)


@pytest.mark.parametrize("other", ["GET", "POST"])
@pytest.mark.parametrize("fallback", ["/{rest:path}", "/items/{item}"])
async def test_a_fallback_refuses_a_gates_method_as_that_of_an_unknown_url(
    app: FastAPI, shielded: Any, fallback: str, other: str
) -> None:
    app.get("/items/gate")(gated())
    app.add_api_route(fallback, ok, methods=[other])
    caller = shielded(app)

    for method in ("GET", "HEAD", "POST", "PUT"):
        assert await same(caller, "/items/gate", "/items/nope", method)
    assert (await caller.request("HEAD", "/items/gate")).headers["allow"] == other


@pytest.mark.parametrize("beside", ["a mount further inside", "a route before the mount"])
async def test_no_redirect_inside_a_mount_tells_of_a_gate(app: FastAPI, shielded: Any, beside: str) -> None:
    inner = FastAPI()
    inner.get("/gate")(gated())
    if beside == "a mount further inside":
        inner.mount("/{tenant}", FastAPI())
    else:
        app.get("/sub/{item}")(ok)
    app.mount("/sub", inner)
    app.get("/{rest:path}")(ok)
    caller = shielded(app)

    assert await caller.status("/sub/nope/") == 404
    assert await same(caller, "/sub/gate/", "/sub/nope/")


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(shape=node, data=st.data(), host=st.sampled_from(["testserver", "other.example"]))
def test_any_application_answers_as_without_its_closed_gates(
    shape: Any, data: st.DataObject, host: str
) -> None:
    plain = Built(shape)
    templates = {
        plain.spies[id(route.endpoint)]: route.template for route in RouteTable(plain.app).all_routes()
    }
    closed = data.draw(st.sets(st.sampled_from(sorted(set(templates.values())) or ["/"])))
    names = frozenset(name for name, template in templates.items() if template in closed)
    targets = [(plain.target(data), data.draw(st.sampled_from(METHODS))) for _ in range(8)]
    asyncio.run(
        compare(Built(shape, gated=names).app, Built(shape, without=names).app, targets, host),
    )


async def compare(app: FastAPI, without: FastAPI, targets: list[tuple[str, str]], host: str) -> None:
    engine = ShieldEngine(current_env="test")
    app.add_middleware(ShieldMiddleware, engine=engine)
    for path, method in targets:
        answer = await Caller(Asked(app)).raw(path, method, host=host)
        expected = await Caller(Asked(without)).raw(path, method, host=host)
        if expected.status == 307:
            # A gate takes a mount with it that has nothing else at its root.
            assert answer.status in (307, 404), path
        else:
            assert answer.whole == expected.whole, path
    await engine.stop()


async def test_a_closed_websocket_beside_it_does_not_open_it(app: FastAPI, shielded: Any) -> None:
    app.get("/x")(gated())

    @app.websocket("/x")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()

    caller = shielded(app)

    assert await same(caller, "/x", "/nope", "POST")
    assert (await caller.websocket("/x"))[0]["type"] == "websocket.accept"


async def test_under_global_maintenance_it_answers_like_an_unknown_url(
    app: FastAPI, shielded: Any, engine: Any
) -> None:
    declare(app)
    caller = shielded(app)
    await engine.enable_global_maintenance(reason="all")

    for gate, unknown in PAIRS:
        for method in ("GET", "POST"):
            one, other = await caller.raw(gate, method), await caller.raw(unknown, method)
            assert one.error == {**other.error, "path": f"{method}:{unquote(gate)}"}
    assert (await caller.raw("/with/7")).error["path"] == "GET:/with/7"


@pytest.mark.parametrize("change", ["disable", "set_maintenance"])
async def test_what_an_operator_says_is_stricter_than_a_gate(
    app: FastAPI, shielded: Any, engine: Any, change: str
) -> None:
    declare(app)
    caller = shielded(app)
    await caller.get("/open")

    await getattr(engine, change)("GET:/gate", reason="said by an operator")

    assert (await caller.get("/gate")).error["reason"] == "said by an operator"
    assert await same(caller, "/gate", "/nope", "POST")
    await engine.enable("GET:/gate")
    assert await same(caller, "/gate", "/nope")


@pytest.mark.parametrize(
    "stamp, code", [(maintenance("m"), "MAINTENANCE_MODE"), (disabled("d"), "ROUTE_DISABLED")]
)
async def test_stricter_stamps_win_over_a_gate(app: FastAPI, shielded: Any, stamp: Any, code: str) -> None:
    app.get("/x")(gated(stamp))

    assert (await shielded(app).get("/x")).error["code"] == code


def own(request: Any, exc: Any) -> Any:
    return PlainTextResponse(f"not here: {exc.path}", 403)


@pytest.mark.parametrize("where", ["decorator", "middleware"])
async def test_a_closed_gate_with_an_answer_of_its_own_gives_it(
    app: FastAPI, shielded: Any, where: str
) -> None:
    async def endpoint() -> None: ...

    app.get("/gate/")(env_only("dev", response=own if where == "decorator" else None)(endpoint))
    caller = shielded(app, responses={"env_gated": own} if where == "middleware" else None)

    assert (await caller.get("/gate/")).content == b"not here: GET:/gate/"
    assert await caller.status("/gate") == 307


@pytest.mark.parametrize("first", [True, False])
async def test_one_router_at_overlapping_prefixes_is_closed_in_one_place(
    app: FastAPI, shielded: Any, engine: Any, first: bool
) -> None:
    router = APIRouter()
    router.get("/x")(gated())
    app.include_router(router, prefix="/a")
    app.include_router(router, prefix="/{tenant}")
    caller = shielded(app)
    assert await caller.status("/a/x") == 404

    await engine.set_env_only("GET:/{tenant}/x" if first else "GET:/a/x", [])

    assert await caller.status("/a/x") == 200
    assert await caller.status("/b/x") == (200 if first else 404)


async def test_a_route_that_somebody_else_has_patched_is_closed_too(app: FastAPI, shielded: Any) -> None:
    app.get("/gate")(gated())
    route = app.router.routes[-1]
    route.matches = route.matches  # type: ignore[method-assign]

    assert await same(shielded(app), "/gate", "/nope")


@pytest.mark.parametrize("fallback", [True, False])
async def test_a_gated_route_of_a_router_that_grew_stays_closed(
    app: FastAPI, shielded: Any, fallback: bool
) -> None:
    router = APIRouter()
    router.get("/gate")(gated())
    app.include_router(router, prefix="/api")
    if fallback:
        app.get("/{rest:path}")(ok)
    caller = shielded(app)
    before = await caller.get("/api/gate")
    assert b"secret" not in before.content

    router.get("/more")(ok)

    assert [(await caller.get("/api/gate")).whole for _ in range(2)] == [before.whole] * 2


async def test_what_is_hidden_from_one_request_is_there_for_the_next(
    app: FastAPI, shielded: Any, engine: Any
) -> None:
    """Gates are closed per request: two engines over one application do not disturb each other."""
    app.get("/x")(gated())
    other = ShieldEngine(current_env="dev")
    closed = Caller(ShieldMiddleware(app, engine=engine))
    opened = Caller(ShieldMiddleware(app, engine=other))

    statuses = [await caller.status("/x") for caller in (closed, opened, closed, opened)]

    assert statuses == [404, 200, 404, 200]
    await other.stop()
