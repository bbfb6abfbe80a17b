"""The list of routes: what it says, and how to find something in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shield_core.models import MaintenanceWindow
from tests.admin.conftest import address, text_of

LIST = address("route_changelist")


def keys_of(response) -> list[str]:
    return [route.key for route in response.context["cl"].result_list]


def row_of(response, key: str) -> str:
    [row] = [one for one in response.content.decode().split("<tr") if f">{key}</a>" in one]
    return row


def test_it_lists_every_route_with_its_status_as_word_and_shape(operator):
    response = operator.get(LIST)
    assert response.status_code == 200
    assert "/shop/cart/" in keys_of(response)
    row = row_of(response, "/maintenance/")
    assert "<svg" in row
    assert ">maintenance</span>" in row
    assert "Database migration — back at 04:00 UTC" in row


def test_it_says_who_set_a_route_when_and_until_when(operator, sync):
    sync.set_maintenance(
        "/shop/cart/", "stock-taking", until=datetime.now(UTC) + timedelta(minutes=30), actor="bob"
    )
    row = row_of(operator.get(LIST), "/shop/cart/")
    for said in ("stock-taking", "until", "minutes", "bob", "<time"):
        assert said in row


def test_a_window_in_the_future_is_announced_and_changes_nothing_yet(operator, sync):
    start = datetime.now(UTC) + timedelta(days=2)
    window = MaintenanceWindow(start=start, end=start + timedelta(hours=1))
    sync.schedule_maintenance("/shop/cart/", window, actor="bob")
    row = row_of(operator.get(LIST), "/shop/cart/")
    assert ">active</span>" in row
    assert "maintenance from" in row


@pytest.mark.parametrize(
    "query, there, away",
    [
        ("status=maintenance", "/maintenance/", "/shop/cart/"),
        ("status=env_gated", "/gated/", "/maintenance/"),
        ("status=disabled", "/disabled/", "/maintenance/"),
        ("origin=operator", "/shop/cart/", "/maintenance/"),
        ("origin=code", "/maintenance/", "/shop/cart/"),
    ],
)
def test_filters_narrow_the_list(operator, sync, query, there, away):
    sync.enable("/shop/cart/", actor="bob")
    sync.set_maintenance("/shop/cart/", "x", actor="bob") if "origin" in query else None
    keys = keys_of(operator.get(f"{LIST}?{query}"))
    assert there in keys
    assert away not in keys


def test_the_status_filter_means_the_status_now_not_the_base_status(operator, sync):
    sync.disable("/shop/cart/", until=datetime.now(UTC) + timedelta(hours=1), actor="bob")
    assert "/shop/cart/" in keys_of(operator.get(f"{LIST}?status=disabled"))


def test_filters_say_how_many_routes_there_are(operator):
    response = operator.get(LIST)
    count = len(keys_of(operator.get(f"{LIST}?status=disabled")))
    assert f"disabled ({count})" in text_of(response)


def test_the_service_filter_is_there_where_there_are_services(operator, request):
    assert "By service" not in text_of(operator.get(LIST))
    request.getfixturevalue("billing")
    response = operator.get(f"{LIST}?service=billing")
    assert "By service" in text_of(response)
    assert keys_of(response) == ["billing:GET:/invoices"]


@pytest.mark.parametrize("words", ["cart", "CART", "shop cart", '"/shop/cart"', "bob", "stock"])
def test_search_looks_in_route_reason_and_person(operator, sync, words):
    sync.disable("/shop/cart/", "stock-taking", actor="bob")
    keys = keys_of(operator.get(LIST, {"q": words}))
    assert "/shop/cart/" in keys
    assert "/maintenance/" not in keys


def test_a_search_without_result_is_an_empty_list(operator):
    assert keys_of(operator.get(LIST, {"q": "no such thing"})) == []


@pytest.mark.parametrize("column", range(1, 5))
def test_it_can_be_ordered_by_every_column_in_both_directions(operator, sync, column):
    sync.disable("/shop/cart/", "reason", actor="bob")
    sync.disable("/async/", until=datetime.now(UTC) + timedelta(hours=1), actor="bob")
    up = keys_of(operator.get(f"{LIST}?o={column}"))
    down = keys_of(operator.get(f"{LIST}?o=-{column}"))
    assert sorted(up) == sorted(down)
    assert up != down


def test_it_is_in_the_order_of_paths_at_first(operator):
    paths = [key[key.index("/") :] for key in keys_of(operator.get(LIST))]
    assert paths == sorted(paths)


def test_it_has_pages(operator, sync):
    for number in range(130):
        sync.register(f"GET:/many/{number:03}", {})
    first, second = operator.get(f"{LIST}?q=many"), operator.get(f"{LIST}?q=many&p=2")
    assert len(keys_of(first)) == 100
    assert keys_of(second)[-1] == "GET:/many/129"
    assert len(keys_of(operator.get(f"{LIST}?q=many&all="))) == 130


@pytest.mark.parametrize("query", ["nonsense=1", "key__regex=x", "updated_at__gte=yesterday"])
def test_an_address_that_makes_no_sense_leads_back_to_the_list(operator, query):
    response = operator.get(f"{LIST}?{query}", follow=True)
    assert response.redirect_chain == [(f"{LIST}?e=1", 302)]
    assert response.status_code == 200


def test_a_plain_lookup_works_as_in_any_admin(operator):
    assert keys_of(operator.get(f"{LIST}?key__startswith=/shop/cart")) == ["/shop/cart/"]


def test_what_people_wrote_is_text_and_never_markup(operator, sync):
    sync.disable("/shop/cart/", "<script>alert(1)</script>", actor="<b>bob</b>", note="<i>n</i>")
    for page in (
        LIST,
        address("route_change", "/shop/cart/"),
        address("route_history", "/shop/cart/"),
        address("auditlogentry_changelist"),
    ):
        body = operator.get(page).content.decode()
        assert "<script>alert" not in body
        assert "<b>bob" not in body
        assert "&lt;script&gt;alert(1)" in body


def test_no_page_has_script_or_style_of_its_own(operator, sync):
    sync.disable("/shop/cart/", "x", actor="bob")
    [entry] = sync.get_audit_log(limit=1)
    for page in (
        LIST,
        address("route_change", "/shop/cart/"),
        address("route_history", "/shop/cart/"),
        address("route_maintenance"),
        address("auditlogentry_changelist"),
        address("auditlogentry_change", entry.id),
    ):
        body = operator.get(page).content.decode()
        assert "<style" not in body
        assert " style=" not in body
        assert " onclick=" not in body
        scripts = [one for one in body.split("<script")[1:] if "src=" not in one.partition(">")[0]]
        assert scripts == [], page
        assert "http://" not in body.replace("http://www.w3.org/", "")
