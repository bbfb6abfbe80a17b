"""What operators do with limits, and what requests meet then; awaited and through ``engine.sync``."""

import asyncio
import re
from datetime import UTC, datetime, timedelta

import pytest

from shield_core.backends.file import FileBackend
from shield_core.backends.memory import MemoryBackend
from shield_core.declarations import Declaration
from shield_core.decorators import env_only, force_active, maintenance, meta_of, rate_limit
from shield_core.engine import ShieldEngine
from shield_core.exceptions import (
    AmbiguousRouteError,
    ConflictError,
    InvalidInputError,
    RateLimitExceededException,
    RouteNotFoundException,
    ShieldException,
)
from shield_core.keys import EVERYTHING, RouteKey, Scope
from shield_core.ruleset import Ruleset
from tests.rate_limit.counting import wait_until


class Operator:
    """Calls the engine's operations, awaited or not, on one loop."""

    def __init__(self, engine, runner):
        self.engine = engine
        self.runner = runner

    def __getattr__(self, name):
        if self.runner is None:
            return getattr(self.engine.sync, name)
        return lambda *args, **options: self.runner.run(getattr(self.engine, name)(*args, **options))

    def declare(self, key, *stamps):
        def view(): ...

        for stamp in stamps:
            stamp(view)
        self.engine.declare([Declaration.from_meta(RouteKey.parse(key), meta_of(view))])

    def passes(self, path="/pay", method="GET", ip="192.0.2.1", **context):
        try:
            self.check(path, method, {"ip": ip, **context})
        except ShieldException:
            return False
        return True

    def admitted(self, requests=20, path="/pay", method="GET", **context):
        return sum(self.passes(path, method, **context) for _ in range(requests))

    @property
    def actions(self):
        return [entry.action for entry in reversed(self.get_audit_log(limit=None))]

    @property
    def revision(self):
        return self.engine.status().revision


@pytest.fixture(params=["async", "sync"])
def make_operator(request):
    with asyncio.Runner() as runner:
        opened = []

        def make(service=None):
            engine = ShieldEngine(MemoryBackend(), service=service, threads=False)
            opened.append(Operator(engine, runner if request.param == "async" else None))
            return opened[-1]

        yield make
        for operator in opened:
            operator.stop()


@pytest.fixture
def operator(make_operator):
    return make_operator()


@pytest.fixture
def shop(make_operator):
    """An engine of the service ``shop`` with two routes, and a third that has a limit by its code."""
    shop = make_operator("shop")
    shop.declare("GET:/pay")
    shop.declare("GET:/payments")
    shop.declare("GET:/limited", rate_limit("2/366d", exempt_ips=["10.0.0.0/8"]))
    shop.list_states()
    return shop


