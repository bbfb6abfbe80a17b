"""``ShieldThrottle``: Shield's limits of a route, or limits of its own, as a throttle class of DRF."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.urls import path
from rest_framework.decorators import api_view, permission_classes, throttle_classes
from rest_framework.response import Response
from rest_framework.routers import DefaultRouter
from rest_framework.test import APIRequestFactory
from rest_framework.throttling import AnonRateThrottle
from rest_framework.viewsets import ViewSet

from shield_django.decorators import rate_limit
from shield_django.testing import rate_limits
from shield_django.throttling import ShieldThrottle
from tests.django_app.callers import Caller, error_of
from tests.django_app.limited import Api, SignedToken

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _limits_apply() -> Any:
    with rate_limits():
        yield


asked: list[str] = []


class Counting(SignedToken):
    """Counts how often somebody authenticates."""

    def authenticate(self, request: Any) -> Any:
        asked.append(request.method)
        return super().authenticate(request)


@pytest.fixture(autouse=True)
def _nobody_has_asked() -> None:
    asked.clear()


class Throttled(Api):
    authentication_classes = (Counting,)
    throttle_classes = (ShieldThrottle,)

    @rate_limit("2/366d", key="user")
    def get(self, request: Any) -> Response:
        return Response({"user": request.user.username})

    @rate_limit("2/366d", key=lambda request: request.user.username)
    def put(self, request: Any) -> Response:
        return Response({"user": request.user.username})

    def post(self, request: Any) -> Response:
        return Response({})


def signed(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {name}.signed"}


def remaining(answers: list[Any]) -> list[str | None]:
    return [one.headers.get("X-RateLimit-Remaining") for one in answers]


# -- the limits of the route -------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_the_routes_limits_are_taken_where_the_user_is_known(client: Caller, urls: Any, method: str) -> None:
    urls(path("cart/", Throttled.as_view()))

    answers = [client(method, "/cart/", **signed("ann")) for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert remaining(answers) == ["1", "0", "0"]
    assert len(asked) == 3  # once a request
    assert error_of(answers[2])["limit"] == "2/366d"
    assert 1 <= int(answers[2]["Retry-After"]) <= 366 * 86400
    assert client.status("/cart/", method, **signed("robert")) == 200


def test_wide_limits_are_taken_there_too_and_once(client: Caller, urls: Any, operator: Any) -> None:
    urls(path("cart/", Throttled.as_view()))
    operator.set_global_rate_limit("3/366d")

    answers = [client.post("/cart/", **signed("ann")) for _ in range(4)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429]
    assert remaining(answers) == ["2", "1", "0", "0"]


def test_those_whom_the_view_refuses_are_charged_as_well(client: Caller, urls: Any, operator: Any) -> None:
    urls(path("cart/", Throttled.as_view()))
    operator.set_global_rate_limit("3/366d")

    answers = [client.get("/cart/", authorization="Bearer ann.forged") for _ in range(5)]
    assert [one.status_code for one in answers] == [401, 401, 401, 429, 429]
    assert remaining(answers)[:3] == ["2", "1", "0"]


def test_an_answer_of_the_decorators_own(client: Caller, urls: Any) -> None:
    class Calm(Throttled):
        @rate_limit("1/366d", response=lambda request, exc: HttpResponse(exc.limit, status=420))
        def get(self, request: Any) -> Response:
            return Response({})

    urls(path("cart/", Calm.as_view()))
    assert [client.status("/cart/", **signed("ann")) for _ in range(2)] == [200, 420]


def test_on_functions_and_viewsets(client: Caller, urls: Any) -> None:
    @rate_limit("1/366d", key="user", on_missing_key="fallback_ip")
    @api_view(["GET"])
    @throttle_classes([ShieldThrottle])
    @permission_classes([])
    def function(request: Any) -> Response:
        return Response({})

    class Set(ViewSet):
        authentication_classes = (Counting,)
        throttle_classes = (ShieldThrottle,)

        @rate_limit("1/366d", key="user")
        def list(self, request: Any) -> Response:
            return Response({})

    router = DefaultRouter()
    router.register("set", Set, basename="set")
    urls(path("function/", function), *router.urls)
    for url in ("/function/", "/set/"):
        assert [client.status(url, **signed("ann")) for _ in range(2)] == [200, 429]
    assert len(asked) == 2


def test_a_view_that_never_asks_its_throttles_is_charged_and_not_undone(client: Caller, urls: Any) -> None:
    class Forgetful(Throttled):
        def check_throttles(self, request: Any) -> None:
            pass

    urls(path("cart/", Forgetful.as_view()))
    answers = [client.get("/cart/", **signed("ann")) for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 200]
    assert remaining(answers)[:2] == ["1", "0"]


def test_it_does_nothing_on_a_view_without_limits(client: Caller, urls: Any) -> None:
    urls(path("cart/", Throttled.as_view()))

    answers = [client.post("/cart/", **signed("ann")) for _ in range(3)]
    assert remaining(answers) == [None] * 3


def test_beside_a_throttle_of_drf(client: Caller, urls: Any) -> None:
    from django.core.cache import cache

    cache.clear()

    class Strangers(AnonRateThrottle):
        rate = "1/min"

    class Both(Throttled):
        permission_classes = ()
        throttle_classes = (Strangers, ShieldThrottle)

    urls(path("cart/", Both.as_view()))
    assert [client.status("/cart/") for _ in range(2)] == [200, 429]
    assert [client.status("/cart/", **signed("ann")) for _ in range(3)] == [200, 200, 429]


# -- a limit of its own ------------------------------------------------------------------------


def view_with(throttle: Any, **names: Any) -> Any:
    class View(Api):
        authentication_classes = (Counting,)
        permission_classes = ()
        throttle_classes = (throttle,)

        def get(self, request: Any, **kwargs: Any) -> Response:
            return Response({})

    return type("View", (View,), names).as_view()


def test_a_rate_of_its_own_by_user_or_else_by_address(client: Caller, urls: Any) -> None:
    class Burst(ShieldThrottle):
        rate = "2/minute"

    urls(path("cart/", view_with(Burst)), path("other/", view_with(Burst)))
    answers = [client.get("/cart/", **signed("ann")) for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert remaining(answers) == ["1", "0", "0"]
    assert json.loads(answers[2].content)["detail"].startswith("Request was throttled.")
    assert 1 <= int(answers[2]["Retry-After"]) <= 60
    assert client.status("/other/", **signed("ann")) == 429  # as in DRF: one count for all its views
    assert [client.status("/cart/") for _ in range(3)] == [200, 200, 429]


def test_a_scope_of_the_settings(client: Caller, urls: Any, settings: Any) -> None:
    class Uploads(ShieldThrottle):
        scope = "uploads"

    class Downloads(ShieldThrottle):
        scope = "downloads"

    settings.REST_FRAMEWORK = {"DEFAULT_THROTTLE_RATES": {"uploads": "1/day", "downloads": None}}
    urls(path("up/", view_with(Uploads)), path("down/", view_with(Downloads)))

    assert [client.status("/up/") for _ in range(2)] == [200, 429]
    assert [client.status("/down/") for _ in range(3)] == [200] * 3


@pytest.mark.parametrize("names", [{"scope": "nowhere"}, {"rate": "much"}, {"rate": "1/s", "algorithm": "x"}])
def test_a_wrong_rate_is_one_clear_error(names: Any) -> None:
    wrong = type("Wrong", (ShieldThrottle,), names)
    request = APIRequestFactory().get("/")

    with pytest.raises(ImproperlyConfigured, match="Wrong"):
        view_with(wrong)(request)


@pytest.mark.parametrize(
    "key, first, second, third",
    [
        ("ip", signed("ann"), signed("robert"), 429),
        ("global", signed("ann"), {}, 429),
        ("api_key", {"x_api_key": "one"}, {"x_api_key": "two"}, 200),
        (lambda request: request.user.username or None, signed("ann"), signed("robert"), 200),
    ],
)
def test_keys(client: Caller, urls: Any, key: Any, first: Any, second: Any, third: int) -> None:
    own = type(
        "Own", (ShieldThrottle,), {"rate": "1/minute", "key": staticmethod(key) if callable(key) else key}
    )

    urls(path("cart/", view_with(own)))
    assert [client.status("/cart/", **first) for _ in range(2)] == [200, 429]
    assert client.status("/cart/", **second) == third


def test_get_cache_key_of_a_throttle_that_was_drfs(client: Caller, urls: Any) -> None:
    class ByTenant(ShieldThrottle):
        rate = "1/minute"

        def get_cache_key(self, request: Any, view: Any) -> str | None:
            return request.headers.get("x-tenant")

    urls(path("cart/", view_with(ByTenant)))
    assert [client.status("/cart/", x_tenant="one") for _ in range(2)] == [200, 429]
    assert client.status("/cart/", x_tenant="two") == 200
    assert [client.status("/cart/") for _ in range(2)] == [200, 200]


def test_algorithm_and_burst(client: Caller, urls: Any) -> None:
    class Bucket(ShieldThrottle):
        rate = "1/hour"
        algorithm = "token_bucket"
        burst = 2

    urls(path("cart/", view_with(Bucket)))
    answers = [client.get("/cart/") for _ in range(4)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429]
    assert answers[0]["X-RateLimit-Limit"] == "3"


def test_the_tightest_of_several_limits_speaks(client: Caller, urls: Any, operator: Any) -> None:
    class Own(ShieldThrottle):
        rate = "5/minute"

    urls(path("cart/", view_with(Own)))
    operator.set_global_rate_limit("9/366d")
    assert client.get("/cart/")["X-RateLimit-Limit"] == "5"
    operator.set_global_rate_limit("2/366d")
    assert client.get("/cart/")["X-RateLimit-Limit"] == "2"


def test_its_hits_are_in_the_log(client: Caller, urls: Any, operator: Any) -> None:
    class Own(ShieldThrottle):
        rate = "1/minute"
        scope = "own"

    urls(path("cart/<int:pk>/", view_with(Own)))
    for pk in (1, 2):
        client.get(f"/cart/{pk}/")
    (hit,) = operator.get_rate_limit_hits()
    assert (hit.path, hit.scope) == ("/cart/{pk}/", "throttle own")


def test_without_the_middleware(urls: Any) -> None:
    class Own(ShieldThrottle):
        rate = "1/minute"

    request = APIRequestFactory().get("/cart/")
    view = view_with(Own)
    assert [view(request).status_code for _ in range(2)] == [200, 429]
    assert view_with(ShieldThrottle)(request).status_code == 200


def test_it_is_off_in_tests_that_are_not_about_limits(client: Caller, urls: Any) -> None:
    from shield_django import project

    class Own(ShieldThrottle):
        rate = "1/minute"

    urls(path("cart/", view_with(Own)), path("route/", Throttled.as_view()))
    project._limits_in_tests, before = 0, project._limits_in_tests
    try:
        for url in ("/cart/", "/route/"):
            assert [client.status(url, **signed("ann")) for _ in range(3)] == [200] * 3
    finally:
        project._limits_in_tests = before


def test_a_rate_or_a_scope_makes_it_a_throttle_of_its_own() -> None:
    assert ShieldThrottle.takes_limits_of_routes()
    assert not type("Own", (ShieldThrottle,), {"scope": "own"}).takes_limits_of_routes()
