"""Rate limits of routes, of everything and of one service."""

from __future__ import annotations

import json

import pytest

from shield_core.engine import ShieldEngine
from shield_core.exceptions import RateLimitExceededException
from shield_core.keys import EVERYTHING, Scope
from shield_core.models import GlobalRateLimitPolicy, RateLimitPolicy
from tests.cli.conftest import Shield

BILLING = Scope.service("payments-service")
GROUPS = [
    pytest.param("grl {} ", EVERYTHING, id="grl"),
    pytest.param("global-rate-limit {} ", EVERYTHING, id="global-rate-limit"),
    pytest.param("srl {} payments-service ", BILLING, id="srl"),
    pytest.param("service-rate-limit {} payments-service ", BILLING, id="service-rate-limit"),
]
by_group = pytest.mark.parametrize("group, scope", GROUPS)


def wide(engine: ShieldEngine, scope: Scope) -> GlobalRateLimitPolicy:
    found = engine.sync.get_limit(scope)
    assert isinstance(found, GlobalRateLimitPolicy)
    return found


def of_route(engine: ShieldEngine, path: str) -> RateLimitPolicy:
    found = engine.sync.get_rate_limit_policy(path)
    assert found is not None
    return found


def exhaust(engine: ShieldEngine, path: str) -> None:
    """Ask until a limit blocks."""
    for _ in range(20):
        try:
            engine.sync.check(path, context={"ip": "192.0.2.1"})
        except RateLimitExceededException:
            return
    raise AssertionError("no request was blocked")


# -- routes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["rl", "rate-limits"])
@pytest.mark.parametrize("route", ["GET:/payments/", "/payments/ --method get", "/payments -m GET"])
def test_set_limits_a_route(shield: Shield, engine: ShieldEngine, group: str, route: str) -> None:
    result = shield(f"{group} set {route} 10/minute -a sliding_window -k user -b 5 -r load --note t1")

    policy = of_route(engine, "GET:/payments/")
    assert (policy.limit, policy.algorithm, policy.key_strategy) == ("10/minute", "sliding_window", "user")
    assert (policy.burst, policy.updated_by) == (5, "ann@desk")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == (
        "GET:/payments/ is now limited to 10/minute per user, sliding_window, burst 5 "
        "[the test store, environment dev]\n"
    )
    [entry] = engine.sync.get_audit_log()
    assert (entry.action, entry.actor, entry.platform) == ("rl_policy_set", "ann@desk", "cli")
    assert (entry.reason, entry.note) == ("load", "t1")


def test_what_is_not_named_stays(shield: Shield, engine: ShieldEngine) -> None:
    shield(
        "rl set GET:/payments/ 10/minute --key user --tier pro=100/s --tier free=1/s --exempt-ip 10.0.0.0/8"
    )

    result = shield("rl set GET:/payments/ --burst 3 --shadow --exempt-role staff --on-missing-key block")

    policy = of_route(engine, "GET:/payments/")
    assert (policy.limit, policy.key_strategy, policy.burst, policy.shadow) == ("10/minute", "user", 3, True)
    assert policy.on_missing_key == "block"
    assert result.stderr.startswith(
        "GET:/payments/ is now limited to 10/minute per user, fixed_window, burst 3, "
        "tiers pro 100/s, free 1/s, exempt 10.0.0.0/8, staff, counted only: nobody is blocked ["
    )


def test_lists_are_replaced_and_emptied(shield: Shield, engine: ShieldEngine) -> None:
    shield(
        "rl set GET:/payments/ 10/minute --tier pro=100/s --exempt-ip 10.0.0.1 --exempt-role staff --shadow"
    )

    shield("rl set GET:/payments/ --tier 'gold = 5/s' --exempt-ip '' --exempt-role '' --no-shadow")

    policy = of_route(engine, "GET:/payments/")
    assert [(tier.name, tier.limit) for tier in policy.tiers] == [("gold", "5/s")]
    assert (policy.exempt_ips, policy.exempt_roles, policy.shadow) == ((), (), False)


def test_the_limit_of_the_code_is_changed_and_comes_back(shield: Shield, engine: ShieldEngine) -> None:
    engine.sync.register("GET:/search", {"rate_limit": {"limit": "100/minute", "burst": 2}})

    assert "is now limited to 1/minute per address, fixed_window, burst 2 [" in (
        shield("rl set GET:/search 1/minute").stderr
    )
    deleted = shield("rl delete GET:/search --format json")
    again = shield("rl delete GET:/search")
    lifted = shield("rl set GET:/search unlimited")

    assert (
        "GET:/search is now limited to 100/minute per address, fixed_window, burst 2, as the code says"
        in (deleted.stderr)
    )
    assert (json.loads(deleted.stdout)["limit"], json.loads(deleted.stdout)["origin"]) == (
        "100/minute",
        "code",
    )
    assert (again.exit_code, lifted.exit_code) == (1, 0)
    assert "set in the code: set it to 'unlimited' to lift it" in again.stderr
    assert lifted.stderr.startswith("GET:/search is now unlimited, burst 2 [")


