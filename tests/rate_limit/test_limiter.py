"""A request and its layers: who is asking, what is said, what is noted."""

import hashlib
from types import SimpleNamespace

import pytest

from shield_core.keys import EVERYTHING, Scope
from shield_core.models import GlobalRateLimitPolicy, RateLimitPolicy
from shield_core.ports import drive
from shield_core.rate_limit.addresses import client_address
from shield_core.rate_limit.caller import Caller, ContextCaller
from shield_core.rate_limit.layers import DeclaredLimit, Layer
from shield_core.rate_limit.limiter import Limiter, Outcome
from tests.rate_limit.counting import ALL, Counting

ADDRESS = "192.0.2.1"
TIERS = ({"name": "free", "limit": "1/366d"}, {"name": "pro", "limit": "3/366d"})


class Request(Caller):
    """What a test says of a request."""

    def __init__(self, peer=ADDRESS, user=None, forwarded=None, num_proxies=0, **headers):
        self.address_ = client_address(peer, forwarded, num_proxies)
        self.user_ = user
        self.headers = {name.replace("_", "-"): text for name, text in headers.items()}

    @property
    def address(self):
        return self.address_

    def header(self, name):
        return self.headers.get(name)

    async def user(self):
        return self.user_

    async def call(self, function):
        said = function(self)
        return await said if hasattr(said, "__await__") else said


class Limiting:
    def __init__(self):
        self.counting = Counting()
        self.limiter = Limiter(self.counting.storage)

    def __call__(self, layers, request=None, **about):
        """What the limits say of a request."""
        layers = (layers,) if isinstance(layers, Layer) else layers
        said = self.limiter.limit(layers, request or Request(), **{"method": "GET", "path": "/pay", **about})
        return said if said is None or isinstance(said, Outcome) else drive(said)

    def passes(self, layers, request=None):
        said = self(layers, request)
        return said is None or said.allowed

    def admitted(self, layers, requests):
        return sum(self.passes(layers, request) for request in requests)

    @property
    def hits(self):
        with self.limiter.hits.batch() as found:
            return found


@pytest.fixture
def limiting():
    return Limiting()


def route(limit="1/366d", key=None, tier=None, **fields):
    policy = RateLimitPolicy(**{"path": "/pay", "method": "GET", "limit": limit, **fields})
    return Layer.compile(Scope("route", "GET:/pay"), policy, declared=DeclaredLimit(policy, key, tier))


def wide(limit="1/366d", scope=EVERYTHING, **fields):
    return Layer.compile(scope, GlobalRateLimitPolicy(limit=limit, **fields))


def user(name, **fields):
    return SimpleNamespace(pk=name, **fields)


