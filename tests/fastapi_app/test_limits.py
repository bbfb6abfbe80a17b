"""Rate limits behind the middleware: what is charged, once, and what callers get."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount

from shield_core.engine import ShieldEngine
from shield_core.exceptions import RateLimitExceededException
from shield_core.rate_limit.storage.memory import MemoryRateLimitStorage
from shield_fastapi import ShieldMiddleware, force_active, maintenance, rate_limit
from tests.fastapi_app.caller import Answer, Caller


async def ok() -> Any:
    return {"ok": True}


def fresh() -> Any:
    """A handler of its own, for stamps."""

    async def handler() -> Any:
        return {"ok": True}

    return handler


def left(answer: Answer) -> str | None:
    return answer.headers.get("x-ratelimit-remaining")


@pytest.mark.parametrize("order", ["stamp below", "stamp above"])
async def test_the_third_of_two_allowed_requests_is_denied(app: FastAPI, serve: Any, order: str) -> None:
    stamp, handler = rate_limit("2/hour"), fresh()
    if order == "stamp below":
        app.get("/items/{item}")(stamp(handler))
    else:
        stamp(app.get("/items/{item}")(handler))
    caller = await serve(app)

    answers = [await caller.get(f"/items/{item}") for item in "abc"]

    assert [one.status for one in answers] == [200, 200, 429]
    assert [left(one) for one in answers] == ["1", "0", "0"]
    denied = answers[2]
    assert list(denied.error) == ["code", "message", "limit", "retry_after_seconds", "reset_at", "path"]
    assert (denied.error["code"], denied.error["limit"]) == ("RATE_LIMIT_EXCEEDED", "2/hour")
    assert denied.error["path"] == "GET:/items/{item}"
    assert denied.headers["x-ratelimit-limit"] == "2"
    assert denied.headers["retry-after"] == str(denied.error["retry_after_seconds"])
    assert denied.headers["cache-control"] == "no-store"


async def test_routes_without_a_limit_have_no_headers(app: FastAPI, shielded: Any) -> None:
    app.get("/limited")(rate_limit("2/hour")(fresh()))
    app.get("/free")(fresh())
    caller = shielded(app)

    assert left(await caller.get("/limited")) == "1"
    assert left(await caller.get("/free")) is None


async def test_each_method_has_a_limit_of_its_own(app: FastAPI, shielded: Any) -> None:
    app.get("/x")(rate_limit("1/hour")(fresh()))
    app.post("/x")(rate_limit("1/hour")(fresh()))
    caller = shielded(app)

    assert [await caller.status("/x"), await caller.status("/x", "POST")] == [200, 200]
    assert [await caller.status("/x"), await caller.status("/x", "POST")] == [429, 429]


async def test_a_handlers_own_header_stays(app: FastAPI, shielded: Any) -> None:
    @app.get("/x")
    @rate_limit("2/hour")
    async def x() -> Any:
        return JSONResponse({}, headers={"X-RateLimit-Remaining": "mine"})

    assert left(await shielded(app).get("/x")) == "mine"


async def test_custom_answers_of_the_decorator_then_of_the_middleware(app: FastAPI, shielded: Any) -> None:
    async def own(request: Any, exc: RateLimitExceededException) -> Any:
        return PlainTextResponse(f"{request.url.path} {exc.limit} {exc.remaining}", 420)

    def general(request: Any, exc: RateLimitExceededException) -> Any:
        return PlainTextResponse(f"wait {exc.retry_after_seconds > 0}", 429)

    app.get("/own")(rate_limit("1/hour", response=own)(fresh()))
    app.get("/general")(rate_limit("1/hour")(fresh()))
    caller = shielded(app, responses={"rate_limited": general})
    for path in ("/own", "/general"):
        assert await caller.status(path) == 200

    assert (await caller.get("/own")).content == b"/own 1/hour 0"
    assert (await caller.get("/general")).content == b"wait True"


async def test_global_service_and_route_limits_are_taken_together(app: FastAPI) -> None:
    app.get("/narrow")(rate_limit("1/hour")(fresh()))
    app.get("/wide")(fresh())
    async with ShieldEngine(service="shop") as engine:
        await engine.set_global_rate_limit("4/hour")
        await engine.set_service_rate_limit("shop", "3/hour")
        app.add_middleware(ShieldMiddleware, engine=engine)
        caller = Caller(app)

        assert [await caller.status("/narrow") for _ in range(3)] == [200, 429, 429]
        # Those that the narrow one denied were not charged to the wider ones.
        answers = [await caller.get("/wide") for _ in range(3)]

    assert [one.status for one in answers] == [200, 200, 429]
    assert [(one.headers["x-ratelimit-limit"], left(one)) for one in answers[:2]] == [("3", "1"), ("3", "0")]


async def test_an_unknown_url_meets_the_wider_limits_only(app: FastAPI, shielded: Any, engine: Any) -> None:
    app.get("/x")(rate_limit("1/hour")(fresh()))
    await engine.set_global_rate_limit("3/hour")
    caller = shielded(app)

    answers = [await caller.get(path) for path in ("/nowhere", "/a b", "/x", "/nowhere")]

    assert [one.status for one in answers] == [404, 404, 200, 429]
    assert answers[3].error["path"] == "GET:/nowhere"
    assert left(answers[0]) == "2"
    assert [hit.path for hit in await engine.get_rate_limit_hits("/nowhere")] == ["/nowhere"]


async def test_the_redirect_to_the_slash_charges_the_wider_limits_and_not_the_route(
    app: FastAPI, shielded: Any, engine: Any
) -> None:
    app.get("/x/")(rate_limit("2/hour")(fresh()))
    await engine.set_global_rate_limit("9/hour")
    caller = shielded(app)

    redirect, there = await caller.get("/x"), await caller.get("/x/")

    assert (redirect.status, left(redirect)) == (307, "8")
    assert (there.status, there.headers["x-ratelimit-limit"], left(there)) == (200, "2", "1")


async def test_a_method_that_the_route_does_not_take_meets_the_wider_limits(
    app: FastAPI, shielded: Any, engine: Any
) -> None:
    app.get("/x")(rate_limit("1/hour")(fresh()))
    await engine.set_global_rate_limit("2/hour")
    caller = shielded(app)

    assert [await caller.status("/x", "DELETE") for _ in range(3)] == [405, 405, 429]


@pytest.mark.parametrize("cors", [True, False])
async def test_preflights_are_never_limited_nor_charged(engine: Any, cors: bool) -> None:
    app = FastAPI()
    app.post("/x")(rate_limit("1/hour")(fresh()))
    if cors:
        app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"])
    app.add_middleware(ShieldMiddleware, engine=engine)
    await engine.set_global_rate_limit("1/hour")
    caller = Caller(app)
    preflight = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}

    statuses = {await caller.status("/x", "OPTIONS", headers=preflight) for _ in range(3)}

    assert statuses == {200 if cors else 405}
    assert [await caller.status("/x", "POST") for _ in range(2)] == [200, 429]


async def test_force_active_and_exempt_routes_pass_the_wider_limits(
    app: FastAPI, shielded: Any, engine: Any
) -> None:
    app.get("/health")(force_active(fresh()))
    app.get("/own")(rate_limit("2/hour")(force_active(fresh())))
    app.get("/login")(fresh())
    app.get("/spared")(fresh())
    app.get("/x")(fresh())
    await engine.set_global_rate_limit("1/hour", exempt_routes=["GET:/spared/"])
    caller = shielded(app, exempt=["/login"])

    assert [await caller.status("/x") for _ in range(2)] == [200, 429]
    for path in ("/health", "/login", "/spared", "/openapi.json"):
        answers = [await caller.get(path) for _ in range(3)]
        assert {(one.status, left(one)) for one in answers} == {(200, None)}
    assert [await caller.status("/own") for _ in range(3)] == [200, 200, 429]


async def test_what_maintenance_blocks_is_not_charged(app: FastAPI, shielded: Any, engine: Any) -> None:
    app.get("/x")(rate_limit("1/hour")(maintenance("soon")(fresh())))
    caller = shielded(app)
    assert [await caller.status("/x") for _ in range(3)] == [503, 503, 503]

    await engine.enable("GET:/x")

    assert [await caller.status("/x") for _ in range(2)] == [200, 429]


async def test_shadow_blocks_nobody_and_is_logged(app: FastAPI, shielded: Any, engine: Any) -> None:
    app.get("/x")(rate_limit("1/hour", shadow=True)(fresh()))
    caller = shielded(app)

    answers = [await caller.get("/x") for _ in range(3)]

    assert {(one.status, left(one)) for one in answers} == {(200, None)}
    hits = await engine.get_rate_limit_hits("GET:/x")
    assert [(hit.path, hit.method, hit.shadow) for hit in hits] == [("/x", "GET", True)] * 2


async def test_an_operators_policy_is_live_at_once_and_keeps_what_it_does_not_name(
    app: FastAPI, shielded: Any, engine: Any
) -> None:
    app.get("/x")(rate_limit("1/hour", key="api_key")(fresh()))
    app.get("/plain")(fresh())
    caller = shielded(app)
    ann, bob = {"X-API-Key": "ann"}, {"X-API-Key": "bob"}
    assert [await caller.status("/x", headers=ann) for _ in range(2)] == [200, 429]

    await engine.set_rate_limit_policy("/x", "GET", "2/hour")
    assert [await caller.status("/x", headers=ann) for _ in range(2)] == [200, 429]
    assert [await caller.status("/x", headers=bob) for _ in range(3)] == [200, 200, 429]

    await engine.reset_rate_limit("/x", "GET")
    assert await caller.status("/x", headers=ann) == 200
    await engine.delete_rate_limit_policy("/x", "GET")
    assert (await caller.get("/x", headers=bob)).headers["x-ratelimit-limit"] == "1"

    await engine.set_rate_limit_policy("/plain", "GET", "1/hour")
    assert [await caller.status("/plain") for _ in range(2)] == [200, 429]
    await engine.delete_rate_limit_policy("/plain", "GET")
    assert left(await caller.get("/plain")) is None


async def test_the_engines_check_counts_with_the_middleware(
    app: FastAPI, shielded: Any, engine: ShieldEngine
) -> None:
    app.get("/x")(rate_limit("2/hour")(fresh()))
    caller = shielded(app)
    assert await caller.status("/x") == 200

    result = await engine.check("/x", "GET", {"ip": "127.0.0.1"})
    assert result is not None
    assert (result.allowed, result.limit, result.remaining) == (True, 2, 0)
    with pytest.raises(RateLimitExceededException) as caught:
        await engine.check("GET:/x", context={"ip": "127.0.0.1"})
    assert (caught.value.limit, caught.value.remaining) == ("2/hour", 0)
    assert await caller.status("/x") == 429
    assert await engine.check("/unlimited", "GET") is None


async def test_two_middlewares_charge_once(engine: Any) -> None:
    app = FastAPI()
    app.get("/x")(rate_limit("2/hour")(fresh()))
    await engine.set_global_rate_limit("3/hour")
    for _ in range(2):
        app.add_middleware(ShieldMiddleware, engine=engine)
    caller = Caller(app)

    assert [await caller.status("/x") for _ in range(3)] == [200, 200, 429]
    assert [await caller.status("/nowhere") for _ in range(2)] == [404, 429]


class Opaque:
    """A wrapper that does not tell what is inside."""

    def __init__(self, inside: Any) -> None:
        self._inside = inside

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._inside(scope, receive, send)


@pytest.mark.parametrize("mounted", ["seen", "opaque"])
async def test_an_application_inside_a_mount_with_the_middleware_charges_the_wider_limits_once(
    engine: Any, mounted: str
) -> None:
    inner, app = FastAPI(), FastAPI()
    inner.get("/x")(rate_limit("2/hour")(fresh()))
    inner.add_middleware(ShieldMiddleware, engine=engine)
    app.router.routes.append(Mount("/sub", inner if mounted == "seen" else Opaque(inner)))
    app.add_middleware(ShieldMiddleware, engine=engine)
    await engine.set_global_rate_limit("9/hour")
    caller = Caller(app)

    answers = [await caller.get("/sub/x") for _ in range(3)]

    assert [one.status for one in answers] == [200, 200, 429]
    assert [left(one) for one in answers] == ["1", "0", "0"]
    assert left(await caller.get("/nowhere")) == ("6" if mounted == "seen" else "5")


async def test_two_engines_charge_each_their_own(app: FastAPI, engine: Any) -> None:
    app.get("/x")(fresh())
    async with ShieldEngine() as other:
        await engine.set_global_rate_limit("3/hour")
        await other.set_global_rate_limit("2/hour")
        app.add_middleware(ShieldMiddleware, engine=other)
        app.add_middleware(ShieldMiddleware, engine=engine)

        assert [await Caller(app).status("/x") for _ in range(4)] == [200, 200, 429, 429]


async def test_a_flood_admits_no_more_than_the_limit(app: FastAPI, shielded: Any) -> None:
    app.get("/x")(rate_limit("10/hour", algorithm="sliding_window")(fresh()))
    caller = shielded(app)

    statuses = await asyncio.gather(*(caller.status("/x") for _ in range(50)))

    assert sorted(statuses) == [200] * 10 + [429] * 40


async def test_the_storage_may_be_another_than_the_backends(app: FastAPI) -> None:
    class Slow(MemoryRateLimitStorage):
        """Counts elsewhere: has to be awaited."""

        immediate = False
        asked = 0

        async def take_async(self, counters: Any, keys: Any) -> Any:
            await asyncio.sleep(0)
            self.asked += 1
            return self.take(counters, keys)

    storage = Slow()
    app.get("/x")(rate_limit("1/hour")(fresh()))
    async with ShieldEngine(rate_limit_backend=storage) as engine:
        app.add_middleware(ShieldMiddleware, engine=engine)

        assert [await Caller(app).status("/x") for _ in range(2)] == [200, 429]
    assert storage.asked == 2


async def test_the_drafts_headers_on_request(app: FastAPI) -> None:
    app.get("/x")(rate_limit("2/hour")(fresh()))
    async with ShieldEngine(draft_headers=True) as engine:
        app.add_middleware(ShieldMiddleware, engine=engine)

        headers = (await Caller(app).get("/x")).headers

    assert headers["ratelimit-policy"] == '"route";q=2;w=3600'
    assert headers["ratelimit"].startswith('"route";r=1;t=')


@pytest.mark.parametrize("denial", [True, False])
async def test_websockets_are_refused_before_they_are_accepted(
    app: FastAPI, serve: Any, engine: Any, denial: bool
) -> None:
    @app.websocket("/ws/{room}")
    @rate_limit("1/hour")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    caller = await serve(app)
    accepted = await caller.websocket("/ws/1", denial=denial)
    refused = await caller.websocket("/ws/2", denial=denial)

    assert [one["type"] for one in accepted] == ["websocket.accept", "websocket.close"]
    if denial:
        assert refused[0]["status"] == 429
        assert json.loads(refused[1]["body"])["error"]["path"] == "WS:/ws/{room}"
    else:
        assert [(one["type"], one["code"]) for one in refused] == [("websocket.close", 1013)]


async def test_limited_operations_document_their_429(app: FastAPI, shielded: Any, engine: Any) -> None:
    app.get("/limited")(rate_limit("2/hour")(fresh()))
    app.get("/shadow")(rate_limit("2/hour", shadow=True)(fresh()))
    app.get("/lifted")(rate_limit("unlimited")(fresh()))
    app.get("/free")(fresh())
    caller = shielded(app)

    async def documented() -> set[str]:
        paths = (await caller.get("/openapi.json")).json["paths"]
        return {path for path, item in paths.items() if "429" in item["get"]["responses"]}

    assert await documented() == {"/limited"}
    await engine.set_rate_limit_policy("/free", "GET", "9/hour")
    assert await documented() == {"/limited", "/free"}


async def test_two_routes_under_one_key_keep_the_limit(app: FastAPI, shielded: Any) -> None:
    app.get("/x/{item:int}")(rate_limit("1/hour")(fresh()))
    app.get("/x/{item}")(fresh())
    caller = shielded(app)

    assert [await caller.status(path) for path in ("/x/1", "/x/one")] == [200, 429]