class TestRoute:
    def test_a_limit_is_set_and_enforced_at_once(self, shop):
        policy = shop.set_rate_limit_policy("/pay", "GET", "3/366d")
        assert (policy.limit, policy.method, policy.path) == ("3/366d", "GET", "shop:/pay")
        assert shop.admitted() == 3
        assert shop.admitted(5, "/payments") == 5
        assert shop.actions == ["rl_policy_set"]

    def test_what_is_not_named_stays(self, shop):
        shop.set_rate_limit_policy(
            "/pay", "GET", "3/366d", algorithm="sliding_window", burst=2, exempt_ips=["10.0.0.0/8"]
        )
        policy = shop.set_rate_limit_policy("/pay", "GET", burst=4)
        assert (policy.limit, policy.burst, policy.algorithm) == ("3/366d", 4, "sliding_window")
        assert policy.exempt_ips == ("10.0.0.0/8",)
        assert shop.actions == ["rl_policy_set", "rl_policy_updated"]

    def test_a_misspelt_argument_is_an_error(self, shop):
        with pytest.raises(TypeError, match="unexpected keyword argument: key, rate"):
            shop.set_rate_limit_policy("/pay", "GET", "3/366d", key="user", rate="4/s")
        assert shop.get_rate_limit_policy("/pay", "GET") is None

    def test_a_changed_limit_keeps_counts(self, shop):
        shop.set_rate_limit_policy("/pay", "GET", "3/366d")
        assert shop.admitted() == 3
        shop.set_rate_limit_policy("/pay", "GET", "5/366d")
        assert shop.admitted() == 2
        shop.set_rate_limit_policy("/pay", "GET", burst=1)
        assert shop.admitted() == 1

    def test_a_changed_limit_resets_no_other_route(self, shop):
        for path in ("/pay", "/payments"):
            shop.set_rate_limit_policy(path, "GET", "2/366d")
            shop.admitted(path=path)
        shop.set_rate_limit_policy("/pay", "GET", "3/366d", key_strategy="global")
        assert shop.admitted(path="/payments") == 0

    def test_the_limit_of_the_code_is_where_an_operator_begins(self, shop):
        policy = shop.set_rate_limit_policy("/limited", "GET", burst=1)
        assert (policy.limit, policy.burst, policy.exempt_ips) == ("2/366d", 1, ("10.0.0.0/8",))
        assert shop.admitted(path="/limited") == 3

    def test_an_operators_limit_keeps_what_the_code_counted(self, shop):
        assert shop.admitted(path="/limited") == 2
        shop.set_rate_limit_policy("/limited", "GET", "5/366d")
        assert shop.admitted(path="/limited") == 3

    def test_deleting_it_returns_to_the_code_with_its_counts(self, shop):
        shop.set_rate_limit_policy("/limited", "GET", "5/366d")
        shop.admitted(path="/limited")
        shop.delete_rate_limit_policy("/limited", "GET")
        assert shop.admitted(path="/limited") == 0
        assert shop.get_rate_limit_policy("/limited", "GET").limit == "2/366d"
        assert shop.actions[-1] == "rl_policy_deleted"

    def test_a_deleted_limit_leaves_no_counters(self, shop):
        shop.set_rate_limit_policy("/pay", "GET", "2/366d")
        shop.admitted()
        shop.delete_rate_limit_policy("/pay", "GET")
        assert shop.admitted(5) == 5
        assert shop.engine.limiter.storage._tables == {}
        assert shop.get_rate_limit_policy("/pay", "GET") is None

    def test_unlimited_lifts_the_limit_of_the_code(self, shop):
        shop.set_rate_limit_policy("/limited", "GET", "unlimited")
        assert shop.admitted(path="/limited") == 20

    def test_a_reset_begins_anew_and_touches_no_neighbour(self, shop):
        for path in ("/pay", "/payments"):
            shop.set_rate_limit_policy(path, "GET", "2/366d")
            shop.admitted(path=path)
        shop.reset_rate_limit("/pay", "GET")
        assert shop.admitted(path="/payments") == 0
        assert shop.admitted() == 2
        assert shop.admitted() == 0
        assert shop.actions[-1] == "rl_reset"
        assert len(shop.engine.limiter.storage._tables) == 2

    def test_a_reset_of_what_the_code_limits(self, shop):
        shop.admitted(path="/limited")
        shop.reset_rate_limit("/limited")
        assert shop.admitted(path="/limited") == 2

    def test_a_reset_without_a_method_is_one_of_all_methods(self, shop):
        shop.declare("POST:/pay")
        for method in ("GET", "POST"):
            shop.set_rate_limit_policy("/pay", method, "2/366d")
            shop.admitted(method=method)
        shop.reset_rate_limit("/pay")
        assert [shop.admitted(method=method) for method in ("GET", "POST")] == [2, 2]

    def test_the_limit_of_a_method_wins_over_that_of_the_path(self, operator):
        operator.declare("/pay")
        operator.set_rate_limit_policy("/pay", limit="5/366d")
        operator.declare("PUT:/pay")
        operator.set_rate_limit_policy("/pay", "PUT", "1/366d")
        assert operator.admitted(method="PUT") == 1
        assert operator.admitted(method="GET") == 5

    def test_the_methods_of_a_bare_path_are_counted_together(self, operator):
        operator.declare("/pay", rate_limit("4/366d"))
        assert (
            sum(operator.passes(method=method) for method in ("GET", "POST", "PUT", "DELETE", "PATCH")) == 4
        )

    def test_head_is_counted_as_get(self, shop):
        shop.set_rate_limit_policy("/pay", "GET", "2/366d")
        assert [shop.passes(method=method) for method in ("HEAD", "GET", "HEAD")] == [True, True, False]

    def test_an_api_key_and_a_user_of_the_context_are_asked(self, shop):
        shop.set_rate_limit_policy("/pay", "GET", "1/366d", key_strategy="api_key")
        assert shop.passes(headers={"X-API-Key": "a"})
        assert not shop.passes(headers={"X-API-Key": "a"})
        shop.set_rate_limit_policy("/pay", "GET", "1/366d", key_strategy="user")
        assert [shop.passes(user=user) for user in ("ann", "bob", "ann")] == [True, True, False]

    def test_a_denied_request_raises_what_its_answer_needs(self, shop):
        shop.set_rate_limit_policy("/pay", "GET", "1/minute")
        allowed = shop.check("GET:/pay", context={"ip": "192.0.2.1"})
        assert (allowed.allowed, allowed.limit, allowed.remaining) == (True, 1, 0)
        with pytest.raises(RateLimitExceededException) as denied:
            shop.check("GET:/pay", context={"ip": "192.0.2.1"})
        assert denied.value.limit == "1/minute"
        assert 0 < denied.value.retry_after_seconds <= 60
        assert denied.value.reset_at > datetime.now(UTC)
        assert (denied.value.key, denied.value.remaining) == ("192.0.2.1", 0)
        assert re.fullmatch(r"Too many requests: 1/minute, and room again in [\d.]+ s\.", str(denied.value))
        assert str(RateLimitExceededException(None, None, None, 0, "")) == "Too many requests."

    def test_hits_are_found_by_their_route(self, shop):
        for path in ("/pay", "/payments"):
            shop.set_rate_limit_policy(path, "GET", "1/366d")
            shop.admitted(3, path=path)
        hits = shop.get_rate_limit_hits("/pay")
        assert [hit.path for hit in hits] == ["shop:/pay"] * 2
        assert len(shop.get_rate_limit_hits()) == 4
        assert len(shop.get_rate_limit_hits(limit=3)) == 3
        with pytest.raises(InvalidInputError, match="limit must not be negative"):
            shop.get_rate_limit_hits(limit=-5)

    def test_limits_are_listed_those_of_the_code_at_revision_0(self, shop):
        shop.set_rate_limit_policy("/pay", "GET", "1/366d")
        assert [(one.path, one.revision > 0) for one in shop.list_limits()] == [
            ("shop:/limited", False),
            ("shop:/pay", True),
        ]

    def test_one_limit_anywhere_is_enough_for_requests_to_be_asked(self, shop):
        bare = Ruleset.compile(shop.engine.ruleset.snapshot, {}, service="shop")
        assert not bare.is_limited
        shop.set_rate_limit_policy("/pay", "GET", "1/366d")
        by_operator = shop.engine.ruleset.snapshot
        assert Ruleset.compile(by_operator, {}, service="shop").is_limited
        assert not Ruleset.compile(by_operator, {}, service="other").is_limited
        shop.declare("GET:/x", rate_limit("1/s"))
        assert bare.declare(shop.engine.replica.declared.values()).is_limited
        shop.delete_rate_limit_policy("/pay", "GET")
        shop.set_global_rate_limit("1/s")
        assert Ruleset.compile(shop.engine.ruleset.snapshot, {}, service="other").is_limited

    def test_paths_and_methods_that_nobody_has_declared_are_not_remembered(self, shop):
        shop.set_global_rate_limit("1/366d")
        rules = shop.engine.ruleset
        for number in range(50):
            assert rules.limits("GET", f"/unknown/{number}")
            assert rules.limits(f"BREW{number}", "/pay")
            rules.decide(f"BREW{number}", "/pay")
        assert not rules._limits
        assert not any("BREW" in method for table in rules._tables.values() for method in table)