def test_delete(shield: Shield, engine: ShieldEngine) -> None:
    shield("rl set /payments/ 10/minute -m POST")

    result = shield("rl delete /payments/ -m POST --format json")

    assert engine.sync.get_rate_limit_policy("POST:/payments/") is None
    assert result.stderr.startswith("POST:/payments/ has no rate limit now [")
    assert json.loads(result.stdout) is None
    assert (
        "There is no rate limit of POST:/payments/ to delete." in shield("rl delete POST:/payments/").stderr
    )


def test_a_bare_path_is_of_the_chosen_service(shield: Shield, engine: ShieldEngine) -> None:
    shield("rl set /cart 10/minute --service shop")
    shield("rl set /cart 20/minute", env={"SHIELD_SERVICE": "archive"})

    assert of_route(engine, "shop:GET:/cart").limit == "10/minute"
    assert of_route(engine, "archive:GET:/cart").limit == "20/minute"
    assert "archive:GET:/cart, shop:GET:/cart" in shield("rl set /cart 1/s").stderr


def test_list(shield: Shield, engine: ShieldEngine) -> None:
    engine.sync.register(
        "GET:/search", {"rate_limit": {"limit": {"pro": "9/s", "free": "1/s"}, "key": "user"}}
    )
    shield("rl set GET:/payments/ 100/minute --burst 5 --shadow")
    shield("rl set shop:GET:/cart 10/10s -k api_key -a token_bucket")
    shield("grl set 1000/minute")

    result = shield("rl list")

    heads, *rows = result.stdout.splitlines()
    columns = [heads.index(head) for head in ("ROUTE", "LIMIT", "PER", "ALGORITHM", "BURST", "TIERS", "MODE")]
    assert [tuple(row[at:].split("  ")[0].strip() for at in columns) for row in rows] == [
        ("GET:/payments/", "100/minute", "ip", "fixed_window", "5", "", "counted only"),
        ("GET:/search", "1/s", "user", "fixed_window", "", "pro 9/s, free 1/s", ""),
        ("shop:GET:/cart", "10/10s", "api_key", "token_bucket", "", "", ""),
    ]
    assert [row.split("  ")[-1].strip() for row in rows] == ["ann@desk", "the code", "ann@desk"]
    assert result.stderr == (
        "Note: everything is limited to 1000/minute per address, fixed_window, beside the limits of routes.\n"
    )


def test_list_as_json_and_of_one_service(shield: Shield) -> None:
    shield("rl set GET:/payments/ 100/minute")
    shield("rl set shop:GET:/cart 10/10s")

    [policy] = json.loads(shield("rl list --service shop --format json").stdout)

    assert (policy["path"], policy["method"], policy["limit"]) == ("shop:/cart", "GET", "10/10s")
    assert policy["origin"] == "operator"
    assert policy["updated_at"].endswith("Z")


def test_an_empty_list_says_what_to_do(shield: Shield) -> None:
    assert shield("rl list").stderr == "No route has a rate limit. Set one: rl set GET:/path 100/minute.\n"


def test_reset_lets_a_route_count_anew(shield: Shield, engine: ShieldEngine) -> None:
    for method in ("GET", "POST"):
        shield(f"rl set {method}:/payments/ 1/day")
        exhaust(engine, f"{method}:/payments/")

    result = shield("rl reset GET:/payments/ -r 'false alarm'")

    assert result.stderr.startswith("The counters of GET:/payments/ begin anew [")
    assert engine.sync.check("GET:/payments/", context={"ip": "192.0.2.1"}) is not None
    exhaust(engine, "POST:/payments/")
    assert engine.sync.get_audit_log(limit=1)[0].action == "rl_reset"


@pytest.mark.parametrize("words", ["/payments/", "GET:/payments/ --all-methods"])
def test_reset_of_all_methods(shield: Shield, engine: ShieldEngine, words: str) -> None:
    for method in ("GET", "POST"):
        shield(f"rl set {method}:/payments/ 1/day")
        exhaust(engine, f"{method}:/payments/")

    result = shield(f"rl reset {words}")

    assert result.stderr.startswith("The counters of /payments/ begin anew [")
    for method in ("GET", "POST"):
        engine.sync.check(f"{method}:/payments/", context={"ip": "192.0.2.1"})


