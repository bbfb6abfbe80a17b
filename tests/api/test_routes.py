"""Routes over HTTP: addresses, answers, windows, conflicts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shield_django.api.keys import encode_key

ROUTE = "payments:GET:/payments"


def in_url(key: str = ROUTE) -> str:
    return f"routes/{encode_key(key)}"


def soon(**span: int) -> str:
    return (datetime.now(UTC) + timedelta(**span)).isoformat()


def test_routes_are_listed_with_their_services(olga):
    states = olga("GET", "routes").json()
    assert {state["service"] for state in states} == {"payments", "orders"}
    assert ROUTE in {state["path"] for state in states}


def test_a_list_of_one_service(olga):
    states = olga("GET", "routes?service=orders").json()
    assert {state["service"] for state in states} == {"orders"}


@pytest.mark.parametrize(
    "address",
    [
        pytest.param(in_url(), id="base64url"),
        pytest.param(in_url() + "=", id="base64url-padded"),
        pytest.param("routes/payments:GET:%2Fpayments", id="percent-encoded"),
        pytest.param("routes/payments:GET:/payments", id="plain"),
        pytest.param("routes/GET:%2Fpayments?service=payments", id="service-in-the-query"),
    ],
)
def test_a_key_is_found_however_it_is_written(olga, address):
    assert olga("GET", address).json()["path"] == ROUTE


@pytest.mark.parametrize("header", ["X-Shield-Service", "X-Shield-App-Id"])
def test_a_header_names_the_service_of_a_bare_path(olga, header):
    address = f"routes/{encode_key('GET:/health')}"
    assert olga("GET", address, headers={header: "orders"}).json()["path"] == "orders:GET:/health"


def test_a_bare_path_of_several_routes_is_ambiguous(olga):
    answer = olga("POST", f"{in_url('/health')}/disable", {})
    assert answer.status_code == 409
    assert answer.json()["ambiguous_matches"] == ["orders:GET:/health", "payments:GET:/health"]


def test_a_route_that_ends_like_an_action_is_read_and_changed(olga):
    olga("POST", "sdk/register", {"app_id": "orders", "states": [{"path": "GET:/gate/enable"}]})
    assert olga("GET", "routes/orders:GET:/gate/enable").json()["path"] == "orders:GET:/gate/enable"
    disabled = olga("POST", "routes/orders:GET:/gate/enable/disable", {})
    assert disabled.json()["status"] == "disabled"
    assert olga("POST", "routes/orders:GET:/gate/enable/enable", {}).json()["status"] == "active"


@pytest.mark.parametrize("key", ["payments:GET:/nothing", "GET:/nothing"])
def test_a_route_that_nobody_registered_is_not_found(olga, key):
    for answer in (olga("GET", in_url(key)), olga("POST", f"{in_url(key)}/disable", {})):
        assert answer.status_code == 404
        assert "nothing" in answer.json()["error"]


def test_disable_and_enable_are_written_down_with_who_and_whence(olga):
    headers = {"X-Request-ID": "abc-1"}
    body = {"reason": "broken", "note": "see #7"}
    disabled = olga("POST", f"{in_url()}/disable", body, headers=headers, REMOTE_ADDR="192.0.2.9")
    assert (disabled.status_code, disabled.json()["status"]) == (200, "disabled")
    assert disabled.json()["reason"] == "broken"
    assert olga("POST", f"{in_url()}/enable", {}).json()["status"] == "active"
    entries = olga("GET", f"audit?route={ROUTE}").json()
    assert [entry["action"] for entry in entries] == ["enable", "disable"]
    told = entries[1]
    assert (told["actor"], told["platform"], told["note"]) == ("olga", "cli", "see #7")
    assert (told["request_id"], told["client_ip"], told["service"]) == ("abc-1", "192.0.2.9", "payments")


def test_an_empty_body_will_do(olga):
    assert olga("POST", f"{in_url()}/disable").json()["status"] == "disabled"


@pytest.mark.parametrize("bad", ["a b", "x" * 200, "\x1b[31m", ""])
def test_a_request_id_that_is_none_is_left_out(olga, bad):
    olga("POST", f"{in_url()}/disable", {}, headers={"X-Request-ID": bad})
    assert olga("GET", "audit?limit=1").json()[0]["request_id"] == ""


def test_a_protected_route_is_not_blocked(olga):
    answer = olga("POST", f"{in_url('payments:GET:/health')}/maintenance", {})
    assert answer.status_code == 409
    assert "force_active" in answer.json()["error"]


def test_maintenance_that_lets_readers_through(olga):
    state = olga("POST", f"{in_url()}/maintenance", {"reason": "moving", "read_only": True}).json()
    assert (state["status"], state["read_only"], state["reason"]) == ("maintenance", True, "moving")


@pytest.mark.parametrize("action, status", [("disable", "disabled"), ("maintenance", "maintenance")])
@pytest.mark.parametrize("end", ["for", "until", "end"])
def test_a_block_with_an_end_is_a_window_over_the_base(olga, action, status, end):
    value = "2h" if end == "for" else soon(hours=2)
    plain = olga("POST", f"{in_url()}/{action}", {end: value, "reason": "for a while"}).json()
    assert (plain["status"], plain["window"], plain["reason"]) == (status, None, "for a while")
    detail = olga("GET", f"{in_url()}?detail=1").json()
    assert (detail["status"], detail["window"]["status"]) == ("active", status)
    length = datetime.fromisoformat(detail["window"]["end"]) - datetime.now(UTC)
    assert timedelta(minutes=119) < length <= timedelta(hours=2)


@pytest.mark.parametrize("action, status", [("disable", "disabled"), ("maintenance", "maintenance")])
def test_a_block_may_begin_later(olga, action, status):
    body = {"start": soon(hours=1), "for": "30m"}
    detail = olga("POST", f"{in_url()}/{action}?detail=1", body).json()
    assert (detail["status"], detail["window"]["status"]) == ("active", status)
    assert olga("GET", in_url()).json()["status"] == "active"


def test_a_window_is_scheduled_and_cancelled(olga):
    body = {"start": soon(hours=1), "end": soon(hours=2), "reason": "stock-taking", "read_only": True}
    window = olga("POST", f"{in_url()}/schedule?detail=1", body).json()["window"]
    assert (window["reason"], window["read_only"], window["status"]) == ("stock-taking", True, "maintenance")
    cancelled = olga("DELETE", f"{in_url()}/schedule?detail=1&reason=not+now")
    assert cancelled.json()["window"] is None
    assert olga("GET", "audit?limit=1").json()[0]["reason"] == "not now"
    assert olga("DELETE", f"{in_url()}/schedule").status_code == 400


def test_a_block_and_then_a_window_from_now_on_is_a_block_until_its_end(olga):
    olga("POST", f"{in_url()}/disable", {"reason": "gone"})
    window = {"start": soon(seconds=20), "end": soon(hours=2), "reason": "gone"}
    told = olga("POST", f"{in_url()}/schedule?detail=1", window).json()
    assert (told["status"], told["window"]["status"], told["reason"]) == ("active", "disabled", "")
    assert olga("GET", in_url()).json()["status"] == "disabled"


@pytest.mark.parametrize("difference", ["who", "platform", "reason", "later", "kind", "before", "since"])
def test_any_other_window_leaves_a_route_disabled(plane, olga, difference):
    window = {"start": soon(seconds=-1), "end": soon(hours=2), "reason": "gone"}
    caller = olga
    if difference == "before":
        olga("POST", f"{in_url()}/maintenance", {"reason": "moving"})
    olga("POST", f"{in_url()}/disable", {"reason": "gone"})
    match difference:
        case "who":
            caller = plane.operator("viktor")
        case "platform":
            caller = plane.operator(platform="dashboard")
        case "reason":
            window["reason"] = "another"
        case "later":
            window["start"] = soon(minutes=5)
        case "kind":
            window["status"] = "maintenance"
        case "since":
            olga("DELETE", f"{in_url()}/override")
            plane.sync.disable(ROUTE, "gone", actor="olga", platform="admin")
    told = caller("POST", f"{in_url()}/schedule?detail=1", window).json()
    assert told["status"] == "disabled"


def test_an_environment_gate_is_set_and_lifted(olga):
    gated = olga("POST", f"{in_url()}/env", {"envs": ["staging"]}).json()
    assert (gated["status"], gated["allowed_envs"]) == ("env_gated", ["staging"])
    assert olga("POST", f"{in_url()}/env", {"envs": []}).json()["status"] == "active"


def test_an_override_is_cleared(olga):
    olga("POST", f"{in_url()}/disable", {})
    assert olga("GET", f"{in_url()}?detail=1").json()["origin"] == "operator"
    cleared = olga("DELETE", f"{in_url()}/override?detail=1").json()
    assert (cleared["origin"], cleared["status"]) == ("code", "active")


@pytest.mark.parametrize("form", ['"{}"', "{}", 'W/"{}"'])
def test_a_stale_revision_is_refused(olga, form):
    seen = olga("GET", in_url())
    revision = seen.json()["revision"]
    assert seen["ETag"] == f'"{revision}"'
    first = olga("POST", f"{in_url()}/disable", {}, headers={"If-Match": form.format(revision)})
    assert first.status_code == 200
    assert first["ETag"] == f'"{first.json()["revision"]}"'
    second = olga("POST", f"{in_url()}/enable", {}, headers={"If-Match": form.format(revision)})
    assert second.status_code == 409
    assert olga("GET", in_url()).json()["status"] == "disabled"
    assert olga("POST", f"{in_url()}/enable", {}, headers={"If-Match": "*"}).status_code == 200


def test_a_list_that_is_known_is_not_sent_again(olga):
    seen = olga("GET", "routes")
    assert olga("GET", "routes", headers={"If-None-Match": seen["ETag"]}).status_code == 304
    assert olga("GET", "routes?service=orders", headers={"If-None-Match": seen["ETag"]}).status_code == 200
    assert olga("GET", "routes?detail=1", headers={"If-None-Match": seen["ETag"]}).status_code == 200
    olga("POST", f"{in_url()}/disable", {})
    assert olga("GET", "routes", headers={"If-None-Match": seen["ETag"]}).status_code == 200


def test_head_is_answered_like_get_without_a_body(olga):
    answer = olga("HEAD", in_url())
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    "method, address, status",
    [
        ("PUT", "routes", 405),
        ("OPTIONS", "routes", 405),
        ("POST", in_url(), 405),
        ("GET", f"{in_url()}/enable", 405),
        ("GET", "nothing", 404),
        ("POST", "routes/", 404),
        ("GET", "", 404),
    ],
)
def test_what_there_is_not_is_told_in_json(olga, method, address, status):
    answer = olga(method, address)
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/json"
    assert set(answer.json()) == {"error"}


def test_what_an_address_understands_is_told(olga):
    assert olga("PUT", f"{in_url()}/schedule")["Allow"] == "POST, DELETE"
    assert olga("PUT", "routes")["Allow"] == "GET, HEAD"
