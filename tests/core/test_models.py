import json
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from shield_core.keys import EVERYTHING, Scope
from shield_core.models import (
    AuditEntry,
    Baseline,
    GlobalMaintenanceConfig,
    GlobalRateLimitPolicy,
    MaintenanceWindow,
    RateLimitPolicy,
    RateLimitReset,
    RouteState,
    RouteStatus,
    strictest,
    value_type,
)

START = datetime(2027, 1, 1, 4, tzinfo=UTC)
END = START + timedelta(hours=2)


def window(**fields):
    return MaintenanceWindow(**{"start": START, "end": END, **fields})


VALUES = [
    RouteState(path="GET:/x"),
    GlobalMaintenanceConfig(),
    AuditEntry(action="enable"),
    window(),
    Baseline(),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_are_immutable(value):
    name = next(iter(type(value).model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(value, name, getattr(value, name))


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_fields_that_a_newer_version_wrote_survive_a_rewrite(value):
    kind = type(value)
    loaded = kind.model_validate_json(json.dumps({**value.model_dump(mode="json"), "colour": {"r": 1}}))
    rewritten = loaded.replace()
    assert json.loads(rewritten.model_dump_json())["colour"] == {"r": 1}


def test_unknown_fields_inside_a_window_survive_a_change_of_its_route():
    state = RouteState.model_validate(
        {"path": "/x", "window": {"start": START, "end": END, "ticket": "OPS-1"}, "origin": "operator"}
    )
    changed = state.replace(status=RouteStatus.DISABLED)
    assert json.loads(changed.model_dump_json())["window"]["ticket"] == "OPS-1"


def test_a_replacement_is_validated():
    with pytest.raises(ValidationError):
        RouteState(path="/x").replace(status="closed")


@pytest.mark.parametrize("end", [START, START - timedelta(seconds=1)], ids=["empty", "backwards"])
def test_a_window_ends_after_it_starts(end):
    with pytest.raises(ValidationError, match="a window must end after it starts"):
        window(end=end)


BERLIN = ZoneInfo("Europe/Berlin")
#: The clocks go back from 3 to 2 on this night, so that each of these minutes is there twice.
FIRST = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN)
SECOND = datetime(2026, 10, 25, 2, 15, fold=1, tzinfo=BERLIN)


def test_a_window_over_the_hour_that_comes_twice_is_as_long_as_it_is():
    found = window(start=FIRST, end=SECOND)
    assert found.end - found.start == timedelta(minutes=45)
    assert found.runs_at(FIRST + timedelta(minutes=20))
    assert (found.start.timestamp(), found.end.timestamp()) == (FIRST.timestamp(), SECOND.timestamp())
    assert MaintenanceWindow.model_validate_json(found.model_dump_json()) == found


def test_a_window_that_is_backwards_in_the_hour_that_comes_twice_is_refused():
    with pytest.raises(ValidationError, match="a window must end after it starts"):
        window(start=SECOND, end=FIRST)


@pytest.mark.parametrize("field", ["start", "end"])
def test_a_window_without_a_time_zone_is_refused(field):
    with pytest.raises(ValidationError, match="timezone"):
        window(**{field: datetime(2027, 1, 1, 5)})


@pytest.mark.parametrize("status", ["active", "env_gated", "deprecated"])
def test_a_window_can_only_block(status):
    with pytest.raises(ValidationError):
        window(status=status)


@pytest.mark.parametrize(
    ("moment", "runs"),
    [
        (START - timedelta(microseconds=1), False),
        (START, True),
        (END - timedelta(microseconds=1), True),
        (END, False),
    ],
)
def test_a_window_runs_from_its_start_up_to_its_end(moment, runs):
    assert window().runs_at(moment) is runs


def test_the_state_of_an_api_shield_maintenance_loads_as_active_under_a_window():
    state = RouteState.model_validate_json(
        json.dumps(
            {
                "path": "GET:/payments",
                "status": "maintenance",
                "reason": "migration",
                "allowed_envs": [],
                "window": {"start": START.isoformat(), "end": END.isoformat(), "reason": ""},
            }
        )
    )
    assert (state.status, state.origin) == (RouteStatus.ACTIVE, "operator")
    assert state.window == window()
    assert state.effective(START) is RouteStatus.MAINTENANCE
    assert state.effective(END) is RouteStatus.ACTIVE


@pytest.mark.parametrize(
    ("stored", "origin"),
    [
        ({"status": "disabled"}, "operator"),
        ({"status": "maintenance"}, "operator"),
        ({"status": "active"}, "code"),
        ({"status": "deprecated"}, "code"),
        ({"status": "env_gated", "allowed_envs": ["dev"]}, "operator"),
        ({"status": "active", "origin": "operator"}, "operator"),
        ({"status": "disabled", "origin": "code"}, "code"),
    ],
)
def test_a_stored_state_without_an_origin_is_the_operators_when_it_blocks(stored, origin):
    assert RouteState.model_validate({"path": "GET:/x", **stored}).origin == origin


def test_a_state_that_names_its_origin_keeps_maintenance_beside_a_window():
    state = RouteState(path="/x", status="maintenance", window=window(), origin="operator")
    assert state.status is RouteStatus.MAINTENANCE


@pytest.mark.parametrize(
    ("fields", "service"),
    [
        ({"path": "shop:GET:/x"}, "shop"),
        ({"path": "GET:/x"}, None),
        ({"path": "GET:/x", "service": "shop"}, "shop"),
        ({"path": EVERYTHING.store_key, "reason": "{}"}, None),
    ],
)
def test_the_service_of_a_state_is_read_from_its_key(fields, service):
    assert RouteState.model_validate(fields).service == service


def test_a_state_under_something_that_is_no_key_is_refused():
    with pytest.raises(ValidationError, match="is not a route key"):
        RouteState(path="nonsense")


@pytest.mark.parametrize(
    ("base", "overlay", "expected"),
    [
        ("active", "maintenance", "maintenance"),
        ("disabled", "maintenance", "disabled"),
        ("maintenance", "disabled", "disabled"),
        ("env_gated", "maintenance", "maintenance"),
    ],
)
def test_of_base_and_running_window_the_stricter_is_effective(base, overlay, expected):
    state = RouteState(path="/x", status=base, window=window(status=overlay), origin="operator")
    assert state.effective(START) == expected
    assert state.effective(END) == base


def test_an_active_route_with_a_sunset_is_effectively_deprecated():
    assert RouteState(path="/x", sunset_date=END).effective() is RouteStatus.DEPRECATED


def test_the_order_of_strictness():
    ordered = ["active", "deprecated", "env_gated", "maintenance", "disabled"]
    for weaker, stricter in pairwise(ordered):
        assert strictest(RouteStatus(weaker), RouteStatus(stricter)) == stricter
        assert strictest(RouteStatus(stricter), RouteStatus(weaker)) == stricter


def test_under_an_override_the_code_is_the_baseline():
    baseline = Baseline(status=RouteStatus.ENV_GATED, allowed_envs=("dev",))
    overridden = RouteState(path="/x", status="disabled", origin="operator", baseline=baseline)
    own = RouteState(path="/x", status="env_gated", allowed_envs=("dev",), origin="code")
    assert overridden.code == own.code == baseline


def test_exempt_paths_must_be_exempt_entries():
    with pytest.raises(ValidationError, match="is not a route key"):
        GlobalMaintenanceConfig(exempt_paths=("health",))


@pytest.mark.parametrize("text", ["2026-11-20T10:00:00Z", "2026-11-20T10:00:00+02:00"])
def test_a_moment_has_a_zone_of_pythons_own(text):
    """Pydantic's own, in an object that is left when the interpreter ends, crashes it (seen with -X dev)."""
    read = RouteState.model_validate_json(f'{{"path": "/x", "updated_at": "{text}"}}')
    assert type(read.updated_at.tzinfo) is timezone
    assert read.updated_at == datetime.fromisoformat(text)
    assert read.updated_at.utcoffset() == datetime.fromisoformat(text).utcoffset()


@pytest.mark.parametrize("method", ["get", "shop", "GET:shop"])
def test_the_method_of_a_limit_is_one(method):
    with pytest.raises(ValidationError):
        RateLimitPolicy(path="/x", method=method, limit="1/s")


@pytest.mark.parametrize(
    ("scope", "state", "limit"),
    [
        (EVERYTHING, GlobalMaintenanceConfig, GlobalRateLimitPolicy),
        (Scope.service("shop"), GlobalMaintenanceConfig, GlobalRateLimitPolicy),
        (Scope("route", "shop:GET:/x"), RouteState, RateLimitPolicy),
    ],
)
def test_what_is_stored_of_a_scope_has_a_model(scope, state, limit):
    assert value_type(scope.store_key) is state
    assert value_type(scope.limit_key) is limit
    assert value_type(scope.reset_key) is RateLimitReset