class TestWhoIsAsking:
    def test_by_address(self, limiting):
        layer = route()
        assert (
            limiting.admitted(layer, [Request("192.0.2.1"), Request("192.0.2.1"), Request("192.0.2.2")]) == 2
        )

    def test_ipv6_by_network(self, limiting):
        requests = [Request(f"2001:db8::{number:x}") for number in range(1, 50)]
        assert limiting.admitted(route("5/366d"), requests) == 5

    def test_10000_forged_addresses_from_one_peer_are_one_key(self, limiting):
        requests = [Request(forwarded=f"10.0.{number >> 8}.{number & 255}") for number in range(10_000)]
        assert limiting.admitted(route("5/366d"), requests) == 5
        assert len(limiting.counting.storage._tables) == 1

    def test_by_user(self, limiting):
        layer = route(key_strategy="user")
        requests = [
            Request("192.0.2.1", user("ann")),
            Request("192.0.2.2", user("ann")),
            Request(user=user("bob")),
        ]
        assert [limiting.passes(layer, one) for one in requests] == [True, False, True]

    def test_by_api_key(self, limiting):
        layer = route(key_strategy="api_key")
        requests = [Request("192.0.2.1", x_api_key="s3cret"), Request("192.0.2.2", x_api_key="s3cret")]
        assert [limiting.passes(layer, one) for one in requests] == [True, False]

    def test_all_together(self, limiting):
        layer = route("2/366d", key_strategy="global")
        requests = [Request(f"192.0.2.{number}") for number in range(9)]
        assert limiting.admitted(layer, [*requests, Request(None)]) == 2

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_by_a_function_of_the_project(self, limiting, asynchronous):
        def tenant(request):
            return request.header("x-tenant")

        async def tenant_async(request):
            return tenant(request)

        layer = route(key_strategy="custom", key=tenant_async if asynchronous else tenant)
        requests = [Request(x_tenant="a"), Request("192.0.2.2", x_tenant="a"), Request(x_tenant="b")]
        assert [limiting.passes(layer, one) for one in requests] == [True, False, True]

    def test_a_very_long_key_is_counted_by_its_hash(self, limiting):
        layer = route(key_strategy="custom", key=lambda request: "x" * 100_000)
        assert len(limiting(layer).key) == 32

    @pytest.mark.parametrize("tiers", [(), TIERS])
    def test_a_key_may_have_any_character(self, limiting, tiers):
        layer = route(key_strategy="custom", key=lambda request: "a\nb", tiers=tiers)
        limiting(layer)
        assert limiting(layer).key == "a\nb"
        (hit,) = limiting.hits
        assert (hit.key, hit.tier) == ("a\N{REPLACEMENT CHARACTER}b", "default" if tiers else None)

    def test_numbers_are_keys_too(self, limiting):
        layer = route(key_strategy="custom", key=lambda request: 0)
        assert limiting(layer).key == "0"

    def test_a_user_and_an_address_are_counted_apart(self, limiting):
        by_user = route(key_strategy="user", on_missing_key="fallback_ip")
        assert limiting.passes(by_user, Request(user=user("ann")))
        assert limiting.passes(by_user, Request())
        assert not limiting.passes(by_user, Request())


class TestMissingKey:
    @pytest.mark.parametrize(
        ("strategy", "choice", "passed"),
        [
            ("user", None, 9),
            ("user", "fallback_ip", 2),
            ("user", "block", 0),
            ("api_key", None, 2),
            ("api_key", "exempt", 9),
            ("api_key", "block", 0),
            ("custom", None, 9),
            ("custom", "fallback_ip", 2),
            ("custom", "block", 0),
        ],
    )
    def test_is_exempt_counted_by_address_or_blocked(self, limiting, strategy, choice, passed):
        layer = route("2/366d", key_strategy=strategy, on_missing_key=choice, key=lambda request: None)
        assert limiting.admitted(layer, [Request() for _ in range(9)]) == passed

    def test_a_request_without_even_an_address_is_exempt(self, limiting):
        layer = route(key_strategy="api_key", on_missing_key="fallback_ip")
        assert limiting.admitted(layer, [Request(None) for _ in range(5)]) == 5
        assert limiting.admitted(route(), [Request(None) for _ in range(5)]) == 5

    def test_a_blocked_one_charges_no_other_layer(self, limiting):
        everything = wide("5/366d")
        blocking = route("5/366d", key_strategy="user", on_missing_key="block")
        assert limiting.admitted([everything, blocking], [Request() for _ in range(9)]) == 0
        assert limiting.admitted(everything, [Request() for _ in range(9)]) == 5

    def test_a_blocked_one_is_noted(self, limiting):
        limiting(route(key_strategy="user", on_missing_key="block"))
        (hit,) = limiting.hits
        assert hit.key == ""

    def test_a_shadow_never_blocks_it(self, limiting):
        layers = [
            wide("1/366d", key_strategy="user", on_missing_key="block", shadow=True),
            route("5/366d"),
        ]
        assert limiting.admitted(layers, [Request() for _ in range(9)]) == 5

    def test_is_reported_once_after_the_first_100_requests(self, limiting, caplog):
        layer = route(key_strategy="user")
        limiting.admitted(layer, [Request() for _ in range(99)])
        assert not caplog.records
        limiting.admitted(layer, [Request() for _ in range(1000)])
        (record,) = caplog.records
        assert "GET:/pay" in record.getMessage()
        assert "nobody is authenticated" in record.getMessage()

    def test_is_reported_once_also_when_the_rules_are_compiled_again(self, limiting, caplog):
        for _ in range(300):
            limiting.passes(route(key_strategy="user"))
        assert len(caplog.records) == 1

    def test_is_not_reported_where_a_request_had_a_key(self, limiting, caplog):
        limiting.passes(route(key_strategy="user"), Request(user=user("ann")))
        limiting.admitted(route(key_strategy="user"), [Request() for _ in range(300)])
        assert not caplog.records


