"""Limits: one set of commands for everything, a service and a route; pure, without a loop or a store."""

import pytest

from shield_core.decorators import rate_limit
from shield_core.exceptions import (
    AmbiguousRouteError,
    ConflictError,
    InvalidInputError,
    RouteNotFoundException,
)
from shield_core.keys import EVERYTHING, RouteKey, Scope
from shield_core.models import Algorithm, KeyStrategy
from shield_core.plan import DeleteLimit, Disable, ResetLimit, SetLimit, SwitchLimit, hit_key, limit_in_force
from shield_core.recovery import ResetEverything

from .store import Store

SERVICE = Scope.service("shop")
WIDE = [EVERYTHING, SERVICE]
ROUTE = Scope("route", "GET:/x")
wide = pytest.mark.parametrize("scope", WIDE, ids=lambda scope: scope.kind)
any_scope = pytest.mark.parametrize("scope", [*WIDE, ROUTE], ids=lambda scope: scope.kind)
PREFIX = {"global": "global_rl", "service": "svc_rl", "route": "rl_policy"}
RESET = {"global": "global_rl_reset", "service": "svc_rl_reset", "route": "rl_reset"}


def store(*keys, service=None, **declared):
    if not (keys or declared):
        keys = ("GET:/x",)
    return Store({**{key: [] for key in keys}, **declared}, service=service)


def limit(shop, scope, text="10/minute", **named):
    return shop.run(SetLimit, scope=scope, service=shop.service, named={"limit": text, **named})


def stored(shop, scope):
    return shop.snapshot.policy(scope)


def told(shop):
    return [(entry.action, entry.previous_status, entry.new_status) for entry in shop.audit]


def layers(shop, method="GET", path="/x"):
    """The limits a request meets, and the generation of their counters."""
    return [
        (layer.scope.kind, layer.policy.limit, layer.counter.generation if layer.counter else None)
        for layer in shop.rules().limits(method, path)
    ]


# -- setting ------------------------------------------------------------------------------------


@any_scope
def test_a_limit_is_set_changed_and_deleted(scope):
    shop = store()
    limit(shop, scope)
    limit(shop, scope, "5/s")
    shop.run(DeleteLimit, scope=scope)

    assert stored(shop, scope) is None
    name = PREFIX[scope.kind]
    assert told(shop) == [
        (f"{name}_set", "", "10/minute"),
        (f"{name}_updated", "10/minute", "5/s"),
        (f"{name}_deleted", "5/s", ""),
    ]
    assert {entry.path for entry in shop.audit} == {scope.store_key}
    assert {entry.service for entry in shop.audit} == {scope.name if scope == SERVICE else None}


@any_scope
def test_what_is_not_named_stays(scope):
    shop = store()
    limit(shop, scope, algorithm="sliding_window", key_strategy="user", burst=5, shadow=True)

    shop.run(SetLimit, scope=scope, named={"burst": 7})

    found = stored(shop, scope)
    assert (found.limit, found.algorithm, found.burst) == ("10/minute", Algorithm.SLIDING_WINDOW, 7)
    assert (found.key_strategy, found.shadow) == (KeyStrategy.USER, True)
    assert shop.audit[-1].details == {"before": {"burst": 5}, "after": {"burst": 7}}


@any_scope
def test_it_says_who_and_when(scope):
    shop = store()
    shop.run(SetLimit, scope=scope, named={"limit": "1/s"}, by={"actor": "ada", "note": "t1"}, reason="load")

    assert (stored(shop, scope).updated_by, stored(shop, scope).updated_at) == ("ada", shop.now)
    [entry] = shop.audit
    assert (entry.actor, entry.note, entry.reason) == ("ada", "t1", "load")


