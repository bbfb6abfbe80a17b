from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield_core.audit import AuditQuery, digest, first_break, seal
from shield_core.exceptions import InvalidInputError
from shield_core.models import AuditEntry

START = datetime(2027, 1, 1, tzinfo=UTC)


def entries(count):
    return [
        AuditEntry(
            timestamp=START + timedelta(minutes=number),
            path=f"GET:/{number % 3}",
            service="shop" if number % 2 else None,
            action=("enable", "disable")[number % 2],
            actor=f"user{number % 4}@host",
            platform=("cli", "admin")[number % 2],
            reason=f"reason {number}",
            note="Ticket OPS-7" if number == 5 else "",
            details={"before": {"status": "active"}, "after": {"status": "disabled"}},
        )
        for number in range(count)
    ]


def chain(count=10):
    """Seal entries in commits of one and of two."""
    sealed, head = [], ""
    waiting, revision = entries(count), 0
    while waiting:
        revision += 1
        size = 1 + revision % 2
        sealed += seal(waiting[:size], revision, head)
        waiting, head = waiting[size:], sealed[-1].hash
    return sealed


def test_a_chain_links_each_entry_to_the_one_before_it():
    sealed = chain()
    assert first_break(sealed) is None
    assert sealed[0].prev_hash == ""
    assert all(later.prev_hash == earlier.hash for earlier, later in pairwise(sealed))
    assert all(entry.hash == digest(entry) for entry in sealed)


def test_the_chain_holds_from_whatever_entry_is_the_oldest_kept():
    assert first_break(chain()[4:]) is None


def test_an_empty_log_is_whole():
    assert first_break([]) is None


@pytest.mark.parametrize(
    "change",
    [
        {"actor": "nobody"},
        {"reason": ""},
        {"timestamp": START},
        {"revision": 99},
        {"details": {}},
        {"prev_hash": ""},
        {"hash": "0" * 64},
        {"colour": "red"},
    ],
    ids=lambda change: next(iter(change)),
)
@pytest.mark.parametrize("place", [1, 5, 9])
def test_a_changed_entry_shows(change, place):
    sealed = chain()
    sealed[place] = sealed[place].replace(**change)
    assert first_break(sealed) is sealed[place]


@pytest.mark.parametrize("place", [1, 5, 8])
def test_a_removed_entry_shows_at_the_one_after_it(place):
    sealed = chain()
    after = sealed[place + 1]
    del sealed[place]
    assert first_break(sealed) is after


def test_a_resealed_entry_shows_at_the_one_after_it():
    sealed = chain()
    [sealed[4]] = seal([sealed[4].replace(reason="another")], sealed[4].revision, sealed[3].hash)
    assert first_break(sealed) is sealed[5]


def test_swapped_entries_show():
    sealed = chain()
    sealed[3], sealed[4] = sealed[4], sealed[3]
    assert first_break(sealed) is not None


@given(st.text(), st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.text()))
def test_an_entry_is_sealed_the_same_after_json(reason, details):
    [sealed] = seal([AuditEntry(action="enable", reason=reason, details=details)], 1, "")
    assert digest(AuditEntry.model_validate_json(sealed.model_dump_json())) == sealed.hash


def selected(**query):
    return [entry.reason for entry in AuditQuery(**query).select(reversed(entries(10)))]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({}, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
        ({"limit": 3}, [9, 8, 7]),
        ({"limit": 0}, []),
        ({"limit": None}, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
        ({"path": "GET:/0", "limit": 2}, [9, 6]),
        ({"service": "shop", "limit": 2}, [9, 7]),
        ({"actor": "user1@host"}, [9, 5, 1]),
        ({"action": "enable", "limit": 1}, [8]),
        ({"platform": "cli", "path": "GET:/0"}, [6, 0]),
        ({"since": START + timedelta(minutes=8)}, [9, 8]),
        ({"search": "ops-7"}, [5]),
        ({"search": "USER3"}, [7, 3]),
        ({"search": "reason 4"}, [4]),
        ({"path": "GET:/7"}, []),
    ],
    ids=str,
)
def test_filters_work_before_the_limit(query, numbers):
    assert selected(**query) == [f"reason {number}" for number in numbers]


def test_a_cursor_pages_through_what_a_filter_selects():
    log = list(reversed(entries(10)))
    pages, cursor = [], None
    while page := AuditQuery(action="disable", limit=2, cursor=cursor).select(log):
        pages.append([entry.reason for entry in page])
        cursor = page[-1].id
    assert pages == [["reason 9", "reason 7"], ["reason 5", "reason 3"], ["reason 1"]]


@pytest.mark.parametrize(
    ("query", "complaint"),
    [({"limit": -1}, "limit must not be negative"), ({"since": datetime(2027, 1, 1)}, "time zone")],
)
def test_a_query_that_makes_no_sense_is_refused(query, complaint):
    with pytest.raises(InvalidInputError, match=complaint):
        AuditQuery(**query)
