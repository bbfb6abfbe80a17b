"""The engine's operations, awaited and through ``engine.sync``, over every kind of backend."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from shield_core.audit import first_break
from shield_core.exceptions import (
    AmbiguousRouteError,
    ConflictError,
    EnvGatedException,
    InvalidInputError,
    MaintenanceException,
    RouteDisabledException,
    RouteNotFoundException,
    RouteProtectedException,
    ShieldException,
)
from shield_core.keys import Scope
from shield_core.models import MaintenanceWindow

SHOP = [
    ("GET:/x", {}),
    ("POST:/x", {}),
    ("/pay", {"status": "maintenance", "reason": "code"}),
    ("GET:/beta", {"status": "env_gated", "allowed_envs": ["qa"]}),
    ("GET:/live", {"force_active": True}),
]


@pytest.fixture
async def shop(call):
    await call("register_batch", SHOP)
    return call


def window(**fields):
    now = datetime.now(UTC)
    return MaintenanceWindow(**{"start": now - timedelta(hours=1), "end": now + timedelta(hours=1), **fields})


def answer(call, method, path):
    decision = call.engine.decide(method, path)
    return decision.cause.value if decision.cause else "open"


async def test_registered_routes_are_listed_in_order(shop):
    assert [state.path for state in await shop("list_states")] == sorted(key for key, _ in SHOP)
    assert (await shop("get_state", "/pay")).reason == "code"


async def test_what_the_code_declares_is_in_force(shop):
    answers = {path: answer(shop, "GET", path) for path in ("/x", "/pay", "/beta", "/live")}
    assert answers == {"/x": "open", "/pay": "maintenance", "/beta": "env_gated", "/live": "open"}


@pytest.mark.parametrize(
    ("operation", "args", "expected"),
    [
        ("disable", ("GET:/x", "r"), "disabled"),
        ("disable", ("GET:/x", "r", datetime.now(UTC) + timedelta(hours=1)), "disabled"),
        ("set_maintenance", ("GET:/x", "r"), "maintenance"),
        ("set_maintenance", ("GET:/x", "r", window()), "maintenance"),
        ("schedule_maintenance", ("GET:/x", window(reason="r")), "maintenance"),
        ("set_env_only", ("GET:/x", ["qa"]), "env_gated"),
        ("set_route", ("GET:/x", "disabled", "r"), "disabled"),
        ("enable", ("/pay",), "open"),
    ],
)
async def test_a_change_is_in_force_and_in_the_log_when_the_call_returns(shop, operation, args, expected):
    state = await shop(operation, *args, actor="ada", platform="cli")
    assert answer(shop, "GET", state.key.path) == expected
    [entry] = await shop("get_audit_log", limit=1)
    assert (entry.path, entry.actor, entry.revision) == (args[0], "ada", state.revision)
    assert (await shop("get_state", args[0])) == state


async def test_an_override_is_taken_back(shop):
    await shop("disable", "GET:/x")
    state = await shop("clear_override", "GET:/x")
    assert (state.origin, answer(shop, "GET", "/x")) == ("code", "open")


async def test_a_schedule_is_cancelled(shop):
    await shop("schedule_maintenance", "GET:/x", window())
    await shop("cancel_schedule", "GET:/x")
    assert answer(shop, "GET", "/x") == "open"


@pytest.mark.parametrize(
    ("operation", "args", "error"),
    [
        ("disable", ("/x",), AmbiguousRouteError),
        ("disable", ("/nowhere",), RouteNotFoundException),
        ("get_state", ("/nowhere",), RouteNotFoundException),
        ("disable", ("GET:/live",), RouteProtectedException),
        ("disable", ("nonsense",), InvalidInputError),
        ("cancel_schedule", ("GET:/x",), InvalidInputError),
        ("set_env_only", ("GET:/x", "qa"), InvalidInputError),
        ("set_global_exempt_paths", (["health"],), InvalidInputError),
        ("enable_service_maintenance", ("Not A Name",), InvalidInputError),
        ("enable_maintenance", (Scope("route", "GET:/x"),), InvalidInputError),
    ],
)
async def test_what_is_refused_changes_nothing(shop, operation, args, error):
    before = await shop("list_states"), await shop("get_audit_log")
    with pytest.raises(error) as caught:
        await shop(operation, *args)
    assert isinstance(caught.value, ShieldException)
    assert (await shop("list_states"), await shop("get_audit_log")) == before


@pytest.mark.parametrize(
    ("path", "method", "error"),
    [
        ("/pay", None, MaintenanceException),
        ("GET:/beta", None, EnvGatedException),
        ("POST:/x", None, RouteDisabledException),
        ("/x", "POST", RouteDisabledException),
    ],
)
async def test_check_raises_what_blocks(shop, path, method, error):
    await shop("disable", "POST:/x")
    with pytest.raises(error):
        await shop("check", path, method)
    assert await shop("check", "/x") is None


async def test_a_decision_at_a_moment_without_a_time_zone_is_refused(shop):
    with pytest.raises(InvalidInputError, match="names no time zone"):
        shop.engine.decide("GET", "/x", at=datetime(2027, 1, 1))


@pytest.mark.parametrize("scope", ["global", "service"])
async def test_maintenance_of_a_wider_scope(backend, make_engine, scope):
    name = [] if scope == "global" else ["shop"]
    async with make_engine(backend, service="shop") as engine:
        enable = getattr(engine, f"enable_{scope}_maintenance")
        config = await enable(*name, "r", ["/health"], actor="ada")
        assert (config.enabled, config.updated_by) == (True, "ada")
        assert [engine.decide("GET", path).allowed for path in ("/x", "/health/")] == [False, True]
        assert await getattr(engine, f"get_{scope}_maintenance")(*name) == config
        await getattr(engine, f"disable_{scope}_maintenance")(*name)
        assert engine.decide("GET", "/x").allowed
        actions = [entry.action for entry in await engine.get_audit_log()]
        assert actions == [f"{scope}_maintenance_off", f"{scope}_maintenance_on"]


async def test_exempt_paths_are_set_without_switching_anything(shop):
    config = await shop("set_global_exempt_paths", ["/x"])
    assert (config.enabled, config.exempt_paths) == (False, ("/x",))


async def test_services_are_those_with_routes_or_maintenance(backend, make_engine):
    async with make_engine(backend, service="shop") as engine:
        await engine.register("GET:/x", {})
        await engine.enable_service_maintenance("stock")
        assert await engine.list_services() == ["shop", "stock"]
        assert [state.path for state in await engine.list_states("shop")] == ["shop:GET:/x"]
        assert await engine.list_states("stock") == []


async def test_a_stale_revision_is_a_conflict_and_the_current_one_is_not(shop):
    seen = (await shop("get_state", "GET:/x")).revision
    current = (await shop("disable", "GET:/x", expected_revision=seen)).revision
    with pytest.raises(ConflictError) as caught:
        await shop("enable", "GET:/x", expected_revision=seen)
    assert (caught.value.expected, caught.value.actual) == (seen, current)
    assert answer(shop, "GET", "/x") == "disabled"
    await shop("enable", "GET:/x", expected_revision=current)


async def test_revisions_grow(shop):
    revisions = [(await shop(operation, "GET:/x")).revision for operation in ("disable", "enable") * 3]
    assert revisions == sorted(set(revisions))


async def test_registering_again_is_no_commit(shop):
    revision = shop.engine.status().revision
    await shop("register_batch", SHOP)
    await shop("list_states")
    assert shop.engine.status().revision == revision


async def test_the_audit_chain_holds(shop):
    for _ in range(3):
        await shop("disable", "GET:/x")
        await shop("enable_global_maintenance", "r")
    log = await shop("get_audit_log", limit=None)
    assert len(log) == 6
    assert first_break(reversed(log)) is None


async def test_audit_filters_work_before_the_limit(shop):
    for number in range(6):
        await shop("disable", ("GET:/x", "POST:/x")[number % 2], actor=f"user{number % 3}")
    found = await shop("get_audit_log", path="GET:/x", actor="user0", limit=1)
    assert [(entry.path, entry.actor) for entry in found] == [("GET:/x", "user0")]
    older = await shop("get_audit_log", cursor=found[0].id, limit=None)
    assert len(older) < 6
    assert found[0] not in older


async def test_listeners_hear_of_a_local_change_with_its_audit_entry(shop):
    heard = []
    shop.engine.subscribe(lambda snapshot, changes: heard.extend(changes.audit))
    await shop("disable", "GET:/x", actor="ada")
    assert [entry.actor for entry in heard] == ["ada"]


async def test_a_listener_that_fails_does_not_undo_the_change(shop, caplog):
    def fail(snapshot, changes):
        raise RuntimeError("listener")

    shop.engine.subscribe(fail)
    await shop("disable", "GET:/x")
    assert answer(shop, "GET", "/x") == "disabled"
    assert "A listener for changes failed" in caplog.text


async def test_a_resolver_turns_names_into_keys(backend, make_engine):
    names = {"shop:cart": ["GET:/cart"], "shop:both": ["GET:/a", "GET:/b"]}
    async with make_engine(backend, resolver=lambda text: names.get(text, [])) as engine:
        await engine.register("GET:/cart", {})
        assert (await engine.disable("shop:cart")).path == "GET:/cart"
        with pytest.raises(AmbiguousRouteError):
            await engine.disable("shop:both")


async def test_an_unlisted_route_is_registered_when_somebody_names_it(backend, make_engine):
    from .rules import declare

    async with make_engine(backend) as engine:
        engine.declare([declare("GET:/admin/", unlisted=True)])
        assert await engine.list_states() == []
        await engine.disable("/admin/")
        assert [state.path for state in await engine.list_states()] == ["GET:/admin/"]


async def test_many_coroutines_change_many_routes(backend, make_engine):
    async with make_engine(backend) as engine:
        await engine.register_batch([(f"GET:/{number}", {}) for number in range(20)])
        await asyncio.gather(*(engine.disable(f"GET:/{number}") for number in range(20)))
        assert {state.status for state in await engine.list_states()} == {"disabled"}
        assert len(await engine.get_audit_log()) == 20


async def test_the_audit_log_of_a_bare_path_is_that_of_the_route_it_names(shop):
    await shop("disable", "GET:/beta")
    assert [entry.path for entry in await shop("get_audit_log", path="/beta")] == ["GET:/beta"]
    assert await shop("get_audit_log", path="/nowhere") == []
