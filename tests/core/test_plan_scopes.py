"""Maintenance of everything and of a service: one set of commands for both."""

import pytest

from shield_core.exceptions import ConflictError, InvalidInputError, InvalidKeyError
from shield_core.keys import EVERYTHING, Scope
from shield_core.models import GlobalMaintenanceConfig
from shield_core.plan import (
    CancelScopeSchedule,
    DisableScopeMaintenance,
    EnableScopeMaintenance,
    ExemptPath,
    SetExemptPaths,
    SetLimit,
    SetScopeMaintenance,
)
from shield_core.snapshot import Snapshot

from .rules import FUTURE, OVER, RUNNING
from .store import Store

SCOPES = [EVERYTHING, Scope.service("shop")]
pytestmark = pytest.mark.parametrize("scope", SCOPES, ids=lambda scope: scope.kind)


def store():
    return Store({"GET:/x": []}, service="shop")


def test_on_and_off(scope):
    shop = store()
    shop.run(EnableScopeMaintenance, scope=scope, reason="r", by={"actor": "ada"})
    assert shop.answer("GET", "/x") == "maintenance"
    assert shop.maintenance(scope).updated_by == "ada"
    shop.run(DisableScopeMaintenance, scope=scope)
    assert shop.answer("GET", "/x") == "open"
    assert [(entry.action, entry.previous_status, entry.new_status) for entry in shop.audit] == [
        (f"{scope.kind}_maintenance_on", "active", "maintenance"),
        (f"{scope.kind}_maintenance_off", "maintenance", "active"),
    ]
    assert {entry.service for entry in shop.audit} == {scope.name or None}


def test_a_window_blocks_while_it_runs(scope):
    shop = store()
    shop.run(EnableScopeMaintenance, scope=scope, window=FUTURE)
    assert (shop.audit[-1].action, shop.audit[-1].new_status) == (f"{scope.kind}_maintenance_on", "active")
    answers = []
    for shop.now in (FUTURE.start - (FUTURE.end - FUTURE.start), FUTURE.start, FUTURE.end):
        answers.append(shop.answer("GET", "/x"))
    assert answers == ["open", "maintenance", "open"]


@pytest.mark.parametrize("timing", [{}, {"window": RUNNING}], ids=["at once", "in a window"])
def test_it_may_be_read_only(scope, timing):
    shop = store()
    shop.run(EnableScopeMaintenance, scope=scope, read_only=True, **timing)
    assert [shop.answer(method, "/x") for method in ("GET", "POST")] == ["open", "maintenance"]


@pytest.mark.parametrize("window", [FUTURE, RUNNING])
def test_a_window_is_cancelled_and_nothing_else(scope, window):
    shop = store()
    shop.run(EnableScopeMaintenance, scope=scope, window=window, exempt_paths=["/health"])
    shop.run(CancelScopeSchedule, scope=scope, reason="postponed")
    assert shop.maintenance(scope).window is None
    assert shop.maintenance(scope).exempt_paths == ("/health",)
    assert shop.answer("GET", "/x") == "open"
    assert (shop.audit[-1].action, shop.audit[-1].reason) == (f"{scope.kind}_maintenance_off", "postponed")


def test_maintenance_without_an_end_stays_when_its_window_is_cancelled(scope):
    shop = store()
    shop.run(EnableScopeMaintenance, scope=scope)
    shop.run(EnableScopeMaintenance, scope=scope, window=FUTURE)
    shop.run(CancelScopeSchedule, scope=scope)
    assert shop.answer("GET", "/x") == "maintenance"


def test_without_a_window_there_is_nothing_to_cancel(scope):
    with pytest.raises(InvalidInputError, match="no window that could be cancelled"):
        store().run(CancelScopeSchedule, scope=scope)


def test_exempt_paths_that_are_not_named_stay(scope):
    shop = store()
    shop.run(EnableScopeMaintenance, scope=scope, exempt_paths=["/x"])
    shop.run(DisableScopeMaintenance, scope=scope)
    shop.run(EnableScopeMaintenance, scope=scope)
    assert shop.answer("GET", "/x") == "open"
    shop.run(EnableScopeMaintenance, scope=scope, exempt_paths=[])
    assert shop.answer("GET", "/x") == "maintenance"


@pytest.mark.parametrize("on", [True, False])
def test_setting_exempt_paths_switches_nothing(scope, on):
    shop = store()
    if on:
        shop.run(EnableScopeMaintenance, scope=scope)
    shop.run(SetExemptPaths, scope=scope, exempt_paths=["/health", "GET:/y/"])
    found = shop.maintenance(scope)
    assert (found.enabled, found.exempt_paths) == (on, ("/health", "GET:/y/"))
    assert shop.audit[-1].action == f"{scope.kind}_maintenance_{'on' if on else 'off'}"


def test_one_path_is_exempted_once_however_it_is_written_and_no_longer(scope):
    shop = store()
    shop.run(EnableScopeMaintenance, scope=scope, exempt_paths=["GET:/x"], reason="r")
    assert shop.run(ExemptPath, scope=scope, path=" /health/ ", reason="probes")
    assert not shop.run(ExemptPath, scope=scope, path="/health")
    assert shop.maintenance(scope).exempt_paths == ("GET:/x", "/health/")
    assert (shop.audit[-1].reason, shop.maintenance(scope).reason) == ("probes", "r")
    assert shop.run(ExemptPath, scope=scope, path="/health", exempt=False)
    assert not shop.run(ExemptPath, scope=scope, path="/x", exempt=False)
    assert shop.maintenance(scope).exempt_paths == ("GET:/x",)
    assert shop.maintenance(scope).enabled


