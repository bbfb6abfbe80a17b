"""The same shop behind Django sync, Django async and FastAPI, each over an engine of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import AsyncClient, Client
from django.urls import path
from django.views import View
from fastapi import FastAPI
from starlette.responses import Response

from shield_core import decorators
from shield_core.decorators import force_active, rate_limit
from shield_core.engine import ShieldEngine
from shield_django import engine as project_engine
from shield_django import project
from shield_fastapi import ShieldMiddleware
from tests.fastapi_app.caller import Caller
from tests.parity.people import FastAPIPeople

SERVICE = "shop"
EXEMPT = ["/login"]
#: Headers that are Shield's; the rest belongs to the frameworks.
HEADERS = (
    *("content-type", "cache-control", "retry-after", "deprecation", "sunset", "link"),
    *("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"),
)


def own_answer(request: Any, exc: Any) -> Any:
    """An answer of the shop's own, in whichever framework asks for it."""
    return _own(request, f"{exc.limit} {exc.remaining} {exc.key}", {"Cache-Control": "private"})


def own_page(request: Any, exc: Any) -> Any:
    """One for what is in maintenance."""
    return _own(request, exc.reason, {})


def _own(request: Any, text: str, headers: dict[str, str]) -> Any:
    headers = {"Content-Type": "text/x-own", **headers}
    if isinstance(request, HttpRequest):
        return HttpResponse(text, status=420, headers=headers)
    return Response(text, 420, headers)


async def own_answer_awaited(request: Any, exc: Any) -> Any:
    return own_answer(request, exc)


def tenant(request: Any) -> str | None:
    found: str | None = request.headers.get("x-tenant")
    return found


async def tenant_awaited(request: Any) -> str | None:
    return tenant(request)


TIERS = {"free": "1/hour", "pro": "2/hour", "staff": "unlimited"}

#: What the code says of ``METHOD /template``, once for all frameworks.
STAMPS: dict[tuple[str, str], Any] = {
    ("GET", "/maintenance"): decorators.maintenance("Database migration — back at 04:00 UTC"),
    ("POST", "/maintenance"): None,
    ("GET", "/disabled"): decorators.disabled('gone "for good" <b>'),
    ("GET", "/old"): decorators.deprecated("2030-01-01", "/v2/old", since="2026-01-01"),
    ("GET", "/gate"): decorators.env_only("dev"),
    ("GET", "/health"): decorators.force_active,
    ("POST", "/health"): None,
    ("GET", "/payments"): None,
    ("POST", "/payments"): None,
    ("GET", "/items/{item}"): None,
    ("GET", "/window"): decorators.maintenance("planned", "2020-01-01", "2100-01-01"),
    ("GET", "/own-window"): decorators.maintenance("planned", "2020-01-01", "2100-01-01", response=own_page),
    ("GET", "/read-only"): decorators.maintenance("no writes", read_only=True),
    ("POST", "/read-only"): decorators.maintenance("no writes", read_only=True),
    ("GET", "/login"): None,
    ("GET", "/limited"): rate_limit("2/hour"),
    ("POST", "/limited"): None,
    ("GET", "/limited/{item}"): rate_limit("2/hour", algorithm="sliding_window"),
    ("GET", "/bucket"): rate_limit("1/hour", algorithm="token_bucket", burst=1),
    ("GET", "/own-answer"): rate_limit("1/hour", response=own_answer),
    ("GET", "/own-answer-awaited"): rate_limit("1/hour", response=own_answer_awaited),
    ("GET", "/by-api-key"): rate_limit("1/hour", key="api_key"),
    ("GET", "/by-user"): rate_limit("1/hour", key="user"),
    ("GET", "/users-only"): rate_limit("1/hour", key="user", on_missing_key="block"),
    ("GET", "/user-or-address"): rate_limit("1/hour", key="user", on_missing_key="fallback_ip"),
    ("GET", "/by-tenant"): rate_limit("1/hour", key=tenant),
    ("GET", "/by-tenant-awaited"): rate_limit("1/hour", key=tenant_awaited),
    ("GET", "/for-all"): rate_limit("1/hour", key="global"),
    ("GET", "/tiers"): rate_limit(TIERS, key="user"),
    ("GET", "/tiers-by-code"): rate_limit(TIERS, tier_resolver=tenant),
    ("GET", "/tiers-by-code-awaited"): rate_limit(TIERS, tier_resolver=tenant_awaited),
    ("GET", "/spares-addresses"): rate_limit("1/hour", exempt_ips=["10.0.0.0/8"]),
    ("GET", "/spares-roles"): rate_limit("1/hour", exempt_roles=["support"]),
    ("GET", "/shadow"): rate_limit("1/hour", shadow=True),
    ("GET", "/probe"): lambda view: force_active(rate_limit("2/hour")(view)),
    ("GET", "/old-and-limited"): lambda view: decorators.deprecated("2030-01-01")(rate_limit("2/hour")(view)),
    ("GET", "/closed-and-limited"): lambda view: decorators.disabled("no")(rate_limit("1/hour")(view)),
    ("GET", "/gated-and-limited"): lambda view: decorators.env_only("dev")(rate_limit("1/hour")(view)),
}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Shop(NamedTuple):
    """``ask(method, path, header=…)`` as a caller, ``operator`` is the engine's synchronous side."""

    ask: Callable[..., Answer]
    operator: Any


