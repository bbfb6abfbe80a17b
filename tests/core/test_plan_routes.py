"""What each command makes of a route, over the code's baseline."""

import pytest

from shield_core.decorators import deprecated, disabled, env_only, maintenance
from shield_core.exceptions import InvalidInputError
from shield_core.models import RouteState
from shield_core.plan import (
    CancelSchedule,
    ClearOverride,
    Disable,
    Enable,
    Schedule,
    SetEnvironments,
    SetMaintenance,
    SetRoute,
)
from shield_core.snapshot import Snapshot

from .rules import FUTURE, HOUR, NOW, OVER, RUNNING, SECOND
from .store import Store

KEY = "GET:/x"
WINDOWED = maintenance("m", start=RUNNING.start, end=RUNNING.end)
CODE = {
    "active": [],
    "maintenance": [maintenance("code")],
    "disabled": [disabled("code")],
    "env_gated": [env_only("dev")],
    "deprecated": [deprecated("2028-01-01")],
    "gated and disabled": [env_only("dev"), disabled()],
    "in a window": [WINDOWED],
}


def store(*stamps, key=KEY):
    return Store({key: stamps})


@pytest.mark.parametrize(
    ("command", "fields", "answer", "action"),
    [
        (Disable, {"reason": "r"}, "disabled", "disable"),
        (SetMaintenance, {"reason": "r"}, "maintenance", "maintenance_on"),
        (SetMaintenance, {"window": RUNNING, "reason": "r"}, "maintenance", "maintenance_on"),
        (SetMaintenance, {"until": NOW + HOUR, "reason": "r"}, "maintenance", "maintenance_on"),
        (Disable, {"until": NOW + HOUR, "reason": "r"}, "disabled", "disable"),
        (Schedule, {"window": RUNNING}, "maintenance", "schedule"),
        (Schedule, {"window": FUTURE}, "open", "schedule"),
        (SetEnvironments, {"envs": ("prod",)}, "env_gated", "env_gate"),
        (SetRoute, {"status": "disabled"}, "disabled", "disable"),
        (SetRoute, {"status": "maintenance"}, "maintenance", "maintenance_on"),
        (SetRoute, {"status": "env_gated", "envs": ("prod",)}, "env_gated", "env_gate"),
        (Enable, {}, "open", "enable"),
        (ClearOverride, {}, "open", "override_cleared"),
    ],
)
def test_a_command_takes_effect_and_is_told_in_the_audit_log(command, fields, answer, action):
    shop = store()
    if fields.get("status"):
        fields = {**fields, "status": RouteState(path=KEY, status=fields["status"]).status}
    shop.run(command, KEY, **fields, by={"actor": "ada", "platform": "cli", "note": "n", "client_ip": "::1"})
    assert shop.answer("GET", "/x") == answer
    [entry] = shop.audit
    assert (entry.path, entry.action, entry.actor, entry.platform) == (KEY, action, "ada", "cli")
    assert (entry.note, entry.client_ip, entry.timestamp) == ("n", "::1", NOW)
    assert entry.new_status == ("active" if answer == "open" else answer)


@pytest.mark.parametrize(
    ("code", "after"),
    [
        ("active", ("code", "active")),
        ("env_gated", ("code", "env_gated")),
        ("deprecated", ("code", "deprecated")),
        ("maintenance", ("operator", "active")),
        ("disabled", ("operator", "active")),
        ("gated and disabled", ("operator", "env_gated")),
        ("in a window", ("operator", "active")),
    ],
)
@pytest.mark.parametrize(
    "block",
    [(Disable, {}), (SetMaintenance, {}), (SetMaintenance, {"read_only": True}), None],
    ids=["disabled", "maintenance", "read-only", "untouched"],
)
def test_enable_overrides_code_that_blocks_and_else_returns_to_it(code, after, block):
    shop = store(*CODE[code])
    if block:
        shop.run(block[0], KEY, **block[1])
    shop.run(Enable, KEY)
    state = shop.state(KEY)
    assert (state.origin, state.status.value) == after
    assert shop.answer("GET", "/x") == shop.answer("POST", "/x") == "open"


def test_disable_then_enable_of_a_gated_route_leaves_it_gated():
    shop = store(env_only("dev"))
    shop.run(Disable, KEY)
    assert shop.answer("GET", "/x", env="prod") == "disabled"
    shop.run(Enable, KEY)
    assert shop.answer("GET", "/x", env="prod") == "env_gated"
    assert shop.answer("GET", "/x", env="dev") == "open"


def test_enable_leaves_a_gate_that_names_no_environment_closed():
    stored = RouteState(path=KEY, status="env_gated", origin="operator", revision=1)
    shop = Store({}, snapshot=Snapshot("epoch", 1, {KEY: stored}))
    shop.run(Enable, KEY)
    assert shop.answer("GET", "/x") == "env_gated"


