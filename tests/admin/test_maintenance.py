"""Maintenance of everything and of a service, from the list of routes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse

from shield_core.keys import EVERYTHING, Scope
from shield_django import project
from tests.admin.conftest import HAS_DATABASE, address, form_of, messages_of, text_of
from tests.admin.test_form import errors_of, moment

LIST = address("route_changelist")
GLOBAL = address("route_maintenance")
BILLING = address("route_maintenance", "billing")
SCOPES = [(GLOBAL, EVERYTHING, "Everything"), (BILLING, Scope.service("billing"), "Service billing")]
by_scope = pytest.mark.parametrize("page, scope, name", SCOPES, ids=["everything", "service"])


@pytest.fixture(autouse=True)
def _a_service(billing):
    """Both scopes are there in every test."""


def change(client, page, **entered):
    return client.post(page, form_of(client.get(page)) | entered, follow=True)


def test_the_list_says_that_maintenance_is_off(operator):
    said = text_of(operator.get(LIST))
    assert "Global maintenance is off. Switch on…" in said
    assert "Maintenance of services: billing" in said


@by_scope
def test_switching_on_and_off(operator, sync, page, scope, name):
    response = change(operator, page, status="maintenance", reason="moving house", note="CHG-9")
    assert messages_of(response) == [f"{name} is now in maintenance, “moving house”."]
    config = sync.get_maintenance(scope)
    assert (config.enabled, config.reason, config.note) == (True, "moving house", "CHG-9")
    said = text_of(response)
    assert "is in maintenance “moving house”" in said
    assert "by olga" in said
    response = change(operator, page, _end="1", reason="moved")
    assert messages_of(response) == [f"{name} is now out of maintenance."]
    assert not sync.get_maintenance(scope).in_force(datetime.now(UTC))
    on_off = [entry.action.rpartition("_")[2] for entry in sync.get_audit_log(scope.store_key)]
    assert on_off == ["off", "on"]


@by_scope
def test_all_that_it_asks_is_stored(operator, sync, page, scope, name):
    change(
        operator,
        page,
        status="maintenance",
        read_only="on",
        include_force_active="on",
        exempt_paths="/health/\r\n GET:/status \r\n\r\n/health/",
    )
    config = sync.get_maintenance(scope)
    assert config.read_only
    assert config.include_force_active
    assert config.exempt_paths == ("/health/", "GET:/status")
    assert form_of(operator.get(page))["exempt_paths"] == "/health/\nGET:/status"


@by_scope
def test_until_an_end(operator, sync, page, scope, name):
    end = (datetime.now(UTC) + timedelta(hours=1, minutes=50)).replace(microsecond=0)
    response = change(operator, page, reason="short", **moment("window_end", end))
    assert "(1 hour, 49 minutes)" in messages_of(response)[0].replace("\xa0", " ")
    config = sync.get_maintenance(scope)
    assert not config.enabled
    assert config.window.end == end
    assert config.in_force(datetime.now(UTC))
    assert "only in the window" in text_of(operator.get(page))


@by_scope
def test_an_end_for_what_is_on_already_is_one_change(operator, sync, page, scope, name):
    sync.enable_maintenance(scope, "for good", actor="bob")
    end = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    change(operator, page, status="active", **moment("window_end", end))
    config = sync.get_maintenance(scope)
    assert (config.enabled, config.window.end) == (False, end)
    assert len(sync.get_audit_log(scope.store_key)) == 2


def test_many_services_are_read_from_the_store_at_once(operator, sync, monkeypatch):
    backend = project.current().engine.backend
    read, asked = type(backend).watch_sync, []
    monkeypatch.setattr(
        type(backend), "watch_sync", lambda *args, **more: asked.append(1) or read(*args, **more)
    )
    operator.get(LIST)
    of_one = len(asked)  # the first time also of what the routes of this process are
    for number in range(20):
        sync.enable_service_maintenance(f"service-{number}", "moving")
    asked.clear()
    assert "The service service-19 is in maintenance" in text_of(operator.get(LIST))
    assert len(asked) <= of_one


def test_the_service_by_which_the_list_is_filtered_has_a_switch_too(operator, sync):
    said = "Maintenance of billing is off. Switch on…"
    assert said not in text_of(operator.get(LIST))
    chosen = operator.get(f"{LIST}?service=billing")
    assert said in text_of(chosen)
    assert f'href="{BILLING}?on"' in chosen.content.decode()
    sync.enable_service_maintenance("billing", "moving", actor="bob")
    assert said not in text_of(operator.get(f"{LIST}?service=billing"))


def test_a_planned_window_is_announced_above_the_list(operator, sync):
    start = datetime.now(UTC) + timedelta(days=1)
    change(
        operator, GLOBAL, **moment("window_start", start), **moment("window_end", start + timedelta(hours=2))
    )
    said = text_of(operator.get(LIST))
    assert "Global maintenance is off." in said
    assert "Everything: maintenance from" in said


@by_scope
def test_a_stale_form_is_refused(operator, sync, page, scope, name):
    stale = form_of(operator.get(page)) | {"status": "maintenance", "reason": "mine"}
    sync.enable_maintenance(scope, "theirs", actor="bob")
    response = operator.post(page, stale)
    assert response.status_code == 409
    assert "by bob" in text_of(response)
    assert sync.get_maintenance(scope).reason == "theirs"
    operator.post(page, form_of(response))
    assert sync.get_maintenance(scope).reason == "mine"


@pytest.mark.parametrize("line", ["/x\x1b[2J", "/" + "x" * 600, "\n".join(f"/{n}" for n in range(501))])
def test_exempt_paths_are_bounded_and_have_no_control_characters(operator, sync, line):
    response = change(operator, GLOBAL, status="maintenance", exempt_paths=line)
    assert "exempt_paths" in response.context["adminform"].form.errors
    assert not sync.get_global_maintenance().enabled


def test_an_exempt_path_must_be_a_path(operator):
    response = change(operator, GLOBAL, status="maintenance", exempt_paths="health")
    assert "is not a route key" in errors_of(response)


def test_the_link_that_switches_on_has_chosen_already(operator):
    assert form_of(operator.get(GLOBAL + "?on"))["status"] == "maintenance"
    assert form_of(operator.get(GLOBAL))["status"] == "active"


def test_an_unknown_service_is_not_found(operator):
    assert operator.get(address("route_maintenance", "nobody")).status_code == 404


def test_who_may_only_look_sees_it_and_changes_nothing(viewer, sync):
    assert "Switch on" not in text_of(viewer.get(LIST))
    page = viewer.get(GLOBAL)
    assert page.status_code == 200
    assert 'name="_save"' not in page.content.decode()
    assert viewer.post(GLOBAL, {"status": "maintenance", "revision": "0"}).status_code == 403
    assert not sync.get_maintenance(EVERYTHING).enabled


def test_under_global_maintenance_the_operator_reaches_the_controls_and_ends_it(operator, sync):
    sync.enable_global_maintenance("all of it", include_force_active=True, actor="bob")
    assert operator.get("/shop/cart/").status_code == 503
    assert operator.get("/health/").status_code == 503
    for page in (
        reverse("admin:index"),
        LIST,
        GLOBAL,
        address("route_change", "/shop/cart/"),
        address("route_history", "/shop/cart/"),
        address("auditlogentry_changelist"),
        reverse("admin:jsi18n"),
    ):
        assert operator.get(page).status_code == 200, page
    asked = operator.post(LIST, {"action": "enable", "index": "0", "_selected_action": "/shop/cart/"})
    assert operator.post(asked.context["form_url"], form_of(asked)).status_code == 302
    change(operator, GLOBAL, _end="1")
    assert operator.get("/shop/cart/").status_code == 200


@pytest.mark.skipif(not HAS_DATABASE, reason="without a database the server brings its own login")
def test_under_global_maintenance_the_operator_can_log_in(store, sync, client, django_user_model):
    django_user_model.objects.create_superuser("root", password="secret")
    sync.enable_global_maintenance("all of it", actor="bob")
    login = reverse("admin:login")
    assert client.get(login).status_code == 200
    answer = client.post(login, {"username": "root", "password": "secret", "next": LIST}, follow=True)
    assert answer.status_code == 200
    assert "Everything is in maintenance" in text_of(answer)
    assert client.post(reverse("admin:logout")).status_code == 200