@pytest.fixture
def responses() -> dict[str, Any]:
    """Answers by status, for the whole shop."""
    return {}


@pytest.fixture(params=["django sync", "django async", "fastapi"])
def shop(request: pytest.FixtureRequest, settings: Any, responses: dict[str, Any]) -> Iterator[Shop]:
    """One framework at a time: a scenario says what all of them answer. One proxy is trusted."""
    settings.SHIELD_SERVICE = SERVICE
    settings.SHIELD_EXEMPT = EXEMPT
    settings.SHIELD_NUM_PROXIES = 1
    settings.SHIELD_RESPONSES = responses
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.parity.people.django_people"]
    settings.ROOT_URLCONF = _urlconf()
    kind: str = request.param
    if kind == "fastapi":
        engine = ShieldEngine(current_env="test", service=SERVICE, num_proxies=1)
        caller = Caller(_application(engine, responses))

        def ask(method: str, target: str, **headers: str) -> Answer:
            found = async_to_sync(caller.request)(method, target, headers=_named(headers))
            return _answer(found.status, found.headers, found.content)

        ask("GET", "/payments")  # the application makes its middleware at the first request
        yield Shop(ask, engine.sync)
        engine.sync.stop()
    else:

        async def ask_async(method: str, target: str, headers: dict[str, str]) -> Any:
            return await AsyncClient().generic(method, target, headers=headers)

        def ask(method: str, target: str, **headers: str) -> Answer:
            named = {"accept": "application/json", **_named(headers)}
            if kind == "django async":
                found = async_to_sync(ask_async)(method, target, named)
            else:
                found = Client().generic(method, target, headers=named)
            return _answer(found.status_code, dict(found.items()), found.content)

        with project.limits_in_tests():
            yield Shop(ask, project_engine.sync)


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def _answer(status: int, headers: dict[str, str], body: bytes) -> Answer:
    lowered = {name.lower(): value for name, value in headers.items()}
    return Answer(status, {name: lowered[name] for name in HEADERS if name in lowered}, body)


def _urlconf() -> ModuleType:
    views: dict[str, dict[str, Any]] = {}
    for (method, template), stamp in STAMPS.items():

        def handler(self: View, request: Any, **kwargs: Any) -> JsonResponse:
            return JsonResponse({"ok": True})

        views.setdefault(template, {})[method.lower()] = stamp(handler) if stamp else handler
    module = ModuleType("urlconf_of_the_shop")
    module.urlpatterns = [  # type: ignore[attr-defined]
        path(template.replace("{", "<").replace("}", ">")[1:], type("Shop", (View,), handlers).as_view())
        for template, handlers in views.items()
    ]
    return module


def _application(engine: ShieldEngine, responses: dict[str, Any]) -> FastAPI:
    app = FastAPI()
    for (method, template), stamp in STAMPS.items():

        async def endpoint() -> Any:
            return {"ok": True}

        app.api_route(template, methods=[method])(stamp(endpoint) if stamp else endpoint)
    app.add_middleware(ShieldMiddleware, engine=engine, responses=responses, exempt=EXEMPT)
    app.add_middleware(FastAPIPeople)
    return app
