"""Who is protected from a change, who is told of a conflict, and what the log says."""

import pytest

from shield_core.backends.base import check_expectations
from shield_core.decorators import force_active, maintenance
from shield_core.exceptions import ConflictError, RouteProtectedException
from shield_core.plan import (
    ClearOverride,
    Disable,
    Enable,
    Schedule,
    SetEnvironments,
    SetMaintenance,
    SetRoute,
)

from .rules import FUTURE, RUNNING
from .store import Store

KEY = "GET:/x"
WINDOWED = maintenance("m", start=RUNNING.start, end=RUNNING.end)


def store(*stamps, key=KEY):
    return Store({key: stamps})


BLOCKING_COMMANDS = [
    (Disable, {}),
    (SetMaintenance, {}),
    (Schedule, {"window": FUTURE}),
    (SetEnvironments, {"envs": ("dev",)}),
    (SetRoute, {"status": "disabled"}),
    (SetRoute, {"status": "active", "window": FUTURE}),
    (SetRoute, {"status": "active", "envs": ("dev",)}),
]


@pytest.mark.parametrize(("command", "fields"), BLOCKING_COMMANDS)
@pytest.mark.parametrize("key", [KEY, "/x"])
def test_force_active_protects_a_route_from_what_would_block_it(command, fields, key):
    shop = store(force_active, key=key)
    with pytest.raises(RouteProtectedException, match="protected by @force_active"):
        shop.run(command, KEY, **fields)


@pytest.mark.parametrize(
    ("command", "fields"), [(Enable, {}), (ClearOverride, {}), (SetEnvironments, {"envs": ()})]
)
def test_force_active_does_not_protect_from_opening(command, fields):
    shop = store(force_active)
    shop.run(command, KEY, **fields)
    assert shop.answer("GET", "/x") == "open"


@pytest.mark.parametrize("command", [Enable, Disable, SetMaintenance, ClearOverride])
def test_a_caller_who_saw_an_older_revision_is_told_of_the_conflict(command):
    shop = store()
    seen = shop.state(KEY).revision
    shop.run(Disable, KEY, by={"expected_revision": seen})
    with pytest.raises(ConflictError, match=f"you saw revision {seen}, it is now at {seen + 1}"):
        shop.run(command, KEY, by={"expected_revision": seen})


def test_a_commit_expects_the_revision_that_was_planned_on():
    shop = store()
    commit = shop.plan(Disable, KEY)
    shop.run(Disable, KEY)
    with pytest.raises(ConflictError):
        check_expectations(commit, shop.snapshot.revision_of)


def test_the_audit_entry_tells_the_effective_status_and_what_changed():
    shop = store(WINDOWED)
    shop.run(Disable, KEY, reason="r")
    [entry] = shop.audit
    assert (entry.previous_status, entry.new_status) == ("maintenance", "disabled")
    assert entry.details["before"]["status"] == "active"
    assert entry.details["after"] == {"status": "disabled", "reason": "r", "origin": "operator"}


def test_the_note_is_for_operators_and_goes_with_the_override():
    shop = store()
    shop.run(Disable, KEY, reason="shown", by={"note": "hidden"})
    assert (shop.state(KEY).reason, shop.state(KEY).note) == ("shown", "hidden")
    shop.run(ClearOverride, KEY)
    assert shop.state(KEY).note == ""
