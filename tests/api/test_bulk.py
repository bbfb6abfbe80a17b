"""Several routes in one request."""

from __future__ import annotations

import pytest

OWN = ["payments:GET:/payments", "payments:POST:/payments"]


def bulk(caller, action: str, routes: list[str], **more):
    return caller("POST", "routes/bulk", {"action": action, "routes": routes, **more})


def test_several_routes_are_one_commit(olga, plane):
    before = plane.revision

    answer = bulk(olga, "disable", OWN, reason="fraud", note="#4", **{"for": "2h"})

    assert answer.status_code == 200, answer.content
    assert {state["path"]: state["status"] for state in answer.json()} == dict.fromkeys(OWN, "disabled")
    assert plane.revision == before + 1
    assert [entry.note for entry in plane.sync.get_audit_log(action="disable")] == ["#4", "#4"]


def test_all_methods_of_a_bare_path(olga):
    answer = bulk(olga, "maintenance", ["/orders"], all_methods=True, read_only=True)

    assert [state["path"] for state in answer.json()] == ["orders:GET:/orders", "orders:POST:/orders"]


@pytest.mark.parametrize("action, status", [("disable", "disabled"), ("schedule", "maintenance")])
def test_a_window(olga, plane, action, status):
    when = {"start": "2100-01-01T00:00:00Z", "end": "2100-01-02T00:00:00Z"}

    assert bulk(olga, action, OWN, **when).status_code == 200

    windows = {plane.sync.get_state(key).window for key in OWN}
    assert {(window.status, window.start.year) for window in windows} == {(status, 2100)}


def test_a_refusal_changes_nothing_and_names_each_route(olga, plane):
    before = plane.revision

    answer = bulk(olga, "disable", [*OWN, "payments:GET:/health", "payments:GET:/nothing"])

    assert answer.status_code == 409
    assert answer.json()["refused"].keys() == {"payments:GET:/health", "payments:GET:/nothing"}
    assert plane.revision == before


def test_a_revision_is_expected_of_one_route_only(olga, plane):
    before = plane.revision
    for routes, status in ((OWN, 400), (OWN[:1], 409)):
        body = {"action": "disable", "routes": routes}
        assert olga("POST", "routes/bulk", body, headers={"If-Match": '"77"'}).status_code == status
    assert plane.revision == before
    seen = olga("GET", f"routes/{OWN[0]}")["ETag"]
    body = {"action": "disable", "routes": OWN[:1]}
    assert olga("POST", "routes/bulk", body, headers={"If-Match": seen}).status_code == 200


@pytest.mark.parametrize(
    "body, status",
    [
        ({"action": "explode", "routes": OWN}, 400),
        ({"action": "enable", "routes": []}, 400),
        ({"action": "enable", "routes": OWN, "for": "2h"}, 400),
        ({"action": "schedule", "routes": OWN}, 400),
        ({"action": "enable", "routes": ["payments:GET:/nothing"]}, 404),
        ({"action": "enable", "routes": ["/items/{id}"]}, 409),
    ],
)
def test_what_is_wrong_is_told(olga, body, status):
    answer = olga("POST", "routes/bulk", body)

    assert (answer.status_code, "error" in answer.json()) == (status, True)


def test_a_service_changes_its_own_routes_only(plane):
    assert bulk(plane.sdk("payments"), "disable", ["/payments"], all_methods=True).status_code == 200
    assert bulk(plane.sdk("payments"), "disable", [*OWN, "orders:GET:/orders"]).status_code == 403
