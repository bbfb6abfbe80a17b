"""What ShieldMiddleware adds to a request, over a middleware that does nothing.

``python benchmarks/django_overhead.py``: in process, through Django's own handler, in sync and in
async mode, on the memory backend (the request path is the same on all of them). Repetitions are
interleaved, so that a busy machine slows all columns alike; medians are shown.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from types import ModuleType
from typing import Any

import django
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings

REPETITIONS = 31
REQUESTS = 2_000
AIM = 3.0


class Nothing:
    """A middleware that only passes requests on, in both modes."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        if self.is_async:
            return self._call_async(request)
        return self.get_response(request)

    async def _call_async(self, request: Any) -> Any:
        return await self.get_response(request)


NOTHING = f"{Nothing.__module__}.Nothing"
SHIELD = "shield_django.middleware.ShieldMiddleware"


def set_up() -> None:
    from django.http import HttpResponse
    from django.urls import path

    def view(request: Any, pk: int) -> HttpResponse:
        return HttpResponse("ok")

    async def view_async(request: Any, pk: int) -> HttpResponse:
        return HttpResponse("ok")

    urlconf = ModuleType("urlconf")
    urlconf.__dict__["urlpatterns"] = [
        path("items/<int:pk>/", view),
        path("async/<int:pk>/", view_async),
        *(path(f"more/{number}/<int:pk>/", view) for number in range(50)),
    ]
    settings.configure(
        ROOT_URLCONF=urlconf,
        INSTALLED_APPS=["shield_django"],
        SHIELD_BACKEND="memory",
        SHIELD_ENV="benchmark",
        ALLOWED_HOSTS=["*"],
        USE_TZ=True,
    )
    django.setup()


def handler(middleware: str, *, is_async: bool) -> Any:
    from django.core.handlers.base import BaseHandler

    settings.MIDDLEWARE = [middleware]
    made = BaseHandler()
    made.load_middleware(is_async=is_async)
    return made


def sync_requests(middleware: str, url: str) -> Callable[[], float]:
    """Return a measurement: microseconds per request."""
    from django.test import RequestFactory

    respond = handler(middleware, is_async=False).get_response
    request = RequestFactory().get(url)

    def measure() -> float:
        started = time.perf_counter_ns()
        for _ in range(REQUESTS):
            request.__dict__.pop("shield", None)
            respond(request)
        return (time.perf_counter_ns() - started) / REQUESTS / 1000

    return measure


def async_requests(middleware: str, url: str) -> Callable[[], float]:
    from django.test import AsyncRequestFactory

    respond = handler(middleware, is_async=True).get_response_async
    request = AsyncRequestFactory().get(url)

    async def measure() -> float:
        started = time.perf_counter_ns()
        for _ in range(REQUESTS):
            request.__dict__.pop("shield", None)
            await respond(request)
        return (time.perf_counter_ns() - started) / REQUESTS / 1000

    loop = asyncio.new_event_loop()
    return lambda: loop.run_until_complete(measure())


@dataclass(frozen=True)
class Overhead:
    """Microseconds per request: of the no-op, and what Shield adds."""

    mode: str
    nothing: float
    added: float

    @property
    def ratio(self) -> float:
        return (self.nothing + self.added) / self.nothing


def overhead(mode: str, repetitions: int = REPETITIONS) -> Overhead:
    requests, url = (sync_requests, "/items/7/") if mode == "sync" else (async_requests, "/async/7/")
    nothing, shield = requests(NOTHING, url), requests(SHIELD, url)
    for warm_up in (nothing, shield):
        warm_up()
    gc.disable()
    try:
        pairs = [(nothing(), shield()) for _ in range(repetitions)]
    finally:
        gc.enable()
    return Overhead(mode, median(one for one, _ in pairs), median(two - one for one, two in pairs))


def main() -> None:
    set_up()
    print(f"{'mode':<6} {'no-op':>9} {'added':>9} {'ratio':>7}   aim ≤ {AIM} µs")
    for mode in ("sync", "async"):
        found = overhead(mode)
        print(f"{mode:<6} {found.nothing:>6.2f} µs {found.added:>6.2f} µs {found.ratio:>7.3f}")


if __name__ == "__main__":
    main()
