"""Texts that want to be more than texts: no event, header, log line or audit line is forged."""

from __future__ import annotations

import pytest

from tests.hostile.raw import request
from tests.shield_server.browsing import Person
from tests.stream.listener import Listener

pytestmark = pytest.mark.servers

FORGED = 'data: {"type":"FORGED"}'
BREAKS = ["\n", "\r", "\r\n", "\n\n", "\u2028", "\u2029", "\x85", "\x0b", "\x00", "\x1b[2J", "\u202e"]
MAINTENANCE = "/routes/maintenance/"


def entries(target):
    return target.call("GET", "audit?limit=1000", target.token).json()


@pytest.mark.parametrize("broken", BREAKS, ids=ascii)
@pytest.mark.parametrize("field", ["reason", "note"])
def test_a_break_in_a_text_is_refused(unchanged, field, broken):
    text = f"x{broken}{broken}{FORGED}{broken}"
    for path in ("global/enable", "routes/payments:GET:%2Fpay/disable", "global-rate-limit"):
        said = {field: text, **({"limit": "5/minute"} if "limit" in path else {})}
        assert unchanged.call("POST", path, unchanged.token, json=said).status_code == 400
    answer = unchanged.call("POST", "auth/login", json={"username": text, "password": "x"})
    assert answer.status_code == 400


def test_a_form_makes_one_line_of_what_it_is_sent(target, visit):
    olga = visit(target.address)
    olga.log_in()
    with Listener(target.server.port, "proto=2", Authorization=f"Bearer {target.token}") as listener:
        listener.until_open()
        olga.fill(
            MAINTENANCE, status="maintenance", reason=f"x\r\n\r\n{FORGED}\r\n\r\n", note=f"y\u2028{FORGED}"
        )
        olga.fill(MAINTENANCE, status="active")
        listener.until(lambda one: "x data" in str(one.frames))
        assert not [one for one in listener.frames if one.type == "FORGED"]
    told = [(one["reason"], one["note"]) for one in entries(target) if FORGED in one["reason"]]
    assert told[-1] == (f"x {FORGED}", f"y {FORGED}")


def test_no_name_of_a_failed_login_breaks_a_line(unchanged):
    anna = Person(unchanged.address)
    answer = anna.fill("/login", username=f"x\r\n{FORGED}\u2028\x1b[2J", password="y")
    assert answer.status_code == 400
    anna.close()


@pytest.mark.parametrize("value", [b"x FORGED", b"\xe2\x80\xa8FORGED", b"x" * 129, b"\x7fFORGED"])
def test_a_request_id_that_is_none_is_not_written_down(target, value):
    sent = request(
        "POST",
        "/api/global/disable",
        target.bearer,
        b"Content-Type: application/json",
        b"X-Request-ID: " + value,
        body=b"{}",
    )
    answer = target.send(sent)
    assert "FORGED" not in str(answer.headers)
    assert answer.status in (200, 400)  # a server may know itself what no header holds
    assert not entries(target)[0]["request_id"]


def test_nobody_says_who_he_is_in_a_header(target):
    headers = {
        "X-Actor": "root",
        "X-Shield-Actor": "root",
        "X-Shield-Platform": "system",
        "Remote-User": "root",
    }
    target.call("POST", "global/disable", target.token, json={}, headers=headers)
    assert (entries(target)[0]["actor"], entries(target)[0]["platform"]) == ("olga", "cli")
    said = {"actor": "root"}
    assert target.call("POST", "global/disable", target.token, json=said).status_code == 400


def test_a_service_forges_neither_events_nor_audit_lines(target):
    token = target.log_in("olga", "secret", platform="sdk", app_id="payments")
    broken = f"x\n\n{FORGED}\n\n\u2028{FORGED}"
    said = {"states": [{"path": "GET:/new", "reason": broken, "status": "maintenance"}]}
    assert target.call("POST", "sdk/register", token, json=said).status_code == 200
    report = {
        "action": "enforced",
        "path": "GET:/pay",
        "reason": broken,
        "note": broken,
        "details": {"a\n": broken},
    }
    assert target.call("POST", "sdk/audit", token, json=report).status_code == 200
    ack = {"instance": "a", "revision": 1, "errors": [broken]}
    assert target.call("POST", "sdk/ack", token, json=ack).status_code == 200

    lines = [line for line in target.server.log.splitlines() if FORGED in line]
    assert lines
    assert not [line for line in lines if line.lstrip().startswith("data:")]
    [entry] = [one for one in entries(target) if one["action"] == "enforced"]
    assert not any(broken in str(value) or "\n" in str(value) for value in entry.values())

    with Listener(target.server.port, Authorization=f"Bearer {target.token}") as listener:
        listener.until(lambda one: "payments:GET:/new" in one.states)
        assert not [one for one in listener.frames if one.type == "FORGED"]


def test_no_path_breaks_a_line_of_the_log(target):
    for path in (
        "/api/x%0d%0aFORGED-PATH",
        "/x%0aFORGED-PATH",
        "/static/%0aFORGED-PATH",
        "/login?next=%0aFORGED-PATH",
    ):
        target.send(request("GET", path, target.bearer))
    lines = [line for line in target.server.log.splitlines() if "FORGED-PATH" in line]
    assert lines
    assert not [line for line in lines if line.startswith("FORGED-PATH")]


@pytest.mark.parametrize(
    "asked", ["/%0d%0aSet-Cookie:%20x=y", "/%E5%98%8D%E5%98%8ASet-Cookie:%20x=y", "/a%00b"]
)
def test_where_a_login_leads_is_no_header(target, visit, asked):
    anna = visit(target.address)
    answer = anna.fill(f"/login?next={asked}", username="olga", password="secret")
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/")
    assert "x" not in answer.cookies
