"""Who reaches what: the table of rules, the list of addresses, and each kind of caller against both."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import URLPattern

from shield_core.keys import ACCEPTED_KEY, Scope
from shield_django.api.base import NotFound
from shield_django.api.keys import encode_key
from shield_django.api.urls import urlpatterns
from shield_django.auth.access import RULES, Sdk
from shield_django.auth.authorities import Passwords
from shield_django.auth.principals import CHANGE, CHANGE_LIMITS, MANAGE_TOKENS, VIEW, VIEW_AUDIT, VIEW_LIMITS
from tests.api.conftest import PASSWORD, furnished

PLACES = {
    "<path:key>": encode_key("payments:GET:/payments"),
    "<str:service>": "payments",
    "<str:token_id>": "0123",
}
BODIES = {
    "login": {"username": "vera", "password": PASSWORD},
    "route-env": {"envs": ["dev"]},
    "routes-bulk": {"action": "disable", "routes": ["payments:GET:/payments"]},
    "route-schedule": {"start": "2100-01-01T00:00:00Z", "end": "2100-01-02T00:00:00Z"},
    "global-exempt": {"path": "/health"},
    "rate-limits": {"path": "payments:/payments", "limit": "1/minute"},
    "global-rate-limit": {"limit": "1/minute"},
    "service-rate-limit": {"limit": "1/minute"},
    "service-maintenance-exempt": {"path": "/health"},
    "store-restore": {"timeout": 0},
    "tokens": {"service": "payments"},
    "sdk-register": {"app_id": "payments", "states": []},
    "sdk-commit": {
        "app_id": "payments",
        "writes": [
            {
                "key": "payments:GET:/payments",
                "value": {"path": "payments:GET:/payments", "status": "disabled", "origin": "operator"},
            }
        ],
        "audit": [{"action": "disable", "path": "payments:GET:/payments"}],
    },
    "sdk-audit": {"app_id": "payments", "action": "disable", "path": "GET:/payments"},
    "sdk-hits": {"app_id": "payments", "hits": []},
    "sdk-ack": {"app_id": "payments", "instance": "a", "revision": 1},
}
#: Who may change something may look at it.
MAY_LOOK_TOO = {VIEW: CHANGE, VIEW_LIMITS: CHANGE_LIMITS}
#: Addresses that name no service; another service's token gets in, and finds nothing of payments.
UNTARGETED = {"routes", "global", "rate-limits", "global-rate-limit", "sdk-events", "logout", "me"}


def endpoint_of(pattern: URLPattern) -> str:
    view = pattern.callback
    return view.view_initkwargs.get("endpoint") or view.view_class.endpoint


def operations() -> dict[tuple[str, str], str]:
    """Return the address of every endpoint and method that there is."""
    found = {}
    for pattern in urlpatterns:
        view = pattern.callback.view_class
        if view is NotFound:
            continue
        address = str(pattern.pattern)
        for place, value in PLACES.items():
            address = address.replace(place, value)
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            if hasattr(getattr(view, method.lower(), None), "operation"):
                found[endpoint_of(pattern), method] = address
    return found


OPERATIONS = operations()


def test_each_endpoint_has_a_rule_and_each_rule_an_endpoint():
    assert OPERATIONS.keys() == RULES.keys()


def test_an_address_is_called_like_its_endpoint():
    assert all(pattern.name == endpoint_of(pattern) for pattern in urlpatterns)


class Member:
    """A user with some permissions, as Django's are asked."""

    is_active = is_staff = True

    def __init__(self, *permissions: str) -> None:
        self._permissions = permissions

    def has_perm(self, permission, obj=None) -> bool:
        return permission in self._permissions


class Members(Passwords):
    people = {
        "vera": Member(VIEW),
        "carl": Member(CHANGE),
        "lena": Member(CHANGE_LIMITS),
        "adam": Member(VIEW, CHANGE, VIEW_LIMITS, CHANGE_LIMITS, MANAGE_TOKENS, VIEW_AUDIT),
    }

    def user(self, username):
        return self.people[username]


@pytest.fixture
def plane(started):
    found = started(auth=Members([(name, PASSWORD) for name in Members.people]))
    found.operator = lambda name="adam": type(found).operator(found, name)
    return furnished(found)


def caller_of(plane, kind: str):
    control = plane.control
    make = control.tokens.make
    match kind:
        case "nobody":
            return plane.caller()
        case "vera" | "carl" | "lena" | "adam":
            return plane.operator(kind)
        case "sdk-own":
            return plane.caller(plane.signed(make("payments", "sdk", service="payments")))
        case "sdk-other":
            return plane.caller(plane.signed(make("orders", "sdk", service="orders")))
        case "sdk-unbound":
            return plane.caller(plane.signed(control.operator_token(None, "adam", PASSWORD, "sdk")))
        case "revoked":
            token = make("adam", "cli", fingerprint=control.authority.fingerprint("adam"))
            plane.sync.revoke_token(token.id, token.record)
            return plane.caller(plane.signed(token))
        case "expired":
            return plane.caller(plane.signed(make("adam", "sdk", lifetime=timedelta(seconds=-1))))
        case "forged":
            head, _, signature = plane.signed(make("adam", "cli")).rpartition(":")
            return plane.caller(f"{head}:{signature[::-1]}")
    raise AssertionError(kind)