class TestTiers:
    def admitted(self, limiting, layer, **fields):
        return limiting.admitted(layer, [Request(user=user("ann", **fields)) for _ in range(9)])

    def test_the_users_attribute_chooses(self, limiting):
        layer = route("2/366d", key_strategy="user", tiers=TIERS)
        assert self.admitted(limiting, layer, plan="free") == 1
        assert self.admitted(limiting, layer, plan="pro") == 3

    def test_another_attribute_may(self, limiting):
        layer = route("2/366d", key_strategy="user", tiers=TIERS, tier_resolver="level")
        assert self.admitted(limiting, layer, level="pro", plan="free") == 3

    def test_an_unknown_tier_has_the_policys_own_limit(self, limiting):
        layer = route("2/366d", key_strategy="user", tiers=TIERS)
        assert self.admitted(limiting, layer, plan="platinum") == 2
        assert limiting(layer, Request(user=user("bob"))).tier == "default"

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_a_function_of_the_project_may_choose(self, limiting, asynchronous):
        def plan(request):
            return request.header("x-plan")

        async def plan_async(request):
            return plan(request)

        layer = route(
            "2/366d", tiers=TIERS, tier_resolver="custom", tier=plan_async if asynchronous else plan
        )
        assert limiting.admitted(layer, [Request(x_plan="pro") for _ in range(9)]) == 3
        assert limiting.admitted(layer, [Request(x_plan="free") for _ in range(9)]) == 1

    def test_unlimited_lets_everything_pass_and_says_nothing(self, limiting):
        layer = route("2/366d", key_strategy="user", tiers=[{"name": "staff", "limit": "unlimited"}])
        assert self.admitted(limiting, layer, plan="staff") == 9
        assert limiting(layer, Request(user=user("ann", plan="staff"))) is None

    def test_the_outcome_and_the_hit_name_tier_and_caller(self, limiting):
        layer = route("2/366d", key_strategy="user", tiers=TIERS)
        request = Request(user=user("ann", plan="free"))
        outcome = limiting(layer, request)
        assert (outcome.tier, outcome.key, outcome.limit) == ("free", "ann", 1)
        limiting(layer, request)
        (hit,) = limiting.hits
        assert (hit.tier, hit.key, hit.limit) == ("free", "ann", "1/366d")

    def test_another_tiers_changed_limit_resets_nobody(self, limiting):
        request = Request(user=user("ann", plan="free"))
        assert limiting.passes(route("2/366d", key_strategy="user", tiers=TIERS), request)
        changed = route("2/366d", key_strategy="user", tiers=[TIERS[0], {"name": "pro", "limit": "9/h"}])
        assert not limiting.passes(changed, request)


