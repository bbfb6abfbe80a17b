"""``Depends(rate_limit(…))`` and ``ShieldGuard``: users that only a dependency knows."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, WebSocket
from starlette.responses import PlainTextResponse

from shield_core.engine import ShieldEngine
from shield_fastapi import ShieldGuard, ShieldMiddleware, rate_limit
from tests.fastapi_app.caller import Answer, Caller
from tests.fastapi_app.test_limits import fresh, left


async def authenticate(request: Request) -> None:
    """What applications do: know the user, and leave him in the request's state."""
    if "x-user" not in request.headers:
        raise HTTPException(401)
    request.state.user = request.headers["x-user"]


async def current_user(request: Request) -> str:
    await authenticate(request)
    return str(request.state.user)


async def of_the_user(
    me: Annotated[str, Depends(current_user)],
    _: Annotated[None, Depends(rate_limit("1/hour", key="user"))],
) -> Any:
    return me


def user(name: str) -> dict[str, dict[str, str]]:
    return {"headers": {"X-User": name}}


HOW = ["middleware", "guard", "both"]


def protect(app: FastAPI, engine: ShieldEngine, how: str) -> Caller:
    if how != "guard":
        app.add_middleware(ShieldMiddleware, engine=engine)
    return Caller(app)


def outermost(engine: ShieldEngine, how: str) -> list[Any]:
    return [] if how == "middleware" else [Depends(ShieldGuard(engine))]


@pytest.mark.parametrize("how", HOW)
async def test_a_limit_by_user_counts_after_the_authentication(engine: Any, how: str) -> None:
    app = FastAPI(dependencies=outermost(engine, how))
    limit = rate_limit("10/hour", key="user")
    app.get("/items/{item}", dependencies=[Depends(authenticate), Depends(limit)])(fresh())
    caller = protect(app, engine, how)

    answers = [await caller.get(f"/items/{number}", **user("ann")) for number in range(11)]

    assert [one.status for one in answers] == [200] * 10 + [429]
    assert [left(one) for one in answers[:10]] == [str(number) for number in range(9, -1, -1)]
    assert answers[10].error["path"] == "GET:/items/{item}"
    assert answers[10].headers["x-ratelimit-limit"] == "10"
    assert await caller.status("/items/1", **user("bob")) == 200
    assert await caller.status("/items/1") == 401


@pytest.mark.parametrize("how", HOW)
async def test_a_limit_by_address_is_charged_once(engine: Any, how: str) -> None:
    app = FastAPI(dependencies=outermost(engine, how))
    app.get("/x", dependencies=[Depends(rate_limit("2/hour"))])(fresh())
    caller = protect(app, engine, how)

    answers = [await caller.get("/x") for _ in range(3)]

    assert [(one.status, left(one)) for one in answers] == [(200, "1"), (200, "0"), (429, "0")]


@pytest.mark.parametrize("how", HOW)
async def test_wider_limits_are_charged_before_the_authentication_and_once(engine: Any, how: str) -> None:
    await engine.set_global_rate_limit("5/hour")
    app = FastAPI(dependencies=outermost(engine, how))
    limit = rate_limit("2/hour", key="user")
    app.get("/x", dependencies=[Depends(authenticate), Depends(limit)])(fresh())
    caller = protect(app, engine, how)

    answers = [await caller.get("/x", **user("ann")) for _ in range(2)]
    assert [(one.headers["x-ratelimit-limit"], left(one)) for one in answers] == [("2", "1"), ("2", "0")]
    # Who guesses passwords is stopped too.
    assert [await caller.status("/x") for _ in range(4)] == [401, 401, 401, 429]


async def test_the_tightest_limit_has_the_headers(engine: Any) -> None:
    await engine.set_global_rate_limit("2/hour")
    app = FastAPI()
    limit = rate_limit("9/hour", key="user")
    app.get("/x", dependencies=[Depends(authenticate), Depends(limit)])(fresh())
    caller = protect(app, engine, "middleware")

    answer = await caller.get("/x", **user("ann"))

    assert (answer.headers["x-ratelimit-limit"], left(answer)) == ("2", "1")


async def test_headers_also_on_an_answer_that_the_handler_makes(engine: Any) -> None:
    app = FastAPI()

    @app.get("/x", dependencies=[Depends(authenticate), Depends(rate_limit("9/hour", key="user"))])
    async def x() -> Any:
        return PlainTextResponse("mine")

    answer = await protect(app, engine, "middleware").get("/x", **user("ann"))

    assert (answer.content, left(answer)) == (b"mine", "8")


@pytest.mark.parametrize("kind", ["function", "async function", "tiers", "roles"])
async def test_whatever_needs_more_than_address_and_key_waits_for_the_dependency(
    engine: Any, kind: str
) -> None:
    def key(request: Request) -> str:
        return str(request.state.user)

    async def awaited_key(request: Request) -> str:
        return str(request.state.user)

    limits = {
        "function": rate_limit("1/hour", key=key),
        "async function": rate_limit("1/hour", key=awaited_key),
        "tiers": rate_limit({"x": "1/hour"}, key=key, tier_resolver=lambda request: request.state.user),
        "roles": rate_limit("1/hour", key="user", exempt_roles=["staff"]),
    }
    app = FastAPI()
    app.get("/x", dependencies=[Depends(authenticate), Depends(limits[kind])])(fresh())
    caller = protect(app, engine, "middleware")

    found = [await caller.status("/x", **user(name)) for name in ("ann", "ann", "bob")]

    assert found == [200, 429, 200]


async def test_in_a_parameter_after_the_user(engine: Any) -> None:
    app = FastAPI()
    app.get("/x")(of_the_user)
    caller = protect(app, engine, "middleware")

    assert [await caller.status("/x", **user(name)) for name in ("ann", "ann", "bob")] == [200, 429, 200]


