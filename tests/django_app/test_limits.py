"""Rate limits of requests to Django, in sync and in async mode."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.test import Client
from django.urls import path
from django.views.decorators.cache import cache_page

from shield_core.exceptions import RouteDisabledException
from shield_django import engine
from shield_django.decorators import disabled, force_active, maintenance, rate_limit
from shield_django.testing import rate_limits
from tests.django_app.callers import Caller, error_of
from tests.django_app.conftest import ASYNC_ONLY, HTML
from tests.django_app.limited import LIMIT, PerMethod, answer, limited, limited_async


@pytest.fixture(autouse=True)
def _limits_apply() -> Any:
    with rate_limits():
        yield


def remaining(response: Any) -> int | None:
    found = response.headers.get("X-RateLimit-Remaining")
    return None if found is None else int(found)


def statuses(client: Caller, *paths: str, **options: Any) -> list[int]:
    return [client.status(one, **options) for one in paths]


# -- what callers see --------------------------------------------------------------------------


def test_the_third_of_two_is_429(client: Caller, urls: Any) -> None:
    urls(path("cart/", limited("2/minute")))

    allowed = client.get("/cart/")
    assert allowed.status_code == 200
    assert [allowed[name] for name in LIMIT[:2]] == ["2", "1"]
    assert 0 <= int(allowed["X-RateLimit-Reset"]) - time.time() <= 61
    assert client.status("/cart/") == 200

    blocked = client.get("/cart/")
    assert blocked.status_code == 429
    assert blocked["Content-Type"] == "application/json"
    assert blocked["Cache-Control"] == "no-store"
    assert [blocked[name] for name in LIMIT[:2]] == ["2", "0"]
    error = error_of(blocked)
    assert list(error) == ["code", "message", "limit", "retry_after_seconds", "reset_at", "path"]
    assert (error["code"], error["message"]) == ("RATE_LIMIT_EXCEEDED", "Too many requests")
    assert (error["limit"], error["path"]) == ("2/minute", "/cart/")
    assert 1 <= error["retry_after_seconds"] == int(blocked["Retry-After"]) <= 60


def test_async_views_too(client: Caller, urls: Any) -> None:
    urls(path("cart/", limited_async()))

    assert statuses(client, *["/cart/"] * 3) == [200, 200, 429]


def test_people_get_a_page(client: Caller, urls: Any) -> None:
    urls(path("cart/", limited("1/366d")))
    client.get("/cart/")

    blocked = client.get("/cart/", accept=HTML)
    assert blocked.status_code == 429
    assert "<h1>Too many requests</h1>" in blocked.content.decode()
    assert f"Please try again in {blocked['Retry-After']} second" in blocked.content.decode()


def test_an_answer_of_the_decorators_own(client: Caller, urls: Any) -> None:
    def calm_down(request: Any, exc: Any) -> HttpResponse:
        return HttpResponse(f"{exc.limit}, {exc.remaining} left", status=420)

    urls(path("cart/", limited("1/366d", response=calm_down)))
    client.get("/cart/")

    blocked = client.get("/cart/")
    assert (blocked.status_code, blocked.content) == (420, b"1/366d, 0 left")


async def calm_down_async(request: Any, exc: Any) -> HttpResponse:
    return HttpResponse(f"{exc.limit}", status=420)


def test_an_answer_of_the_settings(client: Caller, urls: Any, settings: Any) -> None:
    settings.SHIELD_RESPONSES = {"rate_limited": f"{__name__}.calm_down_async"}
    urls(path("cart/", limited("1/366d")))
    client.get("/cart/")

    assert client.get("/cart/").content == b"1/366d"


def test_a_view_may_set_the_headers_itself(client: Caller, urls: Any) -> None:
    @rate_limit("5/366d")
    def view(request: Any) -> HttpResponse:
        return HttpResponse(headers={"X-RateLimit-Limit": "its own"})

    urls(path("cart/", view))
    assert client.get("/cart/")["X-RateLimit-Limit"] == "its own"


def test_the_headers_of_the_ietf_draft(client: Caller, urls: Any, settings: Any) -> None:
    settings.SHIELD_DRAFT_HEADERS = True
    urls(path("cart/", limited("5/minute")))

    allowed = client.get("/cart/")
    assert allowed["RateLimit-Policy"] == '"route";q=5;w=60'
    assert allowed["RateLimit"].startswith('"route";r=4;t=')


def test_a_blocked_request_is_logged_once_and_not_as_a_problem(
    client: Caller, urls: Any, caplog: pytest.LogCaptureFixture
) -> None:
    urls(path("cart/", limited("1/366d")))
    caplog.set_level("INFO")
    statuses(client, "/cart/", "/cart/")

    (record,) = [one for one in caplog.records if one.name in ("shield.blocked", "django.request")]
    assert (record.name, record.levelname, record.cause) == ("shield.blocked", "INFO", "rate_limited")


def test_a_blocked_request_is_in_the_log_of_hits(client: Caller, urls: Any, operator: Any) -> None:
    urls(path("cart/<int:pk>/", limited("1/366d")))
    statuses(client, "/cart/1/", "/cart/2/")

    (hit,) = operator.get_rate_limit_hits()
    assert (hit.path, hit.method, hit.key, hit.limit) == ("/cart/{pk}/", "GET", "127.0.0.1", "1/366d")


# -- which limits ------------------------------------------------------------------------------


def test_one_limit_for_all_urls_of_a_route(client: Caller, urls: Any) -> None:
    urls(path("items/<int:pk>/", limited()))

    assert statuses(client, "/items/1/", "/items/2/", "/items/3/") == [200, 200, 429]


def test_methods_of_a_class_have_limits_of_their_own(client: Caller, urls: Any) -> None:
    urls(path("cart/", PerMethod.as_view()))

    assert statuses(client, "/cart/", "/cart/") == [200, 429]
    assert remaining(client.post("/cart/")) is None
    assert client.status("/cart/", "POST") == 200


def test_head_counts_as_get(client: Caller, urls: Any) -> None:
    urls(path("cart/", PerMethod.as_view()))

    assert [client.status("/cart/", "HEAD"), client.status("/cart/", "GET")] == [200, 429]


def test_an_operator_sets_changes_and_deletes_a_limit(client: Caller, urls: Any, operator: Any) -> None:
    urls(path("cart/", limited("100/366d")), path("free/", answer))
    operator.set_rate_limit_policy("/cart/", None, "1/366d")
    operator.set_rate_limit_policy("/free/", None, "1/366d")

    assert statuses(client, "/cart/", "/cart/", "/free/", "/free/") == [200, 429, 200, 429]
    operator.delete_rate_limit_policy("/free/", None)
    operator.delete_rate_limit_policy("/cart/", None)
    assert statuses(client, "/free/", "/cart/") == [200, 200]


def test_all_limits_are_taken_or_none(client: Caller, urls: Any, operator: Any, settings: Any) -> None:
    settings.SHIELD_SERVICE = "shop"
    urls(path("cart/", limited("1/366d")), path("free/", answer))
    operator.set_global_rate_limit("4/366d")
    operator.set_service_rate_limit("shop", "3/366d")

    assert remaining(client.get("/cart/")) == 0
    assert [client.status("/cart/") for _ in range(5)] == [429] * 5
    assert [remaining(client.get("/free/")) for _ in range(2)] == [1, 0]
    assert error_of(client.get("/free/"))["limit"] == "3/366d"


def test_force_active_passes_wide_limits_but_not_its_own(client: Caller, urls: Any, operator: Any) -> None:
    urls(path("health/", force_active(answer_of_its_own())), path("own/", force_active(limited("1/366d"))))
    operator.set_global_rate_limit("1/366d")

    assert statuses(client, "/health/", "/health/", "/own/", "/own/") == [200, 200, 200, 429]


def answer_of_its_own() -> Any:
    return lambda request: HttpResponse("ok")


def test_what_is_blocked_otherwise_is_not_charged(client: Caller, urls: Any, operator: Any) -> None:
    urls(path("cart/", maintenance(reason="x")(limited("1/366d"))))
    assert statuses(client, "/cart/", "/cart/") == [503, 503]

    operator.enable("/cart/")
    assert client.status("/cart/") == 200


def test_shadow_blocks_nobody(client: Caller, urls: Any, operator: Any) -> None:
    urls(path("cart/", limited("1/366d", shadow=True)))

    assert statuses(client, *["/cart/"] * 3) == [200] * 3
    assert len(operator.get_rate_limit_hits()) == 2


def test_exempt_routes(client: Caller, urls: Any, operator: Any) -> None:
    urls(path("cart/", answer))
    operator.set_global_rate_limit("1/366d", exempt_routes=["/cart", "GET:/nowhere"])

    assert statuses(client, *["/cart/"] * 3, *["/nowhere/"] * 2) == [200, 200, 200, 404, 404]
    assert [client.status("/elsewhere/"), client.status("/elsewhere/")] == [404, 429]


# -- each request is charged once --------------------------------------------------------------


def raises_404(request: Any) -> HttpResponse:
    raise Http404


def redirects(request: Any) -> HttpResponse:
    return HttpResponseRedirect("/elsewhere/")


def fails(request: Any) -> HttpResponse:
    raise PermissionError("a bug")


class AnswersItself:
    """A middleware that answers some requests before any view is found."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        if status := request.GET.get("answer"):
            return HttpResponse("by a middleware", status=int(status))
        return self.get_response(request)