def test_a_path_that_is_exempt_already_is_a_conflict_for_who_has_seen_another_revision(scope):
    shop = store()
    shop.run(ExemptPath, scope=scope, path="/health")
    with pytest.raises(ConflictError):
        shop.run(ExemptPath, scope=scope, path="/health", by={"expected_revision": 0})


@pytest.mark.parametrize(
    ("command", "fields"),
    [
        (EnableScopeMaintenance, {"exempt_paths": ["shop:/x"]}),
        (SetExemptPaths, {"exempt_paths": ["shop:GET:/x"]}),
        (ExemptPath, {"path": "shop:/x"}),
        (SetLimit, {"named": {"limit": "1/s", "exempt_routes": ["shop:/x"]}}),
    ],
)
def test_an_exempt_path_that_names_a_service_would_be_exempt_in_all_of_them_and_is_refused(
    scope, command, fields
):
    with pytest.raises(InvalidKeyError, match="names a service"):
        store().run(command, scope=scope, **fields)


def test_an_exempt_path_with_a_service_that_another_program_has_stored_exempts_nothing(scope):
    shop = store()
    stored = GlobalMaintenanceConfig(enabled=True, exempt_paths=("shop:/x",), revision=1)
    shop.snapshot = Snapshot("epoch", 1, {**shop.snapshot.objects, scope.store_key: stored})
    assert shop.answer("GET", "/x") == "maintenance"
    shop.run(ExemptPath, scope=scope, path="shop:/x", exempt=False)
    assert shop.maintenance(scope).exempt_paths == ()


@pytest.mark.parametrize("command", [EnableScopeMaintenance, SetExemptPaths])
def test_an_exempt_path_that_cannot_be_read_is_refused(scope, command):
    with pytest.raises(InvalidKeyError, match="'health' is not a route key"):
        store().run(command, scope=scope, exempt_paths=["/x", "health"])


def test_switching_off_ends_a_running_window_and_keeps_a_future_one(scope):
    shop = store()
    shop.run(EnableScopeMaintenance, scope=scope, window=FUTURE)
    shop.run(DisableScopeMaintenance, scope=scope)
    assert shop.maintenance(scope).window == FUTURE
    shop.now = FUTURE.start
    shop.run(DisableScopeMaintenance, scope=scope)
    assert shop.maintenance(scope).window is None
    assert shop.answer("GET", "/x") == "open"


def test_a_future_window_keeps_the_reason_that_it_was_given(scope):
    shop = store()
    shop.run(EnableScopeMaintenance, scope=scope, reason="upgrade", window=FUTURE.replace(reason=""))
    shop.run(DisableScopeMaintenance, scope=scope)
    assert shop.maintenance(scope).reason == ""
    shop.now = FUTURE.start
    assert shop.rules().decide("GET", "/x").reason == "upgrade"


def test_a_window_that_is_over_is_refused(scope):
    with pytest.raises(InvalidInputError, match="already over"):
        store().run(EnableScopeMaintenance, scope=scope, window=OVER)


def test_a_window_beside_endless_maintenance_does_not_end_it(scope):
    shop = store()
    shop.run(EnableScopeMaintenance, scope=scope)
    shop.run(EnableScopeMaintenance, scope=scope, window=FUTURE)
    shop.now = FUTURE.end
    assert shop.answer("GET", "/x") == "maintenance"


def test_a_stale_change_conflicts(scope):
    shop = store()
    shop.run(EnableScopeMaintenance, scope=scope, by={"expected_revision": 0})
    with pytest.raises(ConflictError, match=scope.label):
        shop.run(DisableScopeMaintenance, scope=scope, by={"expected_revision": 0})


def test_one_scope_leaves_the_other_alone(scope):
    shop = store()
    [other] = [one for one in SCOPES if one != scope]
    shop.run(EnableScopeMaintenance, scope=scope)
    assert not shop.maintenance(other).enabled


@pytest.mark.parametrize("window", [None, FUTURE])
@pytest.mark.parametrize("enabled", [True, False])
def test_a_form_sets_everything_at_once(scope, enabled, window):
    shop = store()
    shop.run(EnableScopeMaintenance, scope=scope, reason="old", exempt_paths=["/x"], window=RUNNING)
    shop.run(
        SetScopeMaintenance, scope=scope, enabled=enabled, window=window, reason="new", exempt_paths=["/y"]
    )
    after = shop.maintenance(scope)
    assert (after.enabled, after.window, after.reason, after.exempt_paths) == (
        enabled,
        window,
        "new",
        ("/y",),
    )
    assert shop.answer("GET", "/x") == ("maintenance" if enabled else "open")
    switch = "on" if enabled or window else "off"
    assert shop.audit[-1].action == f"{scope.kind}_maintenance_{switch}"


def test_a_form_may_keep_a_window_that_is_over_but_not_set_one(scope):
    shop = store()
    with pytest.raises(InvalidInputError, match="already over"):
        shop.run(SetScopeMaintenance, scope=scope, enabled=True, window=OVER)
    shop.run(EnableScopeMaintenance, scope=scope, window=RUNNING)
    shop.now = RUNNING.end
    shop.run(SetScopeMaintenance, scope=scope, enabled=True, window=RUNNING)
    assert shop.answer("GET", "/x") == "maintenance"
