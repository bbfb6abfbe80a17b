"""The log of blocked requests, as a process notes it."""

import os
import threading
from datetime import timedelta

import pytest

from shield_core.models import RateLimitHit
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


def drained(hits, service=None):
    with hits.batch(service) as found:
        return found


def test_hits_that_could_not_be_stored_wait_on():
    hits = Hits()
    note(hits, 1)

    def fail():
        with hits.batch() as found:
            note(hits, 2)
            assert (len(found), hits.is_storing) == (1, True)
            raise BlockingIOError

    with pytest.raises(BlockingIOError):
        fail()
    assert not hits.is_storing
    assert [hit.key for hit in drained(hits)] == ["1", "2"]


def test_what_waits_is_taken_out_once_the_oldest_first():
    hits = Hits()
    assert not hits
    for number in range(3):
        note(hits, number)
    assert hits
    assert [hit.key for hit in drained(hits)] == ["0", "1", "2"]
    assert drained(hits) == []


def test_of_a_flood_the_latest_wait():
    hits = Hits()
    for number in range(WAITING * 3):
        note(hits, number)
    found = drained(hits)
    assert (len(found), found[-1].key) == (WAITING, str(WAITING * 3 - 1))


def test_a_path_that_the_client_made_long_is_cut():
    hits = Hits()
    note(hits, path="/" + "x" * 10_000)
    assert len(drained(hits)[0].path) == 500


def test_what_callers_have_put_into_a_path_or_a_key_can_be_stored_and_shown():
    hits = Hits()
    note(hits, path="/a\ud800\x1b[2J", key="k\udfff\nforged")
    [hit] = drained(hits)
    assert (hit.path, hit.key) == ("/a\ufffd\ufffd[2J", "k\ufffd\ufffdforged")
    assert RateLimitHit.model_validate_json(hit.model_dump_json()) == hit


def test_the_service_stands_before_the_path():
    hits = Hits()
    note(hits)
    assert drained(hits, "shop")[0].path == "shop:/pay"


def test_a_hit_says_when_there_is_room_again():
    hits = Hits()
    note(hits)
    (hit,) = drained(hits)
    assert hit.reset_at - hit.timestamp == timedelta(seconds=30)


def test_requests_note_while_others_take_out():
    hits = Hits()
    found = []
    done = threading.Event()

    def drain():
        while not done.is_set():
            found.extend(drained(hits))

    drainer = threading.Thread(target=drain)
    drainer.start()
    for number in range(WAITING // 2):
        note(hits, number)
    done.set()
    drainer.join()
    found += drained(hits)
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
