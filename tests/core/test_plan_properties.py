"""``enable`` never exposes, whatever happened before it; and what else holds for every history."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from shield_core.decorators import deprecated, disabled, env_only, maintenance
from shield_core.exceptions import ShieldException
from shield_core.models import RouteStatus
from shield_core.plan import (
    CancelSchedule,
    ClearOverride,
    CrossBoundary,
    Disable,
    Enable,
    Schedule,
    SetEnvironments,
    SetMaintenance,
    SetRoute,
)
from shield_core.plan.routes import in_force

from .rules import FUTURE, NOW, RUNNING
from .store import Store

#: A method that the key decides about: GET has a key of its own, which wins over the bare one.
METHOD = {"GET:/x": "GET", "/x": "POST"}
HALF_HOUR = timedelta(minutes=30)
stamps = st.lists(
    st.sampled_from(
        [
            maintenance("code"),
            maintenance(start=RUNNING.start, end=RUNNING.end),
            maintenance(start=FUTURE.start, end=FUTURE.end),
            disabled("code"),
            env_only("dev"),
            env_only("dev", "qa"),
            deprecated("2028-01-01"),
        ]
    ),
    max_size=3,
)
keys = st.sampled_from(["/x", "GET:/x"])
windows = st.sampled_from([RUNNING, FUTURE])
environments = st.sampled_from([(), ("dev",), ("qa", "prod")])
commands = st.one_of(
    st.tuples(st.just(Enable), st.just({})),
    st.tuples(st.just(Disable), st.sampled_from([{}, {"until": FUTURE.start}])),
    st.tuples(
        st.just(SetMaintenance),
        st.one_of(
            st.just({"until": FUTURE.start}),
            st.booleans().map(lambda read_only: {"read_only": read_only}),
            windows.map(lambda window: {"window": window}),
        ),
    ),
    st.tuples(st.just(Schedule), windows.map(lambda window: {"window": window})),
    st.tuples(st.just(CancelSchedule), st.just({})),
    st.tuples(st.just(SetEnvironments), environments.map(lambda envs: {"envs": envs})),
    st.tuples(st.just(ClearOverride), st.just({})),
    st.tuples(
        st.just(SetRoute),
        st.fixed_dictionaries(
            {
                "status": st.sampled_from(RouteStatus),
                "window": st.none() | windows,
                "envs": environments,
                "read_only": st.booleans(),
            }
        ),
    ),
    st.just((CrossBoundary, {"store_key": "/x"})),
    st.just((CrossBoundary, {"store_key": "GET:/x"})),
)
histories = st.lists(st.tuples(st.integers(0, 2), keys, commands), max_size=8)


def lived(stamps, history, of_get=None):
    """A store after a history of commands, some of which are refused, with time passing."""
    shop = Store({"/x": stamps} | ({"GET:/x": of_get} if of_get is not None else {}))
    for steps, key, (command, fields) in history:
        shop.now += steps * HALF_HOUR
        try:
            shop.run(command, *([] if command is CrossBoundary else [key]), **fields)
        except ShieldException:
            continue
    return shop


def effective(shop, key):
    return in_force(shop.snapshot, key, shop.state(key))


@settings(max_examples=400, deadline=None)
@given(stamps, histories, keys, st.none() | stamps)
def test_after_enable_gate_and_future_window_are_still_there(stamps, history, key, of_get):
    shop = lived(stamps, history, of_get)
    before = effective(shop, key)
    shop.run(Enable, key)
    after = effective(shop, key)
    assert after.allowed_envs == before.allowed_envs
    if before.window is not None and before.window.start > shop.now:
        assert after.window == before.window
    for env in ("dev", "qa", "prod", None):
        allowed = not before.allowed_envs or env in before.allowed_envs
        assert shop.answer(METHOD[key], "/x", env=env) == ("open" if allowed else "env_gated")


@settings(max_examples=300, deadline=None)
@given(stamps, histories, keys)
def test_disable_then_enable_leaves_the_route_at_most_as_open_as_its_gate(stamps, history, key):
    shop = lived(stamps, history)
    gate = effective(shop, key).allowed_envs
    shop.run(Disable, key)
    assert shop.answer(METHOD[key], "/x") == "disabled"
    shop.run(Enable, key)
    assert effective(shop, key).allowed_envs == gate


@settings(max_examples=300, deadline=None)
@given(stamps, histories)
def test_clearing_overrides_leads_back_to_the_code(stamps, history):
    shop = lived(stamps, history)
    fresh = Store({"/x": stamps}, now=shop.now)
    for key in ("GET:/x", "/x"):
        shop.run(ClearOverride, key)
    assert shop.state("GET:/x") is None
    assert (shop.state("/x").origin, shop.state("/x").here) == ("code", fresh.state("/x").here)


@settings(max_examples=200, deadline=None)
@given(stamps, histories)
def test_the_code_is_never_forgotten_under_an_override(stamps, history):
    shop = lived(stamps, history)
    assert shop.state("/x").code == Store({"/x": stamps}, now=NOW).state("/x").here
    assert not shop.deploy({"/x": stamps})


@settings(max_examples=300, deadline=None)
@given(stamps, stamps, histories)
def test_a_bare_path_and_a_method_of_it_each_keep_their_code_and_go_back_to_it(stamps, of_get, history):
    shop = lived(stamps, history, of_get)
    fresh = Store({"/x": stamps, "GET:/x": of_get}, now=shop.now)
    for key in ("GET:/x", "/x"):
        assert shop.state(key).code == fresh.state(key).here
        shop.run(ClearOverride, key)
        assert (shop.state(key).origin, shop.state(key).here) == ("code", fresh.state(key).here)


@settings(max_examples=200, deadline=None)
@given(stamps, histories)
def test_the_stored_status_is_what_callers_meet(stamps, history):
    shop = lived(stamps, history)
    state = effective(shop, "GET:/x")
    stored = state.effective(shop.now)
    blocked = {RouteStatus.MAINTENANCE, RouteStatus.DISABLED, RouteStatus.ENV_GATED}
    lets_reading_pass = state.read_only or (state.window is not None and state.window.read_only)
    if not lets_reading_pass:
        assert shop.answer("GET", "/x", env=None) == (stored.value if stored in blocked else "open")


@settings(max_examples=300, deadline=None)
@given(stamps, histories, keys, commands)
def test_what_is_done_twice_is_as_what_was_done_once(stamps, history, key, command):
    shop = lived(stamps, history)
    what, fields = command
    target = [] if what is CrossBoundary else [key]
    try:
        shop.run(what, *target, **fields)
    except ShieldException:
        return
    once = effective(shop, key)
    try:
        shop.run(what, *target, **fields)
    except ShieldException:
        assert what is CancelSchedule  # which says that there is nothing to cancel
    twice = effective(shop, key)
    assert (twice.here, twice.origin, twice.code) == (once.here, once.origin, once.code)