def test_hits(shield: Shield, engine: ShieldEngine) -> None:
    for method in ("GET", "POST"):
        shield(f"rl set {method}:/payments/ 1/day --tier pro=1/day")
        exhaust(engine, f"{method}:/payments/")

    table = shield("rl hits")
    found = json.loads(shield("rl hits /payments -m POST --format json").stdout)

    heads, newest, oldest = table.stdout.splitlines()
    assert heads.split() == ["TIME", "ROUTE", "METHOD", "KEY", "LIMIT", "TIER", "OF", "MODE"]
    assert newest.split()[3:] == ["/payments/", "POST", "192.0.2.1", "1/day", "default", "POST:/payments/"]
    assert oldest.split()[4] == "GET"
    [hit] = found
    assert (hit["path"], hit["method"], hit["key"]) == ("/payments/", "POST", "192.0.2.1")
    assert hit["timestamp"].endswith("Z")
    assert len(shield("rl hits --limit 1").stdout.splitlines()) == 2
    assert shield("rl hits /orders/{id}/").stderr == "No request was blocked by a rate limit.\n"
    misspelt = shield("rl hits GET:/paymets")
    assert (misspelt.exit_code, misspelt.stdout) == (1, "")
    assert "No route 'GET:/paymets' is registered. Did you mean" in misspelt.stderr


def test_hits_of_one_service(shield: Shield, engine: ShieldEngine) -> None:
    shop = ShieldEngine(engine.backend, service="shop")
    for one, path in ((engine, "GET:/payments/"), (shop, "shop:GET:/cart")):
        shield(f"rl set {path} 1/day")
        exhaust(one, path)
        one.sync.get_rate_limit_hits()

    of_shop = json.loads(shield("rl hits --service shop --format json").stdout)

    assert [hit["path"] for hit in of_shop] == ["shop:/cart"]
    assert len(json.loads(shield("rl hits --format json").stdout)) == 2


# -- everything and one service -------------------------------------------------------------------


@by_group
def test_the_lines_of_the_guide(shield: Shield, engine: ShieldEngine, group: str, scope: Scope) -> None:
    assert shield(group.format("set") + "1000/minute").exit_code == 0
    assert wide(engine, scope).limit == "1000/minute"
    assert shield(group.format("set") + "500/minute --algorithm sliding_window --key ip").exit_code == 0
    assert wide(engine, scope).algorithm == "sliding_window"
    result = shield(group.format("set") + "2000/hour --burst 50 --exempt /health --exempt GET:/metrics")
    assert wide(engine, scope).exempt_routes == ("/health", "GET:/metrics")
    assert result.stderr.startswith(
        f"{scope.label[0].upper()}{scope.label[1:]} is now limited to 2000/hour per address, sliding_window, "
        "burst 50, exempt /health, GET:/metrics [the test store"
    )
    for command in ("get", "disable", "enable", "reset", "delete"):
        assert shield(group.format(command)).exit_code == 0
    assert engine.sync.get_limit(scope) is None
    prefix = "global_rl" if scope == EVERYTHING else "svc_rl"
    assert [entry.action.removeprefix(prefix) for entry in reversed(engine.sync.get_audit_log())] == [
        *("_set", "_updated", "_updated", "_disabled", "_enabled", "_reset", "_deleted"),
    ]


@by_group
def test_get(shield: Shield, group: str, scope: Scope) -> None:
    shield(group.format("set") + "1000/minute --burst 50 -e /health -k global --on-missing-key exempt")

    shown = shield(group.format("get")).stdout.splitlines()
    found = json.loads(shield(group.format("get") + "--format json").stdout)

    fields = {line[:13].strip(): line[13:].strip() for line in shown}
    assert fields.pop("changed").endswith("by ann@desk")
    assert fields.pop("revision")
    assert fields == {
        "scope": scope.label,
        "limit": "1000/minute",
        "state": "on",
        "algorithm": "fixed_window",
        "key": "global",
        "without a key": "exempt",
        "burst": "50",
        "exempt": "/health",
    }
    assert (found["limit"], found["enabled"], found["exempt_routes"]) == ("1000/minute", True, ["/health"])
    assert found["updated_at"].endswith("Z")


@by_group
def test_get_without_a_limit_says_what_to_do(shield: Shield, group: str, scope: Scope) -> None:
    result = shield(group.format("get"))

    assert (result.exit_code, result.stdout) == (0, "")
    line = "grl set" if scope == EVERYTHING else "srl set payments-service"
    assert result.stderr == f"There is no rate limit of {scope.label}. Set one: {line} 1000/minute.\n"
    assert json.loads(shield(group.format("get") + "--format json").stdout) is None


