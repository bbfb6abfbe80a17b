"""What processes commit that follow the store over HTTP: a service in its own routes, operators anywhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shield_core.keys import ACCEPTED_KEY, RESTORE_KEY, Scope
from shield_django.api.formats import BODY_LIMIT
from shield_django.models import KEY_LENGTH

ROUTE = "payments:GET:/payments"
PROTECTED = "payments:GET:/health"
LIMIT = Scope("route", ROUTE).limit_key
RESET = Scope("route", ROUTE).reset_key
LIMITS = (LIMIT, RESET)
POLICY = {"path": "payments:/payments", "method": "GET", "limit": "5/minute"}
LATER = datetime(2100, 1, 1, tzinfo=UTC)
WINDOW = {"start": LATER.isoformat(), "end": (LATER + timedelta(hours=1)).isoformat()}


def put(key: str = ROUTE, expect: int | None = None, **fields: Any) -> dict[str, Any]:
    value = {"path": key, "origin": "operator", **fields}
    return {"key": key, "value": value, "expect": expect}


def told(action: str, path: str = ROUTE, **fields: Any) -> dict[str, Any]:
    return {"action": action, "path": path, **fields}


def commit(caller, writes, audit, **more):
    return caller("POST", "sdk/commit", {"writes": writes, "audit": audit, **more})


def refused(plane, caller, writes, audit, **more):
    """Return the answer to a commit of which nothing may be left."""
    before = plane.sync.current()
    entries = len(plane.sync.get_audit_log(limit=None))
    answer = commit(caller, writes, audit, **more)
    after = plane.sync.current()
    assert (after.cursor, after.objects) == (before.cursor, before.objects)
    assert len(plane.sync.get_audit_log(limit=None)) == entries
    assert answer.json()["error"]
    return answer


@pytest.fixture
def sdk(plane):
    return plane.sdk("payments")


# -- a service in its own routes ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "action", "status"),
    [
        ({"status": "disabled", "reason": "fraud"}, "disable", "disabled"),
        ({"status": "maintenance", "read_only": True}, "maintenance_on", "maintenance"),
        ({"status": "env_gated", "allowed_envs": ["staging"]}, "env_gate", "env_gated"),
        ({"window": WINDOW}, "schedule", "active"),
    ],
)
def test_a_service_changes_its_own_route(plane, sdk, fields, action, status):
    answer = commit(sdk, [put(**fields)], [told(action, reason="why", note="for us")])
    assert answer.status_code == 200, answer.content
    state = plane.sync.get_state(ROUTE)
    shown = state.model_dump(mode="json")
    assert {name: shown[name] for name in fields if name != "window"} == {
        name: said for name, said in fields.items() if name != "window"
    }
    assert (state.window is not None) is ("window" in fields)
    assert (state.origin, state.note, state.updated_by) == ("operator", "for us", "olga")
    assert state.baseline is not None
    assert state.baseline.status == "active"
    (entry,) = plane.sync.get_audit_log(limit=1)
    assert (entry.actor, entry.platform, entry.service) == ("olga", "sdk", "payments")
    assert (entry.path, entry.action, entry.reason, entry.note) == (ROUTE, action, "why", "for us")
    assert (entry.previous_status, entry.new_status) == ("active", status)
    assert entry.revision == state.revision
    assert set(fields) <= set(entry.details["after"])


def test_the_answer_has_what_was_stored_without_what_operators_note(plane, olga, sdk):
    answer = commit(sdk, [put(status="disabled")], [told("disable", note="secret")])
    snapshot = plane.sync.current()
    (write,) = answer.json()["writes"]
    assert (answer.json()["epoch"], answer.json()["revision"]) == tuple(snapshot.cursor)
    assert write["key"] == ROUTE
    assert (write["value"]["revision"], write["value"]["note"]) == (snapshot.revision, "")
    (write,) = commit(olga, [put(status="disabled")], [told("disable", note="for us")]).json()["writes"]
    assert write["value"]["note"] == "for us"


def test_a_service_lifts_what_it_has_set(plane, sdk):
    commit(sdk, [put(status="disabled")], [told("disable")])
    answer = commit(sdk, [put(origin="code", status="disabled")], [told("enable")])
    assert answer.status_code == 200, answer.content
    state = plane.sync.get_state(ROUTE)
    assert (state.status, state.origin, state.baseline) == ("active", "code", None)
    (entry,) = plane.sync.get_audit_log(limit=1)
    assert (entry.action, entry.previous_status, entry.new_status) == ("enable", "disabled", "active")


def test_a_deleted_override_is_the_code_again_and_the_route_stays(plane, sdk):
    commit(sdk, [put(status="disabled")], [told("disable")])
    answer = commit(sdk, [{"key": ROUTE, "value": None}], [told("override_cleared")])
    assert answer.status_code == 200, answer.content
    assert (plane.sync.get_state(ROUTE).status, plane.sync.get_state(ROUTE).origin) == ("active", "code")


def test_limits_are_set_reset_and_deleted(plane, olga):
    def log() -> tuple[str, str | None, str | None]:
        (entry,) = plane.sync.get_audit_log(limit=1)
        return entry.action, entry.previous_status, entry.new_status

    lie = {"previous_status": "1/second", "new_status": "unlimited"}
    assert commit(olga, [{"key": LIMIT, "value": POLICY}], [told("rl_policy_set", **lie)]).status_code == 200
    assert log() == ("rl_policy_set", "", "5/minute")
    assert plane.sync.current().policy(Scope("route", ROUTE)).updated_by == "olga"
    assert commit(olga, [{"key": RESET, "value": {}}], [told("rl_reset", **lie)]).status_code == 200
    assert log() == ("rl_reset", "5/minute", "5/minute")
    assert plane.sync.current().generation(Scope("route", ROUTE)) == plane.revision
    changed = {"key": LIMIT, "value": {**POLICY, "limit": "7/minute"}}
    assert commit(olga, [changed], [told("rl_policy_updated", **lie)]).status_code == 200
    assert log() == ("rl_policy_updated", "5/minute", "7/minute")
    deleted = {"key": LIMIT, "value": None}
    assert commit(olga, [deleted], [told("rl_policy_deleted", **lie)]).status_code == 200
    assert log() == ("rl_policy_deleted", "7/minute", "")


def test_several_writes_are_one_commit(plane, olga):
    before = plane.revision
    second = "payments:POST:/payments"
    answer = commit(
        olga,
        [put(status="disabled"), put(second, status="maintenance"), {"key": LIMIT, "value": POLICY}],
        [told("rl_policy_set"), told("maintenance_on", second), told("disable")],
    )
    assert answer.status_code == 200, answer.content
    assert plane.revision == before + 1
    assert {entry.action for entry in plane.sync.get_audit_log(limit=3)} == {
        *("disable", "maintenance_on", "rl_policy_set")
    }


@pytest.mark.parametrize(
    "bad",
    [
        put("payments:GET:/unknown", status="disabled"),
        put(PROTECTED, status="disabled"),
        put("payments:POST:/payments", expect=10**6, status="disabled"),
        put("orders:GET:/orders", status="disabled"),
        put("payments:POST:/payments", status="asleep"),
    ],
)
def test_one_write_that_is_refused_takes_the_others_with_it(plane, sdk, bad):
    for writes in ([put(status="disabled"), bad], [bad, put(status="disabled")]):
        refused(plane, sdk, writes, [told("disable"), told("disable", bad["key"])])


# -- what the code says, and who did it ------------------------------------------------------------


def test_what_the_code_says_and_who_did_it_cannot_be_forged(plane, sdk):
    forged = {
        "service": "orders",
        "baseline": {"status": "disabled", "reason": "never"},
        "force_active": True,
        "rate_limit": {"path": "/payments", "limit": "1/day"},
        "release": "v9",
        "revision": 10**9,
        "updated_by": "root",
        "updated_at": "2000-01-01T00:00:00Z",
        "note": "not from here",
    }
    lie = {
        "actor": "root",
        "platform": "admin",
        "service": "orders",
        "timestamp": "2000-01-01T00:00:00Z",
        "id": "0" * 32,
        "hash": "f" * 64,
        "prev_hash": "f" * 64,
        "revision": 10**9,
        "client_ip": "192.0.2.1",
        "request_id": "forged",
        "previous_status": "disabled",
        "new_status": "active",
        "details": {"before": {"status": "disabled"}, "after": {"status": "active"}},
    }
    before = plane.sync.get_state(ROUTE)
    answer = commit(sdk, [put(status="disabled", **forged)], [told("disable", **lie)])
    assert answer.status_code == 200, answer.content
    state = plane.sync.get_state(ROUTE)
    assert (state.service, state.force_active, state.release) == ("payments", False, before.release)
    assert (state.rate_limit, state.baseline) == (before.rate_limit, before.code)
    assert (state.revision, state.updated_by, state.note) == (plane.revision, "olga", "")
    (entry,) = plane.sync.get_audit_log(limit=1)
    kept = {name: getattr(entry, name) for name in lie if getattr(entry, name) == lie[name]}
    assert kept == {}
    assert (entry.previous_status, entry.new_status) == ("active", "disabled")
    assert entry.details["after"]["status"] == "disabled"
    assert "force_active" not in entry.details["after"]


@pytest.mark.parametrize(
    ("write", "action"),
    [
        (put(status="disabled"), "enable"),
        (put(status="disabled"), "override_cleared"),
        (put(status="disabled"), "schedule"),
        (put(status="disabled"), "rl_reset"),
        (put(status="disabled"), "token_issued"),
        (put(status="disabled"), "global_maintenance_on"),
        (put(status="disabled"), "window_opened"),
        (put(status="active"), "disable"),
        (put(window=WINDOW), "schedule_cancel"),
        ({"key": LIMIT, "value": POLICY}, "rl_policy_deleted"),
        ({"key": LIMIT, "value": POLICY}, "enable"),
        ({"key": RESET, "value": {}}, "rl_policy_set"),
    ],
)
def test_an_entry_tells_what_is_done_and_nothing_else(plane, sdk, olga, write, action):
    for caller in (olga,) if write["key"] in LIMITS else (olga, sdk):
        assert refused(plane, caller, [write], [told(action)]).status_code == 400


@pytest.mark.parametrize(
    "audit",
    [
        [],
        [told("disable", "payments:POST:/payments")],
        [told("disable"), told("disable")],
        [told("disable"), told("enforced")],
        [told("disable"), told("disable", "payments:POST:/payments")],
    ],
    ids=["none", "of another", "twice", "besides", "of nothing"],
)
def test_each_write_of_a_service_has_its_one_entry(plane, sdk, audit):
    assert refused(plane, sdk, [put(status="disabled")], audit).status_code == 400


# -- what a service may not touch ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "action"),
    [
        ("orders:GET:/orders", {"path": "orders:GET:/orders", "status": "disabled"}, "disable"),
        ("orders:GET:/orders", {"path": ROUTE, "service": "payments", "status": "disabled"}, "disable"),
        ("GET:/payments", {"path": ROUTE, "status": "disabled"}, "disable"),
        ("/payments", {"path": "/payments", "status": "disabled"}, "disable"),
        ("__shield:global__", {"enabled": True}, "global_maintenance_on"),
        ("__shield:svc_global:payments__", {"enabled": True}, "service_maintenance_on"),
        ("__shield:global_rl__", {"limit": "1/day"}, "global_rl_set"),
        ("__shield:svc_rl:payments__", {"limit": "1/day"}, "svc_rl_set"),
        ("__shield:global_rl_reset__", {}, "global_rl_reset"),
        ("__shield:svc_rl_reset:payments__", {}, "svc_rl_reset"),
        ("__shield:rl:orders:GET:/orders__", {"path": "orders:/orders", "limit": "1/day"}, "rl_policy_set"),
        (LIMIT, POLICY, "rl_policy_set"),
        (RESET, {}, "rl_reset"),
        ("__shield:rl:/payments__", {"path": "/payments", "limit": "1/day"}, "rl_policy_set"),
        ("__shield:rl_reset:orders:GET:/orders__", {}, "rl_reset"),
        (Scope("token", "t1").store_key, {"id": "t1", "expires_at": LATER.isoformat()}, "enable"),
        (ACCEPTED_KEY, {}, "override_cleared"),
        (RESTORE_KEY, {}, "override_cleared"),
        ("__shield:anything", {}, "enable"),
    ],
)
def test_a_service_touches_nothing_but_its_own_routes(plane, sdk, key, value, action):
    for wanted in (value, None):
        audit = [told(action, path) for path in (Scope.of(key).store_key,)]
        assert refused(plane, sdk, [{"key": key, "value": wanted}], audit).status_code == 403


@pytest.mark.parametrize(
    "key",
    [
        "payments2:GET:/orders",
        "Payments:GET:/payments",
        " payments:GET:/payments",
        "payments:payments:GET:/payments",
        "payments:orders:GET:/orders",
        "orders:payments:GET:/payments",
        "payments:get:/payments",
        "payments:",
        "payments",
        "payments:GET:payments",
        "payments:GET:/pay ments",
        "payments:GET:/items/{id:int}",
        "payments:GET:/items/{id}/",
        "payments:HEAD:/payments",
        "payments:DELETE:/payments",
        "payments:/payments",
        "payments:GET:/payments/../orders",
        "payments:" + "X" * 100 + ":/payments",
        "payments:GET:/" + "x" * KEY_LENGTH,
    ],
)
def test_a_key_of_odd_form_is_no_route(plane, olga, sdk, key):
    for facet, value, action in (
        ("{}", {"path": ROUTE, "status": "disabled"}, "disable"),
        ("__shield:rl:{}__", POLICY, "rl_policy_set"),
        ("__shield:rl_reset:{}__", {}, "rl_reset"),
    ):
        if key == "payments:/payments" and facet != "{}":
            continue  # a limit of the bare path: counted together, and its own
        store_key = facet.format(key)
        for caller in (olga, sdk):
            answer = refused(plane, caller, [{"key": store_key, "value": value}], [told(action, key)])
            assert answer.status_code in (400, 403, 404)


def test_a_limit_stands_under_its_own_key(plane, olga):
    for policy in ({**POLICY, "path": "orders:/orders"}, {**POLICY, "method": "POST"}):
        write = {"key": LIMIT, "value": policy}
        assert refused(plane, olga, [write], [told("rl_policy_set")]).status_code == 400


def test_a_limit_of_a_function_is_the_codes_alone(plane, olga):
    for field in ("key_strategy", "tier_resolver"):
        write = {"key": LIMIT, "value": {**POLICY, field: "custom"}}
        answer = refused(plane, olga, [write], [told("rl_policy_set")])
        assert "function" in answer.json()["error"]


@pytest.mark.parametrize("said", [{"app_id": "orders"}, {"app_id": "payments"}])
def test_a_token_is_not_of_the_service_that_a_body_names(plane, said):
    before = plane.revision
    for service in ("payments", None):
        answer = commit(plane.sdk(service), [put(status="disabled")], [told("disable")], **said)
        assert answer.status_code == (200 if service == said["app_id"] else 403)
        assert (plane.revision > before) is (answer.status_code == 200)
        before = plane.revision


# -- protected routes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "action"),
    [
        ({"status": "disabled"}, "disable"),
        ({"status": "maintenance", "read_only": True}, "maintenance_on"),
        ({"status": "env_gated", "allowed_envs": ["dev"]}, "env_gate"),
        ({"allowed_envs": ["dev"]}, "env_gate"),
        ({"window": WINDOW}, "schedule"),
        ({"status": "disabled", "force_active": False}, "disable"),
    ],
)
def test_a_protected_route_is_not_blocked(plane, olga, sdk, fields, action):
    for caller in (sdk, olga):
        answer = refused(plane, caller, [put(PROTECTED, **fields)], [told(action, PROTECTED)])
        assert answer.status_code == 409
        assert answer.json()["protected"] == PROTECTED


@pytest.mark.parametrize("envs", [[], [""], ["  "]])
def test_a_gate_that_no_environment_opens_is_refused(plane, sdk, envs):
    for key in (ROUTE, PROTECTED):
        write = put(key, status="env_gated", allowed_envs=envs)
        assert refused(plane, sdk, [write], [told("env_gate", key)]).status_code == 400


def test_a_protected_bare_path_protects_its_methods(plane, sdk):
    answer = sdk("POST", "sdk/register", {"states": [{"path": "/alive", "force_active": True}]})
    assert answer.status_code == 200
    key = "payments:GET:/alive"
    answer = refused(plane, sdk, [put(key, status="disabled")], [told("disable", key)])
    assert (answer.status_code, answer.json()["protected"]) == (409, key)


def test_a_method_of_a_bare_path_gets_a_state_of_its_own_and_loses_it(plane, sdk):
    sdk("POST", "sdk/register", {"states": [{"path": "/all", "status": "maintenance", "reason": "code"}]})
    key = "payments:GET:/all"
    answer = commit(sdk, [put(key, 0, status="disabled")], [told("disable", key, previous_status="active")])
    assert answer.status_code == 200, answer.content
    (entry,) = plane.sync.get_audit_log(limit=1)
    assert (entry.previous_status, entry.new_status) == ("maintenance", "disabled")
    revision = plane.sync.get_state(key).revision
    answer = commit(sdk, [{"key": key, "value": None, "expect": revision}], [told("override_cleared", key)])
    assert answer.json()["writes"] == [{"key": key, "value": None}]
    assert key not in plane.sync.current().routes
    (entry,) = plane.sync.get_audit_log(limit=1)
    assert (entry.previous_status, entry.new_status) == ("disabled", "maintenance")


# -- conflicts ----------------------------------------------------------------------------------


def test_a_stale_expectation_changes_nothing_and_tells_what_is_there(plane, olga, sdk):
    seen = plane.sync.get_state(ROUTE).revision
    olga("POST", "routes/payments:GET:%2Fpayments/disable", {})
    now = plane.sync.get_state(ROUTE).revision
    answer = refused(plane, sdk, [put(expect=seen, status="active")], [told("enable")])
    assert answer.status_code == 409
    assert answer.json()["conflict"] == {"path": ROUTE, "expected": seen, "actual": now}
    assert commit(sdk, [put(expect=now, origin="code")], [told("enable")]).status_code == 200


def test_what_is_expected_not_to_be_there_may_be_there(plane, olga):
    write = {"key": LIMIT, "value": POLICY, "expect": 0}
    assert commit(olga, [write], [told("rl_policy_set")]).status_code == 200
    answer = refused(plane, olga, [write], [told("rl_policy_set")])
    assert answer.json()["conflict"]["expected"] == 0


# -- what is wrong in itself ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "write",
    [
        put(status="asleep"),
        put(reason=7),
        put(window={"start": WINDOW["end"], "end": WINDOW["start"]}),
        put(window={"start": "2030-01-01T00:00:00", "end": "2030-01-02T00:00:00"}),
        put(window="soon"),
        put(window={"start": "0001-01-01T00:00:00+14:00", "end": WINDOW["end"]}),
        put(window={"start": WINDOW["start"], "end": "9999-12-31T23:59:59-14:00"}),
        put(sunset_date="9999-12-31T23:59:59-14:00"),
        put(allowed_envs="dev"),
        {"key": ROUTE, "value": {}},
        {"key": ROUTE, "value": []},
        {"key": ROUTE, "value": "disabled"},
        {"key": ROUTE},
        {"value": None},
        {"key": 7, "value": None},
        {"key": "", "value": None},
        {"key": ROUTE, "value": None, "expect": -1},
        {"key": ROUTE, "value": None, "expect": True},
        {"key": ROUTE, "value": None, "expect": "1"},
        {"key": LIMIT, "value": {**POLICY, "limit": "many"}},
        {"key": LIMIT, "value": {**POLICY, "burst": -1}},
        {"key": LIMIT, "value": {"path": ROUTE, "limit": "5/minute"}},
        {"key": LIMIT, "value": None},
        {"key": RESET, "value": None},
        ROUTE,
        None,
    ],
)
def test_an_object_that_is_wrong_is_refused(plane, olga, sdk, write):
    audit = [told("disable"), told("rl_policy_set"), told("rl_policy_deleted"), told("rl_reset")]
    is_of_limits = isinstance(write, dict) and write.get("key") in LIMITS
    for caller in (olga,) if is_of_limits else (olga, sdk):
        assert refused(plane, caller, [write], audit).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {"writes": [], "audit": "x"},
        {"writes": {}, "audit": []},
        {"audit": []},
        {"writes": []},
        {"writes": [put(status="disabled")], "audit": [told("disable", reason=5)]},
        {"writes": [put(status="disabled")], "audit": [told("disable", reason="x" * 1001)]},
        {"writes": [put(status="disabled")], "audit": [told("disable", details=[])]},
        {"writes": [put(status="disabled")], "audit": [{"path": ROUTE}]},
        {"writes": [put(status="disabled")] * 1001, "audit": []},
        [],
        None,
    ],
)
def test_a_body_that_is_wrong_is_refused(plane, sdk, body):
    before = plane.revision
    assert sdk("POST", "sdk/commit", body).status_code == 400
    assert plane.revision == before


def test_the_same_object_is_not_written_twice(plane, sdk):
    writes = [put(status="disabled"), put(status="active")]
    answer = refused(plane, sdk, writes, [told("disable"), told("enable")])
    assert "twice" in answer.json()["error"]


def test_a_giant_body_is_refused_before_it_is_read(plane, sdk):
    answer = refused(plane, sdk, [put(reason="x" * BODY_LIMIT)], [told("disable")])
    assert answer.status_code == 413


def test_one_object_cannot_fill_the_audit_log(plane, olga, sdk):
    """Which keeps each a thousand times, before and after."""
    for caller, write, action in (
        (sdk, put(status="disabled", reason="x" * 40_000), "disable"),
        (sdk, put(status="disabled", newer=["x" * 100] * 400), "disable"),
        (olga, {"key": LIMIT, "value": {**POLICY, "exempt_ips": ["10.0.0.0/8"] * 4000}}, "rl_policy_set"),
    ):
        assert refused(plane, caller, [write], [told(action)]).status_code == 413
    before = plane.revision
    report = {**told("disable", "GET:/payments"), "details": {"before": "x" * 40_000}}
    assert sdk("POST", "sdk/audit", report).status_code == 413
    assert plane.revision == before


def test_control_characters_do_not_reach_the_store(plane, sdk):
    commit(
        sdk,
        [put(status="disabled", reason="a\r\nSet-Cookie: b\x1b[2J", newer={"x\ny": "\x07"})],
        [told("disable", reason="line\nbreak", note="\x1b[2J")],
    )
    state = plane.sync.get_state(ROUTE)
    assert (state.reason, state.note) == ("a  Set-Cookie: b [2J", " [2J")
    assert state.model_extra == {"newer": {"x y": " "}}
    assert plane.sync.get_audit_log(limit=1)[0].reason == "line break"


# -- operators ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "action"),
    [
        (ROUTE, {"path": ROUTE, "origin": "operator", "status": "disabled"}, "disable"),
        ("__shield:global__", {"enabled": True, "reason": "v3"}, "global_maintenance_on"),
        ("__shield:svc_global:orders__", {"enabled": True}, "service_maintenance_on"),
        ("__shield:global_rl__", {"limit": "100/minute"}, "global_rl_set"),
        ("__shield:svc_rl:orders__", {"limit": "100/minute"}, "svc_rl_set"),
        ("__shield:global_rl_reset__", {}, "global_rl_reset"),
        ("__shield:svc_rl_reset:orders__", {}, "svc_rl_reset"),
        (LIMIT, POLICY, "rl_policy_set"),
        (RESET, {}, "rl_reset"),
    ],
)
def test_an_operator_commits_at_every_scope(plane, olga, key, value, action):
    scope = Scope.of(key)
    answer = commit(olga, [{"key": key, "value": value}], [told(action, scope.store_key, reason="v3")])
    assert answer.status_code == 200, answer.content
    stored = plane.sync.current().objects[key]
    assert (stored.revision, stored.updated_by) == (plane.revision, "olga")
    (entry,) = plane.sync.get_audit_log(limit=1)
    assert (entry.action, entry.path, entry.platform) == (action, scope.store_key, "cli")
    assert entry.service == scope.owner


@pytest.mark.parametrize("key", [ACCEPTED_KEY, RESTORE_KEY])
def test_an_operator_sets_the_marks_of_a_recovery(plane, olga, key):
    assert commit(olga, [{"key": key, "value": {"reason": "accepted"}}], []).status_code == 200
    assert plane.sync.current().objects[key].updated_by == "olga"


@pytest.mark.parametrize(
    ("key", "status"),
    [
        (Scope("token", "t1").store_key, 400),
        ("__shield:instance:x", 400),
        ("__shield:svc_global:Bad Name__", 400),
        ("__shield:svc_rl:../orders__", 400),
        ("__shield:svc_global:" + "x" * 101 + "__", 400),
        ("orders:GET:/unknown", 404),
        ("__shield:rl:orders:GET:/unknown__", 404),
    ],
)
def test_an_operator_writes_nothing_that_there_cannot_be(plane, olga, key, status):
    value = {"path": key, "status": "disabled", "limit": "1/day", "id": "t1", "expires_at": LATER.isoformat()}
    if "rl:orders" in key:
        value = {"path": "orders:/unknown", "method": "GET", "limit": "1/day"}
    words = ("disable", "service_maintenance_on", "svc_rl_set", "rl_policy_set", "token_issued")
    path = Scope.of(key).store_key
    answer = refused(plane, olga, [{"key": key, "value": value}], [told(word, path) for word in words])
    assert answer.status_code == status


@pytest.mark.parametrize(
    "action", ["token_issued", "token_revoked", "login_failed", "window_closed", "store_restored", "anything"]
)
def test_an_operator_cannot_tell_what_only_the_server_knows(plane, olga, action):
    assert refused(plane, olga, [], [told(action)]).status_code == 400


def test_an_operator_tells_without_writing_as_himself(plane, olga):
    answer = commit(olga, [], [told("override_cleared", "", actor="root", details={"reset": "all"})])
    assert answer.status_code == 200, answer.content
    (entry,) = plane.sync.get_audit_log(limit=1)
    assert (entry.actor, entry.action, entry.details) == ("olga", "override_cleared", {"reset": "all"})
