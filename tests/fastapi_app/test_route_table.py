"""``RouteTable.find`` names exactly the route that the framework dispatches to."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import FastAPIError
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, Router

from shield_fastapi import env_only
from shield_fastapi.routes import RouteTable
from tests.fastapi_app.caller import Caller

PIECES = ["a", "b", "a.b", "{p}", "{p:int}", "{p:path}", "{p:float}", "x{p}", "{p}-{q}", "{p:uuid}", ""]
SEGMENTS = ["a", "b", "a.b", "1", "1.5", "xa", "a-b", "", "%0A", "a%0A", "%2e", "a%2Fb", "ä", "%7Bp%7D"]
METHODS = ["GET", "POST", "HEAD", "OPTIONS", "DELETE"]
SPY = "shield.test.spy"

segments = st.lists(st.sampled_from(PIECES), min_size=1, max_size=3)
prefixes = st.sampled_from(["", "/a", "/{t}", "/a/b", "/{t:int}"])
route = st.fixed_dictionaries(
    {
        "path": segments.map(lambda pieces: "/" + "/".join(pieces)),
        "methods": st.lists(st.sampled_from(METHODS), min_size=1, max_size=2, unique=True),
        "kind": st.sampled_from(["api", "api", "route", "opaque"]),
    }
)
routes = st.lists(route, min_size=1, max_size=4)
node = st.recursive(
    routes.map(lambda found: {"routes": found}),
    lambda inner: st.fixed_dictionaries(
        {
            "routes": routes,
            "inner": st.lists(
                st.tuples(st.sampled_from(["include", "mount", "mount router", "host"]), prefixes, inner),
                max_size=2,
            ),
            "late": routes,
        }
    ),
    max_leaves=4,
)
anything = st.lists(st.sampled_from(SEGMENTS), max_size=4).map(lambda found: "/" + "/".join(found))
endings = st.sampled_from(["", "", "", "/", "%0A", "/a", "//"])


class Built:
    """An application of random shape: who its endpoints are, and the paths that it declares.

    Endpoints that are named in ``gated`` are behind a closed gate, those in ``without`` are left out.
    """

    def __init__(
        self,
        shape: dict[str, Any],
        gated: frozenset[str] = frozenset(),
        without: frozenset[str] = frozenset(),
    ) -> None:
        self.app = FastAPI(openapi_url=None)
        self._gated, self._without = gated, without
        self.spies: dict[int, str] = {}
        self.paths: list[str] = []
        self._build(shape, self.app, "r", "")

    def _build(self, shape: dict[str, Any], into: Any, name: str, before: str) -> None:
        self._add(shape["routes"], into, f"{name}0", before)
        for number, (how, prefix, inner) in enumerate(shape.get("inner", ())):
            label = f"{name}_{number}"
            prefix = prefix.replace("{t", f"{{{label}")
            try:
                if how == "include":
                    router = APIRouter()
                    self._build(inner, router, label, before + prefix)
                    into.include_router(router, prefix=prefix)
                    continue
                below: Any = FastAPI(openapi_url=None) if how != "mount router" else APIRouter()
                self._build(inner, below, label, before if how == "host" else before + prefix)
                into.routes.append(
                    Host("other.example", below) if how == "host" else Mount(prefix, app=below)
                )
            except (AssertionError, AttributeError, ValueError, FastAPIError):
                continue  # the framework refuses this combination; 0.115 fails at a host without a path
        self._add(shape.get("late", ()), into, f"{name}1", before)

    def _add(self, found: list[dict[str, Any]], into: Any, name: str, before: str) -> None:
        for number, one in enumerate(found):
            label = f"{name}.{number}"
            endpoint = spy(label) if one["kind"] != "opaque" else opaque(label)
            if label in self._without:
                continue
            if label in self._gated:
                env_only("dev")(endpoint)
            try:
                if one["kind"] == "api":
                    into.add_api_route(one["path"], endpoint, methods=one["methods"])
                elif one["kind"] == "route":
                    into.routes.append(Route(one["path"], endpoint, methods=one["methods"]))
                else:
                    into.routes.append(Mount(one["path"].rstrip("/"), app=endpoint))
            except (AssertionError, ValueError):
                continue
            self.spies[id(endpoint)] = label
            self.paths.append(before + one["path"])

    def target(self, data: st.DataObject) -> str:
        """Draw a URL path, mostly one that is near to a declared one."""
        if not self.paths or data.draw(st.integers(0, 5)) == 0:
            return data.draw(anything)
        path = data.draw(st.sampled_from(self.paths))
        return re.sub(r"\{[^}]*\}", lambda _: data.draw(st.sampled_from(SEGMENTS)), path) + data.draw(endings)


def spy(name: str) -> Callable[..., Any]:
    async def endpoint(request: Request) -> Any:
        request.scope[SPY].append(name)
        return PlainTextResponse(name)

    return endpoint


def opaque(name: str) -> Callable[..., Any]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope[SPY].append(name)
        await PlainTextResponse(name)(scope, receive, send)

    return app


class Asked:
    """An application whose scopes are noted, with what its endpoints said."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.scope: dict[str, Any] = {}
        self.said: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope, self.said = dict(scope), []
        scope[SPY] = self.said
        await self.app(scope, receive, send)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    shape=node,
    data=st.data(),
    root=st.sampled_from(["", "", "/a", "/root"]),
    host=st.sampled_from(["testserver", "other.example"]),
)
def test_the_table_names_the_route_that_the_framework_runs(
    shape: Any, data: st.DataObject, root: str, host: str
) -> None:
    built = Built(shape)
    targets = [(built.target(data), data.draw(st.sampled_from(METHODS))) for _ in range(8)]
    # Twice, as the second time the table may remember; with root_path, as servers send it and proxies do.
    targets = [*targets, *targets, *((root + path, method) for path, method in targets)]
    asyncio.run(compare(built, targets, root, host))


