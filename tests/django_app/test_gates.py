"""``@env_only`` outside its environment is indistinguishable from an unknown URL."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.http import HttpResponse
from django.urls import include, path, re_path
from django.utils.decorators import method_decorator
from django.views import View

from shield_core.exceptions import RouteNotFoundException
from shield_django import decide, engine, project
from shield_django.decorators import env_only
from shield_django.testing import maintenance_state
from tests.django_app.callers import Caller, error_of, whole
from tests.django_app.conftest import HTML, urlconf
from tests.project import views

METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PURGE"]


@env_only("dev")
class Gated(View):
    def get(self, request: Any) -> HttpResponse:
        return HttpResponse("gated")

    def post(self, request: Any) -> HttpResponse:
        return HttpResponse("gated")


class GatedByMethod(View):
    @env_only("dev")
    def get(self, request: Any) -> HttpResponse:
        return HttpResponse("gated")


@env_only("dev")
async def gated_async(request: Any) -> HttpResponse:
    return HttpResponse("gated")


PATTERNS = [
    path("gate/", views.gated),
    path("gate-with/<int:pk>/", views.gated),
    path("gate-async/", gated_async),
    path("gate-class/", Gated.as_view()),
    path("gate-by-method/", GatedByMethod.as_view()),
    path(
        "gate-dispatch/",
        method_decorator(env_only("dev"), name="dispatch")(type("D", (Gated,), {})).as_view(),
    ),
    path("gate-below/", include([path("here/", views.gated)])),
    re_path(r"^gate-regex/(?P<year>\d+)/$", views.gated),
    path("gate-without-slash", views.gated),
    path("open/", views.plain),
]
GATED = [
    "/gate/",
    "/gate-with/7/",
    "/gate-async/",
    "/gate-class/",
    "/gate-by-method/",
    "/gate-dispatch/",
    "/gate-below/here/",
    "/gate-regex/2026/",
    "/gate-without-slash",
]


def assert_unknown(client: Caller, url: str, unknown: str = "/no-such-thing/", **options: Any) -> None:
    """The whole answer is that of a URL that resolves to nothing."""
    if not url.endswith("/"):
        unknown = unknown.rstrip("/")
    for method in METHODS:
        assert whole(client(method, url, **options), url) == whole(
            client(method, unknown, **options), unknown
        )


@pytest.mark.parametrize("accept", ["application/json", HTML])
@pytest.mark.parametrize("url", GATED)
def test_a_closed_gate_looks_like_an_unknown_url(client: Caller, urls: Any, url: str, accept: str) -> None:
    urls(*PATTERNS)

    assert_unknown(client, url, accept=accept)
    assert client.status(url) == 404


@pytest.mark.parametrize("url", [one for one in GATED if one.endswith("/")])
def test_its_twin_without_the_slash_does_too(client: Caller, urls: Any, url: str) -> None:
    urls(*PATTERNS)

    assert client.status("/open") == 301
    assert_unknown(client, url.rstrip("/"))


@pytest.mark.parametrize("url", ["/gate/", "/gate-class/", "/gate"])
def test_a_preflight_learns_nothing(client: Caller, urls: Any, url: str) -> None:
    urls(*PATTERNS)
    preflight = {"origin": "https://elsewhere", "access_control_request_method": "GET"}

    assert_unknown(client, url, **preflight)
    assert client.status(url, "OPTIONS", **preflight) == 404


def test_its_twin_without_the_language_does_too(client: Caller, settings: Any) -> None:
    settings.ROOT_URLCONF = urlconf(*i18n_patterns(path("gate/", views.gated), path("open/", views.plain)))

    assert client.status("/open/") == 302
    for url in ("/gate/", "/gate", "/en/gate/", "/en/gate", "/de/gate/"):
        unknown = url.replace("gate", "no-such-thing")
        assert whole(client.get(url), url) == whole(client.get(unknown), unknown)


def test_a_pattern_further_down_answers_as_if_the_gate_were_not_there(client: Caller, urls: Any) -> None:
    urls(*PATTERNS, re_path(r"^(?P<rest>.*)$", lambda request, rest: HttpResponse(f"fallback {rest}")))

    assert client.get("/gate/").content == b"fallback gate/"
    assert client.get("/gate").content == b"fallback gate"


def test_the_page_of_debug_does_not_name_the_view(client: Caller, settings: Any, urls: Any) -> None:
    settings.DEBUG = True
    settings.SHIELD_ENV = "test"
    urls(*PATTERNS)

    for accept in (HTML, "application/json"):
        assert_unknown(client, "/gate-with/7/", accept=accept)
    assert client.status("/gate-with/7/") == 404


def test_the_projects_own_404_page_answers(client: Caller, urls: Any) -> None:
    def own(request: Any, exception: Any) -> HttpResponse:
        return HttpResponse(f"own page, {type(exception).__name__}", status=404)

    urls(*PATTERNS, handler404=own)

    assert client.get("/gate/").content == b"own page, Resolver404"
    assert_unknown(client, "/gate/")


def test_a_login_wall_outside_does_not_betray_it(client: Caller, settings: Any, urls: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    urls(*PATTERNS)

    assert_unknown(client, "/gate/")


@pytest.mark.parametrize(
    "env, status", [("dev", 200), ("staging", 200), ("test", 404), ("Dev", 404), ("", 404)]
)
def test_the_environment_opens_it(client: Caller, settings: Any, urls: Any, env: str, status: int) -> None:
    settings.SHIELD_ENV = env
    urls(*PATTERNS)

    assert client.status("/gate/") == status


def test_an_open_gate_redirects_its_slashless_twin(client: Caller, settings: Any, urls: Any) -> None:
    settings.SHIELD_ENV = "dev"
    urls(*PATTERNS)

    assert client.get("/gate")["Location"] == "/gate/"


@pytest.mark.parametrize("forgotten", [None, "", "  "])
def test_with_the_environment_forgotten_all_gates_are_closed(
    client: Caller, settings: Any, urls: Any, operator: Any, forgotten: str | None
) -> None:
    settings.SHIELD_ENV = forgotten
    urls(*PATTERNS, path("operators/", views.plain))
    operator.set_env_only("/operators/", ["prod"])

    assert client.status("/gate/") == 404
    assert client.status("/operators/") == 404
    assert client.status("/open/") == 200


def test_debug_without_an_environment_is_dev(client: Caller, settings: Any, urls: Any) -> None:
    settings.SHIELD_ENV = None
    settings.DEBUG = True
    urls(*PATTERNS)

    assert client.status("/gate/") == 200


@pytest.mark.parametrize("url", ["/open/", "/open"])
def test_an_operator_closes_a_gate_at_run_time(client: Caller, urls: Any, operator: Any, url: str) -> None:
    urls(*PATTERNS)
    assert client.status(url) in (200, 301)

    operator.set_env_only("/open/", ["dev"])

    assert_unknown(client, url)


def test_an_operator_lifts_a_gate_at_run_time(client: Caller, urls: Any, operator: Any) -> None:
    urls(*PATTERNS)
    assert client.status("/gate/") == 404

    operator.set_env_only("/gate/", [])

    assert (client.status("/gate/"), client.status("/gate")) == (200, 301)


def test_a_gate_of_one_method_blocks_that_method_only(client: Caller, urls: Any, operator: Any) -> None:
    urls(path("both/", views.Payments.as_view()))
    operator.set_env_only("GET:/both/", ["dev"])

    assert client.status("/both/") == client.status("/both/", "HEAD") == 404
    assert client.status("/both/", "POST") == 200
    unknown = "/no-such-thing/"
    assert whole(client.get("/both/"), "/both/") == whole(client.get(unknown), unknown)


def test_one_module_included_twice_is_gated_in_both_places(client: Caller, urls: Any) -> None:
    module = urlconf(path("gate/", views.gated), path("open/", views.plain))
    urls(path("a/", include(module)), path("b/", include(module)))

    for url in ("/a/gate/", "/b/gate/", "/a/gate", "/b/gate"):
        assert_unknown(client, url)


@pytest.mark.parametrize("url", ["/a/open/", "/a/open"])
def test_an_operator_closes_one_of_two_places_of_a_module(
    client: Caller, urls: Any, operator: Any, url: str
) -> None:
    module = urlconf(path("gate/", views.gated), path("open/", views.plain))
    urls(path("a/", include(module)), path("b/", include(module)))

    operator.set_env_only("/a/open/", ["dev"])

    assert client.status("/b/open/") == 200
    assert client.status("/b/open") == 301
    assert_unknown(client, url)


def test_under_global_maintenance_it_answers_like_an_unknown_url(
    client: Caller, urls: Any, operator: Any
) -> None:
    urls(*PATTERNS)
    operator.enable_global_maintenance(reason="all")

    for url in GATED:
        assert_unknown(client, url)
        assert client.status(url) == 503


def test_disable_and_enable_leaves_a_gate_closed(client: Caller, urls: Any, operator: Any) -> None:
    urls(*PATTERNS)
    operator.disable("/gate/")
    operator.enable("/gate/")

    assert_unknown(client, "/gate/")
    assert client.status("/gate/") == 404


@pytest.mark.parametrize("change", ["disable", "set_maintenance"])
def test_what_an_operator_says_of_a_gated_route_is_stricter_than_its_gate(
    client: Caller, urls: Any, operator: Any, change: str
) -> None:
    urls(*PATTERNS)

    getattr(operator, change)("/gate/", reason="said by an operator")

    assert error_of(client.get("/gate/"))["reason"] == "said by an operator"


@pytest.mark.parametrize("where", ["decorator", "setting"])
def test_a_project_may_answer_closed_gates_in_its_own_way(
    client: Caller, settings: Any, urls: Any, where: str
) -> None:
    def own(request: Any, exc: Any) -> HttpResponse:
        return HttpResponse(f"not here: {exc.path}", status=403)

    decorate = env_only("dev", response=own if where == "decorator" else None)
    settings.SHIELD_RESPONSES = {"env_gated": own} if where == "setting" else {}
    urls(path("gate/", decorate(lambda request: None)))

    assert client.get("/gate/").content == b"not here: /gate/"


@pytest.mark.parametrize("url", ["/gate", "/closed", "/gate/", "/closed/"])
def test_gates_are_hidden_also_where_somebody_asked_for_a_decision_first(
    client: Caller, urls: Any, operator: Any, url: str
) -> None:
    urls(*PATTERNS, path("closed/", views.plain))
    operator.set_env_only("/closed/", ["dev"])
    project.reset()
    engine.decide("GET", "/gate/")

    assert_unknown(client, url)
    assert client.status(url) == 404


def test_decide_answers_anywhere(client: Caller, urls: Any) -> None:
    urls(*PATTERNS, path("shop/", include(([path("<int:pk>/", views.plain, name="item")], "shop"))))

    assert decide("/gate/").cause == "env_gated"
    assert decide("/open/").allowed
    with maintenance_state(reason="all"):
        for target in ("shop:item", "/shop/7/", "/shop/{pk}/", "GET:/shop/{pk}/"):
            assert decide(target).reason == "all"
    trace: list[Any] = []
    assert decide("shop:item", "POST", trace=trace).allowed
    assert [step.verdict for step in trace] == ["off", "pass"]
    for nonsense in ("shop:none", "/nowhere/"):
        with pytest.raises(RouteNotFoundException):
            decide(nonsense)
