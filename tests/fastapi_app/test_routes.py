"""Which handler runs decides which policy applies, wherever the route was declared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, Router
from starlette.staticfiles import StaticFiles

from shield_fastapi import (
    ShieldMiddleware,
    ShieldRouter,
    disabled,
    env_only,
    force_active,
    maintenance,
    rate_limit,
)
from tests.fastapi_app.caller import Caller, lifespan


async def ok() -> Any:
    return {"ok": True}


def stamped(stamp: Any = None) -> Any:
    """A fresh endpoint."""

    async def endpoint() -> Any:
        return {"ok": True}

    return (stamp or maintenance(reason="back soon"))(endpoint)


def on_the_application(engine: Any) -> FastAPI:
    app = FastAPI()
    app.get("/api/payments")(stamped())
    return app


def on_a_router(engine: Any) -> FastAPI:
    router = APIRouter(prefix="/api")
    router.get("/payments")(stamped())
    app = FastAPI()
    app.include_router(router)
    return app


def on_a_shield_router(engine: Any) -> FastAPI:
    router = ShieldRouter(prefix="/api", engine=engine)
    router.get("/payments")(stamped())
    app = FastAPI()
    app.include_router(router)
    return app


def on_a_router_in_a_router(engine: Any) -> FastAPI:
    inner, outer = APIRouter(), APIRouter()
    inner.get("/payments")(stamped())
    outer.include_router(inner, prefix="/api")
    app = FastAPI()
    app.include_router(outer)
    return app


def added_after_its_router_was_included(engine: Any) -> FastAPI:
    router = APIRouter(prefix="/api")
    app = FastAPI()
    if hasattr(router, "_mark_routes_changed"):  # older versions copy routers when they are included
        app.include_router(router)
    router.get("/payments")(stamped())
    if not app.router.routes[4:]:
        app.include_router(router)
    return app


def in_a_mounted_application(engine: Any) -> FastAPI:
    inner = FastAPI()
    inner.get("/payments")(stamped())
    app = FastAPI()
    app.mount("/api", inner)
    return app


def in_a_mounted_router(engine: Any) -> FastAPI:
    inner = APIRouter()
    inner.get("/payments")(stamped())
    app = FastAPI()
    app.mount("/api", inner)
    return app


def in_a_wrapped_application(engine: Any) -> FastAPI:
    from starlette.middleware.gzip import GZipMiddleware

    inner = FastAPI()
    inner.get("/payments")(stamped())
    app = FastAPI()
    app.mount("/api", GZipMiddleware(inner))
    return app


def on_a_host(engine: Any) -> FastAPI:
    inner = FastAPI()
    inner.get("/api/payments")(stamped())
    app = FastAPI()
    app.router.routes.append(Host("testserver", inner))
    return app


def in_plain_starlette(engine: Any) -> Starlette:
    @maintenance(reason="back soon")
    async def payments(request: Any) -> Any:
        return PlainTextResponse("paid")

    return Starlette(routes=[Mount("/api", routes=[Route("/payments", payments)])])


PLACES = [
    on_the_application,
    on_a_router,
    on_a_shield_router,
    on_a_router_in_a_router,
    added_after_its_router_was_included,
    in_a_mounted_application,
    in_a_mounted_router,
    in_a_wrapped_application,
    on_a_host,
    in_plain_starlette,
]


@pytest.mark.parametrize("build", PLACES, ids=lambda build: build.__name__)
async def test_a_stamp_holds_wherever_its_route_is_declared(build: Any, serve: Any, engine: Any) -> None:
    caller = await serve(build(engine))

    answer = await caller.get("/api/payments")

    assert answer.status == 503
    assert answer.error["path"] == "GET:/api/payments"
    assert answer.error["reason"] == "back soon"


@pytest.mark.parametrize("build", PLACES, ids=lambda build: build.__name__)
async def test_an_operator_rules_wherever_a_route_is_declared(build: Any, serve: Any, engine: Any) -> None:
    caller = await serve(build(engine))
    await caller.get("/api/payments")

    await engine.enable("GET:/api/payments")
    assert await caller.status("/api/payments") == 200
    await engine.disable("GET:/api/payments", reason="for good")
    assert (await caller.get("/api/payments")).error["code"] == "ROUTE_DISABLED"


@pytest.mark.parametrize("order", ["stamp below", "stamp above"])
@pytest.mark.parametrize(
    "stamp, status",
    [
        (maintenance(reason="x"), 503),
        (disabled(reason="x"), 503),
        (env_only("dev"), 404),
        (env_only("test"), 200),
        (force_active, 200),
        (rate_limit("2/hour"), 200),
    ],
)
async def test_decorators_in_any_order_with_the_route(
    app: FastAPI, shielded: Any, order: str, stamp: Any, status: int
) -> None:
    async def endpoint() -> Any:
        return {}

    if order == "stamp below":
        app.get("/x")(stamp(endpoint))
    else:
        stamp(app.get("/x")(endpoint))
    caller = shielded(app)

    assert [await caller.status("/x") for _ in range(2)] == [status, status]


async def test_a_stamp_above_a_wrapper_that_no_route_sees_is_told(
    app: FastAPI, shielded: Any, caplog: pytest.LogCaptureFixture
) -> None:
    import functools

    def timed(function: Any) -> Any:
        @functools.wraps(function)
        async def wrapper() -> Any:
            return await function()

        return wrapper

    async def endpoint() -> Any:
        return {}

    kept = maintenance(reason="lost")(timed(app.get("/lost")(endpoint)))
    await shielded(app).get("/lost")

    assert kept.__qualname__ in caplog.text
    assert "/lost" in caplog.text
    assert "no effect" in caplog.text


async def test_the_same_router_included_twice_has_two_routes(
    app: FastAPI, shielded: Any, engine: Any
) -> None:
    router = APIRouter()
    router.get("/x")(stamped(force_active))
    router.get("/y")(stamped(env_only("test")))
    app.include_router(router, prefix="/a")
    app.include_router(router, prefix="/b")
    caller = shielded(app)
    assert await caller.status("/a/y") == 200

    await engine.disable("GET:/a/y", reason="only here")

    assert (await caller.status("/a/y"), await caller.status("/b/y")) == (503, 200)
    await engine.set_env_only("GET:/b/y", ["dev"])
    assert (await caller.status("/a/y"), await caller.status("/b/y")) == (503, 404)


@pytest.mark.parametrize("prefix", ["/{tenant}", "/{tenant:int}"])
async def test_mounts_with_parameters(app: FastAPI, shielded: Any, prefix: str) -> None:
    inner = FastAPI()
    inner.get("/items/{item}")(stamped())
    app.mount(prefix, inner)

    answer = await shielded(app).get("/7/items/42")

    assert answer.error["path"] == "GET:/{tenant}/items/{item}"


async def test_a_mount_keeps_what_it_matches(app: FastAPI, shielded: Any) -> None:
    app.mount("/api", FastAPI())
    app.get("/api/late")(stamped())
    caller = shielded(app)

    assert await caller.status("/api/late") == 404


OWN_ROOT_PATH = pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")


@OWN_ROOT_PATH
@pytest.mark.parametrize("proxy", ["keeps the prefix", "strips the prefix"])
@pytest.mark.parametrize("given", ["by the server", "by the application"])
async def test_root_path(shielded: Any, proxy: str, given: str) -> None:
    app = FastAPI(root_path="/prefix" if given == "by the application" else "")
    app.get("/payments")(stamped())
    path = "/prefix/payments" if proxy == "keeps the prefix" else "/payments"

    answer = await shielded(app).get(path, root_path="/prefix" if given == "by the server" else "")

    assert answer.error["path"] == "GET:/payments"


@OWN_ROOT_PATH
async def test_a_mounted_application_with_a_root_path_of_its_own(app: FastAPI, shielded: Any) -> None:
    inner = FastAPI(root_path="/api")
    inner.get("/payments")(stamped())
    app.mount("/api", inner)

    assert (await shielded(app).get("/api/payments")).error["path"] == "GET:/api/payments"


async def test_hosts_with_the_same_paths_are_told_apart(app: FastAPI, shielded: Any, engine: Any) -> None:
    one, two = FastAPI(), FastAPI()
    one.get("/x")(stamped())
    two.get("/x")(ok)
    app.router.routes += [Host("one.example", one), Host("two.example", two)]
    caller = shielded(app)

    assert (await caller.raw("/x", host="one.example")).error["path"] == "GET:/x"
    assert (await caller.raw("/x", host="two.example")).status == 200
    await engine.disable("GET://two.example/x")
    await engine.enable("GET:/x")
    assert (await caller.raw("/x", host="one.example")).status == 200
    assert (await caller.raw("/x", host="two.example")).status == 503


async def test_endpoint_classes_have_a_key_per_handler(app: FastAPI, shielded: Any, engine: Any) -> None:
    class Payments(HTTPEndpoint):
        async def get(self, request: Any) -> Any:
            return PlainTextResponse("get")

        @maintenance(reason="no writes")
        async def post(self, request: Any) -> Any:
            return PlainTextResponse("post")

    @disabled(reason="the whole class")
    class Closed(HTTPEndpoint):
        async def get(self, request: Any) -> Any:
            return PlainTextResponse("get")

    app.router.routes += [Route("/payments", Payments), Route("/closed", Closed)]
    caller = shielded(app)

    assert (await caller.status("/payments"), await caller.status("/payments", "POST")) == (200, 503)
    assert await caller.status("/payments", "DELETE") == 405
    assert (await caller.get("/closed")).error["path"] == "GET:/closed"
    # Servers let such a method through, and earlier versions of Starlette run the handler all the same.
    assert (await caller.raw("/closed", "get")).status != 200
    assert (await caller.raw("/payments", "Post")).status != 200


async def test_static_files_are_one_route(app: FastAPI, shielded: Any, engine: Any, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    app.mount("/static", StaticFiles(directory=tmp_path))
    caller = shielded(app)
    assert (await caller.get("/static/a.txt")).content == b"a"

    await engine.disable("/static/{path}")

    assert (await caller.get("/static/a.txt")).error["path"] == "/static/{path}"


async def test_a_static_route_after_a_parameter_does_not_win(app: FastAPI, shielded: Any) -> None:
    app.get("/items/{item}")(ok)
    app.get("/items/special")(stamped())
    app.get("/first/special")(ok)
    app.get("/first/{item}")(stamped())
    caller = shielded(app)

    assert (await caller.status("/items/special"), await caller.status("/first/special")) == (200, 200)
    assert await caller.status("/first/other") == 503


@pytest.mark.parametrize("first", ["/x/{item:int}", "/x/{item}"])
async def test_one_key_for_two_routes_takes_the_stricter_stamp(
    app: FastAPI, shielded: Any, first: str, caplog: pytest.LogCaptureFixture
) -> None:
    app.get(first)(stamped(env_only("dev")))
    app.get("/x/{item:path}")(ok)

    assert await shielded(app).status("/x/1") == 404
    assert "GET:/x/{item}" in caplog.text


async def test_a_route_that_is_never_reached_decides_nothing(app: FastAPI, shielded: Any) -> None:
    app.get("/x")(ok)
    app.get("/x")(stamped())
    app.router.routes.append(Route("/y", HTTPEndpoint))
    app.get("/y")(stamped())
    caller = shielded(app)

    assert (await caller.status("/x"), await caller.status("/y")) == (200, 405)


async def test_force_active_on_get_does_not_free_post(app: FastAPI, shielded: Any, engine: Any) -> None:
    app.get("/x")(stamped(force_active))
    app.post("/x")(ok)
    caller = shielded(app)

    await engine.enable_global_maintenance(reason="all")

    assert (await caller.status("/x"), await caller.status("/x", "POST")) == (200, 503)
    assert await caller.status("/x", "DELETE") == 503


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE"])
async def test_each_method_is_a_route(app: FastAPI, shielded: Any, method: str) -> None:
    app.api_route("/x", methods=[method])(stamped())
    app.api_route("/y", methods=["GET", "POST"])(ok)
    caller = shielded(app)

    answer = await caller.request(method, "/x")

    assert (answer.status, answer.error["path"]) == (503, f"{method}:/x")
    assert await caller.status("/x", "COPY") == 405


async def test_head_follows_get(app: FastAPI, shielded: Any) -> None:
    async def page(request: Any) -> Any:
        return PlainTextResponse("page")

    app.router.routes.append(Route("/page", maintenance(reason="x")(page)))
    app.get("/api")(stamped())
    caller = shielded(app)

    assert (await caller.status("/page", "HEAD"), await caller.status("/api", "HEAD")) == (503, 503)


async def test_a_head_handler_of_its_own_has_a_policy_of_its_own(app: FastAPI, shielded: Any) -> None:
    app.head("/x")(stamped())
    app.get("/x")(ok)
    caller = shielded(app)

    assert (await caller.status("/x", "HEAD"), await caller.status("/x")) == (503, 200)


@pytest.mark.parametrize("path", ["/x/", "/items/7/"])
async def test_the_slash_redirect_is_left_to_the_framework(app: FastAPI, shielded: Any, path: str) -> None:
    app.get("/x")(stamped())
    app.get("/items/{item}")(stamped())
    caller = shielded(app)

    answer = await caller.get(path)

    assert (answer.status, answer.headers["location"]) == (307, f"http://testserver{path[:-1]}")
    assert await caller.status(path[:-1]) == 503


@pytest.mark.parametrize(
    "target, status",
    [
        ("/pay", 503),
        ("/pay%0A", 503),  # the framework's expressions end before a last line feed
        ("/pay%0A%0A", 404),
        ("/%70ay", 503),
        ("//pay", 404),
        ("/./pay", 404),
        ("/%2e/pay", 404),
        ("/pay%2F", 307),
        ("/PAY", 404),
        ("/pay%20", 404),
        ("/pay;a=1", 404),
        ("/pay?x=/health", 503),
        ("/items/a%2Fb", 404),
        ("/items/%2e", 503),
        ("/items/%0A", 503),
        ("/items/..", 503),
        ("/files/a%2Fb/../c", 503),
    ],
)
async def test_odd_targets_meet_the_policy_of_the_handler_that_would_run(
    app: FastAPI, shielded: Any, target: str, status: int
) -> None:
    ran = []

    async def endpoint() -> Any:
        ran.append(target)

    for path in ("/pay", "/items/{item}", "/files/{rest:path}"):
        app.get(path)(stamped(maintenance(reason="x"))) if status == 503 else app.get(path)(endpoint)
    plain = FastAPI()
    for path in ("/pay", "/items/{item}", "/files/{rest:path}"):
        plain.get(path)(ok)
    without = (await Caller(plain).raw(target)).status

    assert (await shielded(app).raw(target)).status == status
    assert without == (200 if status == 503 else status)
    assert not ran


@pytest.mark.parametrize("where", ["new path", "new method", "before the one that matched", "in a mount"])
async def test_routes_added_after_the_first_request_are_guarded_at_once(
    app: FastAPI, shielded: Any, where: str
) -> None:
    inner = FastAPI()
    app.mount("/sub", inner)
    app.post("/known")(ok)
    app.get("/items/{item}")(ok)
    caller = shielded(app)
    assert await caller.status("/items/1") == 200
    assert await caller.status("/late") == 404

    if where == "before the one that matched":
        app.get("/items/1")(stamped())
        app.router.routes.insert(0, app.router.routes.pop())
        path = "/items/1"
    elif where == "in a mount":
        inner.get("/late")(stamped())
        path = "/sub/late"
    else:
        path = "/late" if where == "new path" else "/known"
        app.get(path)(stamped())

    assert await caller.status(path) == 503


@pytest.mark.parametrize("how", ["included", "mounted"])
async def test_routes_added_where_another_one_matched_are_guarded_at_once(
    app: FastAPI, shielded: Any, how: str
) -> None:
    inner: Any = APIRouter() if how == "included" else FastAPI()
    inner.get("/known")(ok)
    app.include_router(inner, prefix="/api") if how == "included" else app.mount("/api", inner)
    fallback = app if how == "included" else inner
    fallback.get("/{rest:path}")(ok)
    caller = shielded(app)
    assert await caller.status("/api/late") == 200

    inner.get("/late")(stamped())
    inner.routes.insert(0, inner.routes.pop())

    # Older versions copy routers when they are included: there the fallback goes on to answer.
    copied = how == "included" and not hasattr(inner, "_mark_routes_changed")
    assert await caller.status("/api/late") == (200 if copied else 503)


async def test_a_path_without_route_meets_the_wider_scopes_only(
    app: FastAPI, shielded: Any, engine: Any
) -> None:
    caller = shielded(app)
    assert (await caller.get("/nowhere")).json == {"detail": "Not Found"}

    await engine.enable_global_maintenance(reason="all")

    assert (await caller.get("/nowhere")).error["path"] == "GET:/nowhere"


@pytest.mark.parametrize(
    "exempt, open_paths",
    [
        (["/health"], {"/health GET", "/health POST"}),
        (["POST:/health/"], {"/health POST"}),
        (["/items/{item}"], {"/items/1 GET"}),
        (["/items"], set()),
    ],
)
async def test_exempt_routes_are_never_blocked(
    app: FastAPI, shielded: Any, engine: Any, exempt: list[str], open_paths: set[str]
) -> None:
    app.api_route("/health", methods=["GET", "POST"])(ok)
    app.get("/items/{item}")(stamped())
    caller = shielded(app, exempt=exempt)
    await engine.enable_global_maintenance(reason="all", include_force_active=True)

    requests = [("/health", "GET"), ("/health", "POST"), ("/items/1", "GET")]
    passed = {f"{path} {method}" for path, method in requests if await caller.status(path, method) == 200}

    assert passed == open_paths


async def test_several_applications_share_one_engine(engine: Any) -> None:
    callers = []
    for path in ("/one", "/two"):
        app = FastAPI()
        app.get(path)(ok)
        app.add_middleware(ShieldMiddleware, engine=engine)
        callers.append(Caller(app))
    for caller, path in zip(callers, ("/one", "/two"), strict=True):
        assert await caller.status(path) == 200

    await engine.disable("GET:/two")
    await engine.disable("GET:/one")

    assert [await callers[0].status("/one"), await callers[1].status("/two")] == [503, 503]
    assert sorted(state.path for state in await engine.list_states()) == ["GET:/one", "GET:/two"]


async def test_of_two_applications_with_one_key_the_stricter_stamp_holds_in_both(engine: Any) -> None:
    callers = []
    for stamp in (maintenance(reason="x"), force_active):
        app = FastAPI()
        app.get("/x")(stamped(stamp))
        app.add_middleware(ShieldMiddleware, engine=engine)
        callers.append(Caller(app))

    statuses = [await caller.status("/x") for caller in (*callers, *callers)]

    assert statuses == [503, 503, 503, 503]


@pytest.mark.parametrize("outer", [True, False])
async def test_middleware_on_a_mounted_application(engine: Any, outer: bool) -> None:
    inner = FastAPI()
    inner.get("/x")(stamped())
    inner.add_middleware(ShieldMiddleware, engine=engine)
    app = FastAPI()
    app.get("/x")(ok)
    app.mount("/sub", inner)
    if outer:
        app.add_middleware(ShieldMiddleware, engine=engine)
    caller = Caller(app)

    assert (await caller.get("/sub/x")).error["path"] == ("GET:/sub/x" if outer else "GET:/x")
    assert await caller.status("/x") == 200
    if outer:
        await engine.enable_global_maintenance(exempt_paths=["/sub/x"])
        await engine.enable("GET:/sub/x")
        assert await caller.status("/sub/x") == 200


@OWN_ROOT_PATH
@pytest.mark.parametrize("mounted", [True, False])
async def test_the_middleware_around_an_application(engine: Any, mounted: bool) -> None:
    inner = FastAPI(root_path="" if mounted else "/prefix")
    inner.get("/x")(stamped())
    around = ShieldMiddleware(inner, engine=engine)
    if not mounted:
        async with lifespan(around):
            assert await Caller(around).status("/x") == 503
            assert await Caller(around).status("/prefix/x") == 503
        return
    app = FastAPI()
    app.get("/x")(ok)
    app.mount("/sub", around)
    assert (await Caller(app).get("/sub/x")).error["path"] == "GET:/x"


@pytest.mark.parametrize("kind", [Mount, Router])
async def test_the_middleware_of_a_mount_or_a_router(engine: Any, kind: Any) -> None:
    options: dict[str, Any] = {
        "routes": [Route("/x", stamped())],
        "middleware": [Middleware(ShieldMiddleware, engine=engine)],
    }
    mount = Mount("/sub", **options) if kind is Mount else Mount("/sub", Router(**options))

    assert (await Caller(Starlette(routes=[mount])).get("/sub/x")).error["path"] == "GET:/x"


async def test_an_application_without_routes_is_an_error_that_says_so(engine: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    with pytest.raises(TypeError, match="no routes"):
        await Caller(ShieldMiddleware(app, engine=engine)).get("/")
