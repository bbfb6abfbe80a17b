"""What a command line needs beside the routes: exempt paths as a whole, recovery, the environment."""

from __future__ import annotations

import pytest

from shield_core.keys import encode_key


@pytest.mark.parametrize("where", ["global/exempt", "services/payments/maintenance/exempt"])
def test_exempt_paths_are_replaced_at_once_and_switch_nothing(olga, where):
    told = olga("PUT", where, {"paths": ["/health", "GET:/metrics"]}).json()

    assert (told["exempt_paths"], told["enabled"]) == (["/health", "GET:/metrics"], False)
    assert olga("POST", where, {"path": "/ready"}).json()["exempt_paths"][-1] == "/ready"
    assert olga("DELETE", where, {"path": "/health/"}).json()["exempt_paths"] == ["GET:/metrics", "/ready"]


def test_exempt_paths_that_were_changed_meanwhile_are_not_replaced(olga):
    seen = olga("GET", "global").json()["revision"]
    olga("PUT", "global/exempt", {"paths": ["/health"]})

    answer = olga("PUT", "global/exempt", {"paths": []}, headers={"If-Match": f'"{seen}"'})

    assert answer.status_code == 409
    assert olga("GET", "global").json()["exempt_paths"] == ["/health"]


@pytest.mark.parametrize("bad", [{}, {"paths": "x"}, {"paths": ["no path"]}, {"paths": [1]}])
def test_a_list_of_exempt_paths_that_is_none_is_refused(olga, bad):
    assert olga("PUT", "global/exempt", bad).status_code == 400


def test_everything_is_reset_at_once(plane, olga):
    olga("POST", f"routes/{encode_key('payments:GET:/payments')}/disable", {})
    olga("POST", "global/enable", {})
    olga("POST", "global-rate-limit", {"limit": "5/minute"})

    from_where = {"headers": {"X-Request-ID": "r-1"}, "REMOTE_ADDR": "192.0.2.7"}
    assert olga("POST", "store/reset", {"reason": "new year"}, **from_where).json() == {"ok": True}

    assert plane.sync.get_state("payments:GET:/payments").status == "active"
    assert not plane.sync.get_global_maintenance().enabled
    assert plane.sync.get_global_rate_limit() is None
    told = plane.sync.get_audit_log(limit=4)
    assert {(one.actor, one.reason, one.platform) for one in told} == {("olga", "new year", "cli")}
    assert {(one.request_id, one.client_ip) for one in told} == {("r-1", "192.0.2.7")}


def test_a_store_that_nobody_can_restore_says_so(olga):
    answer = olga("POST", "store/restore", {"timeout": 0})

    assert answer.status_code == 409
    assert "No running process holds rules" in answer.json()["error"]


def test_the_limit_in_force_is_told_wherever_it_comes_from(olga):
    olga("POST", "rate-limits", {"path": "payments:/payments", "method": "GET", "limit": "5/minute"})

    told = olga("GET", f"rate-limits/{encode_key('payments:GET:/payments')}").json()
    other = olga("GET", f"rate-limits/{encode_key('payments:/payments')}?method=POST").json()

    assert told["policy"]["limit"] == "5/minute"
    assert other == {"policy": None}
    assert olga("GET", f"rate-limits/{encode_key('payments:GET:/nothing')}").status_code == 404


def test_whoever_is_let_in_hears_the_environment(plane, olga):
    assert olga("GET", "services")["X-Shield-Environment"] == "dev"
    plane.control.engine.current_env = None
    assert olga("GET", "services")["X-Shield-Environment"] == ""
    assert "X-Shield-Environment" not in plane.caller()("GET", "services")
    assert "X-Shield-Environment" not in plane.caller()("GET", "schema")
