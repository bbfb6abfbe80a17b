"""Rate limits of routes, services and everything over HTTP."""

from __future__ import annotations

import pytest

from shield_core.engine import ShieldEngine
from shield_core.exceptions import RateLimitExceededException
from shield_django.api.keys import encode_key

WIDE = [
    pytest.param("global-rate-limit", id="global"),
    pytest.param("services/payments/rate-limit", id="service"),
]


@pytest.mark.parametrize("scope", WIDE)
class TestWideLimit:
    def test_there_is_none_at_first(self, olga, scope):
        assert olga("GET", scope).json() == {"enabled": False, "policy": None}
        for method, address in (("DELETE", scope), ("POST", f"{scope}/enable"), ("DELETE", f"{scope}/reset")):
            assert olga(method, address).status_code == 400

    def test_is_set_switched_reset_and_deleted(self, olga, scope):
        body = {
            "limit": "100/minute",
            "algorithm": "sliding_window",
            "burst": 5,
            "exempt_routes": ["/health"],
        }
        made = olga("POST", scope, body)
        assert made.status_code == 201
        assert {name: made.json()[name] for name in body} == body
        assert olga("GET", scope).json() == {"enabled": True, "policy": made.json()}
        assert olga("POST", f"{scope}/disable").json() == {"ok": True}
        assert olga("GET", scope).json()["enabled"] is False
        assert olga("POST", f"{scope}/enable").json() == {"ok": True}
        assert olga("DELETE", f"{scope}/reset").json() == {"ok": True}
        assert olga("DELETE", scope).json() == {"ok": True}
        assert olga("GET", scope).json()["policy"] is None

    def test_keeps_what_is_not_named(self, olga, scope):
        olga("POST", scope, {"limit": "100/minute", "burst": 5})
        changed = olga("POST", scope, {"limit": "50/minute", "algorithm": None}).json()
        assert (changed["limit"], changed["burst"]) == ("50/minute", 5)

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"limit": "many"},
            {"limit": "-5/minute"},
            {"limit": 5},
            {"limit": "5/minute", "burst": -1},
            {"limit": "5/minute", "burst": True},
            {"limit": "5/minute", "burst": 10**18},
            {"limit": "5/minute", "algorithm": "guess"},
            {"limit": "5/minute", "key_strategy": "custom"},
            {"limit": "5/minute", "exempt_routes": ["nonsense"]},
            {"limit": "5/minute", "revision": 7},
        ],
    )
    def test_refuses_what_is_no_limit(self, olga, scope, body):
        assert olga("POST", scope, body).status_code == 400
        assert olga("GET", scope).json()["policy"] is None


def test_a_route_gets_a_limit_and_loses_it(olga):
    body = {"path": "payments:/payments", "limit": "10/minute", "exempt_ips": ["10.0.0.0/8"]}
    made = olga("POST", "rate-limits", body)
    assert made.status_code == 201
    assert (made.json()["path"], made.json()["method"]) == ("payments:/payments", "GET")
    assert [one["limit"] for one in olga("GET", "rate-limits").json()] == ["10/minute"]
    key = encode_key("payments:GET:/payments")
    assert olga("DELETE", f"rate-limits/{key}/reset").json() == {"ok": True, "path": "payments:/payments"}
    gone = olga("DELETE", f"rate-limits/{key}").json()
    assert gone == {"ok": True, "path": "payments:/payments", "method": "GET"}
    assert olga("GET", "rate-limits").json() == []


@pytest.mark.parametrize(
    "body",
    [
        {"path": "/payments", "method": "POST"},
        {"path": "POST:/payments"},
        {"path": "payments:POST:/payments", "method": "POST"},
    ],
)
def test_the_method_may_stand_apart_or_in_the_key(olga, body):
    made = olga("POST", "rate-limits?service=payments", {**body, "limit": "10/minute"})
    assert (made.json()["path"], made.json()["method"]) == ("payments:/payments", "POST")


def test_two_methods_that_disagree_are_refused(olga):
    body = {"path": "payments:POST:/payments", "method": "GET", "limit": "1/minute"}
    assert olga("POST", "rate-limits", body).status_code == 400


@pytest.mark.parametrize("address", ["rate-limits", "global-rate-limit", "services/payments/rate-limit"])
def test_what_is_named_changes_and_null_leaves_missing_keys_to_the_strategy(olga, address):
    path = {"path": "payments:/payments"} if address == "rate-limits" else {}
    said = {"limit": "10/minute", "burst": 3, "on_missing_key": "block"}
    assert olga("POST", address, {**path, **said}).status_code == 201
    made = olga("POST", address, {**path, "limit": None, "burst": None, "shadow": True}).json()
    assert {name: made[name] for name in said} == said
    made = olga("POST", address, {**path, "on_missing_key": None}).json()
    assert (made["limit"], made["burst"], made["on_missing_key"]) == ("10/minute", 3, None)


def test_counters_of_all_methods_begin_anew(olga):
    for method in ("GET", "POST"):
        olga("POST", "rate-limits", {"path": "payments:/payments", "method": method, "limit": "10/minute"})
    answer = olga("DELETE", f"rate-limits/{encode_key('payments:/payments')}/reset")
    assert answer.json() == {"ok": True, "path": "payments:/payments"}
    actions = [entry["action"] for entry in olga("GET", "audit?limit=2").json()]
    assert actions == ["rl_reset", "rl_reset"]


def test_a_service_gets_limits_with_its_own_paths(plane, olga):
    olga("POST", "rate-limits", {"path": "payments:/payments", "limit": "10/minute"})
    olga("POST", "rate-limits", {"path": "orders:/orders", "limit": "10/minute"})
    assert [one["path"] for one in plane.sdk("payments")("GET", "rate-limits").json()] == ["/payments"]
    program = olga("GET", "rate-limits", headers={"X-Shield-App-Id": "payments"})
    assert [one["path"] for one in program.json()] == ["/payments"]
    person = olga("GET", "rate-limits?service=payments")
    assert [one["path"] for one in person.json()] == ["payments:/payments"]


def test_blocked_requests_are_listed_newest_first(memory_plane):
    engine = ShieldEngine(memory_plane.control.engine.backend, service="payments", threads=False)
    olga = memory_plane.operator()
    olga("POST", "rate-limits", {"path": "payments:/payments", "limit": "1/minute"})
    engine.sync.check("GET:/payments", context={"ip": "192.0.2.1"})
    for _ in range(3):
        with pytest.raises(RateLimitExceededException):
            engine.sync.check("GET:/payments", context={"ip": "192.0.2.1"})
    engine.sync.get_rate_limit_hits()  # stores what waits in that process
    hits = olga("GET", "rate-limits/hits?limit=2").json()
    assert [(hit["path"], hit["method"], hit["limit"]) for hit in hits] == [
        ("payments:/payments", "GET", "1/minute")
    ] * 2
    assert olga("GET", "rate-limits/hits?route=orders:GET:/orders").json() == []
    assert olga("GET", "rate-limits/hits?limit=-1").status_code == 400


def test_a_list_of_limits_that_is_known_is_not_sent_again(olga):
    seen = olga("GET", "rate-limits")
    assert olga("GET", "rate-limits", headers={"If-None-Match": seen["ETag"]}).status_code == 304
    olga("POST", "rate-limits", {"path": "payments:/payments", "limit": "10/minute"})
    assert olga("GET", "rate-limits", headers={"If-None-Match": seen["ETag"]}).status_code == 200
