"""What changes make of a snapshot."""

from __future__ import annotations

from shield_core.models import RouteState
from shield_core.snapshot import Changes, Cursor, Snapshot, Write


def test_in_a_batch_of_several_commits_the_last_write_of_a_key_counts() -> None:
    state = RouteState(path="/a", revision=2)
    batch = Changes(Cursor("e", 3), (Write("/a", None), Write("/a", state)))
    assert Snapshot("e").apply(batch, advance=True).route("/a") == state

    gone = Changes(Cursor("e", 3), (Write("/a", state), Write("/a", None)))
    assert Snapshot("e").apply(gone, advance=True).route("/a") is None