@pytest.mark.parametrize("how", HOW)
async def test_custom_answers(engine: Any, how: str) -> None:
    def own(request: Any, exc: Any) -> Any:
        return PlainTextResponse(exc.limit, 420)

    def general(request: Any, exc: Any) -> Any:
        return PlainTextResponse("general", 421)

    app = FastAPI(dependencies=outermost(engine, how))
    by_user = [rate_limit("1/hour", key="user", response=own), rate_limit("1/hour", key="user")]
    for path, limit in zip(("/own", "/general"), by_user, strict=True):
        app.get(path, dependencies=[Depends(authenticate), Depends(limit)])(fresh())
    if how != "guard":
        app.add_middleware(ShieldMiddleware, engine=engine, responses={"rate_limited": general})
    caller = Caller(app)
    for path in ("/own", "/general"):
        assert await caller.status(path, **user("ann")) == 200

    assert await caller.status("/own", **user("ann")) == 420
    assert await caller.status("/general", **user("ann")) == (429 if how == "guard" else 421)


async def test_an_operators_policy_by_user_waits_for_the_dependency_too(engine: Any) -> None:
    app = FastAPI()
    app.get("/x", dependencies=[Depends(authenticate), Depends(rate_limit("9/hour"))])(fresh())
    caller = protect(app, engine, "middleware")
    assert left(await caller.get("/x", **user("ann"))) == "8"

    await engine.set_rate_limit_policy("/x", "GET", "1/hour", key_strategy="user")

    assert [await caller.status("/x", **user(name)) for name in ("ann", "ann", "bob")] == [200, 429, 200]


@pytest.mark.parametrize("how", ["middleware", "guard"])
async def test_one_dependency_for_a_router_counts_per_route(engine: Any, how: str) -> None:
    app = FastAPI(dependencies=outermost(engine, how))
    router = APIRouter(prefix="/api", dependencies=[Depends(rate_limit("1/hour"))])
    router.get("/a/{item}")(fresh())
    router.get("/b")(fresh())
    app.include_router(router)
    caller = protect(app, engine, how)

    assert [await caller.status(path) for path in ("/api/a/1", "/api/a/2", "/api/b")] == [200, 429, 200]


async def test_the_guard_enforces_decorators_on_parameterised_routes(engine: Any) -> None:
    app = FastAPI(dependencies=[Depends(ShieldGuard(engine))])
    app.get("/items/{item}")(rate_limit("2/hour")(fresh()))
    app.get("/free")(fresh())
    await engine.set_global_rate_limit("4/hour")
    caller = Caller(app)

    answers: list[Answer] = [await caller.get(f"/items/{item}") for item in "abc"]

    assert [one.status for one in answers] == [200, 200, 429]
    assert (left(answers[0]), answers[2].error["path"]) == ("1", "GET:/items/{item}")
    assert [await caller.status("/free") for _ in range(3)] == [200, 200, 429]


async def test_two_guards_charge_once(engine: Any) -> None:
    guard = ShieldGuard(engine)
    app = FastAPI(dependencies=[Depends(guard)])
    app.get("/x", dependencies=[Depends(ShieldGuard(engine))])(rate_limit("2/hour")(fresh()))

    assert [await Caller(app).status("/x") for _ in range(3)] == [200, 200, 429]


async def test_alone_a_dependency_counts_in_its_process() -> None:
    app = FastAPI()
    router = APIRouter(prefix="/api")
    router.get("/{item}", dependencies=[Depends(authenticate), Depends(rate_limit("2/hour", key="user"))])(
        fresh()
    )
    app.include_router(router)
    caller = Caller(app)

    answers = [await caller.get(f"/api/{item}", **user("ann")) for item in "abc"]

    assert [(one.status, left(one)) for one in answers] == [(200, "1"), (200, "0"), (429, "0")]
    assert answers[2].error["path"] == "GET:/api/{item}"
    assert await caller.status("/api/a", **user("bob")) == 200


async def test_alone_each_dependency_counts_for_itself() -> None:
    app = FastAPI(dependencies=[Depends(rate_limit("3/hour"))])
    app.get("/x", dependencies=[Depends(rate_limit("2/hour"))])(fresh())
    app.get("/y")(fresh())

    for path, expected in (("/x", [200, 200, 429]), ("/y", [200, 200, 200, 429])):
        assert [await Caller(app).status(path) for _ in expected] == expected


@pytest.mark.parametrize("place", ["application", "router"])
async def test_alone_a_dependency_counts_a_websocket_by_its_template(place: str) -> None:
    app, router = FastAPI(), APIRouter()

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    target = app if place == "application" else router
    target.add_api_websocket_route("/ws/{room}", socket, dependencies=[Depends(rate_limit("2/hour"))])
    app.include_router(router)
    caller = Caller(app)

    answers = [(await caller.websocket(f"/ws/{room}"))[0]["type"] for room in "abc"]

    assert answers == ["websocket.accept", "websocket.accept", "websocket.close"]


@pytest.mark.parametrize("how", ["middleware", "guard", "alone"])
async def test_websockets(engine: Any, how: str) -> None:
    async def known(websocket: WebSocket) -> None:
        websocket.state.user = "ann"

    app = FastAPI()
    guard = [Depends(ShieldGuard(engine))] if how == "guard" else []
    limit = rate_limit("1/hour", key="user")

    @app.websocket("/ws", dependencies=[*guard, Depends(known), Depends(limit)])
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    caller = protect(app, engine, "guard" if how == "alone" else how)

    assert (await caller.websocket("/ws"))[0]["type"] == "websocket.accept"
    assert [(one["type"], one.get("code")) for one in await caller.websocket("/ws")] == [
        ("websocket.close", 1013)
    ]