class Scoped:
    """The operations at one of the wider scopes, by their published names."""

    def __init__(self, operator, scope):
        self.operator = operator
        self.kind = scope.kind
        self.names = [scope.name] if scope.name else []
        self.prefix = "global_rl" if scope == EVERYTHING else "svc_rl"

    def __getattr__(self, verb):
        name = f"{verb}_{self.kind}_rate_limit"
        return lambda *args, **options: getattr(self.operator, name)(*self.names, *args, **options)


@pytest.fixture(params=[EVERYTHING, Scope.service("shop")], ids=["global", "service"])
def wide(request, shop):
    return Scoped(shop, request.param)


class TestWiderScopes:
    def test_a_limit_counts_over_all_routes(self, shop, wide):
        assert wide.get() is None
        assert wide.set("4/366d").limit == "4/366d"
        assert sum(shop.passes(path) for path in ["/pay", "/payments"] * 5) == 4
        assert wide.get().limit == "4/366d"

    def test_what_is_not_named_stays(self, shop, wide):
        wide.set("4/366d", algorithm="token_bucket", exempt_routes=["/payments"], burst=1)
        policy = wide.set(shadow=True)
        assert (policy.limit, policy.burst, policy.shadow) == ("4/366d", 1, True)
        assert (policy.algorithm, policy.exempt_routes) == ("token_bucket", ("/payments",))

    def test_exempt_routes_are_not_charged(self, shop, wide):
        wide.set("2/366d", exempt_routes=["/payments/", "GET:/limited"])
        assert shop.admitted(path="/payments") == 20
        assert shop.admitted() == 2

    def test_unrouted_paths_meet_it(self, shop, wide):
        wide.set("2/366d")
        layers = shop.engine.ruleset.limits_unrouted("GET", "/nowhere")
        assert [layer.policy.limit for layer in layers] == ["2/366d"]

    def test_pause_and_take_up_again_keep_the_counts(self, shop, wide):
        wide.set("2/366d")
        assert shop.admitted() == 2
        assert wide.disable().enabled is False
        assert shop.admitted(5) == 5
        assert wide.enable().enabled is True
        assert shop.admitted(5) == 0
        wide.enable()
        assert shop.actions == [f"{wide.prefix}_{action}" for action in ("set", "disabled", "enabled")]

    def test_reset_and_delete(self, shop, wide):
        wide.set("2/366d")
        shop.admitted()
        wide.reset()
        assert shop.admitted() == 2
        wide.delete()
        assert shop.admitted(5) == 5
        assert wide.get() is None
        assert shop.actions == [f"{wide.prefix}_{action}" for action in ("set", "reset", "deleted")]
        assert shop.engine.limiter.storage._tables == {}

    def test_nothing_there_is_one_clear_error(self, shop, wide):
        for verb in ("delete", "reset", "enable", "disable"):
            with pytest.raises(InvalidInputError):
                getattr(wide, verb)()
        with pytest.raises(InvalidInputError, match="such as '100/minute'"):
            wide.set(burst=3)
        assert shop.actions == []

    def test_a_shadow_blocks_nobody_and_reports_hits(self, shop, wide):
        wide.set("2/366d", shadow=True)
        assert shop.admitted(5) == 5
        assert [hit.shadow for hit in shop.get_rate_limit_hits()] == [True] * 3
        assert shop.check("/pay", "GET", {"ip": "192.0.2.1"}) is None

    def test_a_request_that_the_route_denies_is_not_charged_to_it(self, shop, wide):
        wide.set("5/366d")
        shop.set_rate_limit_policy("/pay", "GET", "1/366d")
        assert shop.admitted() == 1
        assert shop.admitted(path="/payments") == 4

    def test_it_lets_force_active_pass_but_its_own_limit_does_not(self, shop, wide):
        wide.set("1/366d")
        shop.declare("GET:/health", force_active)
        shop.declare("GET:/busy", force_active, rate_limit("3/366d"))
        assert shop.admitted(path="/health") == 20
        assert shop.admitted(path="/busy") == 3
        assert shop.admitted() == 1

    def test_requests_that_are_blocked_otherwise_are_not_charged(self, shop, wide):
        wide.set("3/366d")
        shop.declare("GET:/gated", env_only("staging"))
        shop.declare("GET:/closed", maintenance("later"))
        for path in ("/gated", "/closed"):
            assert shop.admitted(5, path=path) == 0
        shop.enable_global_maintenance("all")
        assert shop.admitted(5) == 0
        shop.disable_global_maintenance()
        assert shop.admitted() == 3

    def test_env_gated_routes_are_charged_where_they_are_open(self, shop, wide):
        wide.set("3/366d")
        shop.declare("GET:/gated", env_only("dev"))
        assert shop.admitted(path="/gated") == 3


