from datetime import UTC, datetime

import pytest

from shield_core.declarations import Declaration
from shield_core.decorators import disabled, env_only, maintenance, meta_of
from shield_core.keys import RouteKey
from shield_core.models import RouteStatus

KEY = RouteKey("shop", "GET", "/x")


def declared(*stamps):
    def view(): ...

    for stamp in stamps:
        stamp(view)
    return Declaration.from_meta(KEY, meta_of(view))


def test_a_declaration_has_no_service_and_its_stored_state_has_one():
    assert declared().key == RouteKey(None, "GET", "/x")
    state = declared().state("shop", release="v2")
    assert (state.path, state.service, state.origin, state.release) == ("shop:GET:/x", "shop", "code", "v2")


def test_maintenance_in_a_window_is_active_beneath_it():
    baseline = declared(maintenance("m", start="2027-01-01", end="2027-01-02", read_only=True)).baseline
    assert (baseline.status, baseline.read_only, baseline.reason) == (RouteStatus.ACTIVE, False, "")
    assert baseline.window.start == datetime(2027, 1, 1, tzinfo=UTC)
    assert baseline.window.read_only


def test_a_gate_beneath_a_window_is_still_a_gate():
    baseline = declared(maintenance(start="2027-01-01", end="2027-01-02"), env_only("dev")).baseline
    assert (baseline.status, baseline.allowed_envs) == (RouteStatus.ENV_GATED, ("dev",))


def test_a_disabled_route_stays_disabled_beneath_a_window():
    baseline = declared(maintenance(start="2027-01-01", end="2027-01-02"), disabled("d")).baseline
    assert (baseline.status, baseline.reason) == (RouteStatus.DISABLED, "d")


def test_a_gate_that_names_no_environment_is_open_in_none():
    baseline = Declaration.from_meta(KEY, {"status": "env_gated"}).baseline
    assert baseline.allowed_envs == ("(none)",)


def test_gates_without_a_common_environment_stay_closed_beneath_a_window():
    @env_only("dev")
    @maintenance(start="2027-01-01", end="2027-01-02")
    class View:
        @env_only("prod")
        def get(self): ...

    baseline = Declaration.from_meta(KEY, meta_of(View, View.get)).baseline
    assert (baseline.status, baseline.allowed_envs) == (RouteStatus.ENV_GATED, ("(none)",))


def test_an_unknown_status_is_refused():
    with pytest.raises(ValueError, match="closed"):
        Declaration.from_meta(KEY, {"status": "closed"})