def expected(kind: str, endpoint: str, method: str) -> int:
    """Return 200 for "gets in", else 401 or 403."""
    rule = RULES[endpoint, method]
    if rule.permissions is None:
        return 200
    if kind in ("nobody", "revoked", "expired", "forged"):
        return 401
    if not kind.startswith("sdk"):
        has = Members.people[kind].has_perm
        return 200 if all(has(one) or has(MAY_LOOK_TOO.get(one, one)) for one in rule.permissions) else 403
    if rule.sdk is Sdk.NO:
        return 403
    if rule.sdk is Sdk.YES or kind == "sdk-own" or endpoint in UNTARGETED:
        return 200
    # At its first register an unbound token becomes one of that service.
    return 200 if kind == "sdk-unbound" and endpoint == "sdk-register" else 403


KINDS = [
    "nobody",
    "vera",
    "carl",
    "lena",
    "adam",
    "sdk-own",
    "sdk-other",
    "sdk-unbound",
    "revoked",
    "expired",
    "forged",
]


@pytest.mark.parametrize("kind", KINDS)
def test_everybody_reaches_what_the_table_says_and_nothing_else(plane, kind):
    wrong = []
    for (endpoint, method), address in OPERATIONS.items():
        caller = caller_of(plane, kind)
        query = "?app_id=payments" if endpoint == "sdk-snapshot" else ""
        before = plane.revision
        answer = caller(method, address + query, BODIES.get(endpoint) if method == "POST" else None)
        wanted = expected(kind, endpoint, method)
        got = answer.status_code if answer.status_code in (401, 403) else 200
        if got != wanted or answer.status_code == 500:
            wrong.append(f"{method} {endpoint}: {answer.status_code} instead of {wanted}")
        if wanted != 200 and plane.revision != before:
            wrong.append(f"{method} {endpoint} changed something")
        if answer.status_code == 401 and answer["WWW-Authenticate"] != 'Bearer realm="shield"':
            wrong.append(f"{method} {endpoint} does not challenge")
        foreign = kind == "sdk-other" and endpoint in UNTARGETED and got == 200
        if foreign and b"payments" in answer.content:
            wrong.append(f"{method} {endpoint} tells of another service")
    assert not wrong


LIMIT = {"path": "payments:/payments", "method": "GET", "limit": "1/minute"}
ON = {"enabled": True}
#: What can be written by a commit, the word that tells it, and the endpoint at which it has an address.
WRITES = [
    ("payments:GET:/payments", BODIES["sdk-commit"]["writes"][0]["value"], "disable", "route-disable"),
    ("__shield:global__", ON, "global_maintenance_on", "global-enable"),
    ("__shield:svc_global:payments__", ON, "service_maintenance_on", "service-maintenance-enable"),
    ("__shield:rl:payments:GET:/payments__", LIMIT, "rl_policy_set", "rate-limits"),
    ("__shield:rl_reset:payments:GET:/payments__", {}, "rl_reset", "rate-limits"),
    ("__shield:global_rl__", {"limit": "1/minute"}, "global_rl_set", "global-rate-limit"),
    ("__shield:svc_rl:payments__", {"limit": "1/minute"}, "svc_rl_set", "service-rate-limit"),
    (ACCEPTED_KEY, {}, "override_cleared", "store-reset"),
]


@pytest.mark.parametrize("kind", ["carl", "lena", "adam", "sdk-own", "sdk-other"])
@pytest.mark.parametrize(("key", "value", "action", "endpoint"), WRITES)
def test_a_commit_reaches_what_the_address_of_each_object_does(plane, kind, key, value, action, endpoint):
    audit = [] if endpoint == "store-reset" else [{"action": action, "path": Scope.of(key).store_key}]
    caller, before = caller_of(plane, kind), plane.revision
    answer = caller("POST", "sdk/commit", {"writes": [{"key": key, "value": value}], "audit": audit})
    may = {expected(kind, endpoint, "POST"), expected(kind, "sdk-commit", "POST")} == {200}
    assert answer.status_code == (200 if may else 403), answer.content
    assert (plane.revision > before) is may


def test_a_refusal_names_the_permission_that_is_missing(plane):
    answer = caller_of(plane, "carl")("DELETE", "global-rate-limit")
    assert "shield.change_ratelimit" in answer.json()["error"]


def test_a_service_sees_its_own_routes_only(plane):
    states = caller_of(plane, "sdk-own")("GET", "routes?service=orders").json()
    assert {state["service"] for state in states} == {"payments"}


@pytest.mark.parametrize(
    "key", ["orders:GET:/orders", "GET:/orders", "/orders", "orders:/orders", "page", "__shield:global__"]
)
def test_a_service_cannot_change_the_route_of_another_however_it_is_named(plane, key):
    for headers in ({}, {"X-Shield-Service": "orders"}, {"X-Shield-App-Id": "orders"}):
        before = plane.revision
        sdk = caller_of(plane, "sdk-own")
        answer = sdk("POST", f"routes/{encode_key(key)}/disable?service=orders", {}, headers=headers)
        assert answer.status_code in (403, 404)
        assert plane.revision == before