class TestOtherServices:
    def test_limits_of_another_service_are_not_ours(self, shop):
        shop.set_service_rate_limit("billing", "1/366d")
        billing = ShieldEngine(shop.engine.backend, service="billing", threads=False)
        billing.sync.register_batch([("GET:/pay", {})])
        shop.set_rate_limit_policy("billing:/pay", "GET", "1/366d")
        assert shop.admitted(5) == 5


class TestRefusals:
    BAD = [
        {"limit": "a lot"},
        {"limit": "0/minute"},
        {"algorithm": "leaky"},
        {"key_strategy": "shoe size"},
        {"on_missing_key": "panic"},
        {"burst": -1},
        {"burst": 10**12},
        {"exempt_ips": ["300.0.0.1"]},
        {"tiers": [{"name": "a", "limit": "1/s"}, {"name": "a", "limit": "2/s"}]},
        {"tiers": [{"name": "a", "limit": "none"}]},
    ]

    @pytest.mark.parametrize(
        "bad", BAD, ids=[f"{name} {value}"[:40] for one in BAD for name, value in one.items()]
    )
    def test_bad_input_is_one_clear_error_and_changes_nothing(self, shop, bad):
        shop.set_rate_limit_policy("/pay", "GET", "2/366d")
        before = shop.revision
        with pytest.raises(InvalidInputError) as refused:
            shop.set_rate_limit_policy("/pay", "GET", **bad)
        assert len(str(refused.value).splitlines()) == 1
        assert shop.revision == before
        assert shop.admitted() == 2

    @pytest.mark.parametrize(
        "bad", [{"limit": "x"}, {"exempt_routes": ["nowhere"]}, {"tiers": []}, {"colour": 1}]
    )
    def test_bad_input_at_a_wider_scope(self, shop, wide, bad):
        wide.set("2/366d")
        before = shop.revision
        with pytest.raises(InvalidInputError):
            wide.set(**bad)
        assert shop.revision == before

    def test_a_first_limit_must_be_said(self, shop):
        with pytest.raises(InvalidInputError, match="such as '100/minute'"):
            shop.set_rate_limit_policy("/pay", "GET", burst=2)

    def test_an_unknown_route(self, shop):
        for operation in (
            lambda: shop.set_rate_limit_policy("/nowhere", "GET", "1/s"),
            lambda: shop.delete_rate_limit_policy("/nowhere", "GET"),
            lambda: shop.reset_rate_limit("/nowhere"),
            lambda: shop.get_rate_limit_policy("/nowhere"),
        ):
            with pytest.raises(RouteNotFoundException):
                operation()
        assert shop.actions == []

    def test_a_path_of_several_methods_is_ambiguous(self, shop):
        shop.declare("POST:/pay")
        shop.list_states()
        with pytest.raises(AmbiguousRouteError) as refused:
            shop.set_rate_limit_policy("/pay", limit="1/s")
        assert sorted(refused.value.matches) == ["shop:GET:/pay", "shop:POST:/pay"]

    def test_a_bare_path_means_the_one_method_it_has(self, shop):
        assert shop.set_rate_limit_policy("/pay", limit="1/366d").method == "GET"

    def test_nothing_to_delete_or_reset(self, shop):
        for operation in (shop.delete_rate_limit_policy, shop.reset_rate_limit):
            with pytest.raises(ShieldException, match="no rate limit"):
                operation("/pay", "GET")

    def test_the_limit_of_the_code_cannot_be_deleted(self, shop):
        with pytest.raises(InvalidInputError, match="'unlimited'"):
            shop.delete_rate_limit_policy("/limited", "GET")

    def test_a_revision_that_is_not_the_stored_one_is_a_conflict(self, shop, wide):
        first = shop.set_rate_limit_policy("/pay", "GET", "2/366d")
        shop.set_rate_limit_policy("/pay", "GET", "3/366d", expected_revision=first.revision)
        with pytest.raises(ConflictError):
            shop.set_rate_limit_policy("/pay", "GET", "4/366d", expected_revision=first.revision)
        assert shop.get_rate_limit_policy("/pay", "GET").limit == "3/366d"
        policy = wide.set("2/366d")
        wide.disable()
        for refused in (wide.set, wide.delete, wide.enable, wide.disable):
            with pytest.raises(ConflictError):
                refused(expected_revision=policy.revision)

    def test_operators_of_different_limits_do_not_conflict(self, shop, wide):
        first = shop.set_rate_limit_policy("/pay", "GET", "2/366d")
        wide.set("2/366d")
        shop.set_rate_limit_policy("/payments", "GET", "2/366d")
        shop.set_rate_limit_policy("/pay", "GET", "3/366d", expected_revision=first.revision)