@any_scope
@pytest.mark.parametrize(
    "named, said",
    [
        ({}, "There is no rate limit of .* yet: say which, such as '100/minute'"),
        ({"limit": "many"}, "limit: 'many' is no limit: write an amount and a period"),
        ({"limit": "0/s"}, "must be 1 to"),
        ({"limit": "1/s", "algorithm": "guess"}, "algorithm"),
        ({"limit": "1/s", "key_strategy": "shoe size"}, "key_strategy"),
        ({"limit": "1/s", "key_strategy": "custom"}, "only the code can have"),
        ({"limit": "1/s", "burst": -1}, "burst"),
        ({"limit": "1/s", "on_missing_key": "guess"}, "on_missing_key"),
        ({"limit": "1/s", "colour": "red"}, "has no colour"),
        ({"limit": "1/s", "revision": 7}, "has no revision"),
        ({"limit": "1/s", "path": "/y"}, "has no path"),
        ({"limit": "1/s", "updated_by": "eve"}, "has no updated_by"),
    ],
)
def test_what_is_no_limit_is_refused_in_a_sentence(scope, named, said):
    shop = store()
    with pytest.raises(InvalidInputError, match=said):
        shop.plan(SetLimit, scope=scope, named=named)


def test_routes_have_tiers_and_wider_scopes_exempt_routes():
    shop = store()
    tiers = [{"name": "pro", "limit": "100/s"}]
    limit(shop, ROUTE, tiers=tiers, exempt_ips=["10.0.0.0/8"], exempt_roles=["staff"])
    limit(shop, EVERYTHING, exempt_routes=["/health", "GET:/metrics"])

    assert [(tier.name, tier.limit) for tier in stored(shop, ROUTE).tiers] == [("pro", "100/s")]
    assert stored(shop, EVERYTHING).exempt_routes == ("/health", "GET:/metrics")
    with pytest.raises(InvalidInputError, match="A limit of everything has no tiers"):
        limit(shop, EVERYTHING, tiers=tiers)
    with pytest.raises(InvalidInputError, match="A limit of GET:/x has no exempt_routes"):
        limit(shop, ROUTE, exempt_routes=["/health"])
    with pytest.raises(InvalidInputError, match="two tiers have the same name"):
        limit(shop, ROUTE, tiers=tiers * 2)


@pytest.mark.parametrize("text", ["1 / s", "1 per s", " 1/s ", "1   per\t s"])
def test_a_limit_is_kept_without_more_white_space_than_it_needs(text):
    shop = store()
    limit(shop, ROUTE, text)
    assert stored(shop, ROUTE).limit == " ".join(text.split())


# -- which route ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked, found", [("/x", "GET:/x"), ("GET:/x/", "GET:/x"), ("HEAD:/x", "GET:/x"), ("/bare", "/bare")]
)
def test_a_route_is_found_as_for_any_other_change(asked, found):
    shop = store("GET:/x", "/bare")
    limit(shop, Scope("route", asked))
    assert [scope.name for scope in shop.snapshot.policies] == [found]


def test_a_service_looks_among_its_own_routes_first():
    shop = store("GET:/x", service="shop")
    limit(shop, Scope("route", "/x"))

    [policy] = shop.snapshot.policies.values()
    assert (policy.path, policy.method) == ("shop:/x", "GET")
    assert layers(shop) == [("route", "10/minute", 0)]


def test_unknown_and_ambiguous_routes_are_refused():
    shop = store("GET:/x", "POST:/x")
    with pytest.raises(RouteNotFoundException):
        limit(shop, Scope("route", "/y"))
    with pytest.raises(AmbiguousRouteError):
        limit(shop, Scope("route", "/x"))


def test_one_method_of_a_bare_path_may_have_a_limit_of_its_own():
    shop = store("/x")
    limit(shop, Scope("route", "/x"), "10/minute", burst=3)
    limit(shop, Scope("route", "POST:/x"), "1/minute")

    assert (layers(shop, "GET"), layers(shop, "POST")) == (
        [("route", "10/minute", 0)],
        [("route", "1/minute", 0)],
    )
    assert stored(shop, Scope("route", "POST:/x")).burst == 3, "it begins as what held before"
    shop.run(DeleteLimit, scope=Scope("route", "POST:/x"))
    assert shop.audit[-1].new_status == "10/minute", "which holds again"
    with pytest.raises(InvalidInputError, match=r"POST:/x has no limit of its own: that of /x holds"):
        shop.plan(DeleteLimit, scope=Scope("route", "POST:/x"))


