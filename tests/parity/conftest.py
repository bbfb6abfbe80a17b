"""The same shop behind Django sync, Django async and FastAPI, each over an engine of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from asgiref.sync import async_to_sync
from django.http import JsonResponse
from django.test import AsyncClient, Client
from django.urls import path
from django.views import View
from fastapi import FastAPI

from shield_core import decorators
from shield_core.engine import ShieldEngine
from shield_django import engine as project_engine
from shield_fastapi import ShieldMiddleware
from tests.fastapi_app.caller import Caller

SERVICE = "shop"
#: Headers that are Shield's; the rest belongs to the frameworks.
HEADERS = ("content-type", "cache-control", "retry-after", "deprecation", "sunset", "link")

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
    ("GET", "/read-only"): decorators.maintenance("no writes", read_only=True),
    ("POST", "/read-only"): decorators.maintenance("no writes", read_only=True),
}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Shop(NamedTuple):
    """``ask(method, path)`` as a caller, ``operator`` is the engine's synchronous side."""

    ask: Callable[..., Answer]
    operator: Any


@pytest.fixture(params=["django sync", "django async", "fastapi"])
def shop(request: pytest.FixtureRequest, settings: Any) -> Iterator[Shop]:
    """One framework at a time: a scenario says what all of them answer."""
    settings.SHIELD_SERVICE = SERVICE
    settings.ROOT_URLCONF = _urlconf()
    kind: str = request.param
    if kind == "fastapi":
        engine = ShieldEngine(current_env="test", service=SERVICE)
        caller = Caller(_application(engine))

        def ask(method: str, target: str) -> Answer:
            found = async_to_sync(caller.request)(method, target)
            return _answer(found.status, found.headers, found.content)

        ask("GET", "/payments")  # the application makes its middleware at the first request
        yield Shop(ask, engine.sync)
        engine.sync.stop()
    else:
        headers = {"accept": "application/json"}

        async def ask_async(method: str, target: str) -> Any:
            return await AsyncClient().generic(method, target, headers=headers)

        def ask(method: str, target: str) -> Answer:
            if kind == "django async":
                found = async_to_sync(ask_async)(method, target)
            else:
                found = Client().generic(method, target, headers=headers)
            return _answer(found.status_code, dict(found.items()), found.content)

        yield Shop(ask, project_engine.sync)


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


def _application(engine: ShieldEngine) -> FastAPI:
    app = FastAPI()
    for (method, template), stamp in STAMPS.items():

        async def endpoint() -> Any:
            return {"ok": True}

        app.api_route(template, methods=[method])(stamp(endpoint) if stamp else endpoint)
    app.add_middleware(ShieldMiddleware, engine=engine)
    return app
