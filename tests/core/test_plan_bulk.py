"""Several routes in one commit: all of them, or none."""

import pytest

from shield_core.backends.memory import MemoryBackend
from shield_core.decorators import force_active
from shield_core.engine import ShieldEngine
from shield_core.exceptions import (
    AmbiguousRouteError,
    BulkRefusedError,
    InvalidInputError,
    RouteNotFoundException,
    RouteProtectedException,
)
from shield_core.models import MaintenanceWindow, RouteStatus
from shield_core.plan import ChangeRoutes, Disable

from .rules import HOUR, NOW
from .store import Store

SHOP = {"GET:/cart": [], "POST:/cart": [], "/orders": [], "GET:/health": [force_active]}


def change(store, action, *targets, **fields):
    return store.run(ChangeRoutes, targets=targets, action=action, **fields)


def test_one_commit_tells_each_route():
    shop = Store(SHOP)
    commit = change(shop, "disable", "GET:/cart", "/orders", reason="fraud", by={"actor": "ann"})
    assert [entry.path for entry in commit.audit] == ["/orders", "GET:/cart"]
    assert {(entry.action, entry.actor, entry.reason) for entry in commit.audit} == {
        ("disable", "ann", "fraud")
    }
    assert shop.state("GET:/cart").revision == shop.state("/orders").revision == shop.snapshot.revision
    assert shop.answer("GET", "/cart") == shop.answer("PUT", "/orders") == "disabled"
    assert shop.answer("POST", "/cart") == "open"


def test_all_methods_are_those_of_the_path():
    shop = Store(SHOP)
    change(shop, "maintenance", "/cart/", all_methods=True, what={"until": NOW + HOUR})
    assert {method: shop.answer(method, "/cart") for method in ("GET", "POST")} == {
        "GET": "maintenance",
        "POST": "maintenance",
    }
    change(shop, "enable", "GET:/cart", all_methods=True)
    assert shop.answer("GET", "/cart") == shop.answer("POST", "/cart") == "open"


def test_a_method_that_only_an_operator_knows_goes_with_its_bare_path():
    shop = Store(SHOP)
    shop.run(Disable, "DELETE:/orders")
    change(shop, "disable", "/orders", all_methods=True)
    change(shop, "enable", "/orders", all_methods=True)
    assert shop.state("DELETE:/orders") is None
    assert shop.state("/orders").origin == "code"


@pytest.mark.parametrize(
    ("targets", "all_methods", "refused"),
    [
        (["GET:/cart", "GET:/health"], False, {"GET:/health"}),
        (["GET:/cart", "GET:/health", "/nothing"], False, {"GET:/health", "/nothing"}),
        (["/cart", "/health"], True, {"GET:/health"}),
    ],
)
def test_when_one_refuses_nothing_is_changed_and_each_is_named(targets, all_methods, refused):
    shop = Store(SHOP)
    with pytest.raises(BulkRefusedError, match=r"Nothing was changed\.") as caught:
        change(shop, "disable", *targets, all_methods=all_methods)
    assert caught.value.refusals.keys() == refused
    assert isinstance(caught.value.refusals["GET:/health"], RouteProtectedException)
    assert shop.answer("GET", "/cart") == "open"


@pytest.mark.parametrize(
    ("target", "error"),
    [("/health", RouteProtectedException), ("/helth", RouteNotFoundException), ("cart", InvalidInputError)],
)
@pytest.mark.parametrize("all_methods", [False, True])
def test_a_single_route_refuses_in_its_own_words(target, error, all_methods):
    with pytest.raises(error):
        change(Store(SHOP), "disable", target, all_methods=all_methods)


def test_all_methods_of_a_path_that_two_services_have_are_ambiguous():
    engines = {name: ShieldEngine(MemoryBackend(), service=name) for name in ("shop", "stock")}
    shared = engines["shop"].backend
    for name in engines:
        ShieldEngine(shared, service=name).sync.register_batch([("GET:/x", {}), ("POST:/x", {})])
    operator = ShieldEngine(shared).sync
    with pytest.raises(AmbiguousRouteError) as caught:
        operator.change_routes(["/x"], "disable", all_methods=True)
    assert caught.value.matches == ["shop:GET:/x", "shop:POST:/x", "stock:GET:/x", "stock:POST:/x"]
    changed = operator.change_routes(["shop:/x"], "disable", all_methods=True)
    assert [state.path for state in changed] == ["shop:GET:/x", "shop:POST:/x"]
    assert operator.get_state("stock:GET:/x").status is RouteStatus.ACTIVE


def test_the_engine_changes_many_in_one_revision():
    engine = ShieldEngine(MemoryBackend())
    keys = [f"GET:/many/{number}" for number in range(200)]
    engine.sync.register_batch([(key, {}) for key in keys])
    before = engine.sync.current().revision
    changed = engine.sync.change_routes(keys, "disable", "fraud", actor="ann")
    assert {state.status for state in changed} == {RouteStatus.DISABLED}
    assert engine.sync.current().revision == before + 1
    assert len(engine.sync.get_audit_log(limit=None)) == 200


@pytest.mark.parametrize(
    ("action", "given", "sentence"),
    [
        ("enable", {"until": NOW + HOUR}, "'enable' takes no until"),
        ("disable", {"envs": ["dev"]}, "'disable' takes no envs"),
        ("schedule", {}, "'schedule' needs a window"),
        (
            "reset",
            {"window": MaintenanceWindow(start=NOW, end=NOW + HOUR), "read_only": True},
            "takes no window, read_only",
        ),
    ],
)
def test_what_an_action_does_not_take_is_refused(action, given, sentence):
    engine = ShieldEngine(MemoryBackend())
    engine.sync.register("GET:/x", {})
    with pytest.raises(InvalidInputError, match=sentence):
        engine.sync.change_routes(["GET:/x"], action, **given)


def test_a_route_that_is_declared_and_not_stored_yet_is_registered_first():
    engine = ShieldEngine(MemoryBackend())
    other = ShieldEngine(engine.backend)
    other.sync.register("GET:/known", {})
    engine.declare(Store({"GET:/new": []}).declarations.values())
    changed = engine.sync.change_routes(["/known", "/new"], "disable")
    assert [state.path for state in changed] == ["GET:/known", "GET:/new"]
