"""Maintenance of everything and of a service, windows, read-only, HEAD, preflights, unknown URLs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.http import HttpResponse
from django.urls import path
from django.views import View

from shield_core.models import MaintenanceWindow
from shield_django.decorators import disabled, force_active, maintenance
from tests.conftest import eventually
from tests.django_app.callers import Caller, error_of


def window(start: float, end: float, **more: Any) -> MaintenanceWindow:
    """A window from ``start`` to ``end``, in seconds from now."""
    now = datetime.now(UTC)
    return MaintenanceWindow(start=now + timedelta(seconds=start), end=now + timedelta(seconds=end), **more)


# -- everything, a service -----------------------------------------------------------------


def test_global_maintenance_closes_everything(client: Caller, operator: Any) -> None:
    operator.enable_global_maintenance(reason="moving house")

    for url in ("/shop/", "/payments/", "/api/items/", "/de/info/", "/disabled/"):
        assert error_of(client.get(url))["reason"] == "moving house"
    assert client.status("/health/") == 200

    operator.disable_global_maintenance()
    assert client.status("/shop/") == 200


def test_it_may_include_force_active(client: Caller, operator: Any) -> None:
    operator.enable_global_maintenance(include_force_active=True)

    assert client.status("/health/") == 503


@pytest.mark.parametrize("entry", ["/shop/cart/", "/shop/cart", "GET:/shop/cart", "GET:/shop/cart/"])
def test_exempt_paths_of_global_maintenance(client: Caller, operator: Any, entry: str) -> None:
    operator.enable_global_maintenance(exempt_paths=[entry])

    assert client.status("/shop/cart/") == client.status("/shop/cart/", "HEAD") == 200
    assert client.status("/shop/") == 503
    assert client.status("/shop/cart/", "POST") == (503 if entry.startswith("GET") else 200)


def test_exempt_from_global_is_not_exempt_from_service_maintenance(
    client: Caller, settings: Any, operator: Any
) -> None:
    settings.SHIELD_SERVICE = "shop"
    operator.enable_global_maintenance(reason="global", exempt_paths=["/shop/cart/"])
    operator.enable_service_maintenance("shop", reason="service", exempt_paths=["/shop/"])

    assert error_of(client.get("/shop/cart/"))["reason"] == "service"
    assert error_of(client.get("/shop/"))["reason"] == "global"


def test_another_services_maintenance_is_not_ours(client: Caller, settings: Any, operator: Any) -> None:
    settings.SHIELD_SERVICE = "shop"
    operator.enable_service_maintenance("billing")

    assert client.status("/shop/") == 200


def test_exempt_from_maintenance_is_not_exempt_from_the_routes_own_state(
    client: Caller, operator: Any
) -> None:
    operator.enable_global_maintenance(exempt_paths=["/disabled/"])

    assert error_of(client.get("/disabled/"))["code"] == "ROUTE_DISABLED"


# -- unknown URLs --------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["/nowhere/", "/nowhere", "/shop//x", "/shop/items/no-number/"])
def test_an_unknown_url_under_global_maintenance(client: Caller, operator: Any, url: str) -> None:
    assert client.status(url) == 404
    operator.enable_global_maintenance(reason="all")

    response = client.get(url)

    assert response.status_code == 503
    assert error_of(response) == {
        "code": "MAINTENANCE_MODE",
        "message": "This endpoint is temporarily unavailable",
        "reason": "all",
        "path": f"GET:{url}",
        "retry_after": None,
    }


def test_a_404_that_a_view_made_is_the_views(client: Caller, urls: Any, operator: Any) -> None:
    urls(path("exempt/", lambda request: HttpResponse("mine", status=404)))
    operator.enable_global_maintenance(exempt_paths=["/exempt/"])

    assert client.get("/exempt/").content == b"mine"


def cached(settings: Any) -> None:
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE[:2],
        "django.middleware.cache.UpdateCacheMiddleware",
        *settings.MIDDLEWARE[2:],
        "django.middleware.cache.FetchFromCacheMiddleware",
    ]
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    cache.clear()


@pytest.mark.parametrize("change", ["the route", "everything"])
def test_a_page_from_the_cache_is_blocked_too(
    client: Caller, settings: Any, urls: Any, operator: Any, change: str
) -> None:
    """Django's cache middleware answers without resolving the URL."""
    cached(settings)
    seen = []
    urls(path("page/<int:pk>/", lambda request, pk: HttpResponse(f"page {seen.append(pk)}")))
    assert client.status("/page/1/") == client.status("/page/1/") == 200
    assert seen == [1]

    if change == "the route":
        operator.disable("/page/{pk}/")
    else:
        operator.enable_global_maintenance()

    assert client.status("/page/1/") == 503
    operator.enable("/page/{pk}/")
    operator.disable_global_maintenance()
    assert client.status("/page/1/") == 200
    assert seen == [1]