def test_only_an_empty_list_of_environments_lifts_a_gate():
    shop = store(env_only("dev"))
    shop.run(SetEnvironments, KEY, envs=())
    assert shop.answer("GET", "/x", env="prod") == "open"
    shop.run(Disable, KEY)
    shop.run(Enable, KEY)
    assert shop.answer("GET", "/x", env="prod") == "open"


def test_a_gate_put_back_as_the_code_has_it_is_the_codes_again():
    shop = store(env_only("dev"))
    shop.run(SetEnvironments, KEY, envs=("qa",))
    assert shop.state(KEY).origin == "operator"
    shop.run(SetEnvironments, KEY, envs=("dev",))
    assert shop.state(KEY).origin == "code"


def test_a_reason_of_the_operators_own_stays_over_code_that_blocks_too():
    shop = store(maintenance("code"))
    shop.run(SetRoute, KEY, status="maintenance", reason="back at five")
    shop.run(Schedule, KEY, window=FUTURE)
    shop.run(CancelSchedule, KEY)
    state = shop.state(KEY)
    assert (state.origin, state.reason) == ("operator", "back at five")
    assert shop.rules().decide("GET", "/x").reason == "back at five"


def test_a_block_put_back_as_the_code_has_it_is_the_codes_again():
    shop = store(maintenance("code"))
    shop.run(SetRoute, KEY, status="disabled", reason="broken")
    shop.run(SetRoute, KEY, status="maintenance", reason="code")
    assert shop.state(KEY).origin == "code"


def test_a_gate_does_not_lift_what_is_stricter():
    shop = store()
    shop.run(Disable, KEY)
    shop.run(SetEnvironments, KEY, envs=("dev",))
    assert shop.answer("GET", "/x") == "disabled"
    shop.run(Enable, KEY)
    assert shop.answer("GET", "/x", env="prod") == "env_gated"


@pytest.mark.parametrize("command", [SetEnvironments, SetRoute])
@pytest.mark.parametrize("envs", [("",), ("dev", " ")])
def test_an_environment_has_a_name(command, envs):
    fields = {"status": "active"} if command is SetRoute else {}
    with pytest.raises(InvalidInputError, match="must not be empty"):
        store().run(command, KEY, envs=envs, **fields)


def test_a_form_cannot_gate_a_route_to_no_environment():
    with pytest.raises(InvalidInputError, match="names of the environments"):
        store(env_only("dev")).run(SetRoute, KEY, status="env_gated", envs=())


def test_enable_removes_a_running_window_and_keeps_a_future_one():
    shop = store()
    shop.run(Schedule, KEY, window=FUTURE)
    shop.run(Disable, KEY)
    shop.run(Enable, KEY)
    assert shop.state(KEY).window == FUTURE
    shop.now = FUTURE.start
    shop.run(Enable, KEY)
    assert shop.state(KEY).window is None
    assert shop.state(KEY).origin == "code"


def test_enable_over_a_running_window_of_the_code_opens_the_route():
    shop = store(WINDOWED)
    shop.run(Enable, KEY)
    assert shop.answer("GET", "/x") == "open"


def test_after_a_window_of_the_code_enable_returns_to_the_code():
    shop = store(WINDOWED)
    shop.run(Disable, KEY)
    shop.now = RUNNING.end + SECOND
    shop.run(Enable, KEY)
    assert shop.state(KEY).origin == "code"


def test_disable_for_good_keeps_the_window_for_after_it():
    shop = store()
    shop.run(Schedule, KEY, window=FUTURE)
    shop.run(Disable, KEY, reason="r")
    assert (shop.state(KEY).window, shop.state(KEY).reason) == (FUTURE, "r")


@pytest.mark.parametrize("command", [Disable, SetMaintenance])
def test_an_end_makes_a_window_over_the_base_status(command):
    shop = store(env_only("dev"))
    shop.run(command, KEY, until=NOW + HOUR, reason="r")
    state = shop.state(KEY)
    assert (state.status, state.window.start, state.window.end) == ("env_gated", NOW, NOW + HOUR)
    assert state.window.reason == "r"
    shop.now = NOW + HOUR
    assert shop.answer("GET", "/x", env="prod") == "env_gated"


@pytest.mark.parametrize("command", [Disable, SetMaintenance])
def test_an_end_refuses_to_replace_a_future_window(command):
    shop = store()
    shop.run(Schedule, KEY, window=FUTURE)
    with pytest.raises(InvalidInputError, match="cancel it first"):
        shop.run(command, KEY, until=NOW + HOUR)


@pytest.mark.parametrize(("first", "second"), [(Disable, SetMaintenance), (SetMaintenance, Disable)])
def test_an_end_does_not_cut_a_longer_window_of_another_kind_short(first, second):
    shop = store()
    shop.run(first, KEY, until=NOW + 2 * HOUR)
    with pytest.raises(InvalidInputError, match="cancel it first"):
        shop.run(second, KEY, until=NOW + HOUR)
    shop.run(first, KEY, until=NOW + HOUR)
    assert shop.state(KEY).window.end == NOW + HOUR


