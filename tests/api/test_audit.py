"""The audit log over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shield_django.api.keys import encode_key


@pytest.fixture
def log(plane, olga):
    """Ten changes: olga's of payments and viktor's of orders, in turns."""
    viktor = plane.operator("viktor")
    for number in range(5):
        olga("POST", f"routes/{encode_key('payments:GET:/payments')}/disable", {"reason": f"p{number}"})
        viktor("POST", f"routes/{encode_key('orders:GET:/orders')}/maintenance", {"reason": f"o{number}"})
    return olga


@pytest.mark.parametrize(
    "query, reasons",
    [
        ("limit=2", ["o4", "p4"]),
        ("actor=viktor&limit=2", ["o4", "o3"]),
        ("action=disable&limit=1", ["p4"]),
        ("service=orders&limit=1", ["o4"]),
        ("route=payments:GET:/payments&limit=2", ["p4", "p3"]),
        ("route=GET:/payments&service=payments&limit=1", ["p4"]),
        ("platform=sdk", []),
        ("search=P4", ["p4"]),
        ("search=viktor&limit=1", ["o4"]),
        ("id=0123", []),
        ("actor=nobody", []),
        ("limit=0", []),
    ],
)
def test_filters_work_before_the_limit(log, query, reasons):
    assert [entry["reason"] for entry in log("GET", f"audit?{query}").json()] == reasons


def test_an_entry_is_found_by_its_id(log):
    wanted = log("GET", "audit?limit=3").json()[-1]
    assert log("GET", f"audit?id={wanted['id']}").json() == [wanted]


def test_a_cursor_goes_on_where_a_page_ended(log):
    seen: list[str] = []
    cursor = ""
    while page := log("GET", f"audit?limit=3{cursor}").json():
        seen += [entry["reason"] for entry in page]
        cursor = f"&cursor={page[-1]['id']}"
    assert seen == [f"{service}{number}" for number in range(4, -1, -1) for service in "op"]


@pytest.mark.parametrize("sign", ["%2B", "+"])
def test_since_is_a_moment_with_a_zone(log, sign):
    past = (datetime.now(UTC) - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%S") + f"{sign}00:00"
    assert len(log("GET", f"audit?since={past}").json()) == 10
    future = (datetime.now(UTC) + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert log("GET", f"audit?since={future}").json() == []


@pytest.mark.parametrize(
    "query",
    [
        "limit=-1",
        "limit=many",
        "limit=1.5",
        "limit=100000",
        "since=yesterday",
        "since=2026-01-01T00:00:00",
        "actor=%00",
        "route=%0d%0a",
        "service=No+Service",
        "cursor=%ff%00",
    ],
)
def test_a_query_that_makes_no_sense_is_refused(memory_plane, query):
    answer = memory_plane.operator()("GET", f"audit?{query}")
    assert (answer.status_code, set(answer.json())) == (400, {"error"})
