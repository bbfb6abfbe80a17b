"""What one rate limit costs in Django, beside ``django-ratelimit`` and DRF's throttle.

``python benchmarks/django_limits.py``: in process, through Django's own sync handler, by address, with
counters in memory: ours, their locmem cache. Every pair of columns is the whole cost of a limit over
the same request without one, with all headers of an answer in ours. An address sends a hundred requests
a repetition, or as many as the argument says, up to 1,000: DRF keeps a log of them, and the longer it
is, the dearer. Repetitions are interleaved and
CPU time is taken, so that a busy machine slows all columns alike; medians of the differences are shown.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from types import ModuleType
from typing import Any

import django
from django.conf import settings

REPETITIONS = 21
REQUESTS = 1_000
OF_AN_ADDRESS = int(sys.argv[1]) if len(sys.argv) > 1 else 100
AIM = 0.25
SHIELD = "shield_django.middleware.ShieldMiddleware"
#: Never reached: the cost of requests that pass.
LIMIT = "1000000/hour"
#: URLs whose routes have a limit of Shield's, with the methods of their keys.
OF_ROUTES = {"/ours/": None, "/api/shield/": "GET", "/api/route/": "GET"}


def set_up() -> None:
    settings.configure(
        ROOT_URLCONF=ModuleType("urlconf"),
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "shield_django"],
        MIDDLEWARE=[SHIELD],
        SHIELD_BACKEND="memory",
        SHIELD_ENV="benchmark",
        ALLOWED_HOSTS=["*"],
        USE_TZ=True,
        REST_FRAMEWORK={
            "DEFAULT_AUTHENTICATION_CLASSES": [],
            "DEFAULT_PERMISSION_CLASSES": [],
            "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
            "UNAUTHENTICATED_USER": None,
        },
    )
    django.setup()
    settings.ROOT_URLCONF.__dict__["urlpatterns"] = _patterns()


def _patterns() -> list[Any]:
    from django.http import HttpResponse
    from django.urls import path
    from django_ratelimit.decorators import ratelimit
    from rest_framework.response import Response
    from rest_framework.throttling import AnonRateThrottle
    from rest_framework.views import APIView

    from shield_django.throttling import ShieldThrottle

    def view() -> Callable[..., Any]:
        return lambda request: HttpResponse("ok")

    class Theirs(AnonRateThrottle):
        rate = LIMIT

    class Ours(ShieldThrottle):
        rate = LIMIT
        key = "ip"

    class OurWindow(Ours):
        algorithm = "fixed_window"

    def api(*throttles: Any) -> Any:
        class View(APIView):
            throttle_classes = throttles

            def get(self, request: Any) -> Response:
                return Response({})

        return View.as_view()

    return [
        path("free/", view()),
        path("ours/", view()),
        path("theirs/", ratelimit(key="ip", rate="1000000/h", group="one")(view())),
        path("api/free/", api()),
        path("api/shield/", api()),
        path("api/ours/", api(Ours)),
        path("api/window/", api(OurWindow)),
        path("api/route/", api(ShieldThrottle)),
        path("api/theirs/", api(Theirs)),
    ]


def requests_to(url: str) -> Callable[[], float]:
    """Return a measurement: microseconds per request."""
    from django.core.handlers.base import BaseHandler
    from django.test import RequestFactory

    handler = BaseHandler()
    handler.load_middleware()
    respond, get = handler.get_response, RequestFactory().get
    assert respond(get(url)).status_code == 200

    def measure() -> float:
        requests = [get(url, REMOTE_ADDR=f"192.0.2.{number // OF_AN_ADDRESS}") for number in range(REQUESTS)]
        started = time.thread_time_ns()
        for request in requests:
            respond(request)
        return (time.thread_time_ns() - started) / REQUESTS / 1000

    return measure


@contextmanager
def limited(url: str) -> Iterator[None]:
    """Limit the route while it is measured: where there is no limit at all, Shield does not look for any."""
    from shield_django import engine

    if url not in OF_ROUTES:
        yield
        return
    engine.sync.set_rate_limit_policy(url, OF_ROUTES[url], LIMIT)
    yield
    engine.sync.delete_rate_limit_policy(url, OF_ROUTES[url])


def measured(urls: list[str]) -> dict[str, list[float]]:
    """Return what requests to each URL took, in interleaved repetitions."""
    from django.core.cache import cache

    measurements = {url: requests_to(url) for url in urls}
    for warm_up in measurements.values():
        warm_up()
    found: dict[str, list[float]] = {url: [] for url in urls}
    gc.disable()
    try:
        for _ in range(REPETITIONS):
            for url, measure in measurements.items():
                cache.clear()
                # Django looks at one pattern after the other: the measured one comes first.
                settings.ROOT_URLCONF.urlpatterns.sort(key=lambda one: f"/{one.pattern}" != url)
                with limited(url):
                    found[url].append(measure())
                gc.collect()
    finally:
        gc.enable()
    return found


def added(found: dict[str, list[float]], url: str, free: str) -> float:
    return median(one - other for one, other in zip(found[url], found[free], strict=True))


def main() -> None:
    set_up()
    groups = {
        "/free/": ("/theirs/", ["/ours/"]),
        "/api/free/": ("/api/theirs/", ["/api/shield/", "/api/ours/", "/api/window/", "/api/route/"]),
    }
    found = measured([url for free, (theirs, ours) in groups.items() for url in (free, theirs, *ours)])
    print(f"{'request':<14} {'whole':>9} {'limit':>9} {'of theirs':>10}   aim ≤ {AIM}")
    for free, (theirs, ours) in groups.items():
        base = added(found, theirs, free)
        for url in (free, theirs, *ours):
            cost = added(found, url, free)
            ratio = f"{cost / base:>10.2f}" if url in ours else ""
            print(f"{url:<14} {median(found[url]):>6.1f} µs {cost:>6.1f} µs {ratio}")


if __name__ == "__main__":
    main()
