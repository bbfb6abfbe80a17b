"""Bulk actions: a page asks why, then all routes are changed in one commit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shield_core.models import MaintenanceWindow, RouteStatus
from tests.admin.conftest import address, form_of, messages_of, text_of

LIST = address("route_changelist")
CART, ASYNC = "/shop/cart/", "/async/"


def choose(client, action: str, *keys: str, query: str = "", **more):
    return client.post(LIST + query, {"action": action, "index": "0", "_selected_action": keys, **more})


def send(client, response, **entered):
    """Send the page that asks, as its form says."""
    return client.post(response.context["form_url"], form_of(response) | entered, follow=True)


def test_the_page_lists_the_routes_and_asks_why(operator):
    response = choose(operator, "maintenance", CART, ASYNC)
    said = text_of(response)
    assert "Put routes into maintenance" in said
    assert "2 routes" in said
    assert CART in said
    assert ASYNC in said
    assert {"reason", "note", "lasting", "end", "read_only"} < set(response.context["adminform"].form.fields)


@pytest.mark.parametrize(
    "action, status, action_word",
    [
        ("maintenance", RouteStatus.MAINTENANCE, "put into maintenance"),
        ("disable", RouteStatus.DISABLED, "disabled"),
    ],
)
def test_blocking_several_routes(operator, sync, action, status, action_word):
    response = send(operator, choose(operator, action, CART, ASYNC), reason="move", note="CHG-7")
    assert len(messages_of(response)) == 1
    assert "2 routes were" in messages_of(response)[0]
    assert action_word in messages_of(response)[0]
    for key in (CART, ASYNC):
        state = sync.get_state(key)
        assert (state.status, state.reason, state.note) == (status, "move", "CHG-7")
        [entry] = sync.get_audit_log(key)
        assert (entry.actor, entry.platform, entry.note) == ("olga", "admin", "CHG-7")


def test_enabling_several_routes(operator, sync):
    sync.disable(CART, actor="bob")
    sync.disable(ASYNC, actor="bob")
    response = send(operator, choose(operator, "enable", CART, ASYNC), reason="done")
    assert messages_of(response) == ["2 routes were enabled."]
    assert sync.get_state(CART).status is RouteStatus.ACTIVE
    assert sync.get_audit_log(CART)[0].reason == "done"


def test_returning_several_routes_to_the_code(operator, sync):
    sync.disable(CART, actor="bob")
    sync.enable("/maintenance/", actor="bob")
    response = send(operator, choose(operator, "reset", CART, "/maintenance/"))
    assert messages_of(response) == ["2 routes were returned to the code."]
    assert sync.get_state("/maintenance/").status is RouteStatus.MAINTENANCE


def test_one_route_is_told_by_what_it_answers_now(operator):
    response = send(operator, choose(operator, "maintenance", CART), reason="move")
    assert messages_of(response) == ["/shop/cart/ is now in maintenance, “move”."]


def test_for_a_time(operator, sync):
    response = send(operator, choose(operator, "disable", CART, ASYNC), lasting="30")
    [told] = messages_of(response)
    assert told.startswith("2 routes were disabled until")
    assert told == f"{told.rstrip('.')}."  # also after p.m.
    left = sync.get_state(CART).window.end - datetime.now(UTC)
    assert timedelta(minutes=29) < left <= timedelta(minutes=30)
    assert sync.get_state(CART).status is RouteStatus.ACTIVE


def test_until_an_end_and_read_only(operator, sync):
    entered = {"end_0": "2031-01-01", "end_1": "10:00", "read_only": "on"}
    send(operator, choose(operator, "maintenance", CART), **entered)
    window = sync.get_state(CART).window
    assert window.end.year == 2031
    assert window.read_only


@pytest.mark.parametrize(
    "entered, complaint",
    [
        ({"lasting": "30", "end_0": "2031-01-01", "end_1": "10:00"}, "a span or an end, not both"),
        ({"end_0": "2020-01-01", "end_1": "10:00"}, "The end is in the past."),
    ],
)
def test_mistakes_keep_the_page(operator, sync, entered, complaint):
    response = send(operator, choose(operator, "maintenance", CART), reason="kept", **entered)
    assert complaint in text_of(response)
    assert CART in text_of(response)
    assert form_of(response)["reason"] == "kept"
    assert sync.get_audit_log(CART) == []


def test_what_is_refused_is_told_by_route_and_the_rest_is_done(operator, sync):
    start = datetime.now(UTC) + timedelta(days=1)
    planned = MaintenanceWindow(start=start, end=start + timedelta(hours=1))
    sync.schedule_maintenance(ASYNC, planned, actor="bob")
    asked = choose(operator, "maintenance", CART, "/health/", ASYNC)
    told = messages_of(send(operator, asked, lasting="30"))
    assert len(told) == 3
    assert "/health/ was left as it was: /health/ is protected by @force_active" in " ".join(told)
    assert "/async/ was left as it was: /async/ has a window from" in " ".join(told)
    assert sync.get_state(CART).effective() is RouteStatus.MAINTENANCE
    assert sync.get_state(ASYNC).window == planned


def test_a_route_that_is_gone_is_told(operator):
    response = choose(operator, "disable", CART)
    told = messages_of(send(operator, response, keys="GET:/gone/ not-a-key"))
    assert len(told) == 2
    assert all("was left as it was" in one for one in told)


def test_of_many_that_are_refused_some_are_told_and_the_rest_counted(operator):
    keys = " ".join(f"GET:/gone/{number}" for number in range(10_000))
    told = messages_of(send(operator, choose(operator, "disable", CART), keys=keys))
    assert len(told) == 11
    assert "GET:/gone/9 was left as it was" in told[-2]
    assert told[-1] == "9990 further routes were left as they were."


def test_all_routes_of_a_filter_at_once(operator, sync):
    for number in range(130):
        sync.register(f"GET:/many/{number:03}", {})
    asked = choose(operator, "disable", "GET:/many/000", query="?q=many", select_across="1")
    assert "130 routes" in text_of(asked)
    assert "and 30 more" in text_of(asked)
    response = send(operator, asked, reason="all of them")
    assert messages_of(response) == ["130 routes were disabled."]
    assert len({entry.revision for entry in sync.get_audit_log(action="disable", limit=None)}) == 1
    assert response.redirect_chain[0][0] == f"{LIST}?q=many"
    assert sync.get_state("GET:/many/129").status is RouteStatus.DISABLED
    assert sync.get_state(CART).status is RouteStatus.ACTIVE


def test_nothing_selected_changes_nothing(operator):
    response = operator.post(LIST, {"action": "disable", "index": "0"}, follow=True)
    assert "Items must be selected" in messages_of(response)[0]


def test_the_page_between_is_reached_by_choosing_only(operator):
    page = address("route_bulk", "disable")
    assert operator.get(page).status_code == 404
    assert operator.post(address("route_bulk", "explode"), {"keys": CART}).status_code == 404
    assert operator.post(page, {}).status_code == 200
