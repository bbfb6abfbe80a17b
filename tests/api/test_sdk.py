"""What services tell and ask."""

from __future__ import annotations

import pytest

from shield_django.api.keys import encode_key

ROUTE = "payments:GET:/payments"


def register(caller, *states, app_id="payments", **options):
    return caller("POST", "sdk/register", {"app_id": app_id, "states": list(states)}, **options)


def test_routes_are_registered_in_one_commit_and_again_for_nothing(plane):
    sdk = plane.sdk("payments")
    states = [{"path": f"GET:/new/{number}"} for number in range(20)]
    before = plane.revision
    answer = register(sdk, *states)
    assert [state["path"] for state in answer.json()["states"]][:1] == ["payments:GET:/new/0"]
    assert plane.revision == before + 1
    register(sdk, *states)
    register(sdk, *({"path": f"payments:{state['path']}"} for state in states))
    assert plane.revision == before + 1


def test_an_override_on_the_server_wins(plane, olga):
    olga("POST", f"routes/{encode_key(ROUTE)}/disable", {"reason": "broken"})
    told = {"path": "GET:/payments", "status": "active", "origin": "operator", "revision": 10**6}
    (state,) = register(plane.sdk("payments"), told).json()["states"]
    assert (state["status"], state["reason"]) == ("disabled", "broken")
    again = {"path": "GET:/payments", "status": "maintenance", "reason": "in the code"}
    (state,) = register(plane.sdk("payments"), again).json()["states"]
    assert state["status"] == "disabled"
    cleared = olga("DELETE", f"routes/{encode_key(ROUTE)}/override").json()
    assert (cleared["status"], cleared["reason"]) == ("maintenance", "in the code")


def test_what_the_code_says_is_kept(plane):
    told = {
        "path": "GET:/old",
        "sunset_date": "2030-01-01T00:00:00Z",
        "successor_path": "/new",
        "force_active": True,
        "rate_limit": {"path": "/old", "method": "GET", "limit": "5/minute"},
    }
    register(plane.sdk("payments"), told)
    found = plane.sync.get_state("payments:GET:/old")
    assert (found.origin, found.successor_path, found.force_active) == ("code", "/new", True)
    assert found.rate_limit.path == "payments:/old"


def test_line_breaks_that_a_service_sends_are_taken_out(plane):
    told = {
        "path": "GET:/old",
        "status": "disabled",
        "reason": "a\r\nSet-Cookie: b\x1b[2J\u2028",
        "successor_path": "/x\r\ny",
    }
    register(plane.sdk("payments"), told)
    found = plane.sync.get_state("payments:GET:/old")
    assert (found.reason, found.successor_path) == ("a  Set-Cookie: b [2J ", "/x  y")


@pytest.mark.parametrize(
    "states, status",
    [
        ([{"path": "orders:GET:/orders"}], 403),
        ([{"path": "GET:/new"}, {"path": "no path"}], 400),
        ([{"path": "GET:/new"}, {"path": "GET:/" + "x" * 600}], 400),
        ([{"path": "GET:/new", "status": "asleep"}], 400),
        ([{"path": "GET:/new", "reason": 5}], 400),
        ([{"path": "GET:/new", "sunset_date": "2030-01-01T00:00:00"}], 400),
        ([{}], 400),
        (["GET:/new"], 400),
        ({"path": "GET:/new"}, 400),
        (None, 400),
    ],
)
def test_a_registration_that_is_wrong_in_one_place_changes_nothing(plane, states, status):
    before = plane.revision
    answer = plane.sdk("payments")("POST", "sdk/register", {"app_id": "payments", "states": states})
    assert answer.status_code == status
    assert plane.revision == before


