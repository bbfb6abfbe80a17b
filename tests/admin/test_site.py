"""Shield's own admin site, beside or instead of Django's."""

from __future__ import annotations

import pytest
from django.test import RequestFactory
from django.urls import path, reverse

from shield_django.admin import RouteAdmin
from shield_django.admin.site import ShieldAdminSite
from shield_django.models import Route
from tests.admin.conftest import form_of, text_of

site = ShieldAdminSite("beside")
urlpatterns = [path("control/", site.urls)]


@pytest.fixture
def beside(store, settings):
    settings.ROOT_URLCONF = __name__


def test_its_pages_lead_to_each_other(beside, operator):
    index = operator.get("/control/")
    assert index.status_code == 200
    assert "Recent actions" not in text_of(index)
    assert [one["name"] for one in index.context["app_list"][0]["models"]] == [
        "Routes",
        "Instances",
        "Audit log",
    ]
    assert 'href="/control/shield/route/"' in index.content.decode()
    listed = operator.get(reverse("admin:shield_route_changelist", current_app="beside"))
    assert listed.status_code == 200
    assert "/control/shield/route/maintenance/" in listed.content.decode()
    form = operator.get(reverse("admin:shield_route_maintenance", current_app="beside"))
    answer = operator.post(form.request["PATH_INFO"], form_of(form) | {"status": "maintenance"})
    assert answer.url == "/control/shield/route/"


def test_a_subclass_says_who_may_enter(beside, operator, monkeypatch):
    monkeypatch.setattr(site, "has_permission", lambda request: False)
    assert operator.get("/control/").status_code == 302


def test_a_subclass_may_show_another_engine(store):
    from shield_core.engine import ShieldEngine

    other = ShieldEngine(threads=False)
    other.sync.register("GET:/elsewhere", {})

    class OtherRouteAdmin(RouteAdmin):
        def get_engine(self, request):
            return other

    rows = OtherRouteAdmin(Route, site).get_queryset(RequestFactory().get("/"))
    assert [row.key for row in rows] == ["GET:/elsewhere"]


def test_the_log_of_django_is_left_alone(store):
    admin = site._registry[Route]
    assert admin.log_addition(None, None, "") is None
    assert admin.log_change(None, None, "") is None
    assert admin.log_deletions(None, ()) is None
    assert site.get_log_entries(None) == ()
