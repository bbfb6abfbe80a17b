"""A view that raises django-ratelimit's ``Ratelimited`` gets Shield's 429."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from rest_framework.decorators import api_view
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from shield_django.decorators import rate_limit
from shield_django.testing import rate_limits
from tests.django_app.callers import Caller, error_of
from tests.django_app.conftest import HTML

ratelimited = pytest.importorskip("django_ratelimit.exceptions")
from django_ratelimit.decorators import ratelimit  # noqa: E402

THEIRS = ratelimit(key="ip", rate="1/h")


@pytest.fixture(autouse=True)
def _counts_begin_anew() -> None:
    from django.core.cache import cache

    cache.clear()


def group(name: str) -> Any:
    return ratelimit(key="ip", rate="1/h", group=name)


@group("plain")
def plain(request: Any) -> HttpResponse:
    return HttpResponse("ok")


async def raises_async(request: Any) -> HttpResponse:
    if request.headers.get("x-again"):
        raise ratelimited.Ratelimited
    return HttpResponse("ok")


class Classy(View):
    @method_decorator(group("classy"))
    def get(self, request: Any) -> HttpResponse:
        return HttpResponse("ok")


@group("above")
@api_view(["GET"])
def above(request: Any) -> Response:
    return Response({})


@api_view(["GET"])
@group("below")
def below(request: Any) -> Response:
    return Response({})


class Set(ViewSet):
    authentication_classes = ()

    @method_decorator(group("set"))
    def list(self, request: Any) -> Response:
        return Response({})


@method_decorator(group("dispatched"), name="dispatch")
class Dispatched(Set):
    def list(self, request: Any) -> Response:
        return Response({})


VIEWS = {
    "plain": plain,
    "async": raises_async,
    "classy": Classy.as_view(),
    "above": above,
    "below": below,
    "set": Set.as_view({"get": "list"}),
    "dispatched": Dispatched.as_view({"get": "list"}),
}


@pytest.mark.parametrize("name", VIEWS)
def test_it_becomes_our_429_with_our_body(client: Caller, urls: Any, name: str) -> None:
    urls(path("cart/", VIEWS[name]))

    assert client.status("/cart/") == 200
    blocked = client.get("/cart/", x_again="yes")
    assert blocked.status_code == 429
    error = error_of(blocked)
    assert (error["code"], error["path"]) in [
        ("RATE_LIMIT_EXCEEDED", path) for path in ("/cart/", "GET:/cart/")
    ]
    assert [error[name] for name in ("limit", "retry_after_seconds", "reset_at")] == [None] * 3
    assert blocked["Cache-Control"] == "no-store"
    assert "Retry-After" not in blocked


def test_people_get_a_page(client: Caller, urls: Any) -> None:
    urls(path("cart/", plain))
    client.get("/cart/")

    assert "<h1>Too many requests</h1>" in client.get("/cart/", accept=HTML).content.decode()


def test_an_answer_of_the_settings(client: Caller, urls: Any, settings: Any) -> None:
    settings.SHIELD_RESPONSES = {
        "rate_limited": lambda request, exc: HttpResponse(str(exc.limit), status=420)
    }
    urls(path("cart/", plain))
    client.get("/cart/")

    assert (client.get("/cart/").status_code, client.get("/cart/").content) == (420, b"None")


def test_a_limit_of_ours_beside_theirs(client: Caller, urls: Any) -> None:
    urls(path("cart/", rate_limit("5/366d")(plain)))

    with rate_limits():
        assert client.get("/cart/")["X-RateLimit-Remaining"] == "4"
        assert error_of(client.get("/cart/"))["limit"] is None


def test_it_is_no_problem_in_the_log(client: Caller, urls: Any, caplog: pytest.LogCaptureFixture) -> None:
    urls(path("cart/", plain))
    client.get("/cart/")
    client.get("/cart/")

    assert [one for one in caplog.records if one.name == "django.request"] == []


# -- what a project does by itself comes first -------------------------------------------------


def sorry(request: Any, exception: Exception) -> HttpResponse:
    return HttpResponse("sorry", status=429)


@pytest.mark.parametrize("outside", [True, False])
def test_the_projects_own_view_for_it(client: Caller, urls: Any, settings: Any, outside: bool) -> None:
    settings.RATELIMIT_VIEW = f"{__name__}.sorry"
    theirs = ["django_ratelimit.middleware.RatelimitMiddleware"]
    settings.MIDDLEWARE = theirs + settings.MIDDLEWARE if outside else settings.MIDDLEWARE + theirs
    urls(path("cart/", plain))
    client.get("/cart/")

    assert client.get("/cart/").content == b"sorry"


def own_handler(request: Any, exception: Exception) -> HttpResponse:
    if isinstance(exception, ratelimited.Ratelimited) and request.headers.get("x-knows"):
        return HttpResponse("slow down", status=429)
    return HttpResponse("forbidden", status=403)


def test_a_handler403_that_knows_it(client: Caller, urls: Any) -> None:
    urls(path("cart/", plain), handler403=own_handler)
    client.get("/cart/")

    assert client.get("/cart/", x_knows="yes").content == b"slow down"
    assert error_of(client.get("/cart/"))["code"] == "RATE_LIMIT_EXCEEDED"


def test_other_refusals_stay_as_they_are(client: Caller, urls: Any) -> None:
    def refuses(request: Any) -> HttpResponse:
        raise PermissionDenied

    @api_view(["GET"])
    def refuses_in_drf(request: Any) -> Response:
        raise PermissionDenied

    urls(path("plain/", refuses), path("drf/", refuses_in_drf), path("own/", refuses), handler403=own_handler)
    assert [client.status(url) for url in ("/plain/", "/drf/", "/own/")] == [403] * 3


def test_shield_does_not_need_it() -> None:
    code = (
        "import sys; sys.modules['django_ratelimit'] = None; "
        "from tests.project.wsgi import application; from django.test import RequestFactory; "
        "from django.test.client import Client; "
        "print(Client().get('/shop/').status_code, Client().get('/nowhere/').status_code)"
    )
    environment = {**os.environ, "SHIELD_BACKEND": "memory"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["200", "404"], done.stderr