def test_a_token_belongs_to_the_service_it_registers_first(plane):
    sdk = plane.sdk(None)
    assert sdk("GET", "routes").json() == []
    assert sdk("GET", "sdk/snapshot").status_code == 403
    assert register(sdk, {"path": "no path"}).status_code == 400
    assert register(sdk, {"path": "GET:/shipping"}, app_id="shipping").status_code == 200
    assert [state["path"] for state in sdk("GET", "routes").json()] == ["shipping:GET:/shipping"]
    assert register(sdk, {"path": "GET:/orders"}, app_id="orders").status_code == 403
    assert sdk("POST", f"routes/{encode_key('GET:/shipping')}/disable", {}).status_code == 200


def test_a_token_is_bound_on_every_node_and_after_a_restart(started, store):
    one, other = started(store()), started(store())
    token = one.sdk(None).token
    register(one.caller(token), {"path": "GET:/shipping"}, app_id="shipping")
    answer = register(other.caller(token), {"path": "GET:/orders"}, app_id="orders")
    assert answer.status_code in (400, 403)  # 400 where this node had not yet heard of it
    restarted = started(store())
    assert [one["path"] for one in restarted.caller(token)("GET", "routes").json()] == [
        "shipping:GET:/shipping"
    ]


def test_a_snapshot_is_one_cut_and_told_once(plane, olga):
    olga("POST", "global/enable", {"reason": "v3"})
    olga("POST", "rate-limits", {"path": "payments:/payments", "limit": "10/minute"})
    olga("POST", "services/orders/maintenance/enable", {})
    sdk = plane.sdk("payments")
    answer = sdk("GET", "sdk/snapshot")
    cut = answer.json()
    assert {"epoch", "revision", "routes", "global", "service", "rate_limits"} <= set(cut)
    assert {"global_rate_limit", "service_rate_limit"} <= set(cut)
    assert {state["service"] for state in cut["routes"]} == {"payments"}
    assert [policy["path"] for policy in cut["rate_limits"]] == ["/payments"]
    assert (cut["global"]["reason"], cut["service"]["enabled"]) == ("v3", False)
    assert (cut["epoch"], cut["revision"]) == tuple(plane.sync.current().cursor)
    assert sdk("GET", "sdk/snapshot", headers={"If-None-Match": answer["ETag"]}).status_code == 304
    olga("POST", "global/disable")
    assert sdk("GET", "sdk/snapshot", headers={"If-None-Match": answer["ETag"]}).status_code == 200


def test_an_operator_gets_the_snapshot_of_any_service_or_of_all(olga):
    assert {one["service"] for one in olga("GET", "sdk/snapshot?app_id=orders").json()["routes"]} == {
        "orders"
    }
    assert len({one["service"] for one in olga("GET", "sdk/snapshot").json()["routes"]}) == 2


def test_an_instance_that_acknowledges_is_listed_with_its_lag(plane, olga):
    revision = plane.revision
    body = {
        "app_id": "payments",
        "instance": "pod-1",
        "host": "10-0-0-1",
        "pid": 7,
        "release": "v2",
        "revision": revision - 1,
        "errors": ["an unknown status\nFORGED"],
    }
    assert plane.sdk("payments")("POST", "sdk/ack", body).json() == {"ok": True}
    assert olga("GET", "services").json() == ["orders", "payments"]
    details = {one["service"]: one for one in olga("GET", "services?detail=1").json()}
    payments = details["payments"]
    assert (payments["revision"], payments["lag"]) == (revision - 1, 1)
    (instance,) = payments["instances"]
    assert (instance["host"], instance["pid"], instance["release"], instance["lag"]) == (
        "10-0-0-1",
        7,
        "v2",
        1,
    )
    assert instance["seen_at"] == payments["last_contact"]
    assert details["orders"]["instances"] == []
    assert details["orders"]["last_contact"] is None


def test_an_instance_that_ends_is_not_waited_for(plane):
    told = {"instance": "pod-1", "revision": 1}
    plane.sdk("payments")("POST", "sdk/ack", told)
    assert [one.service for one in plane.sync.instances() if one.service] == ["payments"]
    plane.sdk("payments")("POST", "sdk/ack", {**told, "ended": True})
    assert [one.service for one in plane.sync.instances() if one.service] == []