class TestAudit:
    def test_an_entry_tells_who_changed_what(self, shop):
        shop.set_rate_limit_policy(
            "/pay", "GET", "2/366d", actor="ann", platform="cli", reason="abuse", note="n"
        )
        shop.set_rate_limit_policy("/pay", "GET", "3/366d")
        second, first = shop.get_audit_log()
        assert (first.path, first.service, first.actor, first.platform) == (
            "shop:GET:/pay",
            "shop",
            "ann",
            "cli",
        )
        assert (first.reason, first.note) == ("abuse", "n")
        assert (second.previous_status, second.new_status) == ("2/366d", "3/366d")
        assert second.details["before"]["limit"] == "2/366d"
        assert second.details["after"]["limit"] == "3/366d"


class TestTiersOfTheCode:
    def test_without_a_default_callers_of_no_tier_have_the_strictest(self, shop):
        shop.declare("GET:/tiers", rate_limit({"pro": "9/366d", "free": "2/366d"}, key="ip"))
        assert shop.admitted(path="/tiers") == 2
        assert shop.admitted(path="/tiers", user={"plan": "pro"}, ip="192.0.2.7") == 9

    def test_with_a_default_they_have_that(self, shop):
        shop.declare("GET:/tiers", rate_limit({"default": "5/366d", "free": "2/366d"}, key="ip"))
        assert shop.admitted(path="/tiers") == 5