def test_the_limit_of_a_route_that_is_gone_can_still_be_deleted():
    shop = store()
    limit(shop, ROUTE)
    objects = {key: value for key, value in shop.snapshot.objects.items() if key != "GET:/x"}
    shop = Store(snapshot=type(shop.snapshot)("epoch", shop.snapshot.revision, objects))

    shop.run(DeleteLimit, scope=ROUTE)
    assert stored(shop, ROUTE) is None


# -- the code's limits ----------------------------------------------------------------------------


def test_an_operator_changes_one_thing_of_what_the_code_says():
    shop = store(**{"GET:/x": [rate_limit("100/minute", key="user", burst=5)]})

    shop.run(SetLimit, scope=ROUTE, named={"limit": "1/minute"})

    found = stored(shop, ROUTE)
    assert (found.limit, found.key_strategy, found.burst) == ("1/minute", "user", 5)
    assert told(shop) == [("rl_policy_updated", "100/minute", "1/minute")]
    assert shop.audit[0].details == {"before": {"limit": "100/minute"}, "after": {"limit": "1/minute"}}
    shop.run(DeleteLimit, scope=ROUTE)
    assert told(shop)[-1] == ("rl_policy_deleted", "1/minute", "100/minute")
    assert layers(shop) == [("route", "100/minute", 0)]


def test_a_limit_of_the_code_is_lifted_not_deleted():
    shop = store(**{"GET:/x": [rate_limit("100/minute")]})
    with pytest.raises(InvalidInputError, match="set in the code: set it to 'unlimited' to lift it"):
        shop.plan(DeleteLimit, scope=ROUTE)

    limit(shop, ROUTE, "unlimited")
    assert layers(shop) == [("route", "unlimited", None)]


def test_a_function_of_the_code_may_be_named_where_there_is_one():
    shop = store("GET:/y", **{"GET:/x": [rate_limit("9/s", key=len, tier_resolver=len)]})
    limit(shop, ROUTE, key_strategy="ip", tier_resolver="plan")

    limit(shop, ROUTE, key_strategy="custom", tier_resolver="custom")

    assert stored(shop, ROUTE).key_strategy is KeyStrategy.CUSTOM
    for named in ({"key_strategy": "custom"}, {"tier_resolver": "custom"}):
        with pytest.raises(InvalidInputError, match="only the code can have"):
            limit(shop, Scope("route", "GET:/y"), **named)


def test_what_holds_for_a_route_is_what_the_ruleset_takes():
    shop = store("GET:/x", "PUT:/z", **{"/x": [rate_limit("1/s")], "POST:/y": [rate_limit("2/s")]})
    limit(shop, Scope("route", "PUT:/z"))
    for key in ("GET:/x", "POST:/x", "POST:/y", "GET:/y", "PUT:/z"):
        scope, policy = limit_in_force(shop.snapshot, Scope("route", key))
        route = RouteKey.parse(key)
        met = shop.rules().limits(route.method or "GET", route.path)
        assert [(layer.scope, layer.policy.limit) for layer in met] == (
            [(scope, policy.limit)] if policy else []
        )


# -- pausing --------------------------------------------------------------------------------------


@wide
def test_a_limit_is_paused_and_taken_up_again(scope):
    shop = store(service="shop")
    limit(shop, scope)
    shop.run(SwitchLimit, scope=scope, enabled=False)
    assert layers(shop) == []
    assert not shop.run(SwitchLimit, scope=scope, enabled=False), "nothing to write"
    limit(shop, scope, "5/s")
    assert layers(shop) == [], "a new limit does not take it up again"
    shop.run(SwitchLimit, scope=scope, enabled=True)
    assert layers(shop) == [(scope.kind, "5/s", 0)]
    name = PREFIX[scope.kind]
    assert [action for action, *_ in told(shop)] == [
        f"{name}_{what}" for what in ("set", "disabled", "updated", "enabled")
    ]


@wide
def test_what_is_not_there_cannot_be_switched_deleted_or_reset(scope):
    shop = store()
    for command, fields in ((SwitchLimit, {"enabled": True}), (DeleteLimit, {}), (ResetLimit, {})):
        with pytest.raises(InvalidInputError, match=f"There is no rate limit of {scope.label}"):
            shop.plan(command, scope=scope, **fields)