@pytest.mark.parametrize(
    "url, status",
    [
        ("/cart/", 200),
        ("/raises/", 404),
        ("/redirects/", 302),
        ("/nowhere/", 404),
        ("/cart", 301),
        ("/cart/?answer=200", 200),
        ("/cart/?answer=401", 401),
        ("/nowhere/?answer=302", 302),
    ],
)
def test_whoever_answers_a_request_is_charged_once(
    client: Caller, urls: Any, operator: Any, settings: Any, url: str, status: int
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.AnswersItself"]
    urls(path("cart/", answer), path("raises/", raises_404), path("redirects/", redirects))
    operator.set_global_rate_limit("3/366d")

    answers = [client.get(url) for _ in range(4)]
    assert [one.status_code for one in answers] == [status, status, status, 429]
    assert [remaining(one) for one in answers] == [2, 1, 0, 0]


def test_a_view_that_fails_is_charged_once(client: Caller, urls: Any, operator: Any) -> None:
    urls(path("fails/", fails))
    operator.set_global_rate_limit("2/366d")
    client.client.raise_request_exception = False

    assert statuses(client, *["/fails/"] * 3) == [500, 500, 429]


def test_a_cached_page_is_charged_as_its_route(client: Caller, urls: Any) -> None:
    urls(path("cart/", rate_limit("2/366d")(cache_page(60)(answer_of_its_own()))))

    assert statuses(client, *["/cart/"] * 3) == [200, 200, 429]


def test_an_own_limit_counts_what_a_middleware_answers(client: Caller, urls: Any, settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.AnswersItself"]
    urls(path("cart/", limited("2/366d")))

    assert statuses(client, *["/cart/?answer=401"] * 3) == [401, 401, 429]


def test_a_middleware_that_is_installed_twice_charges_once(client: Caller, urls: Any, settings: Any) -> None:
    settings.MIDDLEWARE = [*ASYNC_ONLY, *settings.MIDDLEWARE]
    urls(path("cart/", limited()))

    assert statuses(client, *["/cart/"] * 3, *["/nowhere/"] * 2) == [200, 200, 429, 404, 404]


def test_preflights_are_never_limited(client: Caller, urls: Any, operator: Any) -> None:
    urls(path("cart/", limited("1/366d")))
    operator.set_global_rate_limit("1/366d")
    asked = {"origin": "https://elsewhere.example", "access_control_request_method": "GET"}

    assert [client.status("/cart/", "OPTIONS", **asked) for _ in range(3)] == [200] * 3
    assert [client.status("/nowhere/", "OPTIONS", **asked) for _ in range(3)] == [404] * 3
    assert client.status("/cart/") == 200


def test_what_is_always_open_is_never_limited(
    client: Caller, urls: Any, operator: Any, settings: Any
) -> None:
    settings.SHIELD_EXEMPT = ["/metrics", "/no-route"]
    urls(path("metrics/", answer), path("cart/", answer))
    operator.set_global_rate_limit("1/366d")

    assert statuses(client, *["/metrics/"] * 3) == [200] * 3
    assert statuses(client, *["/no-route/"] * 3) == [404] * 3
    assert statuses(client, *["/static/logo.png"] * 3) == [404] * 3
    assert statuses(client, "/cart/", "/cart/") == [200, 429]


def test_a_closed_gate_is_an_unknown_url_for_limits_too(client: Caller, urls: Any, operator: Any) -> None:
    from shield_django.decorators import env_only

    urls(path("gated/", env_only("dev")(limited("1/366d"))))
    operator.set_global_rate_limit("3/366d")

    gated, unknown = client.get("/gated/"), client.get("/unknown/")
    assert gated.status_code == unknown.status_code == 404
    assert (remaining(gated), remaining(unknown)) == (2, 1)
    assert statuses(client, "/gated", "/gated/") == [404, 429]
    assert error_of(client.get("/gated/"))["path"] == "GET:/gated/"


# -- threads -----------------------------------------------------------------------------------


def test_eight_threads_never_get_more_than_the_limit(urls: Any) -> None:
    urls(path("cart/", limited("40/hour")))
    assert Client().get("/cart/").status_code == 200
    together = threading.Barrier(8)

    def requests(_: int) -> list[int]:
        client = Client()
        together.wait()
        return [client.get("/cart/").status_code for _ in range(10)]

    with ThreadPoolExecutor(8) as pool:
        found = [status for some in pool.map(requests, range(8)) for status in some]
    assert (found.count(200), found.count(429)) == (39, 41)


def test_no_thread_is_entered_for_a_simple_limit_in_async_mode(urls: Any, settings: Any) -> None:
    from django.test import AsyncClient

    settings.MIDDLEWARE = ASYNC_ONLY
    seen = []

    async def view(request: Any) -> HttpResponse:
        seen.append(threading.get_ident())
        return HttpResponse("ok")

    urls(path("cart/", rate_limit("1/366d")(view)))

    async def both() -> list[int]:
        client = AsyncClient()
        seen.append(threading.get_ident())
        return [(await client.get("/cart/")).status_code for _ in range(2)]

    assert asyncio.run(both()) == [200, 429]
    assert len(set(seen)) == 1


# -- in tests of a project ---------------------------------------------------------------------


def test_limits_are_off_in_tests_that_are_not_about_them(client: Caller, urls: Any) -> None:
    from shield_django import project

    urls(path("cart/", limited("1/366d")))
    project._limits_in_tests, before = 0, project._limits_in_tests
    try:
        answers = [client.get("/cart/") for _ in range(3)]
        assert [(one.status_code, remaining(one)) for one in answers] == [(200, None)] * 3
        with rate_limits():
            assert statuses(client, "/cart/", "/cart/") == [200, 429]
        assert client.status("/cart/") == 200
    finally:
        project._limits_in_tests = before


@rate_limits()
async def test_the_tool_decorates_coroutines(urls: Any) -> None:
    from django.test import AsyncClient

    urls(path("cart/", limited("1/366d")))
    assert [(await AsyncClient().get("/cart/")).status_code for _ in range(2)] == [200, 429]


@pytest.mark.parametrize("turn", [1, 2])
def test_counts_begin_anew_with_each_test(client: Caller, urls: Any, turn: int) -> None:
    urls(path("cart/", limited("1/366d")))
    assert statuses(client, "/cart/", "/cart/") == [200, 429]


def test_a_reset_lets_callers_begin_anew(client: Caller, urls: Any, operator: Any) -> None:
    urls(path("cart/", limited("1/366d")), path("carts/", limited("1/366d")))
    assert statuses(client, "/cart/", "/carts/", "/cart/") == [200, 200, 429]

    operator.reset_rate_limit("/cart/")
    assert statuses(client, "/cart/", "/carts/") == [200, 429]


def test_a_view_knows_what_is_left(client: Caller, urls: Any) -> None:
    @rate_limit("5/366d")
    def view(request: Any) -> HttpResponse:
        return HttpResponse(json.dumps(request.shield_outcome.remaining))

    urls(path("cart/", view))
    assert [client.get("/cart/").content for _ in range(2)] == [b"4", b"3"]


def test_the_engine_is_that_of_the_requests(client: Caller, urls: Any) -> None:
    urls(path("cart/", limited("1/366d")))
    client.get("/cart/")
    assert not engine.sync.check("/cart/", "GET", {"ip": "192.0.2.1"}).remaining


def test_check_knows_the_code_before_the_first_request(urls: Any) -> None:
    urls(path("cart/", limited("1/366d")), path("gone/", disabled("sold")(lambda request: HttpResponse())))

    assert engine.sync.check("/cart/", "GET", {"ip": "192.0.2.1"}).limit == 1
    with pytest.raises(RouteDisabledException):
        engine.sync.check("/gone/", "GET")
