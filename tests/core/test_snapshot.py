"""What changes make of a snapshot."""

from __future__ import annotations

import pytest

from shield_core.keys import ACCEPTED_KEY, EVERYTHING, RESTORE_KEY
from shield_core.models import GlobalMaintenanceConfig, RateLimitReset, RouteState
from shield_core.snapshot import Changes, Cursor, Snapshot, Write


def test_in_a_batch_of_several_commits_the_last_write_of_a_key_counts() -> None:
    state = RouteState(path="/a", revision=2)
    batch = Changes(Cursor("e", 3), (Write("/a", None), Write("/a", state)))
    assert Snapshot("e").apply(batch, advance=True).route("/a") == state

    gone = Changes(Cursor("e", 3), (Write("/a", state), Write("/a", None)))
    assert Snapshot("e").apply(gone, advance=True).route("/a") is None


def at(revision: int) -> Snapshot:
    return Snapshot("e", revision, {"/a": RouteState(path="/a", revision=revision)})


@pytest.mark.parametrize(("revision", "is_gone"), [(4, False), (5, True), (6, True)])
def test_a_deletion_takes_away_what_is_no_newer(revision: int, is_gone: bool) -> None:
    after = at(5).apply(Changes(Cursor("e", revision), (Write("/a", None),)), advance=True)
    assert (after.route("/a") is None) is is_gone
    assert after.revision_of("/a") == (0 if is_gone else 5)


@pytest.mark.parametrize(("revision", "is_taken"), [(4, False), (5, True), (6, True)])
def test_a_write_takes_the_place_of_what_is_no_newer(revision: int, is_taken: bool) -> None:
    written = RouteState(path="/a", reason="new", revision=revision)
    after = at(5).apply(Changes(Cursor("e", revision), (Write("/a", written),)), advance=True)
    assert (after.routes["/a"].reason == "new") is is_taken


@pytest.mark.parametrize(("advance", "position"), [(True, Cursor("f", 7)), (False, Cursor("e", 5))])
def test_a_local_write_leaves_the_position_to_the_feed(advance: bool, position: Cursor) -> None:
    changes = Changes(Cursor("f", 7), (Write("/b", RouteState(path="/b", revision=7)),))
    after = at(5).apply(changes, advance=advance)
    assert (after.cursor, set(after.routes)) == (position, {"/a", "/b"})


def test_what_changed_since_a_position_is_what_is_newer() -> None:
    later = RouteState(path="/b", revision=6)
    snapshot = at(5).apply(Changes(Cursor("e", 6), (Write("/b", later), Write("/c", None))), advance=True)
    assert snapshot.since(Cursor("e", 5)).writes == (Write("/b", later), Write("/c", None))
    assert snapshot.since(Cursor("e", 6)) == Changes(Cursor("e", 6))


@pytest.mark.parametrize(
    ("key", "value", "is_operators"),
    [
        ("/a", RouteState(path="/a"), False),
        ("/a", RouteState(path="/a", origin="operator"), True),
        (EVERYTHING.store_key, GlobalMaintenanceConfig(), True),
        (EVERYTHING.reset_key, RateLimitReset(), False),
        (ACCEPTED_KEY, GlobalMaintenanceConfig(), False),
        (RESTORE_KEY, GlobalMaintenanceConfig(), False),
    ],
)
def test_what_operators_have_put_into_a_store(key: str, value: object, is_operators: bool) -> None:
    assert Snapshot("e", 1, {key: value}).operator_keys == [key] * is_operators  # type: ignore[dict-item]
