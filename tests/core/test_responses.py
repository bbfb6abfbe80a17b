import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from shield_core.decisions import Decision
from shield_core.models import MaintenanceWindow, RouteStatus
from shield_core.responses import answer

from .rules import NOW, RUNNING, override, rules

UNTIL = datetime(2027, 1, 1, 14, 30, tzinfo=UTC)


def answer_to(cause, now=NOW, **fields):
    decision = Decision(cause=RouteStatus(cause), key="GET:/payments", **fields)
    return answer(decision, method="GET", path="/payments", now=now)


def test_maintenance_without_a_known_end():
    found = answer_to("maintenance", reason="DB migration")
    assert found.status == 503
    assert found.headers == (("Cache-Control", "no-store"),)
    assert found.body == (
        b'{"error":{"code":"MAINTENANCE_MODE","message":"This endpoint is temporarily unavailable",'
        b'"reason":"DB migration","path":"GET:/payments","retry_after":null}}'
    )


def test_maintenance_with_a_known_end():
    found = answer_to("maintenance", reason="DB migration", until=UNTIL)
    assert found.headers == (("Cache-Control", "no-store"), ("Retry-After", "9000"))
    assert found.body == (
        b'{"error":{"code":"MAINTENANCE_MODE","message":"This endpoint is temporarily unavailable",'
        b'"reason":"DB migration","path":"GET:/payments","retry_after":"2027-01-01T14:30:00+00:00"}}'
    )


def test_disabled():
    found = answer_to("disabled", reason="gone")
    assert found.status == 503
    assert found.headers == (("Cache-Control", "no-store"),)
    assert found.body == (
        b'{"error":{"code":"ROUTE_DISABLED","message":"This endpoint has been disabled",'
        b'"reason":"gone","path":"GET:/payments"}}'
    )


def test_disabled_until_a_time_says_when_in_a_header_only():
    found = answer_to("disabled", until=UNTIL)
    assert ("Retry-After", "9000") in found.headers
    assert "retry_after" not in found.error


@pytest.mark.parametrize(
    ("wait", "header"),
    [
        (timedelta(seconds=10), "10"),
        (timedelta(seconds=9, microseconds=1), "10"),
        (timedelta(microseconds=1), "1"),
        (timedelta(0), "0"),
        (timedelta(seconds=-3), "0"),
    ],
    ids=str,
)
def test_retry_after_is_rounded_up_and_never_negative(wait, header):
    found = answer_to("maintenance", until=UNTIL, now=UNTIL - wait)
    assert dict(found.headers)["Retry-After"] == header


def test_without_a_moment_retry_after_counts_from_now():
    until = datetime.now(UTC) + timedelta(minutes=5)
    found = answer(Decision(RouteStatus.MAINTENANCE, until=until), method="GET", path="/x")
    assert 298 <= int(dict(found.headers)["Retry-After"]) <= 300


def test_a_url_without_a_route_is_named_by_method_and_path():
    found = answer(Decision(RouteStatus.MAINTENANCE), method="POST", path="/nowhere", now=NOW)
    assert found.error["path"] == "POST:/nowhere"


def test_a_reason_keeps_its_letters():
    found = answer_to("maintenance", reason='Größe "x" → 日本')
    assert 'Größe \\"x\\" → 日本'.encode() in found.body
    assert json.loads(found.body)["error"]["reason"] == 'Größe "x" → 日本'


def test_the_end_of_a_window_is_told_in_utc():
    tokyo = timezone(timedelta(hours=9))
    window = MaintenanceWindow(start=RUNNING.start.astimezone(tokyo), end=RUNNING.end.astimezone(tokyo))
    decision = rules(override("/x", window=window)).decide("GET", "/x")
    assert answer(decision, method="GET", path="/x", now=NOW).error["retry_after"] == (
        "2027-01-01T13:00:00+00:00"
    )


def test_a_closed_gate_has_no_answer_of_its_own():
    with pytest.raises(AssertionError, match="only maintenance, disabled and limits"):
        answer_to("env_gated")
