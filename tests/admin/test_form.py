"""The form of a route: what it changes, what it refuses, and two people at once."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from shield_core.models import MaintenanceWindow, RouteStatus
from shield_django import project
from tests.admin.conftest import address, form_of, messages_of, text_of

CART = "/shop/cart/"
PAGE = address("route_change", CART)


def moment(name: str, when: datetime) -> dict[str, str]:
    there = timezone.localtime(when) if timezone.is_aware(timezone.now()) else when
    return {f"{name}_0": there.strftime("%Y-%m-%d"), f"{name}_1": there.strftime("%H:%M:%S")}


def change(client, page=PAGE, follow=True, headers=None, **entered):
    """Open the form, enter something, and save."""
    return client.post(page, form_of(client.get(page)) | entered, follow=follow, headers=headers)


def errors_of(response) -> str:
    return " ".join(response.context["adminform"].form.errors.as_text().split())


def test_it_shows_what_is_known_beside_what_can_be_changed(operator, sync):
    sync.disable(CART, "stock-taking", actor="bob", note="until Friday")
    said = text_of(operator.get(PAGE))
    for fact in (
        "disabled",
        "stock-taking",
        "until Friday",
        "Set by bob",
        "The code says active",
        "Revision",
    ):
        assert fact in said


def test_it_shows_the_rate_limit_in_force(operator, sync):
    assert "Rate limit" not in text_of(operator.get(PAGE))
    sync.set_rate_limit_policy(
        CART, limit="10/minute", key_strategy="user", burst=5, shadow=True, actor="bob"
    )

    said = text_of(operator.get(PAGE))

    assert "Rate limit 10/minute, per user, fixed window, burst 5, counted only, set by bob" in said


def test_a_note_on_a_method_does_not_open_it_under_an_override_of_all_methods(operator, sync):
    method, page = f"GET:{CART}", address("route_change", f"GET:{CART}")
    sync.register(method, {})
    sync.disable(CART, "fraud", actor="bob")
    said = text_of(operator.get(page))
    assert "fraud" in said
    assert "Set by bob" in said
    assert change(operator, page, note="CHG-1").status_code == 200
    engine = project.current().engine
    assert engine.decide("GET", CART).reason == "fraud"
    change(operator, page, status="active", reason="")
    assert [engine.decide(one, CART).allowed for one in ("GET", "POST")] == [True, False]


def test_a_rate_limit_that_changed_meanwhile_is_no_conflict(operator, sync):
    form = form_of(operator.get(PAGE))
    sync.set_rate_limit_policy(CART, limit="10/minute")
    response = operator.post(PAGE, form | {"status": "disabled"}, follow=True)
    assert response.status_code == 200
    assert sync.get_state(CART).status == "disabled"


def test_maintenance_with_a_reason(operator, sync):
    response = change(operator, status="maintenance", reason="new till", note="CHG-1")
    assert messages_of(response) == ["/shop/cart/ is now in maintenance, “new till”."]
    state = sync.get_state(CART)
    assert (state.status, state.reason, state.note) == (RouteStatus.MAINTENANCE, "new till", "CHG-1")


def test_the_audit_log_says_who_and_from_where(operator, sync):
    change(operator, status="disabled", reason="x", headers={"X-Request-ID": "req-42"})
    [entry] = sync.get_audit_log(CART)
    assert (entry.actor, entry.platform, entry.client_ip) == ("olga", "admin", "127.0.0.1")
    assert entry.request_id == "req-42"


def test_the_audit_log_knows_the_client_behind_a_trusted_proxy(settings, operator, sync):
    settings.SHIELD_NUM_PROXIES = 1
    change(operator, status="disabled", headers={"X-Forwarded-For": "198.51.100.9, 203.0.113.7"})
    assert project.current().engine.sync.get_audit_log(CART)[0].client_ip == "203.0.113.7"


def test_a_request_id_with_control_characters_is_left_out(operator, sync):
    change(operator, status="disabled", headers={"X-Request-ID": "a b"})
    assert sync.get_audit_log(CART)[0].request_id == ""


def test_line_breaks_in_a_reason_become_spaces(operator, sync):
    change(operator, status="disabled", reason="one\r\ntwo\nthree\u2028four")
    assert sync.get_state(CART).reason == "one two three four"


def test_what_terminals_take_as_commands_becomes_a_space(operator, sync):
    change(operator, status="disabled", reason="a\x1b[2Jb\tc\x9b1m", note="\x07x")
    assert (sync.get_state(CART).reason, sync.get_state(CART).note) == ("a [2Jb c 1m", "x")


def test_a_text_of_nothing_but_spaces_takes_no_time(operator, sync):
    begun = time.monotonic()
    response = change(operator, status="disabled", reason="x" + " " * 200_000 + "x")
    assert errors_of(response)
    assert time.monotonic() - begun < 10


def test_read_only_maintenance(operator, sync):
    change(operator, status="maintenance", read_only="on")
    assert sync.get_state(CART).read_only
    assert operator.get("/shop/cart/").status_code == 200
    assert operator.post("/shop/cart/").status_code == 503


def test_read_only_means_nothing_without_maintenance(operator, sync):
    change(operator, status="disabled", read_only="on")
    assert not sync.get_state(CART).read_only


def test_environments_gate_the_route(operator, sync):
    change(operator, allowed_envs=" dev, staging ,dev")
    state = sync.get_state(CART)
    assert (state.status, state.allowed_envs) == (RouteStatus.ENV_GATED, ("dev", "staging"))
    assert form_of(operator.get(PAGE))["allowed_envs"] == "dev, staging"
    assert operator.get("/shop/cart/").status_code == 404


def test_no_environments_lift_the_gate(operator, sync):
    change(operator, allowed_envs="dev")
    change(operator, allowed_envs="")
    assert sync.get_state(CART).status is RouteStatus.ACTIVE


def test_a_window_from_now_until_an_end_blocks_and_keeps_the_base_status(operator, sync):
    end = datetime.now(UTC) + timedelta(hours=2)
    response = change(operator, reason="upgrade", **moment("window_end", end))
    state = sync.get_state(CART)
    assert state.status is RouteStatus.ACTIVE
    assert state.effective() is RouteStatus.MAINTENANCE
    assert state.window.end == end.replace(microsecond=0)
    assert state.window.reason == "upgrade"
    assert "in maintenance, until" in messages_of(response)[0]
    assert operator.get("/shop/cart/").status_code == 503


def test_a_window_in_the_future(operator, sync):
    start = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    end = start + timedelta(hours=1)
    change(
        operator,
        **moment("window_start", start),
        **moment("window_end", end),
        window_status="disabled",
        window_reason="moving",
    )
    window = sync.get_state(CART).window
    assert (window.start, window.end, window.status) == (start, end, RouteStatus.DISABLED)
    assert window.reason == "moving"


def test_what_was_not_touched_of_a_window_stays_to_the_microsecond(operator, sync):
    before = sync.disable(
        CART, "x", until=datetime.now(UTC) + timedelta(hours=1, microseconds=7), actor="bob"
    )
    change(operator, note="seen")
    after = sync.get_state(CART)
    assert after.window == before.window
    assert after.note == "seen"


def test_emptying_both_times_takes_the_window_away(operator, sync):
    sync.disable(CART, until=datetime.now(UTC) + timedelta(hours=1), actor="bob")
    empty = {f"window_{edge}_{part}": "" for edge in ("start", "end") for part in (0, 1)}
    change(operator, **empty)
    assert sync.get_state(CART).window is None
    assert sync.get_state(CART).origin == "code"


def test_a_window_for_ever_survives_the_form(operator, sync):
    window = MaintenanceWindow(start=datetime.now(UTC), end=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    sync.schedule_maintenance(CART, window, actor="bob")
    change(operator, note="seen")
    assert sync.get_state(CART).window == window


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/New_York"])
@pytest.mark.parametrize("use_tz", [True, False])
def test_times_are_those_of_the_project(operator, sync, settings, zone, use_tz):
    settings.TIME_ZONE = zone
    settings.USE_TZ = use_tz
    window = MaintenanceWindow(start=datetime.now(UTC), end=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    sync.schedule_maintenance(CART, window, actor="bob")
    change(operator, note="seen")
    assert sync.get_state(CART).window == window
    entered = {"window_end_0": "2031-07-01", "window_end_1": "12:00:00"}
    change(operator, **entered)
    expected = timezone.make_aware(datetime(2031, 7, 1, 12), timezone.get_default_timezone())
    assert sync.get_state(CART).window.end == expected
    form = form_of(operator.get(PAGE))
    assert {name: form[name] for name in entered} == entered


@pytest.mark.parametrize(
    "entered, complaint",
    [
        ({"window_start_0": "2031-01-01", "window_start_1": "10:00"}, "A window needs an end."),
        ({"window_end_0": "2020-01-01", "window_end_1": "10:00"}, "must end after it starts, and after now"),
        ({"window_end_0": "2031-01-01", "window_end_1": ""}, "Enter a valid time"),
        ({"status": "maintenance", "window_end_0": "2031-01-01", "window_end_1": "1:00"}, "would stay"),
        ({"status": "no such"}, "no such is not one of the available choices"),
        ({"reason": "nul\x00"}, "Null characters are not allowed"),
        ({"revision": "x"}, "Enter a whole number"),
    ],
)
def test_mistakes_are_told_and_nothing_is_changed(operator, sync, entered, complaint):
    response = change(operator, **entered)
    assert complaint in errors_of(response)
    assert sync.get_audit_log(CART) == []


def test_a_time_beyond_the_calendar_is_a_mistake(operator, settings):
    settings.TIME_ZONE = "America/New_York"
    response = change(operator, window_end_0="9999-12-31", window_end_1="23:00")
    assert "beyond the calendar" in errors_of(response)


def test_a_protected_route_says_that_it_is_protected(operator, sync):
    page = address("route_change", "/health/")
    response = change(operator, page, status="disabled", reason="no")
    assert "protected by @force_active in the code" in errors_of(response)
    assert form_of(response)["reason"] == "no"
    assert sync.get_state("/health/").status is RouteStatus.ACTIVE


def test_saving_without_a_change_writes_nothing(operator, sync):
    response = change(operator)
    assert messages_of(response) == ["Nothing was changed."]
    assert sync.get_audit_log(CART) == []


def test_return_to_the_code(operator, sync):
    sync.disable(CART, "x", actor="bob")
    assert "Return to the code" in operator.get(PAGE).content.decode()
    change(operator, _reset="1")
    assert sync.get_state(CART).origin == "code"
    assert sync.get_audit_log(CART)[0].action == "override_cleared"
    assert "Return to the code" not in operator.get(PAGE).content.decode()


def test_save_and_continue_stays(operator):
    response = change(operator, follow=False, status="disabled", _continue="1")
    assert response.url == PAGE


def test_the_filters_of_the_list_are_kept(operator):
    page = f"{PAGE}?_changelist_filters=status%3Dactive"
    response = change(operator, page, follow=False, status="disabled")
    assert response.url == f"{address('route_changelist')}?status=active"


def test_a_stale_form_is_refused_and_says_who_changed_what(operator, sync):
    stale = form_of(operator.get(PAGE)) | {"status": "maintenance", "reason": "mine", "note": "my note"}
    sync.disable(CART, "theirs", actor="bob", platform="cli")
    response = operator.post(PAGE, stale)
    assert response.status_code == 409
    said = text_of(response)
    assert "Nothing was saved" in said
    assert "active → disabled (disabled) by bob, command line, “theirs”" in said
    assert sync.get_state(CART).reason == "theirs"
    assert len(sync.get_audit_log(CART)) == 1


def test_a_refused_form_keeps_what_was_entered_and_can_be_saved_knowingly(operator, sync):
    stale = form_of(operator.get(PAGE)) | {"status": "maintenance", "reason": "mine"}
    sync.disable(CART, "theirs", actor="bob")
    again = form_of(operator.post(PAGE, stale))
    assert (again["status"], again["reason"]) == ("maintenance", "mine")
    operator.post(PAGE, again)
    assert sync.get_state(CART).reason == "mine"


def test_return_to_the_code_is_refused_on_a_stale_form_too(operator, sync):
    sync.disable(CART, "x", actor="bob")
    stale = form_of(operator.get(PAGE)) | {"_reset": "1"}
    sync.set_maintenance(CART, "y", actor="bob")
    assert operator.post(PAGE, stale).status_code == 409
    assert sync.get_state(CART).reason == "y"


def test_a_change_of_another_route_is_no_conflict(operator, sync):
    stale = form_of(operator.get(PAGE)) | {"status": "disabled"}
    sync.disable("/async/", actor="bob")
    assert operator.post(PAGE, stale).status_code == 302
    assert sync.get_state(CART).status is RouteStatus.DISABLED


@pytest.mark.parametrize("page", ["route_change", "route_history"])
def test_an_unknown_route_leads_to_the_list(operator, page):
    response = operator.get(address(page, "GET:/nowhere/"), follow=True)
    assert messages_of(response) == ["route “GET:/nowhere/” does not exist."]


def test_history_names_every_change(operator, sync):
    change(operator, status="disabled", reason="first", note="for us")
    sync.enable(CART, "second", actor="bob", platform="cli")
    said = text_of(operator.get(address("route_history", CART)))
    for words in ("first", "for us", "olga", "admin", "second", "bob", "command line"):
        assert words in said


def test_history_has_pages(operator, sync):
    for number in range(60):
        sync.disable(CART, f"reason-{number:02}.", actor="bob")
    page = address("route_history", CART)
    first = operator.get(page)
    assert "reason-59." in text_of(first)
    assert "reason-09." not in text_of(first)
    older = operator.get(page + first.context["older"])
    assert "reason-09." in text_of(older)
    assert older.context["older"] == ""
    assert older.context["newest"] == page


def test_a_new_route_has_no_history(operator):
    assert "Nobody has changed this yet." in text_of(operator.get(address("route_history", CART)))
