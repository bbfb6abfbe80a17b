"""The log of blocked requests, as a process notes it."""

import os
import threading
from datetime import timedelta

import pytest

from shield_core.rate_limit.hits import WAITING, Hits


def note(hits, number=0, **fields):
    hits.note(
        **{
            "path": "/pay",
            "method": "GET",
            "key": str(number),
            "limit": "1/minute",
            "tier": None,
            "reset_after": 30.0,
            "scope": "GET:/pay",
            "shadow": False,
            **fields,
        }
    )


def test_what_waits_is_taken_out_once_the_oldest_first():
    hits = Hits()
    assert not hits
    for number in range(3):
        note(hits, number)
    assert hits
    assert [hit.key for hit in hits.drain()] == ["0", "1", "2"]
    assert hits.drain() == []


def test_of_a_flood_the_latest_wait():
    hits = Hits()
    for number in range(WAITING * 3):
        note(hits, number)
    found = hits.drain()
    assert (len(found), found[-1].key) == (WAITING, str(WAITING * 3 - 1))


def test_a_path_that_the_client_made_long_is_cut():
    hits = Hits()
    note(hits, path="/" + "x" * 10_000)
    assert len(hits.drain()[0].path) == 500


def test_the_service_stands_before_the_path():
    hits = Hits()
    note(hits)
    assert hits.drain("shop")[0].path == "shop:/pay"


def test_a_hit_says_when_there_is_room_again():
    hits = Hits()
    note(hits)
    (hit,) = hits.drain()
    assert hit.reset_at - hit.timestamp == timedelta(seconds=30)


def test_requests_note_while_others_take_out():
    hits = Hits()
    found = []
    done = threading.Event()

    def drain():
        while not done.is_set():
            found.extend(hits.drain())

    drainer = threading.Thread(target=drain)
    drainer.start()
    for number in range(WAITING // 2):
        note(hits, number)
    done.set()
    drainer.join()
    found += hits.drain()
    assert [hit.key for hit in found] == [str(number) for number in range(WAITING // 2)]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_stores_none_of_its_parents_hits():
    hits = Hits()
    note(hits)
    child = os.fork()
    if not child:
        os._exit(1 if hits else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert hits
