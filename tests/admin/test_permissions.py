"""Who may look, who may change, and who may neither."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from tests.admin.conftest import HAS_DATABASE, address, client_of, form_of, text_of

CART = "/shop/cart/"
LIST, PAGE, HISTORY = (
    address("route_changelist"),
    address("route_change", CART),
    address("route_history", CART),
)


def test_who_may_look_sees_list_form_and_history(viewer, sync):
    sync.disable(CART, "stock-taking", actor="bob")
    for page in (LIST, PAGE, HISTORY):
        response = viewer.get(page)
        assert response.status_code == 200
        assert "stock-taking" in text_of(response)


def test_who_may_only_look_is_offered_no_change(viewer):
    assert 'name="action"' not in viewer.get(LIST).content.decode()
    form = viewer.get(PAGE)
    assert "View route" in text_of(form)
    for control in ('name="_save"', 'name="_reset"', 'name="status"', 'name="reason"'):
        assert control not in form.content.decode()


def test_who_may_only_look_cannot_change_by_force(viewer, sync):
    for page, data in (
        (LIST, {"action": "disable", "index": "0", "_selected_action": CART}),
        (address("route_bulk", "disable"), {"keys": CART, "reason": "x"}),
        (PAGE, {"status": "disabled", "revision": "0"}),
        (PAGE, {"_reset": "1", "revision": "0"}),
    ):
        assert viewer.post(page, data).status_code == 403, page
    assert sync.get_audit_log(CART) == []


def test_without_any_permission_there_is_nothing(store):
    nobody = client_of("nobody", [])
    for page in (LIST, PAGE, HISTORY, address("route_maintenance"), address("auditlogentry_changelist")):
        assert nobody.get(page).status_code == 403, page
    assert LIST not in nobody.get(reverse("admin:index")).content.decode()


def test_who_may_change_may_look(store):
    changer = client_of("carl", ["change_route"])
    assert changer.get(LIST).status_code == 200
    assert changer.post(PAGE, form_of(changer.get(PAGE))).status_code == 302


@pytest.mark.parametrize("page", [LIST, PAGE, HISTORY, address("route_maintenance")])
def test_a_stranger_is_sent_to_the_login(store, page):
    response = Client().get(page)
    assert response.status_code == 302
    assert response.url.startswith(reverse("admin:login"))


@pytest.mark.parametrize("page", [address("route_add"), address("route_delete", CART)])
def test_routes_are_neither_added_nor_deleted(operator, page):
    assert operator.get(page).status_code == 403
    assert operator.post(page, {"post": "yes"}).status_code == 403
    assert page not in operator.get(LIST).content.decode()


def test_a_form_from_elsewhere_is_refused(store, operator):
    strict = Client(enforce_csrf_checks=True, headers=operator.defaults and None)
    strict.cookies = operator.cookies
    strict.defaults = operator.defaults
    for page in (PAGE, address("route_bulk", "disable"), address("route_maintenance")):
        assert strict.post(page, {"keys": CART, "revision": "0"}).status_code == 403, page


def test_the_index_lists_both_pages(operator):
    said = text_of(operator.get(reverse("admin:index")))
    assert "Routes" in said
    assert "Audit log" in said


@pytest.mark.skipif(not HAS_DATABASE, reason="there is no log entry without a database")
def test_nothing_is_written_to_the_log_of_django(operator, sync):
    from django.contrib.admin.models import LogEntry

    operator.post(PAGE, form_of(operator.get(PAGE)) | {"status": "disabled"})
    assert len(sync.get_audit_log(CART)) == 1
    assert not LogEntry.objects.exists()