class Answers:
    """A middleware that answers by itself."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> HttpResponse:
        if request.path == "/by-middleware/":
            return HttpResponse("made here")
        if request.path == "/redirected/":
            return HttpResponse(status=302, headers={"Location": "/elsewhere/"})
        return self.get_response(request)


def test_what_a_middleware_answers_by_itself_is_under_global_maintenance(
    client: Caller, settings: Any, operator: Any
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.Answers"]
    assert client.status("/by-middleware/") == 200

    operator.enable_global_maintenance()
    assert (client.status("/by-middleware/"), client.status("/redirected/")) == (503, 302)

    operator.set_global_exempt_paths(["/by-middleware"])
    assert client.status("/by-middleware/") == 200


# -- read-only, HEAD, preflights -------------------------------------------------------------


@pytest.mark.parametrize("scope", ["route", "service", "everything"])
def test_read_only_maintenance_lets_safe_methods_pass(
    client: Caller, settings: Any, operator: Any, scope: str
) -> None:
    settings.SHIELD_SERVICE = "shop"
    match scope:
        case "route":
            operator.set_maintenance("GET:/payments/", read_only=True)
            operator.set_maintenance("POST:/payments/", read_only=True)
        case "service":
            operator.enable_service_maintenance("shop", read_only=True)
        case _:
            operator.enable_global_maintenance(read_only=True)

    for method in ("GET", "HEAD", "OPTIONS"):
        assert client.status("/payments/", method) == 200
    assert client.status("/payments/", "POST") == 503


def test_head_follows_get(client: Caller, operator: Any) -> None:
    operator.disable("GET:/payments/")

    assert client.status("/payments/", "HEAD") == 503
    assert client.status("/payments/", "POST") == 200


class Writes(View):
    def get(self, request: Any) -> HttpResponse:
        return HttpResponse("secret")


@disabled()
def writes(request: Any) -> HttpResponse:
    return HttpResponse("secret")


@maintenance()
async def writes_async(request: Any) -> HttpResponse:
    return HttpResponse("secret")


PREFLIGHT = {"origin": "https://app.example", "access_control_request_method": "GET"}


@pytest.mark.parametrize("url", ["/function/", "/async/", "/class/", "/nowhere/"])
@pytest.mark.parametrize("state", ["own", "everything"])
def test_a_preflight_passes_and_runs_no_blocked_view(
    client: Caller, urls: Any, operator: Any, url: str, state: str
) -> None:
    """Anybody can send the headers of a preflight: it must not run what is disabled."""
    urls(
        path("function/", writes), path("async/", writes_async), path("class/", disabled()(Writes.as_view()))
    )
    if state == "everything":
        operator.enable_global_maintenance()

    response = client("OPTIONS", url, **PREFLIGHT)

    assert response.status_code in ({404} if "nowhere" in url else {200, 204})
    assert b"secret" not in response.content


def test_options_that_is_no_preflight_is_blocked(client: Caller) -> None:
    assert client.status("/disabled/", "OPTIONS") == 503
    assert client.status("/disabled/", "OPTIONS", origin="https://app.example") == 503


@pytest.fixture
def cors(settings: Any) -> None:
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "corsheaders"]
    settings.MIDDLEWARE = ["corsheaders.middleware.CorsMiddleware", *settings.MIDDLEWARE]
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example"]


@pytest.mark.usefixtures("cors")
@pytest.mark.parametrize("url", ["/disabled/", "/maintenance/", "/nowhere/", "/shop/"])
def test_a_browser_of_another_origin_can_read_the_503(client: Caller, operator: Any, url: str) -> None:
    operator.enable_global_maintenance(reason="all")

    preflight = client("OPTIONS", url, **PREFLIGHT)
    answer = client.get(url, origin="https://app.example")

    assert preflight.status_code == 200
    assert "GET" in preflight["Access-Control-Allow-Methods"]
    assert answer.status_code == 503
    assert answer["Access-Control-Allow-Origin"] == "https://app.example"
    assert error_of(answer)["reason"] == "all"


# -- windows -------------------------------------------------------------------------------


def arrange(operator: Any, scope: str, planned: MaintenanceWindow) -> None:
    match scope:
        case "route":
            operator.schedule_maintenance("/shop/", planned)
        case "service":
            operator.enable_service_maintenance("shop", window=planned)
        case _:
            operator.enable_global_maintenance(window=planned)


@pytest.mark.parametrize("scope", ["route", "service", "everything"])
def test_a_window_blocks_from_its_start_to_its_end(
    client: Caller, settings: Any, operator: Any, scope: str
) -> None:
    settings.SHIELD_SERVICE = "shop"

    arrange(operator, scope, window(60, 120))
    assert client.status("/shop/") == 200

    arrange(operator, scope, window(-60, 120, reason="planned"))
    response = client.get("/shop/")
    assert response.status_code == 503
    assert error_of(response)["reason"] == "planned"
    assert 110 <= int(response["Retry-After"]) <= 120


@pytest.mark.parametrize("scope", ["route", "service", "everything"])
def test_a_window_ends_by_itself(client: Caller, settings: Any, operator: Any, scope: str) -> None:
    settings.SHIELD_SERVICE = "shop"
    arrange(operator, scope, window(-1, 1.5))
    assert client.status("/shop/") == 503

    eventually(lambda: client.status("/shop/") == 200)


def test_windows_in_the_code(client: Caller, urls: Any) -> None:
    def planned(start: float, end: float) -> Any:
        one = window(start, end)
        return maintenance("planned", one.start, one.end)(lambda request: HttpResponse("open"))

    urls(path("past/", planned(-9, -3)), path("now/", planned(-9, 90)), path("later/", planned(9, 90)))

    assert [client.status(url) for url in ("/past/", "/now/", "/later/")] == [200, 503, 200]
    assert "Retry-After" in client.get("/now/")


def test_an_operators_disable_survives_the_windows_end(client: Caller, operator: Any) -> None:
    running = window(-1, 1.5)
    operator.schedule_maintenance("/shop/", running)
    operator.disable("/shop/", reason="for good")

    eventually(lambda: datetime.now(UTC) > running.end)

    assert error_of(client.get("/shop/"))["reason"] == "for good"


def test_force_active_passes_a_window_too(client: Caller, urls: Any, operator: Any) -> None:
    urls(path("probe/", force_active(lambda request: HttpResponse())))
    operator.enable_global_maintenance(window=window(-1, 60))

    assert client.status("/probe/") == 200
