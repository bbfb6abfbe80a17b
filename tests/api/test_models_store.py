"""The API over the models backend: what a table cannot hold is refused, the rest is kept."""

from __future__ import annotations

import pytest

from shield_core.engine import ShieldEngine
from shield_django.api.keys import encode_key
from shield_django.auth.authorities import Passwords
from shield_django.backends import ModelsBackend
from shield_django.control import ControlPlane
from tests.api.conftest import SECRET, USERS, Plane, furnished

pytestmark = pytest.mark.django_db(transaction=True)
ROUTE = f"routes/{encode_key('payments:GET:/payments')}"


def node() -> Plane:
    engine = ShieldEngine(ModelsBackend(), threads=False)
    return Plane(ControlPlane(engine, Passwords(USERS), [SECRET]))


@pytest.fixture
def plane(monkeypatch) -> Plane:
    # Without the thread that follows the store: SQLite would refuse its reads.
    monkeypatch.setattr(ModelsBackend, "immediate", True)
    return furnished(node())


def test_changes_are_kept_for_the_next_process(plane):
    olga = plane.operator()
    assert olga("POST", f"{ROUTE}/disable", {"reason": "x" * 1000, "note": "ä" * 1000}).status_code == 200
    olga("POST", "rate-limits", {"path": "payments:/payments", "limit": "10/minute"})
    token = olga("POST", "tokens", {"service": "payments"}).json()
    plane.sdk("payments")("POST", "sdk/ack", {"instance": "p" * 64, "revision": 2, "host": "h" * 255})
    olga("DELETE", f"tokens/{token['id']}")
    later = node()
    assert later.operator()("GET", ROUTE).json()["status"] == "disabled"
    assert later.caller(token["token"])("GET", "routes").status_code == 401
    details = {one["service"]: one for one in later.operator()("GET", "services?detail=1").json()}
    assert details["payments"]["instances"][0]["host"] == "h" * 255


@pytest.mark.parametrize(
    "method, address, body",
    [
        ("POST", "sdk/register", {"app_id": "payments", "states": [{"path": "GET:/" + "x" * 500}]}),
        ("POST", "sdk/register", {"app_id": "payments", "states": [{"path": "G" * 33 + ":/x"}]}),
        ("POST", f"routes/{encode_key('payments:' + 'G' * 33 + ':/payments')}/disable", {}),
        ("POST", "sdk/ack", {"app_id": "payments", "instance": "a", "revision": 2**63}),
        ("POST", f"services/{'s' * 256}/maintenance/enable", {}),
        ("POST", "rate-limits", {"path": "payments:/payments", "limit": "1" + " " * 60 + "/minute"}),
        ("POST", "sdk/audit", {"app_id": "payments", "path": "/" + "x" * 499, "action": "disable"}),
    ],
)
def test_what_is_too_long_for_a_table_is_refused(plane, method, address, body):
    before = plane.revision
    answer = plane.operator()(method, address, body)
    assert answer.status_code == 400
    assert plane.revision == before


def test_moments_that_no_table_holds_are_refused(plane):
    before = plane.revision
    beyond = [
        {"sunset_date": "9999-12-31T23:59:59-14:00"},
        {"window": {"start": "0001-01-01T00:00:00+14:00", "end": "2030-01-01T00:00:00Z"}},
    ]
    for fields in beyond:
        state = {"path": "payments:GET:/payments", "origin": "operator", **fields}
        action = "schedule" if "window" in fields else "deprecate"
        bodies = {
            "sdk/register": {"app_id": "payments", "states": [state]},
            "sdk/commit": {
                "writes": [{"key": state["path"], "value": state}],
                "audit": [{"action": action, "path": state["path"]}],
            },
        }
        for address, body in bodies.items():
            answer = plane.sdk("payments")("POST", address, body)
            assert (answer.status_code, "UTC" in answer.json()["error"]) == (400, True)
    assert plane.revision == before
