"""A route's key depends on the pattern that Django resolved, and on nothing else of a request."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.http import HttpResponse
from django.urls import include, path, re_path
from django.utils.translation import gettext_lazy as _
from django.views import View
from rest_framework.response import Response
from rest_framework.urlpatterns import format_suffix_patterns
from rest_framework.views import APIView

from shield_django import project
from shield_django.decorators import disabled
from tests.django_app.callers import Caller, error_of
from tests.django_app.conftest import urlconf
from tests.project import views


def keys() -> list[str]:
    found = project.current()
    found.discover()
    return sorted(map(str, found.catalog.declarations))


nested = [re_path(r"^(?P<slug>[\w-]+)/", include([re_path(r"^(?:page-(?P<page>\d+)/)?$", views.plain)]))]


@pytest.mark.parametrize(
    "pattern, key",
    [
        (path("", views.plain), "/"),
        (path("a/b/", views.plain), "/a/b/"),
        (path("a", views.plain), "/a"),
        (path("items/<int:pk>/", views.plain), "/items/{pk}/"),
        (path("items/<pk>/<uuid:other>/", views.plain), "/items/{pk}/{other}/"),
        (path("files/<path:rest>", views.plain), "/files/{rest}"),
        (re_path(r"^years/(?P<year>[0-9]{4})/$", views.plain), "/years/{year}/"),
        (re_path(r"^years/([0-9]{4})/(\w+)/$", views.plain), "/years/{0}/{1}/"),
        (re_path(r"^a(?:b)?/(?P<c>[^/]+)\.html\Z", views.plain), "/ab/{c}.html"),
        (re_path(r"^(?P<outer>a(?P<inner>\d+))/$", views.plain), "/{outer}/"),
        (re_path(r"^x/(?P<n>\d{1,3})\-(?P<m>[a-z\]]+)/?$", views.plain), "/x/{n}-{m}/"),
        (path("api/", include([path("v1/", include([path("x/", views.plain)]))])), "/api/v1/x/"),
        (re_path(r"^api/", include([re_path(r"^x/$", views.plain)])), "/api/x/"),
        (path("<slug:shop>/", include([path("<int:pk>/", views.plain)])), "/{shop}/{pk}/"),
        (path("n/", include(nested)), "/n/{slug}/page-{page}/"),
        (re_path(r"search", views.plain), "/search"),
        (path("a\u202e/b c/", views.plain), "/a/bc/"),
    ],
)
def test_templates(urls: Any, pattern: Any, key: str) -> None:
    urls(pattern)

    assert keys() == [key]


@pytest.mark.parametrize(
    "key, blocked, open_",
    [
        ("/years/{year}/", "/years/2026/", "/years/20261/"),
        ("/items/{pk}/", "/items/7/", "/items/seven/"),
        ("/unnamed/{0}/{1}/", "/unnamed/1/b/", "/unnamed/b/1/"),
        ("/n/{slug}/page-{page}/", "/n/a/page-3/", "/n/a/page-x/"),
        ("/n/{slug}/page-{page}/", "/n/a/", "/n//"),
        ("/deep/{shop}/{pk}/", "/deep/a/1/", "/deep/a/b/"),
    ],
)
def test_a_template_blocks_all_its_urls(
    client: Caller, urls: Any, operator: Any, key: str, blocked: str, open_: str
) -> None:
    def plain(request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        return HttpResponse("ran")

    urls(
        re_path(r"^years/(?P<year>[0-9]{4})/$", plain),
        path("items/<int:pk>/", plain),
        re_path(r"^unnamed/([0-9]+)/(\w+)/$", plain),
        path("n/", include(nested)),
        path("deep/<slug:shop>/", include([path("<int:pk>/", plain)])),
    )
    operator.disable(key)

    response = client.get(blocked)
    assert (response.status_code, error_of(response)["path"]) == (503, key)
    assert client.status(open_) == 404


class Versions(APIView):
    authentication_classes = ()

    def get(self, request: Any, format: str | None = None) -> Response:
        return Response({"format": format})


def test_a_format_suffix_is_the_same_route(client: Caller, urls: Any, operator: Any) -> None:
    patterns = [path("v/", Versions.as_view()), re_path(r"^w/(?P<pk>\d+)/$", views.plain)]
    urls(*format_suffix_patterns(patterns, allowed=["json", "html"]))
    assert (client.status("/v/"), client.status("/v.json")) == (200, 200)

    operator.disable("/v/")

    assert (client.status("/v/"), client.status("/v.json"), client.status("/w/1.html")) == (503, 503, 200)
    assert keys() == ["/w/{pk}/", "GET:/v/"]


def test_the_routers_suffixes(client: Caller, operator: Any) -> None:
    assert client.status("/api/items.json") == 200

    operator.disable("GET:/api/items/")
    operator.disable("GET:/api/items/{pk}/")

    assert client.status("/api/items.json") == client.status("/api/items/1.json") == 503
    assert client.status("/api/items/1/", "DELETE") == client.status("/api/items/1.json", "DELETE") == 503


TRANSLATED = i18n_patterns(
    path("info/", views.plain, name="info"),
    path(_("maintenance-window/"), views.plain),
    path("deep/", include([path("<slug:name>/", views.plain)])),
)


@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_one_route_in_all_languages(client: Caller, urls: Any, operator: Any, language: str) -> None:
    urls(*TRANSLATED)
    operator.disable("/info/")
    operator.disable("/deep/{name}/")

    assert client.status(f"/{language}/info/") == 503
    assert client.status(f"/{language}/deep/a/") == 503
    assert keys() == ["/deep/{name}/", "/info/", "/maintenance-window/"]


def test_the_default_language_without_a_prefix(client: Caller, urls: Any, operator: Any) -> None:
    urls(*i18n_patterns(path("info/", views.plain), prefix_default_language=False))
    operator.disable("/info/")

    assert client.status("/info/") == client.status("/de/info/") == 503


def test_translated_patterns_are_one_route(client: Caller, urls: Any, operator: Any, settings: Any) -> None:
    # Django's own translations serve as ours.
    urls(
        *i18n_patterns(
            path(_("No"), views.plain, name="no"), path(_("Yes"), disabled()(lambda request: HttpResponse()))
        )
    )
    assert client.status("/de/Nein") == 200
    assert client.status("/de/Ja") == client.status("/en/Yes") == client.status("/fr/Oui") == 503

    operator.disable("no")

    for url in ("/en/No", "/de/Nein", "/fr/Non"):
        assert client.status(url) == 503
    assert keys() == ["/No", "/Yes"]


@pytest.mark.parametrize("how", ["setting", "server"])
def test_the_script_name_is_no_part_of_a_key(client: Caller, settings: Any, operator: Any, how: str) -> None:
    if how == "setting":
        settings.FORCE_SCRIPT_NAME = "/mounted"
    elif client.is_async:
        client.client.defaults["root_path"] = "/mounted"
    else:
        client.client.defaults["SCRIPT_NAME"] = "/mounted"
    operator.disable("/shop/cart/", reason="mounted")
    url = "/mounted/shop/cart/" if client.is_async else "/shop/cart/"

    assert error_of(client.get(url))["path"] == "/shop/cart/"
    assert client.status(url.replace("cart/", "")) == 200


class SetUrlconf:
    """A middleware that gives each host its own URLconf, as multi-site projects have."""

    sync_capable = async_capable = True
    by_host: dict[str, Any] = {}

    def __new__(cls, get_response: Any) -> Any:
        from asgiref.sync import iscoroutinefunction
        from django.utils.decorators import sync_and_async_middleware

        def choose(request: Any) -> None:
            if (found := cls.by_host.get(request.headers.get("x-site"))) is not None:
                request.urlconf = found

        def build(get_response: Any) -> Any:
            if iscoroutinefunction(get_response):

                async def middleware(request: Any) -> Any:
                    choose(request)
                    return await get_response(request)
            else:

                def middleware(request: Any) -> Any:
                    choose(request)
                    return get_response(request)

            return middleware

        return sync_and_async_middleware(build)(get_response)


@pytest.fixture
def host_b(settings: Any) -> Any:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.SetUrlconf"]

    def use(*patterns: Any) -> None:
        SetUrlconf.by_host = {"b": urlconf(*patterns)}

    yield use
    SetUrlconf.by_host = {}


def test_a_urlconf_that_a_middleware_sets_is_learnt_when_met(
    client: Caller, urls: Any, host_b: Any, operator: Any
) -> None:
    urls(path("", views.plain))
    host_b(path("only-b/<int:pk>/", views.plain), path("closed-in-b/", views.is_disabled))

    assert client.status("/closed-in-b/", x_site="b") == 503
    assert client.status("/only-b/1/", x_site="b") == 200
    operator.disable("/only-b/{pk}/")
    assert client.status("/only-b/1/", x_site="b") == 503
    assert client.status("/only-b/1/") == 404


def test_a_stamp_in_another_urlconf_counts_at_a_route_that_is_known_already(
    client: Caller, urls: Any, host_b: Any
) -> None:
    urls(path("same/", views.plain))
    host_b(path("same/", views.is_disabled))
    assert client.status("/same/") == 200

    assert client.status("/same/", x_site="b") == 503


TRICKS: list[tuple[str, dict[str, str]]] = [
    ("/shop/cart/", {"x_forwarded_host": "evil.example"}),
    ("/shop/cart/", {"x_http_method_override": "POST"}),
    ("/shop/cart/", {"x_original_url": "/health/", "x_rewrite_url": "/health/"}),
    ("/shop/cart/", {"x_script_name": "/x", "x_forwarded_prefix": "/x"}),
    ("/shop/cart/?format=json&_method=POST", {}),
    ("/shop/cart/?", {}),
    ("/shop/%63art/", {}),
    ("/%73hop/cart/", {}),
]


@pytest.mark.parametrize("url, headers", TRICKS)
def test_no_trick_opens_a_disabled_route(client: Caller, operator: Any, url: str, headers: Any) -> None:
    operator.disable("/shop/cart/")

    assert client.status(url, **headers) == 503
    assert client.status(url, "POST", **headers) == 503


@pytest.mark.parametrize(
    "url",
    [
        "//shop/cart/",
        "/shop//cart/",
        "/SHOP/cart/",
        "/shop/cart/%2e",
        "/shop/./cart/",
        "/shop/x/../cart/",
        "/shop/cart/%00",
        "/shop/cart;x/",
        "/shop%2fcart%2f%2e%2e/",
        "/shop/cart/%20",
    ],
)
def test_what_resolves_to_nothing_is_no_way_in(client: Caller, operator: Any, url: str) -> None:
    operator.disable("/shop/cart/")

    assert client.status(url) in (404, 301)


@pytest.mark.parametrize("method", ["get", "Get", "PoSt", "FOO", "GET "])
def test_odd_methods(client: Caller, operator: Any, method: str) -> None:
    operator.disable("/shop/cart/")

    assert client.status("/shop/cart/", method) == 503


def test_an_encoded_slash_is_what_django_makes_of_it(client: Caller, operator: Any) -> None:
    """Django decodes before it resolves, so that this is the cart, and is blocked as the cart."""
    operator.disable("/shop/cart/")

    assert client.status("/shop%2Fcart/") == 503


@pytest.mark.parametrize(
    "named", ["shop:cart", "/shop/cart/", "/shop/cart", "shop:item", "/shop/items/{pk}/", "/shop/items/7/"]
)
def test_people_name_routes_by_view_name_key_or_url(client: Caller, operator: Any, named: str) -> None:
    state = operator.disable(named)

    assert state.path == ("/shop/cart/" if "cart" in named else "/shop/items/{pk}/")
    assert client.status("/shop/cart/" if "cart" in named else "/shop/items/7/") == 503


def test_a_route_that_django_resolves_in_an_unexpected_way_is_still_a_route(
    client: Caller, urls: Any, operator: Any
) -> None:
    """Two patterns for one template: both are blocked together."""
    urls(re_path(r"^x/(?P<id>\d+)/$", views.plain), re_path(r"^x/(?P<id>\w+)/$", views.plain))
    operator.disable("/x/{id}/")

    assert (client.status("/x/1/"), client.status("/x/a/")) == (503, 503)


@disabled()
def closed(request: Any, **kwargs: Any) -> HttpResponse:
    return HttpResponse("closed")


class Unstamped(View):
    def get(self, request: Any, **kwargs: Any) -> HttpResponse:
        return HttpResponse("unstamped")


@pytest.mark.parametrize("other", [views.plain, Unstamped.as_view()])
@pytest.mark.parametrize("first", [True, False])
def test_of_two_views_under_one_key_the_strictest_stamp_counts(
    client: Caller, urls: Any, other: Any, first: bool
) -> None:
    """A check tells of them; until somebody reads it, nothing is open by accident."""
    digits, words = r"^x/(?P<id>\d+)/$", r"^x/(?P<id>[a-z]+)/$"
    patterns = [re_path(digits, closed), re_path(words, other)]
    urls(*(patterns if first else reversed(patterns)))

    assert client.status("/x/1/") == 503


def test_a_view_that_no_url_reaches_says_nothing(client: Caller, urls: Any) -> None:
    urls(path("x/", views.plain), path("x/", closed), path("y/", closed), path("y/", Unstamped.as_view()))

    assert (client.status("/x/"), client.status("/y/")) == (200, 503)
