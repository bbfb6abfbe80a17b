"""A method key under a bare path that the code registered without methods."""

import pytest

from shield_core.decorators import disabled, env_only
from shield_core.models import AuditEntry
from shield_core.plan import (
    CancelSchedule,
    ClearOverride,
    CrossBoundary,
    Disable,
    Enable,
    Proposal,
    Propose,
    Schedule,
    SetEnvironments,
)

from .rules import FUTURE, RUNNING
from .store import Store


def test_it_overrides_its_method_only():
    shop = Store({"/x": []})
    shop.run(Disable, "GET:/x")
    assert [shop.answer(method, "/x") for method in ("GET", "HEAD", "POST")] == [
        "disabled",
        "disabled",
        "open",
    ]


@pytest.mark.parametrize("command", [Enable, ClearOverride])
def test_it_is_forgotten_when_it_says_nothing_of_its_own_any_more(command):
    shop = Store({"/x": []})
    shop.run(Disable, "GET:/x")
    shop.run(command, "GET:/x")
    assert shop.state("GET:/x") is None
    shop.run(Disable, "/x")
    assert shop.answer("GET", "/x") == "disabled"


def test_it_starts_from_what_its_bare_path_says():
    shop = Store({"/x": [env_only("dev")]})
    shop.run(Disable, "GET:/x")
    shop.run(Enable, "GET:/x")
    assert shop.answer("GET", "/x", env="prod") == "env_gated"


def test_enabling_it_under_a_blocked_bare_path_opens_its_method_only():
    shop = Store({"/x": [disabled()]})
    shop.run(Enable, "GET:/x")
    assert [shop.answer(method, "/x") for method in ("GET", "POST")] == ["open", "disabled"]


def test_clearing_an_override_that_it_does_not_have_adds_nothing():
    shop = Store({"/x": []})
    shop.run(ClearOverride, "GET:/x")
    assert shop.state("GET:/x") is None


def test_one_that_the_code_registers_stays_beside_its_bare_path():
    shop = Store({"/x": [], "GET:/x": []})
    shop.run(Disable, "GET:/x")
    for command in (Enable, ClearOverride, ClearOverride):
        shop.run(command, "GET:/x")
        assert shop.state("GET:/x").origin == "code"


def test_one_that_the_code_registers_is_opened_under_a_bare_path_that_an_operator_has_disabled():
    shop = Store({"/x": [], "GET:/x": []})
    shop.run(Disable, "/x", reason="fraud")
    shop.run(Enable, "GET:/x")
    assert [shop.answer(method, "/x") for method in ("GET", "POST")] == ["open", "disabled"]
    assert (shop.audit[-1].previous_status, shop.audit[-1].new_status) == ("disabled", "active")
    shop.run(ClearOverride, "GET:/x")
    assert shop.answer("GET", "/x") == "disabled"


def test_what_is_proposed_of_one_tells_the_status_that_callers_met():
    shop = Store({"/x": [], "GET:/x": []})
    shop.run(Disable, "/x")
    opened = shop.state("GET:/x").replace(origin="operator")
    told = AuditEntry(timestamp=shop.now, action="enable", path="GET:/x")
    shop.run(Propose, proposals=[Proposal("GET:/x", opened)], entries=[told])
    assert (shop.audit[-1].previous_status, shop.audit[-1].new_status) == ("disabled", "active")
    told = AuditEntry(timestamp=shop.now, action="override_cleared", path="GET:/x")
    shop.run(Propose, proposals=[Proposal("GET:/x", None)], entries=[told])
    assert (shop.audit[-1].previous_status, shop.audit[-1].new_status) == ("active", "disabled")


def test_one_that_the_code_registers_keeps_the_gate_of_its_bare_path_when_it_is_enabled():
    shop = Store({"/x": [], "GET:/x": []})
    shop.run(SetEnvironments, "/x", envs=("qa",))
    shop.run(Disable, "GET:/x")
    shop.run(Enable, "GET:/x")
    assert shop.answer("GET", "/x", env="prod") == "env_gated"
    assert (shop.state("GET:/x").origin, shop.audit[-1].new_status) == ("code", "env_gated")


def test_one_that_the_code_registers_goes_back_to_its_own_code():
    shop = Store({"/x": [disabled("all but GET")], "GET:/x": []})
    shop.run(Disable, "GET:/x")
    assert shop.state("GET:/x").code.status == "active"
    shop.run(Enable, "GET:/x")
    assert shop.state("GET:/x").origin == "code"
    assert [shop.answer(method, "/x") for method in ("GET", "POST")] == ["open", "disabled"]


def test_a_cancelled_schedule_leaves_nothing_behind():
    shop = Store({"/x": []})
    shop.run(Schedule, "GET:/x", window=FUTURE)
    shop.run(CancelSchedule, "GET:/x")
    assert shop.state("GET:/x") is None


def test_after_its_window_closed_it_follows_its_bare_path_again():
    shop = Store({"/x": []})
    shop.run(Schedule, "GET:/x", window=RUNNING)
    shop.now = RUNNING.end
    shop.run(CrossBoundary, store_key="GET:/x")
    assert shop.state("GET:/x") is None
    shop.run(Disable, "/x")
    assert shop.answer("GET", "/x") == "disabled"


def test_it_becomes_a_route_of_its_own_when_the_code_registers_it():
    shop = Store({"/x": []})
    shop.run(Disable, "GET:/x")
    shop.deploy({"GET:/x": [env_only("dev")]})
    shop.run(ClearOverride, "GET:/x")
    assert shop.state("GET:/x").origin == "code"
