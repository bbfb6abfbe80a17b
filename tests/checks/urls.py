"""URLconfs in which stamps go wrong, one module attribute each."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from django.contrib import admin
from django.http import HttpResponse
from django.urls import include, path
from django.views import View
from rest_framework.decorators import api_view

from shield_core.decorators import disabled, env_only, force_active, maintenance


def plain(request: Any) -> HttpResponse:
    return HttpResponse("plain")


def shared(request: Any) -> HttpResponse:
    return HttpResponse("shared")


def without_wraps(view: Any) -> Any:
    def inner(request: Any) -> Any:
        return view(request)

    return inner


def with_wraps(view: Any) -> Any:
    @functools.wraps(view)
    def inner(request: Any) -> Any:
        return view(request)

    return inner


@maintenance(reason="lost")
def lost(request: Any) -> HttpResponse:
    return HttpResponse("lost")


@api_view(["GET"])
@maintenance(reason="below")
def below_api_view(request: Any) -> HttpResponse:
    return HttpResponse("below")


@maintenance(reason="above")
@api_view(["GET"])
def above_api_view(request: Any) -> HttpResponse:
    return HttpResponse("above")


@disabled("unrouted")
def unrouted(request: Any) -> HttpResponse:
    return HttpResponse("unrouted")


@env_only("dev")
def gated(request: Any) -> HttpResponse:
    return HttpResponse("gated")


class Bound:
    @maintenance(reason="defined on the method")
    def method(self, request: Any) -> HttpResponse:
        return HttpResponse("bound")


class Good(View):
    @force_active
    def get(self, request: Any) -> HttpResponse:
        return HttpResponse("good")


def urlconf(*patterns: Any) -> ModuleType:
    """Return a URLconf of ``patterns``."""
    module = ModuleType("tests_checks_urlconf")
    module.urlpatterns = list(patterns)
    return module


GOOD = urlconf(
    path("a/", plain), path("b/", above_api_view), path("c/", with_wraps(lost)), path("d/", Good.as_view())
)
WRAPPED = urlconf(path("x/", without_wraps(lost)))
BELOW_API_VIEW = urlconf(path("x/", below_api_view))
SHARED = urlconf(path("a/", disabled("a only?")(shared)), path("b/", shared))
CONTRADICTION = urlconf(path("x/<int:a>/", plain), path("x/<str:a>/", gated))
SAME_KEY_SAME_STAMPS = urlconf(path("x/<int:a>/", plain), path("x/<str:a>/", plain))
GATED = urlconf(path("x/", gated))
BOUND = urlconf(path("x/", Bound().method))
CONTROLLED = urlconf(
    path("back/", admin.site.urls),
    path("ops/", include("shield_django.urls")),
    path("shield/", include("shield_django.urls", namespace="twice")),
)