class TestExemptions:
    @pytest.mark.parametrize(
        ("exempt", "address", "is_exempt"),
        [
            ("10.0.0.0/8", "10.1.2.3", True),
            ("10.0.0.0/8", "::ffff:10.1.2.3", True),
            ("10.0.0.0/8", "11.1.2.3", False),
            ("192.0.2.1", "192.0.2.1", True),
            ("192.0.2.1", "192.0.2.2", False),
            ("192.0.2.77/24", "192.0.2.2", True),
            ("2001:db8::/32", "2001:db8:1::9", True),
            ("2001:db8::/32", "10.1.2.3", False),
            ("::/0", "10.1.2.3", False),
        ],
    )
    @pytest.mark.parametrize("strategy", ["ip", "api_key", "user"])
    def test_addresses(self, limiting, exempt, address, is_exempt, strategy):
        layer = route(exempt_ips=[exempt], key_strategy=strategy)
        requests = [Request(address, user("ann"), x_api_key="k") for _ in range(5)]
        assert limiting.admitted(layer, requests) == (5 if is_exempt else 1)

    def test_roles(self, limiting):
        layer = route(exempt_roles=["staff", "robot"])
        for fields in ({"roles": ["editor", "staff"]}, {"role": "robot"}, {"roles": "staff"}):
            assert limiting.admitted(layer, [Request(user=user("ann", **fields)) for _ in range(5)]) == 5
        for fields in ({"roles": ["editor"]}, {"role": "staffer"}, {}):
            limiting.admitted(layer, [Request(user=user("bob", **fields))])
        assert not limiting.passes(layer, Request(user=user("bob")))

    def test_an_exempt_role_is_charged_to_the_wider_limits(self, limiting):
        layers = [wide("3/366d"), route(exempt_roles=["staff"])]
        staff = [Request(user=user("ann", role="staff")) for _ in range(9)]
        assert limiting.admitted(layers, staff) == 3


@pytest.mark.parametrize("algorithm", ALL)
class TestWhoSpeaks:
    def layers(self, algorithm, *limits, **fields):
        scopes = [EVERYTHING, Scope.service("shop"), Scope.service("other")]
        return [
            wide(limit, scope, algorithm=algorithm, **fields)
            for limit, scope in zip(limits, scopes, strict=False)
        ]

    def test_the_tightest_of_those_that_allow(self, limiting, algorithm):
        layers = self.layers(algorithm, "9/366d", "3/366d", "5/366d")
        outcome = limiting(layers)
        assert (outcome.limit, outcome.remaining, outcome.layer.scope) == (3, 2, Scope.service("shop"))

    def test_the_longest_of_those_that_deny(self, limiting, algorithm):
        layers = self.layers(algorithm, "1/60s", "1/366d", "1/3600s")
        assert limiting(layers).allowed
        outcome = limiting(layers)
        assert not outcome.allowed
        assert outcome.layer.scope == Scope.service("shop")
        assert outcome.retry_after > 86400

    def test_one_that_denies_speaks_before_those_that_allow(self, limiting, algorithm):
        layers = self.layers(algorithm, "9/366d", "1/60s")
        limiting(layers)
        assert not limiting(layers).allowed

    def test_a_result_has_all_that_headers_need(self, limiting, algorithm):
        layers = self.layers(algorithm, "2/60s")
        result = limiting(layers).result
        assert (result.allowed, result.limit, result.remaining, result.key) == (True, 2, 1, ADDRESS)
        assert limiting(layers[:1]).seconds == 60


class TestShadow:
    def test_counts_and_never_blocks(self, limiting):
        assert limiting.admitted(route("2/366d", shadow=True), [Request() for _ in range(9)]) == 9
        assert [hit.shadow for hit in limiting.hits] == [True] * 7

    def test_says_nothing_to_callers(self, limiting):
        assert limiting(route("2/366d", shadow=True)) is None

    def test_leaves_the_word_to_the_others(self, limiting):
        outcome = limiting([wide("1/366d", shadow=True), route("5/366d")])
        assert outcome.limit == 5
        assert limiting([wide("1/366d", shadow=True), route("5/366d")]).allowed

    def test_a_request_that_a_limit_blocks_is_no_hit_of_a_shadow_with_room(self, limiting):
        layers = [wide("9/366d", shadow=True), route()]
        limiting.admitted(layers, [Request() for _ in range(3)])
        assert [hit.shadow for hit in limiting.hits] == [False, False]