async def compare(built: Built, targets: list[tuple[str, str]], root: str, host: str) -> None:
    table = RouteTable(built.app)
    asked = Asked(built.app)
    for path, method in targets:
        answer = await Caller(asked).raw(path, method, root_path=root, host=host)
        found = table.find(asked.scope)
        event(f"{answer.status}")
        if answer.status == 200:
            assert found is not None
            assert found.takes(asked.scope)
            assert [built.spies[id(found.endpoint)]] == asked.said, (path, found.template)
        elif answer.status == 405:
            assert found is not None
            assert not found.takes(asked.scope)
        else:
            assert found is None, (path, answer.status, found.template)


@pytest.mark.parametrize(
    "declared, path, expected",
    [
        (["/items/{id}", "/items/special"], "/items/special", "/items/{id}"),
        (["/items/special", "/items/{id}"], "/items/special", "/items/special"),
        (["/{rest:path}", "/items"], "/items", "/{rest}"),
        (["/items", "/{rest:path}"], "/items", "/items"),
        (["/items/{id:int}", "/items/{id}"], "/items/x", "/items/{id}"),
        (["/items"], "/items/", None),
        (["/items"], "//items", None),
        (["/items"], "/items%0A", "/items"),
        (["/items"], "/items%0A%0A", None),
        (["/items/{id}"], "/items/a%2Fb", None),
        (["/items/{id}"], "/items/%2e", "/items/{id}"),
        (["/items/{id}"], "/items/", None),
        (["/files/{name}.txt"], "/files/a.txt", "/files/{name}.txt"),
        (["/{a}/{b}"], "/x/y", "/{a}/{b}"),
    ],
)
async def test_the_frameworks_own_order(declared: list[str], path: str, expected: str | None) -> None:
    app = FastAPI(openapi_url=None)
    for one in declared:
        app.add_api_route(one, spy(one))
    asked = Asked(app)
    await Caller(asked).raw(path)

    found = RouteTable(app).find(asked.scope)

    assert (found.template if found else None) == expected


async def test_routes_that_decide_for_themselves_are_asked() -> None:
    from fastapi.routing import APIRoute

    class Versioned(APIRoute):
        def matches(self, scope: Any) -> Any:
            match, child = super().matches(scope)
            return (match, child) if scope["query_string"] == b"v=2" else (type(match).NONE, {})

    router = APIRouter(route_class=Versioned)
    router.add_api_route("/x", spy("new"))
    app = FastAPI(openapi_url=None)
    app.include_router(router, prefix="/api")
    app.add_api_route("/api/{name}", spy("old"))
    table, asked = RouteTable(app), Asked(app)

    for query, name, template in (("?v=2", "new", "/api/x"), ("", "old", "/api/{name}")):
        await Caller(asked).raw("/api/x" + query)
        found = table.find(asked.scope)
        assert asked.said == [name]
        assert found is not None
        assert found.template == template


async def test_routes_of_an_unknown_kind_are_met_in_their_place() -> None:
    from starlette.routing import BaseRoute, Match

    class Teapot(BaseRoute):
        def matches(self, scope: Any) -> Any:
            return (Match.FULL if "tea" in scope["path"] else Match.NONE), {}

        async def handle(self, scope: Any, receive: Any, send: Any) -> None:
            await PlainTextResponse("tea", 418)(scope, receive, send)

    app = FastAPI(openapi_url=None)
    app.router.routes.append(Teapot())
    app.add_api_route("/tea/{kind}", spy("late"))
    asked = Asked(app)
    assert (await Caller(asked).raw("/tea/green")).status == 418

    found = RouteTable(app).find(asked.scope)

    assert found is not None
    assert found.template == ""


@pytest.mark.parametrize(
    "prefix, template",
    [
        ("/{tenant}", "/{tenant}/x"),
        ("/{tenant:int}", "/{tenant}/x"),
        ("", "/x"),
        ("/a b", "/a%20b/x"),
        ("/\x7f", "/%7F/x"),
    ],
)
async def test_templates_name_parameters_of_mounts_without_convertors(prefix: str, template: str) -> None:
    app = FastAPI(openapi_url=None)
    app.mount(prefix, Router([Route("/x", spy("x"))]))

    assert [route.template for route in RouteTable(app).all_routes()] == [template]