@pytest.mark.parametrize("left", [HOUR / 2, HOUR])
def test_an_end_takes_the_place_of_a_window_of_another_kind_that_ends_no_later(left):
    shop = store()
    shop.run(SetMaintenance, KEY, until=NOW + left)
    shop.run(Disable, KEY, until=NOW + HOUR)
    assert shop.answer("GET", "/x") == "disabled"


@pytest.mark.parametrize("end", [NOW, NOW - SECOND])
@pytest.mark.parametrize("command", [Disable, SetMaintenance])
def test_an_end_in_the_past_is_refused(command, end):
    with pytest.raises(InvalidInputError, match="is in the past"):
        store().run(command, KEY, until=end)


@pytest.mark.parametrize("command", [Disable, SetMaintenance])
def test_an_end_without_a_time_zone_is_refused(command):
    with pytest.raises(InvalidInputError, match="names no time zone"):
        store().run(command, KEY, until=(NOW + HOUR).replace(tzinfo=None))


@pytest.mark.parametrize("command", [Schedule, SetMaintenance, SetRoute])
def test_a_window_that_is_over_is_refused(command):
    fields = {"status": "active"} if command is SetRoute else {}
    with pytest.raises(InvalidInputError, match="already over"):
        store().run(command, KEY, window=OVER, **fields)


def test_a_form_may_keep_a_window_that_is_over():
    shop = store(maintenance(start=RUNNING.start, end=RUNNING.end))
    window = shop.state(KEY).window
    shop.now = RUNNING.end
    shop.run(SetRoute, KEY, status="disabled", window=window)
    assert shop.answer("GET", "/x") == "disabled"


def test_a_schedule_takes_the_place_of_the_window_before_it():
    shop = store()
    shop.run(Schedule, KEY, window=FUTURE)
    shop.run(Schedule, KEY, window=RUNNING, reason="sooner")
    assert shop.state(KEY).window == RUNNING


@pytest.mark.parametrize("block", [Disable, SetMaintenance])
@pytest.mark.parametrize(
    "code, base", [("active", "active"), ("maintenance", "active"), ("env_gated", "env_gated")]
)
def test_a_window_instead_of_a_block_opens_the_route_when_it_ends(block, code, base):
    shop = store(*CODE[code])
    shop.run(block, KEY, reason="gone")
    shop.run(Schedule, KEY, window=RUNNING.replace(status="disabled"), instead=True)
    assert shop.answer("GET", "/x") == "disabled"
    shop.now = RUNNING.end
    assert shop.answer("GET", "/x") == "open"
    assert (shop.state(KEY).status, shop.state(KEY).reason) == (base, "")


def test_a_window_without_a_reason_gets_that_of_the_command():
    shop = store()
    shop.run(Schedule, KEY, window=FUTURE.replace(reason=""), reason="from the command")
    assert shop.state(KEY).window.reason == "from the command"


def test_maintenance_in_a_window_may_be_read_only():
    shop = store()
    shop.run(SetMaintenance, KEY, window=RUNNING, read_only=True)
    assert [shop.answer(method, "/x") for method in ("GET", "HEAD")] == ["open", "open"]
    assert shop.state(KEY).window.read_only


@pytest.mark.parametrize("window", [FUTURE, RUNNING], ids=["future", "running"])
def test_a_cancelled_schedule_is_gone_and_the_code_is_back(window):
    shop = store()
    shop.run(Schedule, KEY, window=window)
    shop.run(CancelSchedule, KEY)
    assert (shop.state(KEY).window, shop.state(KEY).origin) == (None, "code")


def test_a_window_of_the_code_can_be_cancelled_by_an_override():
    shop = store(WINDOWED)
    shop.run(CancelSchedule, KEY)
    assert (shop.answer("GET", "/x"), shop.state(KEY).origin) == ("open", "operator")


def test_without_a_window_there_is_nothing_to_cancel():
    shop = store()
    with pytest.raises(InvalidInputError, match="no window that could be cancelled"):
        shop.run(CancelSchedule, KEY)
    shop.run(Schedule, KEY, window=RUNNING)
    shop.now = RUNNING.end
    with pytest.raises(InvalidInputError, match="no window that could be cancelled"):
        shop.run(CancelSchedule, KEY)


@pytest.mark.parametrize("code", CODE)
@pytest.mark.parametrize(
    ("command", "fields"),
    [
        (Disable, {"reason": "r"}),
        (SetMaintenance, {"read_only": True}),
        (Schedule, {"window": FUTURE}),
        (SetEnvironments, {"envs": ("qa",)}),
        (SetRoute, {"status": "active"}),
    ],
)
def test_clearing_an_override_restores_exactly_what_the_code_said(code, command, fields):
    shop = store(*CODE[code])
    registered = shop.state(KEY)
    shop.run(command, KEY, **fields, by={"note": "why"})
    shop.run(ClearOverride, KEY)
    stamps = {"revision", "updated_at", "updated_by"}
    assert shop.state(KEY).model_dump(exclude=stamps) == registered.model_dump(exclude=stamps)
