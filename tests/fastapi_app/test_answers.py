"""What a blocked caller gets (CONTRACT §2), and who else sees the request."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.responses import PlainTextResponse

from shield_core.models import MaintenanceWindow
from shield_fastapi import deprecated, disabled, force_active, maintenance


async def ok() -> Any:
    return {"ok": True}


def stamped(*stamps: Any) -> Any:
    async def endpoint() -> Any:
        return {"ok": True}

    for stamp in stamps:
        stamp(endpoint)
    return endpoint


def answer(request: Any, exc: Any) -> Any:
    return PlainTextResponse(f"{request.method} {request.url.path}: {exc.reason}", 418)


async def answer_async(request: Any, exc: Any) -> Any:
    return answer(request, exc)


async def test_disabled_to_the_byte(app: FastAPI, serve: Any) -> None:
    app.get("/items/{item}")(stamped(disabled(reason="gone for good")))

    blocked = await (await serve(app)).get("/items/7")

    assert blocked.status == 503
    assert blocked.content == (
        b'{"error":{"code":"ROUTE_DISABLED","message":"This endpoint has been disabled",'
        b'"reason":"gone for good","path":"GET:/items/{item}"}}'
    )
    assert blocked.headers["cache-control"] == "no-store"
    assert "retry-after" not in blocked.headers


async def test_a_known_end_is_told(app: FastAPI, shielded: Any, engine: Any) -> None:
    app.get("/x")(ok)
    caller = shielded(app)
    await caller.get("/x")
    end = datetime.now(UTC) + timedelta(seconds=90)
    await engine.schedule_maintenance(
        "GET:/x", MaintenanceWindow(start=end - timedelta(hours=1), end=end, reason="now")
    )

    blocked = await caller.get("/x")

    assert blocked.error["retry_after"] == end.isoformat()
    assert 80 <= int(blocked.headers["retry-after"]) <= 90


@pytest.mark.parametrize("response", [answer, answer_async])
@pytest.mark.parametrize("stamp", [maintenance, disabled])
async def test_an_answer_of_its_own_for_one_route(
    app: FastAPI, shielded: Any, stamp: Any, response: Any
) -> None:
    app.get("/x")(stamped(stamp("why", response=response)))

    blocked = await shielded(app).get("/x")

    assert (blocked.status, blocked.content) == (418, b"GET /x: why")


@pytest.mark.parametrize("response", [answer, answer_async])
async def test_an_answer_of_its_own_for_a_status(
    app: FastAPI, shielded: Any, engine: Any, response: Any
) -> None:
    app.get("/m")(stamped(maintenance("why")))
    app.get("/d")(stamped(disabled("why")))
    caller = shielded(app, responses={"maintenance": response})

    assert [await caller.status(path) for path in ("/m", "/d", "/nowhere")] == [418, 503, 404]
    await engine.enable_global_maintenance(reason="all")
    assert (await caller.get("/nowhere")).content == b"GET /nowhere: all"


async def test_the_routes_answer_wins_over_the_applications(app: FastAPI, shielded: Any) -> None:
    app.get("/x")(stamped(disabled("why", response=answer)))
    caller = shielded(app, responses={"disabled": lambda request, exc: PlainTextResponse("app", 410)})

    assert await caller.status("/x") == 418


async def test_an_answer_may_read_the_request(app: FastAPI, shielded: Any) -> None:
    async def echo(request: Any, exc: Any) -> Any:
        return PlainTextResponse(await request.body(), 503)

    app.post("/x")(stamped(maintenance("why", response=echo)))

    assert (await shielded(app).post("/x", content=b"sent")).content == b"sent"


async def test_an_answer_that_is_no_response_is_an_error_that_says_so(app: FastAPI, shielded: Any) -> None:
    app.get("/x")(stamped(disabled(response=lambda request, exc: {"a": "dict"})))

    with pytest.raises(TypeError, match="Response"):
        await shielded(app).get("/x")


async def test_answers_for_a_status_that_does_not_exist_are_refused(app: FastAPI, shielded: Any) -> None:
    with pytest.raises(ValueError, match="maintainance"):
        await shielded(app, responses={"maintainance": answer}).get("/")


async def test_a_deprecated_route_answers_with_the_headers_of_its_rfcs(app: FastAPI, shielded: Any) -> None:
    stamp = deprecated("2030-01-01T00:00:00Z", "/v2/x", since="2026-01-01")
    app.get("/x")(stamped(stamp))
    app.get("/m")(stamped(stamp, maintenance("x")))

    allowed = await shielded(app).get("/x")

    assert (allowed.status, allowed.json) == (200, {"ok": True})
    assert allowed.headers["deprecation"] == f"@{int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())}"
    assert allowed.headers["sunset"] == "Tue, 01 Jan 2030 00:00:00 GMT"
    assert allowed.headers["link"] == '</v2/x>; rel="successor-version"'


async def test_an_allowed_answer_is_not_touched(app: FastAPI, shielded: Any) -> None:
    from tests.fastapi_app.caller import Caller

    plain = FastAPI()
    for one in (app, plain):
        one.get("/x")(ok)

    assert (await shielded(app).get("/x")).whole == (await Caller(plain).get("/x")).whole


@pytest.mark.parametrize("method, status", [("GET", 200), ("HEAD", 405), ("POST", 503)])
async def test_read_only_maintenance_lets_safe_methods_pass(
    app: FastAPI, shielded: Any, engine: Any, method: str, status: int
) -> None:
    app.get("/x")(ok)
    app.post("/x")(ok)
    caller = shielded(app)
    await engine.enable_global_maintenance(reason="all", read_only=True)

    assert await caller.status("/x", method) == status


async def test_an_allowed_request_body_is_not_touched(app: FastAPI, shielded: Any) -> None:
    async def endpoint(request: Any) -> Any:
        return PlainTextResponse(await request.body())

    app.add_route("/x", endpoint, methods=["POST"])

    assert (await shielded(app).post("/x", content=b"\x00" * 100_000)).content == b"\x00" * 100_000


async def test_a_blocked_request_is_logged_as_planned(
    app: FastAPI, shielded: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app.get("/x")(stamped(maintenance("why")))

    with caplog.at_level(logging.INFO, "shield.blocked"):
        await shielded(app).get("/x")

    (record,) = [one for one in caplog.records if one.name == "shield.blocked"]
    assert record.levelno == logging.INFO
    assert (record.route, record.reason) == ("GET:/x", "why")  # type: ignore[attr-defined]


async def test_a_blocked_handler_and_its_dependencies_never_run(app: FastAPI, shielded: Any) -> None:
    from fastapi import Depends

    ran = []
    app.get("/x", dependencies=[Depends(lambda: ran.append("dependency"))])(stamped(maintenance("x")))

    await shielded(app).get("/x")

    assert ran == []


@pytest.mark.parametrize("include, status", [(False, 200), (True, 503)])
async def test_force_active_under_global_maintenance(
    app: FastAPI, shielded: Any, engine: Any, include: bool, status: int
) -> None:
    app.get("/health")(stamped(force_active))
    caller = shielded(app)
    await engine.enable_global_maintenance(include_force_active=include)

    assert await caller.status("/health") == status


async def test_service_maintenance_is_of_the_engines_own_service(app: FastAPI) -> None:
    from shield_core.engine import ShieldEngine
    from shield_fastapi import ShieldMiddleware
    from tests.fastapi_app.caller import Caller

    engine = ShieldEngine(service="payments")
    app.get("/x")(ok)
    app.add_middleware(ShieldMiddleware, engine=engine)

    await engine.enable_service_maintenance("shop", reason="other")
    assert await Caller(app).status("/x") == 200
    await engine.enable_service_maintenance("payments", reason="mine")
    assert (await Caller(app).get("/x")).error["path"] == "GET:/x"
    assert [state.path for state in await engine.list_states("payments")] == ["payments:GET:/x"]
    await engine.stop()