class TestHits:
    def test_a_blocked_request_is_noted(self, limiting):
        layer = route()
        limiting.admitted(layer, [Request(), Request()])
        (hit,) = limiting.hits
        assert (hit.path, hit.method, hit.key, hit.limit, hit.tier) == (
            "/pay",
            "GET",
            ADDRESS,
            "1/366d",
            None,
        )
        assert (hit.scope, hit.shadow) == ("GET:/pay", False)
        assert hit.reset_at > hit.timestamp

    def test_an_api_key_is_hashed_in_hits_and_outcomes(self, limiting):
        layer = route(key_strategy="api_key")
        request = Request(x_api_key="s3cret")
        outcome = limiting(layer, request)
        limiting(layer, request)
        (hit,) = limiting.hits
        assert hit.key == outcome.key == hashlib.sha256(b"s3cret").hexdigest()[:32]

    def test_a_key_that_is_no_unicode_is_counted_as_any_other(self, limiting):
        layer = route(key_strategy="custom", key=lambda request: "k\ud800" * 65)
        assert limiting.admitted(layer, [Request(), Request()]) == 1

    def test_only_the_layer_that_speaks_is_noted(self, limiting):
        layers = [wide("1/60s"), route("1/366d")]
        limiting.admitted(layers, [Request(), Request()])
        assert [hit.scope for hit in limiting.hits] == ["GET:/pay"]


class TestAtOnce:
    """What needs nobody but the request itself is answered without a coroutine."""

    def test_simple_layers(self, limiting):
        layers = [wide(key_strategy="global"), route(key_strategy="api_key", exempt_ips=["10.0.0.0/8"])]
        said = limiting.limiter.limit(layers, Request(), method="GET", path="/pay")
        assert isinstance(said, Outcome)

    def test_no_layer_and_unlimited_ones_say_nothing(self, limiting):
        for layers in ((), (route("unlimited"),), (route("unlimited"), wide("unlimited"))):
            assert limiting.limiter.limit(layers, Request(), method="GET", path="/pay") is None

    async def test_a_caller_that_awaits_is_awaited(self, limiting):
        context = {"user": {"id": 7}, "headers": {"X-API-Key": "k"}, "ip": ADDRESS}
        caller = ContextCaller(context, awaits=True)
        said = limiting.limiter.limit([route(key_strategy="user")], caller, method="GET", path="/pay")
        assert (await said).key == "7"


class TestContextCaller:
    @pytest.mark.parametrize(
        ("given", "key"),
        [
            ("ann", "ann"),
            (7, "7"),
            ({"id": 7}, "7"),
            ({"id": 0, "username": "root"}, "0"),
            ({"sub": "ann"}, "ann"),
            (user("ann"), "ann"),
            (SimpleNamespace(username="ann"), "ann"),
        ],
    )
    def test_a_user_in_any_form(self, limiting, given, key):
        outcome = limiting(route(key_strategy="user"), ContextCaller({"user": given}, awaits=False))
        assert outcome.key == key

    @pytest.mark.parametrize(
        "given", [None, {}, {"name": "ann"}, SimpleNamespace(is_authenticated=False, pk=1)]
    )
    def test_nobody(self, limiting, given):
        assert limiting(route(key_strategy="user"), ContextCaller({"user": given}, awaits=False)) is None

    def test_headers_in_any_case(self, limiting):
        caller = ContextCaller({"headers": {"X-Api-Key": "k"}}, awaits=False)
        assert limiting(route(key_strategy="api_key"), caller).key

    def test_a_function_gets_the_request(self, limiting):
        layer = route(key_strategy="custom", key=lambda request: request["tenant"])
        caller = ContextCaller({"request": {"tenant": "a"}}, awaits=False)
        assert limiting(layer, caller).key == "a"