def test_the_limit_of_a_route_has_no_switch():
    shop = store()
    limit(shop, ROUTE)
    with pytest.raises(InvalidInputError, match="delete it, or set it to 'unlimited'"):
        shop.plan(SwitchLimit, scope=ROUTE, enabled=False)


# -- conflicts ------------------------------------------------------------------------------------


@any_scope
def test_only_who_names_a_revision_meets_a_conflict(scope):
    shop = store()
    limit(shop, scope)
    seen = stored(shop, scope).revision
    limit(shop, scope, "5/s")

    for command, fields in ((SetLimit, {"named": {"burst": 1}}), (DeleteLimit, {})):
        with pytest.raises(ConflictError):
            shop.plan(command, scope=scope, by={"expected_revision": seen}, **fields)
    with pytest.raises(ConflictError):
        shop.plan(SetLimit, scope=scope, named={"limit": "1/s"}, by={"expected_revision": 0})
    shop.run(DeleteLimit, scope=scope, by={"expected_revision": stored(shop, scope).revision})


@wide
def test_a_switch_that_changes_nothing_conflicts_too(scope):
    shop = store()
    limit(shop, scope)
    with pytest.raises(ConflictError):
        shop.plan(SwitchLimit, scope=scope, enabled=True, by={"expected_revision": 99})


def test_an_override_of_one_method_does_not_keep_an_old_limit_of_the_code():
    shop = store(**{"/x": [rate_limit("1/s")]})
    shop.run(Disable, "GET:/x")
    shop.deploy({"/x": [rate_limit("2/s")]})

    scope, policy = limit_in_force(shop.snapshot, ROUTE)

    assert (scope.name, policy.limit) == ("/x", "2/s")


def test_who_expects_the_limit_of_the_code_expects_revision_0():
    shop = store(**{"GET:/x": [rate_limit("100/minute")]})
    commit = shop.plan(SetLimit, scope=ROUTE, named={"burst": 1}, by={"expected_revision": 0})
    assert commit.expect == {ROUTE.limit_key: 0}


# -- resets ---------------------------------------------------------------------------------------


@any_scope
def test_a_reset_begins_new_counters_and_leaves_the_limit(scope):
    shop = store(service="shop")
    target = scope if scope.kind != "route" else Scope("route", "shop:GET:/x")
    limit(shop, target)
    [(_, _, before)] = layers(shop)
    limits = stored(shop, target)
    for _ in range(2):
        shop.run(ResetLimit, scope=target)
        [(_, _, after)] = layers(shop)
        assert after > before
        before = after

    assert stored(shop, target) == limits
    assert told(shop)[1:] == [(RESET[scope.kind], "10/minute", "10/minute")] * 2


@any_scope
def test_a_reset_touches_no_neighbour(scope):
    shop = store("GET:/x", "GET:/xx", "POST:/x", service="shop")
    scopes = {
        "global": EVERYTHING,
        "service": SERVICE,
        **{key: Scope("route", f"shop:{key}") for key in ("GET:/x", "GET:/xx", "POST:/x")},
    }
    for one in scopes.values():
        limit(shop, one)
    asked = scopes.get(scope.kind, scopes["GET:/x"])

    shop.run(ResetLimit, scope=asked)

    assert {one for one in scopes.values() if shop.snapshot.generation(one)} == {asked}


def test_a_change_of_a_limit_begins_no_new_counters():
    shop = store()
    limit(shop, ROUTE)
    shop.run(ResetLimit, scope=ROUTE)
    [(_, _, generation)] = layers(shop)
    limit(shop, ROUTE, "5/minute")
    assert layers(shop) == [("route", "5/minute", generation)]


@pytest.mark.parametrize("by_code", [True, False])
def test_a_method_that_is_counted_with_others_is_reset_with_them(by_code):
    shop = store(**{"/x": [rate_limit("9/s")] if by_code else []})
    if not by_code:
        limit(shop, Scope("route", "/x"), "9/s")

    shop.run(ResetLimit, scope=Scope("route", "GET:/x"))

    generation = shop.snapshot.generation(Scope("route", "/x"))
    assert generation
    assert layers(shop, "GET") == layers(shop, "POST") == [("route", "9/s", generation)]


