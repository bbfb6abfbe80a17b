"""A window's start and end are written to the log once per fleet; they change no status."""

import pytest

from shield_core.decorators import env_only, maintenance
from shield_core.keys import EVERYTHING, Scope
from shield_core.plan import (
    CrossBoundary,
    Disable,
    Enable,
    EnableScopeMaintenance,
    Schedule,
    crossed_boundary,
)

from .rules import FUTURE, SECOND
from .store import Store

KEY = "GET:/x"


def scheduled(*stamps):
    shop = Store({KEY: stamps})
    shop.run(Schedule, KEY, window=FUTURE)
    return shop


def cross(shop, moment, key=KEY):
    shop.now = moment
    return shop.run(CrossBoundary, store_key=key)


def told(shop):
    return [
        (entry.action, entry.previous_status, entry.new_status)
        for entry in shop.audit
        if entry.action.startswith("window_")
    ]


OPENED = ("window_opened", "active", "maintenance")
CLOSED = ("window_closed", "maintenance", "active")


def test_nothing_is_written_before_a_boundary():
    shop = scheduled()
    assert not cross(shop, FUTURE.start - SECOND)
    assert crossed_boundary(shop.state(KEY), FUTURE.start - SECOND) is None


def test_each_boundary_is_written_once():
    shop = scheduled()
    for moment in (FUTURE.start, FUTURE.start + SECOND, FUTURE.end, FUTURE.end + SECOND):
        cross(shop, moment)
        cross(shop, moment)
    assert told(shop) == [OPENED, CLOSED]
    assert shop.state(KEY).origin == "code"
    assert shop.audit[-1].reason == FUTURE.reason


def test_of_two_processes_at_a_boundary_one_writes_it():
    shop = scheduled()
    shop.now = FUTURE.start
    first, second = (shop.plan(CrossBoundary, store_key=KEY) for _ in range(2))
    assert first.expect == second.expect
    shop.run(CrossBoundary, store_key=KEY)
    assert not shop.plan(CrossBoundary, store_key=KEY)


def test_when_all_were_down_through_the_window_only_its_close_is_written():
    shop = scheduled()
    cross(shop, FUTURE.end + SECOND)
    assert told(shop) == [CLOSED]


def test_an_operators_disable_survives_the_close():
    shop = scheduled()
    cross(shop, FUTURE.start)
    shop.now = FUTURE.start + SECOND
    shop.run(Disable, KEY, reason="operator")
    cross(shop, FUTURE.end)
    assert told(shop)[-1] == ("window_closed", "disabled", "disabled")
    assert (shop.answer("GET", "/x"), shop.state(KEY).reason) == ("disabled", "operator")
    assert shop.state(KEY).window is None


def test_a_gate_survives_the_close():
    shop = scheduled(env_only("dev"))
    cross(shop, FUTURE.end)
    assert shop.answer("GET", "/x", env="prod") == "env_gated"


def test_the_window_of_the_code_stays_in_its_state():
    shop = Store({KEY: [maintenance("m", start=FUTURE.start, end=FUTURE.end)]})
    for moment in (FUTURE.start, FUTURE.end, FUTURE.end + SECOND):
        cross(shop, moment)
    assert told(shop) == [OPENED, CLOSED]
    assert shop.state(KEY).window == shop.state(KEY).code.window
    assert not shop.deploy({KEY: [maintenance("m", start=FUTURE.start, end=FUTURE.end)]})


def test_an_operators_window_over_one_of_the_code_that_is_over_returns_to_the_code():
    shop = Store({KEY: [maintenance(start=FUTURE.start - 2 * SECOND, end=FUTURE.start - SECOND)]})
    shop.now = FUTURE.start - SECOND / 2
    shop.run(Schedule, KEY, window=FUTURE)
    cross(shop, FUTURE.end)
    assert shop.state(KEY).origin == "code"


def test_a_window_that_an_operator_ended_early_closes_no_more():
    shop = scheduled()
    cross(shop, FUTURE.start)
    shop.now = FUTURE.start + SECOND
    shop.run(Enable, KEY)
    assert not cross(shop, FUTURE.end)


@pytest.mark.parametrize("scope", [EVERYTHING, Scope.service("shop")], ids=lambda scope: scope.kind)
@pytest.mark.parametrize("enabled", [True, False])
def test_the_window_of_a_wider_scope_closes_and_leaves_its_switch(scope, enabled):
    shop = Store(service="shop")
    if enabled:
        shop.run(EnableScopeMaintenance, scope=scope)
    shop.run(EnableScopeMaintenance, scope=scope, window=FUTURE)
    cross(shop, FUTURE.start, scope.store_key)
    cross(shop, FUTURE.end, scope.store_key)
    assert told(shop) == (
        [("window_opened", "maintenance", "maintenance"), ("window_closed", "maintenance", "maintenance")]
        if enabled
        else [OPENED, CLOSED]
    )
    after = shop.maintenance(scope)
    assert (after.window, after.enabled) == (None, enabled)


def test_what_is_gone_or_was_never_scheduled_has_no_boundary():
    shop = Store({KEY: []})
    assert not cross(shop, FUTURE.end)
    assert not cross(shop, FUTURE.end, "GET:/gone")
