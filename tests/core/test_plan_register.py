"""Releases register what their code says; it informs operators and decides in no other process."""

import pytest

from shield_core.backends.base import check_expectations
from shield_core.decorators import disabled, env_only, force_active, maintenance
from shield_core.exceptions import ConflictError, RouteProtectedException
from shield_core.models import Baseline, RouteState, RouteStatus
from shield_core.plan import ClearOverride, Disable, Enable, Register
from shield_core.snapshot import Snapshot

from .rules import NOW
from .store import Store

KEY = "GET:/x"


def test_many_routes_are_one_commit_without_an_audit_entry():
    shop = Store()
    commit = shop.deploy({f"GET:/{number}": [] for number in range(50)}, release="v1")
    assert (len(commit.writes), commit.audit, shop.snapshot.revision) == (50, (), 1)
    assert shop.state("GET:/7").release == "v1"


def test_registering_again_is_no_commit():
    code = {KEY: [disabled("d")], "/y": [force_active], "/z": [env_only("dev")]}
    shop = Store(code)
    assert not shop.deploy(code)
    assert not shop.deploy(code, release="another with the same code")


@pytest.mark.parametrize("by", [Disable, Enable])
def test_registering_again_under_an_override_is_no_commit(by):
    code = {KEY: [maintenance("code")]}
    shop = Store(code)
    shop.run(by, KEY)
    assert shop.state(KEY).origin == "operator"
    assert not shop.deploy(code)


def test_only_what_is_new_is_written():
    shop = Store({"GET:/a": [], "GET:/b": []})
    commit = shop.deploy({"GET:/a": [], "GET:/b": [disabled()], "GET:/c": []})
    assert [write.key for write in commit.writes] == ["GET:/b", "GET:/c"]


def test_a_release_with_other_decorators_takes_effect_and_keeps_the_operators_override():
    shop = Store({"GET:/x": [maintenance("v1")], "GET:/y": [maintenance("v1")]})
    shop.run(Disable, "GET:/y", reason="operator")
    shop.deploy({"GET:/x": [], "GET:/y": [env_only("dev")]}, release="v2")
    assert (shop.answer("GET", "/x"), shop.answer("GET", "/y")) == ("open", "disabled")
    state = shop.state("GET:/y")
    assert (state.origin, state.reason) == ("operator", "operator")
    assert state.baseline == Baseline(status=RouteStatus.ENV_GATED, allowed_envs=("dev",))
    shop.run(ClearOverride, "GET:/y")
    assert shop.answer("GET", "/y", env="prod") == "env_gated"


def test_two_releases_side_by_side_each_serve_their_own_through_restarts():
    v1, v2 = {KEY: [disabled("v1")]}, {KEY: [maintenance("v2")]}
    shop = Store()
    for _ in range(10):
        for code, answer in ((v1, "disabled"), (v2, "maintenance")):
            shop.deploy(code)
            assert shop.answer("GET", "/x") == answer
    rules_of_v2 = shop.rules()
    shop.deploy(v1)
    evolved = rules_of_v2.evolve(shop.snapshot, [KEY])
    assert evolved.decide("GET", "/x").reason == "v2"


def test_an_override_holds_over_two_releases_side_by_side():
    v1, v2 = {KEY: [disabled("v1")]}, {KEY: [maintenance("v2")]}
    shop = Store(v1)
    shop.run(Enable, KEY)
    for code in (v2, v1, v2, v1):
        shop.deploy(code)
        assert shop.answer("GET", "/x") == "open"


def test_a_release_that_drops_force_active_can_be_blocked_again():
    shop = Store({KEY: [force_active]})
    with pytest.raises(RouteProtectedException):
        shop.run(Disable, KEY)
    shop.deploy({KEY: []})
    shop.run(Disable, KEY)
    assert shop.answer("GET", "/x") == "disabled"


def test_a_release_that_adds_force_active_lifts_an_override_in_its_own_process():
    shop = Store({KEY: []})
    shop.run(Disable, KEY)
    shop.deploy({KEY: [force_active]})
    assert shop.answer("GET", "/x") == "open"


def test_a_service_registers_under_its_own_name():
    shop = Store({KEY: []}, service="shop")
    assert shop.state("shop:GET:/x").service == "shop"


def test_a_registration_does_not_overwrite_what_happened_in_between():
    shop = Store({KEY: []})
    late = shop.plan(Register, states=[RouteState(path=KEY, status="disabled", origin="code")])
    shop.run(Disable, KEY)
    with pytest.raises(ConflictError):
        check_expectations(late, shop.snapshot.revision_of)


def loaded(**fields):
    """A store that another system wrote: states without revisions."""
    states = [RouteState.model_validate({"path": KEY, **fields})]
    return Store({}, snapshot=Snapshot("epoch", 0, {state.path: state for state in states}))


def test_a_registered_route_without_a_revision_returns_to_its_code():
    shop = loaded(status="env_gated", allowed_envs=["dev"], origin="code")
    shop.deploy({KEY: [env_only("dev")]})
    shop.run(Disable, KEY)
    assert shop.state(KEY).baseline.allowed_envs == ("dev",)
    shop.run(ClearOverride, KEY)
    assert (shop.state(KEY).origin, shop.answer("GET", "/x", env="prod")) == ("code", "env_gated")


@pytest.mark.parametrize("command", [Enable, ClearOverride])
def test_a_route_that_no_code_registered_stays_known_when_its_override_ends(command):
    shop = loaded(status="disabled")
    assert shop.answer("GET", "/x") == "disabled"
    shop.run(command, KEY)
    assert shop.state(KEY).updated_at == NOW
    assert shop.answer("GET", "/x") == "open"