class TestTiersOfAnOperator:
    def test_may_be_a_dictionary_as_in_the_code(self, shop):
        shop.set_rate_limit_policy("/pay", "GET", "1/366d", tiers={"pro": "3/366d", "staff": "unlimited"})
        assert [(tier.name, tier.limit) for tier in shop.get_rate_limit_policy("/pay", "GET").tiers] == [
            ("pro", "3/366d"),
            ("staff", "unlimited"),
        ]


class TestRecovery:
    def test_reset_all_lifts_the_limits_of_operators(self, shop):
        shop.set_rate_limit_policy("/pay", "GET", "1/366d")
        shop.set_global_rate_limit("1/366d")
        shop.set_service_rate_limit("shop", "1/366d")
        shop.reset_all("start anew")
        assert shop.admitted() == 20
        assert shop.admitted(path="/limited") == 2
        assert shop.get_global_rate_limit() is None

    def test_an_emptied_store_lifts_no_limit_and_restore_puts_it_back(self, tmp_path):
        path = tmp_path / "state.json"
        running, operator = (ShieldEngine(FileBackend(path), refresh_interval=0.05) for _ in range(2))
        try:
            running.sync.register_batch([("GET:/pay", {})])
            running.sync.set_rate_limit_policy("/pay", "GET", "2/366d")
            service = Operator(running, None)
            assert service.admitted() == 2
            path.unlink()
            wait_until(lambda: running.status().state == "store_lost")
            assert service.admitted() == 0
            operator.sync.restore("disk failure")
            wait_until(lambda: running.status().state == "live")
            assert service.admitted() == 0
            assert operator.sync.get_rate_limit_policy("/pay", "GET").limit == "2/366d"
        finally:
            for engine in (running, operator):
                engine.sync.stop()

    def test_limits_are_live_in_other_processes_and_survive_a_restart(self, tmp_path):
        path = tmp_path / "state.json"
        first, second = (ShieldEngine(FileBackend(path), refresh_interval=0.05) for _ in range(2))
        try:
            first.sync.register_batch([("GET:/pay", {})])
            second.sync.get_state("GET:/pay")
            first.sync.set_rate_limit_policy("/pay", "GET", "2/366d")
            first.sync.set_global_rate_limit("5/366d")
            service = Operator(second, None)
            assert second.ruleset is not None
            wait_until(lambda: len(second.ruleset.limits("GET", "/pay")) == 2)
            assert service.admitted() == 2
            second.sync.stop()
            third = Operator(ShieldEngine(FileBackend(path)), None)
            assert third.admitted() == 0
            assert [hit.limit for hit in third.get_rate_limit_hits(limit=1)] == ["2/366d"]
            first.sync.reset_rate_limit("/pay")
            wait_until(lambda: third.engine.ruleset.limits("GET", "/pay")[-1].counter.generation)
            assert third.admitted() == 2
            third.stop()
        finally:
            for engine in (first, second):
                engine.sync.stop()


def test_windows_end_by_themselves(shop):
    clock = shop.engine.limiter.storage
    now = clock.now()
    clock.now = lambda: now
    shop.set_rate_limit_policy("/pay", "GET", "2/minute", algorithm="sliding_window")
    assert shop.admitted() == 2
    now += timedelta(minutes=1).total_seconds() + 0.001
    assert shop.admitted() == 2
