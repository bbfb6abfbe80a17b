"""What a blocked caller gets from Django (CONTRACT §2)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import pytest
from django.http import HttpResponse, JsonResponse
from django.urls import path

from shield_core.models import MaintenanceWindow
from shield_django.decorators import disabled, maintenance
from tests.django_app.callers import Caller, error_of
from tests.django_app.conftest import ASYNC_ONLY, HTML
from tests.project import views


def soon(**delta: float) -> datetime:
    return datetime.now(UTC) + timedelta(**delta)


def test_maintenance_to_the_byte(client: Caller) -> None:
    response = client.get("/maintenance/")

    assert response.status_code == 503
    assert (
        response.content
        == (
            '{"error":{"code":"MAINTENANCE_MODE","message":"This endpoint is temporarily unavailable",'
            '"reason":"Database migration — back at 04:00 UTC","path":"/maintenance/","retry_after":null}}'
        ).encode()
    )
    assert response["Content-Type"] == "application/json"
    assert response["Cache-Control"] == "no-store"
    assert "Retry-After" not in response


def test_disabled_to_the_byte(client: Caller) -> None:
    response = client.get("/disabled/")

    assert response.status_code == 503
    assert response.content == (
        b'{"error":{"code":"ROUTE_DISABLED","message":"This endpoint has been disabled",'
        b'"reason":"gone for good","path":"/disabled/"}}'
    )
    assert response["Cache-Control"] == "no-store"
    assert "Retry-After" not in response


def test_the_path_is_the_key_with_the_method(client: Caller, operator: Any) -> None:
    operator.set_maintenance("GET:/payments/", reason="stock-taking")

    assert error_of(client.get("/payments/"))["path"] == "GET:/payments/"
    assert client.status("/payments/", "POST") == 200


def test_the_path_is_the_template_and_not_the_url(client: Caller, operator: Any) -> None:
    operator.disable("/shop/items/{pk}/")

    assert error_of(client.get("/shop/items/42/"))["path"] == "/shop/items/{pk}/"


@pytest.mark.parametrize("status", ["maintenance", "disabled"])
def test_a_known_end_is_told_in_seconds_and_for_maintenance_as_a_time(
    client: Caller, operator: Any, status: str
) -> None:
    end = soon(seconds=90)
    window = MaintenanceWindow(start=soon(seconds=-5), end=end, reason="now", status=status)
    operator.schedule_maintenance("/async/", window)

    response = client.get("/async/")

    assert response.status_code == 503
    assert 80 <= int(response["Retry-After"]) <= 90
    told = error_of(response).get("retry_after")
    assert told == (end.isoformat() if status == "maintenance" else None)


@pytest.mark.parametrize(
    "accept, content_type",
    [
        ("*/*", "application/json"),
        ("", "application/json"),
        ("application/json", "application/json"),
        ("text/plain", "application/json"),
        (HTML, "text/html; charset=utf-8"),
        ("text/html", "text/html; charset=utf-8"),
        ("text/html;q=0.4, application/json", "application/json"),
        ("nonsense;;;", "application/json"),
    ],
)
def test_a_page_only_for_who_prefers_html(client: Caller, accept: str, content_type: str) -> None:
    response = client.get("/maintenance/", accept=accept)

    assert (response.status_code, response["Content-Type"]) == (503, content_type)
    assert response["Cache-Control"] == "no-store"
    assert "Database migration — back at 04:00 UTC" in response.content.decode()


def test_the_page_escapes_the_reason(client: Caller, operator: Any) -> None:
    operator.set_maintenance("/async/", reason="<script>alert(1)</script>")

    assert b"<script>" not in client.get("/async/", accept=HTML).content


def test_the_page_speaks_the_callers_language(client: Caller, operator: Any) -> None:
    operator.disable("/info/")

    assert b'<html lang="de"' in client.get("/de/info/", accept=HTML).content


def test_a_project_overrides_the_page(client: Caller, settings: Any) -> None:
    pages = {"shield/maintenance.html": "{{ message }}|{{ reason }}|{{ request.path }}|{{ decision.key }}"}
    settings.TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {"loaders": [("django.template.loaders.locmem.Loader", pages)]},
        }
    ]

    assert client.get("/maintenance/", accept=HTML).content.decode() == (
        "This endpoint is temporarily unavailable|Database migration — back at 04:00 UTC"
        "|/maintenance/|/maintenance/"
    )
    assert b"This page has been disabled" in client.get("/disabled/", accept=HTML).content


@pytest.mark.parametrize(
    "templates",
    [
        pytest.param([], id="none"),
        pytest.param([{"BACKEND": "django.template.backends.django.DjangoTemplates"}], id="no APP_DIRS"),
    ],
)
def test_a_project_without_templates_has_a_page_too(client: Caller, settings: Any, templates: Any) -> None:
    settings.TEMPLATES = templates

    assert b"Database migration" in client.get("/maintenance/", accept=HTML).content


def answer(request: Any, exc: Any) -> HttpResponse:
    return JsonResponse({"own": str(exc), "reason": exc.reason, "at": request.path}, status=418)


async def answer_async(request: Any, exc: Any) -> HttpResponse:
    return answer(request, exc)


@pytest.mark.parametrize("response", [answer, answer_async])
@pytest.mark.parametrize("view", [views.plain, views.plain_async])
@pytest.mark.parametrize("decorator", [maintenance, disabled])
def test_an_answer_of_its_own_for_one_view(
    client: Caller, urls: Any, decorator: Any, view: Any, response: Any
) -> None:
    def own(request: Any) -> Any:
        return view(request)

    urls(path("own/", decorator("why", response=response)(own)))

    answered = client.get("/own/")

    assert answered.status_code == HTTPStatus.IM_A_TEAPOT
    assert json.loads(answered.content) == {"own": "why", "reason": "why", "at": "/own/"}


@pytest.mark.parametrize("given", [answer, answer_async, f"{__name__}.answer"])
def test_an_answer_of_its_own_for_a_status(client: Caller, settings: Any, given: Any) -> None:
    settings.SHIELD_RESPONSES = {"maintenance": given}

    assert client.status("/maintenance/") == 418
    assert client.status("/disabled/") == 503


def test_the_views_answer_wins_over_the_settings(client: Caller, settings: Any, urls: Any) -> None:
    settings.SHIELD_RESPONSES = {"disabled": lambda request, exc: HttpResponse("settings", status=410)}
    urls(path("own/", disabled(response=answer)(lambda request: None)))

    assert client.status("/own/") == 418


def test_settings_answer_for_unknown_urls_under_global_maintenance(
    client: Caller, settings: Any, operator: Any
) -> None:
    settings.SHIELD_RESPONSES = {"maintenance": answer}
    operator.enable_global_maintenance(reason="all")

    assert client.status("/nowhere/") == 418


def test_an_answer_that_is_no_response_is_an_error_that_says_so(client: Caller, urls: Any) -> None:
    urls(path("own/", disabled(response=lambda request, exc: "text")(lambda request: None)))

    with pytest.raises(TypeError, match="HttpResponse"):
        client.get("/own/")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_every_method_of_a_function_view_is_blocked(client: Caller, method: str) -> None:
    assert client.status("/maintenance/", method) == 503


def test_a_deprecated_route_answers_with_the_headers_of_its_rfcs(client: Caller) -> None:
    response = client.get("/old/")

    assert (response.status_code, response.content) == (200, b"old")
    assert response["Deprecation"] == f"@{int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())}"
    assert response["Sunset"] == "Tue, 01 Jan 2030 00:00:00 GMT"
    assert response["Link"] == '</v2/old/>; rel="successor-version"'


def test_custom_answers_in_async_mode_run_on_the_loop(settings: Any) -> None:
    """An ``async def`` answer is awaited by the server's own loop."""
    import asyncio
    import threading

    from django.test import AsyncClient

    settings.MIDDLEWARE = ASYNC_ONLY
    seen = []

    async def note(request: Any, exc: Any) -> HttpResponse:
        seen.append(threading.get_ident())
        return HttpResponse(status=418)

    settings.SHIELD_RESPONSES = {"maintenance": note}

    async def ask() -> int:
        seen.append(threading.get_ident())
        return (await AsyncClient().get("/maintenance/")).status_code

    assert asyncio.run(ask()) == 418
    assert seen[0] == seen[1]