def test_a_bare_path_resets_every_method_that_is_counted():
    shop = store("GET:/x", "POST:/x", "PUT:/x", **{"DELETE:/x": [rate_limit("1/s")], "GET:/x/y": []})
    for key in ("GET:/x", "POST:/x", "GET:/x/y"):
        limit(shop, Scope("route", key))

    shop.run(ResetLimit, scope=Scope("route", "/x"), all_methods=True)

    marks = ("GET:/x", "POST:/x", "PUT:/x", "DELETE:/x", "GET:/x/y")
    assert [key for key in marks if shop.snapshot.generation(Scope("route", key))] == [
        "GET:/x",
        "POST:/x",
        "DELETE:/x",
    ]
    assert [entry.path for entry in shop.audit[-3:]] == ["DELETE:/x", "GET:/x", "POST:/x"]


def test_two_routes_that_differ_by_a_slash_are_two_routes():
    shop = store("GET:/x", "GET:/x/")
    for key in ("GET:/x", "GET:/x/"):
        limit(shop, Scope("route", key))
    shop.run(ResetLimit, scope=Scope("route", "/x/"), all_methods=True)
    assert not shop.snapshot.generation(Scope("route", "GET:/x"))
    assert shop.snapshot.generation(Scope("route", "GET:/x/"))


def test_the_same_path_in_two_services_must_be_named():
    shop = store("GET:/x", service="shop")
    other = Store({"GET:/x": []}, service="billing", snapshot=shop.snapshot)
    for service in ("shop", "billing"):
        limit(other, Scope("route", f"{service}:GET:/x"))

    with pytest.raises(AmbiguousRouteError, match="billing:GET:/x, shop:GET:/x"):
        other.plan(ResetLimit, scope=Scope("route", "/x"), all_methods=True)
    other.run(ResetLimit, scope=Scope("route", "/x"), all_methods=True, service="billing")

    assert other.snapshot.generation(Scope("route", "billing:GET:/x"))
    assert not other.snapshot.generation(Scope("route", "shop:GET:/x"))


@pytest.mark.parametrize("all_methods", [True, False])
def test_a_reset_of_what_is_not_limited_is_refused(all_methods):
    shop = store()
    with pytest.raises(InvalidInputError, match=r"There is no rate limit of .*/x whose counters"):
        shop.plan(ResetLimit, scope=Scope("route", "/x"), all_methods=all_methods)
    with pytest.raises(RouteNotFoundException):
        shop.plan(ResetLimit, scope=Scope("route", "/nowhere"), all_methods=all_methods)


def test_lifting_everything_lifts_the_limits_and_keeps_the_counters_generations():
    shop = store()
    for scope in (*WIDE, ROUTE):
        limit(shop, scope)
        shop.run(ResetLimit, scope=scope)

    shop.run(ResetEverything)

    assert dict(shop.snapshot.policies) == {}
    assert all(shop.snapshot.generation(scope) for scope in (*WIDE, ROUTE))


# -- hits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked, service, found",
    [
        ("/x", None, "/x"),
        ("/x/", None, "/x"),
        ("POST:/x", None, "POST:/x"),
        ("/one", None, "/one"),
        ("/.env", None, "/.env"),
        ("/x", "shop", "shop:/x"),
    ],
)
def test_under_which_key_hits_are_looked_for(asked, service, found):
    shop = store("GET:/x", "POST:/x", "GET:/one", service=service)
    assert str(hit_key(shop.snapshot, asked, service)) == found


def test_hits_of_a_path_of_two_services_must_be_named():
    shop = store("GET:/x", service="shop")
    both = Store({"GET:/x": []}, service="billing", snapshot=shop.snapshot)
    with pytest.raises(AmbiguousRouteError):
        hit_key(both.snapshot, "/x")
    assert str(hit_key(both.snapshot, "billing:/x")) == "billing:/x"