@by_group
def test_a_paused_limit_stays_paused_until_it_is_enabled(
    shield: Shield, engine: ShieldEngine, group: str, scope: Scope
) -> None:
    shield(group.format("set") + "1000/minute")

    assert "paused until it is enabled" in shield(group.format("disable")).stderr
    assert "10/minute per address, fixed_window, paused" in shield(group.format("set") + "10/minute").stderr
    assert "state      paused until it is enabled\n" in shield(group.format("get")).stdout
    assert "paused" not in shield(group.format("enable")).stderr
    assert wide(engine, scope).enabled


@by_group
@pytest.mark.parametrize(
    "command, said",
    [
        ("set --burst 5", "There is no rate limit of {} yet: say which, such as '100/minute'."),
        ("delete", "There is no rate limit of {} to delete."),
        ("reset", "There is no rate limit of {} whose counters could be reset."),
        ("enable", "There is no rate limit of {}: set one first."),
        ("disable", "There is no rate limit of {}: set one first."),
    ],
)
def test_without_a_limit_a_change_is_refused(
    shield: Shield, group: str, scope: Scope, command: str, said: str
) -> None:
    name, *words = command.split(maxsplit=1)
    result = shield(group.format(name) + " ".join(words))

    assert result.exit_code == 1
    assert result.stderr == f"Error: {said.format(scope.label)}\n"


# -- what is wrong with a line --------------------------------------------------------------------


@pytest.mark.parametrize(
    "line, said",
    [
        ("rl set GET:/payments/", "Say what to set: a limit such as 100/minute, or an option."),
        ("grl set", "Say what to set"),
        ("grl set often", "'often' is no limit: write an amount and a period, such as '100/minute'"),
        ("grl set 0/minute", "allows 0 requests"),
        ("grl set 1/s --burst -1", "--burst"),
        ("grl set 1/s -k shoe", "'shoe' is not one of"),
        ("grl set 1/s --exempt health", "has no path"),
        ("grl set 1/s --tier pro=1/s", "No such option"),
        (
            "rl set /payments/ 1/s --tier pro",
            "'pro' is no tier: write a name and a limit, such as pro=1000/minute.",
        ),
        ("rl set /payments/ 1/s --tier pro=often", "'often' is no limit"),
        ("srl set 1000/minute", "'1000/minute' cannot name a service"),
        ("srl get", "Missing argument 'SERVICE'"),
        ("rl reset /payments/ -m GET --all-methods", "Give only one of --method and --all-methods."),
        ("rl hits -m GET", "--method needs a ROUTE."),
    ],
)
def test_wrong_usage_is_exit_2_and_one_sentence(shield: Shield, line: str, said: str) -> None:
    result = shield(line)

    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    "line, said",
    [
        ("rl set GET:/nowhere 1/s", "No route 'GET:/nowhere' is registered."),
        ("rl set /payments/ 1/s", "could be any of GET:/payments/, POST:/payments/"),
        ("rl set GET:/payments/ 1/s -m POST", "'GET:/payments/' has another method than 'POST'."),
        ("rl set GET:/payments/ 1/s --exempt-ip home", "'home' is neither an IP address nor a network"),
        ("rl set GET:/payments/ 1/s --key custom", "'custom' is a function, which only the code can have"),
        ("rl set GET:/payments/ 1/s --tier a=1/s --tier a=2/s", "two tiers have the same name"),
        (
            "rl reset GET:/payments/",
            "There is no rate limit of GET:/payments/ whose counters could be reset.",
        ),
    ],
)
def test_a_refusal_is_exit_1_and_one_sentence(shield: Shield, line: str, said: str) -> None:
    result = shield(line)

    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "line", ["rl set GET:/payments/ 1/s", "grl set 1/s", "srl reset shop", "rl reset /x"]
)
def test_where_nobody_would_be_reached_changes_are_refused(
    shield: Shield, engine: ShieldEngine, line: str
) -> None:
    result = shield(line, refuses="the state lives elsewhere.")

    assert result.exit_code == 1
    assert "Nothing was changed: it would reach nobody: the state lives elsewhere." in result.stderr
    assert engine.sync.get_audit_log() == []
    assert "what you see is of this process alone" in shield("rl list", refuses="it is so.").stderr


def test_the_groups_are_listed_with_their_aliases(shield: Shield) -> None:
    listed = shield("--help").stdout

    for names in ("rl, rate-limits ", "grl, global-rate-limit ", "srl, service-rate-limit "):
        assert names in listed
