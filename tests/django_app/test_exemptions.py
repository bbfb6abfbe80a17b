"""What stays open: SHIELD_EXEMPT, and the operator's way to the controls."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.contrib import admin
from django.contrib.auth import views as auth_views
from django.contrib.auth.models import User
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import include, path, re_path, reverse_lazy

from shield_django import project
from shield_django.decorators import disabled
from tests.django_app.callers import Caller
from tests.project import views


def always_open() -> set[str]:
    found = project.current()
    found.discover()
    return {str(key) for key, one in found.catalog.declarations.items() if one.always_open}


# -- SHIELD_EXEMPT -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "exempt", ["/shop/cart/", "/shop/cart", "shop:cart", "/shop/items/{pk}/", "shop:item", "GET:/shop/cart"]
)
def test_exempt_routes_are_never_blocked(client: Caller, settings: Any, operator: Any, exempt: str) -> None:
    settings.SHIELD_EXEMPT = [exempt]
    url = "/shop/items/7/" if "item" in exempt else "/shop/cart/"

    operator.enable_global_maintenance(include_force_active=True)

    assert client.status(url) == client.status(url, "HEAD") == 200
    assert client.status("/shop/") == 503
    if exempt.startswith("GET"):
        assert client.status(url, "POST") == 503


def test_an_exempt_path_is_no_prefix(client: Caller, settings: Any, operator: Any) -> None:
    settings.SHIELD_EXEMPT = ["/shop"]
    operator.enable_global_maintenance()

    assert (client.status("/shop/"), client.status("/shop/cart/")) == (200, 503)


def test_exempt_wins_over_the_views_own_stamp(client: Caller, settings: Any) -> None:
    settings.SHIELD_EXEMPT = ["/disabled/"]

    assert client.status("/disabled/") == 200


def test_exempt_wins_in_every_language(client: Caller, settings: Any, operator: Any) -> None:
    settings.SHIELD_EXEMPT = ["info"]
    operator.enable_global_maintenance()

    assert client.status("/en/info/") == client.status("/de/info/") == 200


# -- the operator's way --------------------------------------------------------------------


@pytest.fixture
def admin_user(db: None) -> User:
    return User.objects.create_superuser("root", "root@example.com", "pw")


def log_in(client: Caller, login: str) -> int:
    """Log in through the form, as a person does; return the status of the answer."""
    client.client.handler.enforce_csrf_checks = False
    response = client.post(
        login, data="username=root&password=pw", content_type="application/x-www-form-urlencoded"
    )
    return int(response.status_code)


ADMINS = {
    "/admin/": [path("admin/", admin.site.urls)],
    "/somewhere/else/": [path("somewhere/else/", admin.site.urls)],
    "/de/control/": i18n_patterns(path("control/", admin.site.urls)),
}


@pytest.mark.usefixtures("admin_user")
@pytest.mark.parametrize("mount", ADMINS)
def test_the_operator_logs_in_and_reaches_the_admin(
    client: Caller, urls: Any, operator: Any, mount: str
) -> None:
    urls(*ADMINS[mount])
    operator.enable_global_maintenance(reason="all", include_force_active=True)

    assert client.status(f"{mount}login/") == 200
    assert log_in(client, f"{mount}login/") == 302
    assert client.status(mount) == 200
    assert client.status(f"{mount}jsi18n/") == 200
    assert client.status(f"{mount}auth/user/") == 503
    assert client.status(f"{mount}no-such-page/") == 503
    assert client.status("/nowhere/") == 503


def test_an_admin_of_ones_own(client: Caller, urls: Any, operator: Any, admin_user: User) -> None:
    class OwnSite(admin.AdminSite):
        def index(self, request: Any, extra_context: Any = None) -> Any:
            return HttpResponse("own index")

        def login(self, request: Any, extra_context: Any = None) -> Any:
            return HttpResponse("own login")

    urls(path("own/", OwnSite(name="own").urls))
    operator.enable_global_maintenance()
    client.client.force_login(admin_user)

    assert client.get("/own/login/").content == b"own login"
    assert client.get("/own/").content == b"own index"


def to_provider(request: Any) -> HttpResponse:
    return HttpResponseRedirect("https://sso.example/authorize")


@pytest.mark.parametrize(
    "login_url", ["/sso/start/", "sso:start", reverse_lazy("sso:start"), "/sso/start/?next=/"]
)
def test_an_sso_login(client: Caller, settings: Any, urls: Any, operator: Any, login_url: Any) -> None:
    sso = ([path("start/", to_provider, name="start"), path("profile/", views.plain)], "sso")
    settings.LOGIN_URL = login_url
    urls(path("sso/", include(sso)))
    operator.enable_global_maintenance()

    assert client.get("/sso/start/")["Location"] == "https://sso.example/authorize"
    assert client.status("/sso/profile/") == 503


@pytest.mark.parametrize("login_url", ["/de/in/", "/en/in/", "in"])
@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_a_login_in_every_language(
    client: Caller, settings: Any, urls: Any, operator: Any, login_url: str, language: str
) -> None:
    settings.LOGIN_URL = login_url
    urls(*i18n_patterns(path("in/", views.plain, name="in"), path("out/", views.plain)))
    operator.enable_global_maintenance()

    assert client.status(f"/{language}/in/") == 200
    assert client.status(f"/{language}/out/") == 503


@pytest.mark.parametrize("login_url", ["/mounted/in/", "in"])
def test_a_login_below_a_script_name(
    client: Caller, settings: Any, urls: Any, operator: Any, login_url: str
) -> None:
    settings.FORCE_SCRIPT_NAME = "/mounted"
    settings.LOGIN_URL = login_url
    urls(path("in/", views.plain, name="in"))
    operator.enable_global_maintenance()

    assert client.status("/mounted/in/" if client.is_async else "/in/") == 200


@pytest.mark.parametrize("login_url", ["https://sso.example/in/", "/nowhere/", "no-such-name", "/"])
def test_a_login_elsewhere_opens_nothing(
    client: Caller, settings: Any, urls: Any, operator: Any, login_url: str
) -> None:
    settings.LOGIN_URL = login_url
    urls(path("in/", views.plain), path("home/", views.plain))
    operator.enable_global_maintenance()

    assert client.status("/in/") == client.status("/home/") == client.status("/") == 503


def test_a_front_end_that_takes_every_path_is_no_login(
    client: Caller, settings: Any, urls: Any, operator: Any
) -> None:
    settings.LOGIN_URL = "/login"
    urls(re_path(r"^(?P<rest>.*)$", lambda request, rest: HttpResponse("front end")))
    operator.enable_global_maintenance()

    assert client.status("/account/") == 503


def test_views_of_djangos_own_that_lead_to_the_controls(client: Caller, urls: Any, operator: Any) -> None:
    urls(
        path("in/", auth_views.LoginView.as_view(template_name="shield/base.html")),
        path("out/", auth_views.LogoutView.as_view(next_page="/in/")),
        path("i18n/", include("django.conf.urls.i18n")),
        path("reset/", auth_views.PasswordResetView.as_view(template_name="shield/base.html")),
    )
    operator.enable_global_maintenance()

    assert client.status("/in/") == 200
    assert client.status("/out/", "POST") == 302
    assert client.status("/i18n/setlang/", "POST") in (204, 302)
    assert client.status("/reset/") == 503


def test_no_url_opens_by_looking_like_a_door(client: Caller, urls: Any, operator: Any) -> None:
    urls(
        path("admin/login/", disabled()(lambda request: HttpResponse())),
        path("static/<path:rest>", lambda request, rest: None),
    )
    operator.enable_global_maintenance()

    assert client.status("/admin/login/") == 503
    assert client.status("/static/x") == 503
