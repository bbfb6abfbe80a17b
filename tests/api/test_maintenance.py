"""Maintenance of everything and of one service: the same, at two scopes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

SCOPES = [pytest.param("global", id="global"), pytest.param("services/payments/maintenance", id="service")]


@pytest.mark.parametrize("scope", SCOPES)
class TestMaintenance:
    def test_is_off_at_first(self, olga, scope):
        answer = olga("GET", scope)
        assert (answer.status_code, answer.json()["enabled"]) == (200, False)

    def test_is_switched_on_and_off(self, olga, scope):
        body = {
            "reason": "v3",
            "note": "#7",
            "exempt_paths": ["/health"],
            "include_force_active": True,
            "read_only": True,
        }
        on = olga("POST", f"{scope}/enable", body).json()
        assert on["enabled"]
        assert {name: on[name] for name in body} == body
        assert olga("GET", scope).json() == on
        off = olga("POST", f"{scope}/disable", {"reason": "done"}).json()
        assert (off["enabled"], off["exempt_paths"]) == (False, ["/health"])
        actions = [entry["action"] for entry in olga("GET", "audit?limit=2").json()]
        assert [action.rpartition("_")[2] for action in actions] == ["off", "on"]

    def test_a_window_is_cancelled(self, olga, scope):
        start = datetime.now(UTC) + timedelta(days=1)
        body = {"start": start.isoformat(), "end": (start + timedelta(hours=1)).isoformat()}
        assert olga("POST", f"{scope}/enable", body).json()["window"] is not None
        assert olga("POST", f"{scope}/disable").json()["window"] is not None
        assert olga("DELETE", f"{scope}/schedule", {"reason": "postponed"}).json()["window"] is None
        assert olga("DELETE", f"{scope}/schedule").status_code == 400

    def test_keeps_exempt_paths_that_are_not_named(self, olga, scope):
        olga("POST", f"{scope}/enable", {"exempt_paths": ["/health"]})
        assert olga("POST", f"{scope}/enable", {"reason": "again"}).json()["exempt_paths"] == ["/health"]

    @pytest.mark.parametrize("end", ["for", "until", "end"])
    def test_may_have_an_end(self, olga, scope, end):
        until = datetime.now(UTC) + timedelta(hours=2)
        config = olga("POST", f"{scope}/enable", {end: "2h" if end == "for" else until.isoformat()}).json()
        assert not config["enabled"]
        assert abs(datetime.fromisoformat(config["window"]["end"]) - until) < timedelta(minutes=1)

    def test_refuses_a_stale_revision(self, olga, scope):
        seen = olga("GET", scope)
        assert olga("POST", f"{scope}/enable", {}, headers={"If-Match": seen["ETag"]}).status_code == 200
        assert olga("POST", f"{scope}/disable", {}, headers={"If-Match": seen["ETag"]}).status_code == 409
        assert olga("GET", scope).json()["enabled"]

    @pytest.mark.parametrize(
        "body",
        [
            {"exempt_paths": ["no path"]},
            {"exempt_paths": "/health"},
            {"exempt_paths": [7]},
            {"include_force_active": "yes"},
            {"end": "2020-01-01T00:00:00Z"},
            {"start": "2100-01-01T00:00:00Z"},
        ],
    )
    def test_refuses_what_it_does_not_understand(self, olga, scope, body):
        assert olga("POST", f"{scope}/enable", body).status_code == 400
        assert not olga("GET", scope).json()["enabled"]


def test_one_path_is_exempted_and_no_longer(olga):
    added = olga("POST", "global/exempt", {"path": "/health", "note": "probes"}).json()
    assert (added["exempt_paths"], added["enabled"]) == (["/health"], False)
    assert olga("POST", "global/exempt", {"path": "/health/"}).json()["exempt_paths"] == ["/health"]
    olga("POST", "global/exempt", {"path": "GET:/metrics"})
    gone = olga("DELETE", "global/exempt", {"path": "/health"}).json()
    assert gone["exempt_paths"] == ["GET:/metrics"]
    assert olga("DELETE", "global/exempt?path=GET:/metrics").json()["exempt_paths"] == []
    assert olga("DELETE", "global/exempt").status_code == 400


@pytest.mark.parametrize("name", ["Static", "a b", "-x", "ä", "x" * 200])
def test_a_name_that_no_service_can_have_is_refused(olga, name):
    assert olga("POST", f"services/{name}/maintenance/enable", {}).status_code == 400


@pytest.mark.parametrize("name", ["static", "login", "global"])
def test_a_service_may_be_called_like_an_address(olga, name):
    assert olga("POST", f"services/{name}/maintenance/enable", {}).json()["enabled"]
    assert olga("GET", "global").json()["enabled"] is False
