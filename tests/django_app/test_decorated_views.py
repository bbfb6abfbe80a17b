"""Stamps on views of every kind: the same object, found wherever they stand."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import pytest
from django.contrib.auth.decorators import login_not_required, login_required
from django.http import HttpResponse
from django.test import RequestFactory
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET
from rest_framework.decorators import action, api_view, permission_classes
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from shield_core.exceptions import InvalidInputError
from shield_django.decorators import deprecated, disabled, env_only, force_active, maintenance, rate_limit
from tests.django_app.callers import Caller, error_of

ALL = [
    maintenance(reason="x"),
    disabled(reason="x"),
    env_only("dev"),
    deprecated("2030-01-01"),
    force_active,
    rate_limit("1/minute"),
]


def fresh_view(request: Any = None, *args: Any, **kwargs: Any) -> Any:
    return HttpResponse("ran")


def copy_of(function: Any) -> Any:
    def view(request: Any = None, *args: Any, **kwargs: Any) -> Any:
        return function(request, *args, **kwargs)

    return view


@pytest.mark.parametrize("decorator", ALL)
def test_a_decorated_function_is_the_same_object_and_runs_when_called(decorator: Any) -> None:
    view = copy_of(fresh_view)

    assert decorator(view) is view
    assert view(RequestFactory().get("/")).content == b"ran"


async def test_a_decorated_coroutine_runs_when_called() -> None:
    @disabled()
    async def view(request: Any) -> HttpResponse:
        return HttpResponse("ran")

    assert (await view(None)).content == b"ran"


@pytest.mark.parametrize(
    "url, method, reason",
    [
        ("/maintenance/", "GET", "Database migration — back at 04:00 UTC"),
        ("/disabled/", "GET", "gone for good"),
        ("/whole/", "GET", "the whole class"),
        ("/whole/", "HEAD", "the whole class"),
        ("/inherits/", "GET", "the whole class"),
        ("/overrides/", "GET", "the subclass wins"),
        ("/one-method/", "POST", "no writes"),
        ("/dispatched/", "GET", "dispatched"),
        ("/listed/", "GET", "listed"),
        ("/report/", "GET", "reports are rebuilt"),
        ("/report/", "HEAD", "reports are rebuilt"),
        ("/function-api/", "GET", "above api_view"),
        ("/function-api/", "POST", "above api_view"),
        ("/api/items/1/", "DELETE", "no deletions"),
        ("/api/items/1/publish/", "POST", "publishing is off"),
        ("/members/", "GET", "members only"),
        ("/read-only/", "POST", "read only for now"),
    ],
)
def test_a_stamp_blocks(client: Caller, url: str, method: str, reason: str) -> None:
    response = client(method, url)

    assert response.status_code == 503
    if method != "HEAD":
        assert error_of(response)["reason"] == reason


@pytest.mark.parametrize(
    "url, method",
    [
        ("/one-method/", "GET"),
        ("/report/", "POST"),
        ("/api/items/", "GET"),
        ("/api/items/1/", "GET"),
        ("/read-only/", "GET"),
        ("/read-only/", "HEAD"),
        ("/open-gate/", "GET"),
        ("/health/", "GET"),
        ("/old/", "GET"),
    ],
)
def test_its_neighbours_run(client: Caller, url: str, method: str) -> None:
    assert client.status(url, method) == 200


OTHERS = [login_not_required, csrf_exempt, never_cache, require_GET]


@pytest.mark.parametrize("place", range(len(OTHERS) + 1))
def test_a_stamp_is_found_below_and_above_other_decorators(client: Caller, urls: Any, place: int) -> None:
    stack = [*OTHERS[:place], disabled(reason="stacked"), *OTHERS[place:]]
    urls(
        path("stacked/", functools.reduce(lambda view, decorate: decorate(view), stack, copy_of(fresh_view)))
    )

    assert error_of(client.get("/stacked/"))["reason"] == "stacked"


STACK = {
    "disabled": disabled(reason="disabled"),
    "maintenance": maintenance(reason="maintenance"),
    "env_only": env_only("dev"),
    "deprecated": deprecated("2030-01-01"),
}


@pytest.mark.parametrize("order", list(itertools.permutations(STACK)), ids="-".join)
def test_the_order_of_stacked_stamps_says_nothing(client: Caller, urls: Any, order: Any) -> None:
    views = [copy_of(fresh_view), type("V", (View,), {"get": lambda self, request: fresh_view()})]
    for name in order:
        views = [STACK[name](view) for view in views]
    urls(path("function/", views[0]), path("class/", views[1].as_view()))

    for url in ("/function/", "/class/"):
        assert error_of(client.get(url))["code"] == "ROUTE_DISABLED"


@pytest.mark.parametrize("order", [("maintenance", "env_only"), ("env_only", "maintenance")])
def test_a_class_and_its_method_add_up(client: Caller, urls: Any, order: Any) -> None:
    outer, inner = order

    @STACK[outer]
    class Both(View):
        @STACK[inner]
        def get(self, request: Any) -> HttpResponse:
            return fresh_view()

    urls(path("both/", Both.as_view()))

    assert error_of(client.get("/both/"))["code"] == "MAINTENANCE_MODE"


@pytest.mark.parametrize(
    "decorators",
    [
        pytest.param([method_decorator(disabled(reason="m"), name="get")], id="one"),
        pytest.param([method_decorator([never_cache, disabled(reason="m")], name="get")], id="a list"),
        pytest.param(
            [method_decorator([disabled(reason="m"), never_cache], name="get")], id="a list, reversed"
        ),
        pytest.param([method_decorator(disabled(reason="m"), name="dispatch")], id="dispatch"),
        pytest.param([disabled(reason="m")], id="the class itself"),
    ],
)
@pytest.mark.parametrize("base", [View, APIView])
def test_method_decorator_carries_stamps(client: Caller, urls: Any, base: Any, decorators: Any) -> None:
    class Handler(base):  # type: ignore[misc]
        def get(self, request: Any) -> HttpResponse:
            return HttpResponse("ran")

        def post(self, request: Any) -> HttpResponse:
            return HttpResponse("ran")

    view = functools.reduce(lambda found, decorate: decorate(found), decorators, Handler)
    urls(path("handler/", view.as_view()))

    assert error_of(client.get("/handler/"))["reason"] == "m"


@pytest.mark.parametrize("base", [View, APIView])
def test_an_async_method_of_a_class(client: Caller, urls: Any, base: Any) -> None:
    class Handler(View):
        @maintenance(reason="async")
        async def get(self, request: Any) -> HttpResponse:
            return HttpResponse("ran")

        async def post(self, request: Any) -> HttpResponse:
            return HttpResponse("ran")

    urls(path("handler/", csrf_exempt(Handler.as_view())))

    assert (client.status("/handler/"), client.status("/handler/", "POST")) == (503, 200)


def test_a_stamp_on_the_result_of_as_view(client: Caller, urls: Any) -> None:
    class Handler(View):
        def get(self, request: Any) -> HttpResponse:
            return fresh_view()

    urls(path("stamped/", disabled()(Handler.as_view())), path("plain/", Handler.as_view()))

    assert (client.status("/stamped/"), client.status("/plain/")) == (503, 200)


def test_a_partial_carries_the_stamp_of_its_function(client: Caller, urls: Any) -> None:
    urls(path("partial/", functools.partial(disabled()(copy_of(fresh_view)))))

    assert client.status("/partial/") == 503


def test_view_sets(client: Caller, urls: Any) -> None:
    @maintenance(reason="the whole set")
    class Stamped(ViewSet):
        permission_classes = (AllowAny,)

        def list(self, request: Any) -> Response:
            return Response([])

    class ByMethod(ViewSet):
        authentication_classes = ()

        def list(self, request: Any) -> Response:
            return Response([])

        @disabled(reason="creation is off")
        def create(self, request: Any) -> Response:
            return Response([])

        @disabled(reason="one verb of an action")
        @action(detail=False, methods=["post", "put"])
        def bulk(self, request: Any) -> Response:
            return Response([])

        @bulk.mapping.delete
        def clear(self, request: Any) -> Response:
            return Response([])

    router = SimpleRouter()
    router.register("stamped", Stamped, basename="stamped")
    router.register("by-method", ByMethod, basename="by-method")
    urls(*router.urls)

    assert client.status("/stamped/") == 503
    assert client.status("/by-method/") == 200
    assert error_of(client.post("/by-method/"))["reason"] == "creation is off"
    assert error_of(client("PUT", "/by-method/bulk/"))["reason"] == "one verb of an action"
    assert client.status("/by-method/bulk/", "DELETE") == 200


def test_a_stamp_below_api_view(client: Caller, urls: Any) -> None:
    """Named check ``shield.W…`` tells of ``@api_view`` above a stamp; where it can be read, it counts."""

    @disabled(reason="above")
    @api_view(["GET"])
    @permission_classes([AllowAny])
    def above(request: Any) -> Response:
        return Response("ran")

    urls(path("above/", above))

    assert client.status("/above/") == 503


def test_login_required_outside_asks_for_the_login_first_or_says_503(client: Caller, urls: Any) -> None:
    urls(path("members/", login_required(maintenance(reason="closed")(copy_of(fresh_view)))))

    assert error_of(client.get("/members/"))["reason"] == "closed"


@pytest.mark.parametrize("decorator", [disabled(), maintenance(), env_only("dev"), force_active])
def test_a_bound_method_or_a_builtin_is_refused_with_the_way_out(decorator: Any) -> None:
    class Owner:
        def view(self, request: Any) -> None: ...

    for candidate in (Owner().view, len):
        with pytest.raises(InvalidInputError, match="where it is defined"):
            decorator(candidate)


def test_one_view_at_two_urls_is_stamped_at_both(client: Caller, urls: Any) -> None:
    view = disabled()(copy_of(fresh_view))
    urls(path("one/", view), path("two/", view))

    assert (client.status("/one/"), client.status("/two/")) == (503, 503)