def test_two_services_may_name_their_instances_alike(plane):
    for service in ("payments", "orders"):
        plane.sdk(service)("POST", "sdk/ack", {"instance": "pod-1", "revision": 1})
    heard = [one.service for one in plane.sync.instances() if one.service]
    assert sorted(heard) == ["orders", "payments"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"instance": "a"},
        {"instance": "a", "revision": -1},
        {"instance": "a\nb", "revision": 1},
        {"instance": "a", "revision": 1, "pid": 2**70},
        {"instance": "a", "revision": 1, "errors": "no list"},
        {"instance": "a", "revision": 1, "errors": [7]},
        {"instance": "a", "revision": 1, "errors": ["x" * 1001]},
    ],
)
def test_an_acknowledgement_that_is_wrong_is_refused(memory_plane, body):
    assert memory_plane.sdk("payments")("POST", "sdk/ack", body).status_code == 400


def hit(path="payments:/pay", **fields):
    told = {"timestamp": "2026-11-20T10:00:00Z", "path": path, "method": "GET", "key": "192.0.2.1"}
    return {**told, "limit": "1/minute", "reset_at": "2026-11-20T10:01:00Z", **fields}


def test_what_limits_have_blocked_in_instances_comes_together(plane, olga):
    body = {"app_id": "payments", "hits": [hit(key="a"), hit(key="b", shadow=True, from_the_future=1)]}
    assert plane.sdk("payments")("POST", "sdk/hits", body).json() == {"ok": True}
    told = olga("GET", "rate-limits/hits?route=payments:GET:/pay").json()
    assert [(one["key"], one["path"], one["shadow"]) for one in told] == [
        ("b", "payments:/pay", True),
        ("a", "payments:/pay", False),
    ]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"hits": [hit("orders:/pay")]}, 403),
        ({"hits": [hit("/pay")]}, 403),
        ({"app_id": "orders", "hits": [hit("orders:/pay")]}, 403),
        ({}, 400),
        ({"hits": [{}]}, 400),
        ({"hits": [hit(timestamp="yesterday")]}, 400),
        ({"hits": [hit("payments:/a\nb")]}, 400),
        ({"hits": [hit()] * 1001}, 400),
    ],
)
def test_hits_of_others_and_what_are_no_hits_are_refused(memory_plane, body, status):
    assert memory_plane.sdk("payments")("POST", "sdk/hits", body).status_code == status
    assert memory_plane.sync.get_rate_limit_hits() == []


def test_what_a_service_did_is_written_down_as_its_own(plane, olga):
    told = {
        "action": "disable",
        "path": "GET:/payments",
        "actor": "root",
        "service": "orders",
        "platform": "admin",
        "reason": "line\nbreak",
        "details": {"before": {}, "after": {}},
        "hash": "forged",
    }
    assert plane.sdk("payments")("POST", "sdk/audit", told).json() == {"ok": True}
    entry = olga("GET", "audit?limit=1").json()[0]
    assert (entry["actor"], entry["platform"], entry["service"]) == ("olga", "sdk", "payments")
    assert (entry["path"], entry["reason"]) == (ROUTE, "line break")
    assert entry["hash"] != "forged"


@pytest.mark.parametrize(
    "change, status",
    [
        ({"action": "token_issued"}, 400),
        ({"action": "global_maintenance_on"}, 400),
        ({"path": "orders:GET:/orders"}, 403),
        ({"app_id": "orders"}, 403),
        ({"path": "__shield:global__"}, 400),
        ({"details": []}, 400),
    ],
)
def test_a_service_cannot_write_down_what_is_not_its_own(memory_plane, change, status):
    told = {"action": "disable", "path": "GET:/payments", **change}
    before = memory_plane.revision
    assert memory_plane.sdk("payments")("POST", "sdk/audit", told).status_code == status
    assert memory_plane.revision == before


def test_without_asgi_the_stream_says_what_to_do_instead(memory_plane):
    answer = memory_plane.sdk("payments")("GET", "sdk/events")
    assert answer.status_code == 501
    assert "snapshot" in answer.json()["error"]
