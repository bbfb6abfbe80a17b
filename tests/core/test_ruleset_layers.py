"""Who decides first: everything, then the service, then the route."""

import pytest

from shield_core.decorators import disabled, env_only, force_active, maintenance
from shield_core.exceptions import EnvGatedException, MaintenanceException, RouteDisabledException
from shield_core.keys import EVERYTHING, Scope

from .rules import NOW, RUNNING, answers, declare, override, rules

ON = {"enabled": True}


def test_a_route_that_nobody_speaks_of_is_open():
    assert answers(rules(), "GET", "/x") == "open"
    assert answers(rules(declare("GET:/x")), "GET", "/x") == "open"


@pytest.mark.parametrize(
    ("everything", "shop", "expected"),
    [(True, True, EVERYTHING), (True, False, EVERYTHING), (False, True, Scope.service("shop"))],
)
def test_the_widest_layer_answers(everything, shop, expected):
    ruleset = rules(
        declare("GET:/x", disabled("route")),
        service="shop",
        everything={"enabled": everything, "reason": "w"},
        shop={"enabled": shop, "reason": "w"},
    )
    decision = ruleset.decide("GET", "/x")
    assert (decision.scope, decision.reason, decision.key) == (expected, "w", "GET:/x")


def test_the_route_answers_when_no_wider_layer_does():
    decision = rules(declare("GET:/x", disabled("route")), service="shop").decide("GET", "/x")
    assert (decision.scope, decision.cause, decision.reason) == (
        Scope("route", "GET:/x"),
        "disabled",
        "route",
    )


def test_maintenance_of_another_service_does_not_block():
    assert answers(rules(declare("GET:/x"), service="shop", stock=ON), "GET", "/x") == "open"


def test_states_of_another_service_do_not_decide():
    ruleset = rules(override("stock:GET:/x", "disabled"), override("GET:/x", "disabled"), service="shop")
    assert answers(ruleset, "GET", "/x") == "open"


@pytest.mark.parametrize("entry", ["/x", "/x/", "GET:/x", "GET:/x/"])
@pytest.mark.parametrize("path", ["/x", "/x/"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_exempt_entry_covers_the_path_with_and_without_its_slash(entry, path, method):
    ruleset = rules(declare(f"GET:{path}"), everything={**ON, "exempt_paths": [entry]})
    assert answers(ruleset, method, path) == "open"


@pytest.mark.parametrize(
    ("entry", "method", "path"),
    [
        ("/x", "GET", "/xy"),
        ("/x", "GET", "/x/y"),
        ("/x/{id}", "GET", "/x/{pk}"),
        ("GET:/x", "POST", "/x"),
        ("/", "GET", "/x"),
    ],
)
def test_an_exempt_entry_is_no_prefix_and_no_other_method(entry, method, path):
    ruleset = rules(declare(path), everything={**ON, "exempt_paths": [entry]})
    assert answers(ruleset, method, path) == "maintenance"


def test_an_exemption_from_global_maintenance_is_none_from_service_maintenance():
    exempt = {**ON, "exempt_paths": ["/x"]}
    assert answers(rules(declare("/x"), service="shop", everything=exempt, shop=ON), "GET", "/x") == (
        "maintenance"
    )
    assert answers(rules(declare("/x"), service="shop", everything=exempt, shop=exempt), "GET", "/x") == (
        "open"
    )


def test_an_exemption_from_the_wider_layers_is_none_from_the_routes_own_state():
    ruleset = rules(declare("/x", disabled()), everything={**ON, "exempt_paths": ["/x"]})
    assert answers(ruleset, "GET", "/x") == "disabled"


def test_an_exempt_path_may_be_one_that_matches_no_route():
    ruleset = rules(everything={**ON, "exempt_paths": ["/static/logo.png"]})
    assert answers(ruleset, "GET", "/static/logo.png") == "open"
    assert answers(ruleset, "GET", "/elsewhere") == "maintenance"


def test_force_active_passes_every_lifecycle_layer():
    ruleset = rules(
        declare("/live", force_active, disabled(), env_only("prod")), service="shop", everything=ON, shop=ON
    )
    assert answers(ruleset, "POST", "/live") == "open"


@pytest.mark.parametrize("scope", ["everything", "shop"])
def test_maintenance_may_include_force_active(scope):
    ruleset = rules(
        declare("/live", force_active), service="shop", **{scope: {**ON, "include_force_active": True}}
    )
    assert answers(ruleset, "GET", "/live") == "maintenance"


def test_force_active_comes_from_the_code_never_from_the_store():
    ruleset = rules(override("/x", "disabled", force_active=True))
    assert answers(ruleset, "GET", "/x") == "disabled"


def test_what_is_always_open_is_not_even_blocked_by_maintenance_that_includes_force_active():
    ruleset = rules(
        declare("/admin/login/", always_open=True),
        override("/admin/login/", "disabled"),
        everything={**ON, "include_force_active": True},
    )
    assert answers(ruleset, "POST", "/admin/login/") == "open"


READ_ONLY = {
    "everything": {"everything": {**ON, "read_only": True}},
    "everything in a window": {"everything": {"window": RUNNING.replace(read_only=True)}},
    "service": {"shop": {**ON, "read_only": True}},
    "route": {"state": {"status": "maintenance", "read_only": True}},
    "route in a window": {"state": {"window": RUNNING.replace(read_only=True)}},
    "code": {"stamp": maintenance(read_only=True)},
}


@pytest.mark.parametrize("where", READ_ONLY)
@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("GET", "open"),
        ("HEAD", "open"),
        ("OPTIONS", "open"),
        ("POST", "maintenance"),
        ("PUT", "maintenance"),
        ("PATCH", "maintenance"),
        ("DELETE", "maintenance"),
        ("WS", "maintenance"),
        ("BREW", "maintenance"),
    ],
)
def test_read_only_maintenance_lets_safe_methods_pass(where, method, expected):
    scopes = dict(READ_ONLY[where])
    state, stamp = scopes.pop("state", None), scopes.pop("stamp", None)
    contents = [declare("/x", *([stamp] if stamp else []))] + ([override("/x", **state)] if state else [])
    assert answers(rules(*contents, service=None if state else "shop", **scopes), method, "/x") == expected


@pytest.mark.parametrize(
    "contents",
    [
        [override("/x", "disabled", read_only=True)],
        [override("/x", window=RUNNING.replace(status="disabled", read_only=True))],
        [declare("/x", disabled(), maintenance(read_only=True))],
    ],
    ids=["operator", "window", "code"],
)
def test_a_disabled_route_is_never_read_only(contents):
    assert answers(rules(*contents), "GET", "/x") == "disabled"


def test_read_only_maintenance_of_everything_still_leaves_the_service_to_decide():
    ruleset = rules(declare("/x"), service="shop", everything={**ON, "read_only": True}, shop=ON)
    assert ruleset.decide("GET", "/x").scope == Scope.service("shop")


def test_a_method_key_wins_over_a_bare_one():
    ruleset = rules(
        declare("/x", maintenance("bare")),
        declare("GET:/x"),
        override("/y", "disabled"),
        override("GET:/y", "active"),
    )
    assert [answers(ruleset, method, "/x") for method in ("GET", "POST")] == ["open", "maintenance"]
    assert [answers(ruleset, method, "/y") for method in ("GET", "POST")] == ["open", "disabled"]


def test_an_operators_override_wins_over_the_code():
    ruleset = rules(
        declare("GET:/x", disabled()),
        override("GET:/x", "active"),
        declare("GET:/y"),
        override("GET:/y", "disabled"),
    )
    assert [answers(ruleset, "GET", path) for path in ("/x", "/y")] == ["open", "disabled"]


def test_a_bare_override_wins_over_what_the_code_says_of_one_method():
    ruleset = rules(declare("GET:/x"), override("/x", "disabled"))
    assert answers(ruleset, "GET", "/x") == "disabled"


def test_what_another_process_registered_never_decides():
    stored = declare("GET:/x", disabled("v1")).state(None, "v1").replace(revision=3)
    assert answers(rules(stored), "GET", "/x") == "open"
    assert answers(rules(stored, declare("GET:/x")), "GET", "/x") == "open"
    assert answers(rules(stored, declare("GET:/x", maintenance("v2"))), "GET", "/x") == "maintenance"


@pytest.mark.parametrize("method", ["get", "Get", "head"])
def test_a_method_in_small_letters_is_the_one_in_capitals(method):
    """Servers let it through, and views that have a function ``get`` may run it."""
    ruleset = rules(declare("GET:/x", disabled("r")), declare("POST:/x"))
    assert answers(ruleset, method, "/x") == "disabled"
    assert answers(ruleset, "post", "/x") == "open"
    read_only = rules(declare("/x", maintenance(read_only=True)))
    assert answers(read_only, method, "/x") == "open"


def test_head_follows_get():
    ruleset = rules(declare("GET:/x", disabled("no")), declare("POST:/x"))
    assert ruleset.decide("HEAD", "/x") == ruleset.decide("GET", "/x")
    assert ruleset.decide("HEAD", "/x").key == "GET:/x"


@pytest.mark.parametrize(
    "contents",
    [[declare("/x", disabled())], [declare("/x", maintenance())], [override("/x", "disabled")]],
    ids=["disabled", "maintenance", "override"],
)
def test_a_preflight_is_not_blocked(contents):
    ruleset = rules(*contents, everything=ON)
    assert ruleset.decide_preflight("POST", "/x").allowed


def test_a_preflight_does_not_reveal_a_closed_gate():
    assert rules(declare("POST:/x", env_only("prod"))).decide_preflight("POST", "/x").cause == "env_gated"


def test_a_url_that_matches_no_route_meets_the_wider_scopes_only():
    assert answers(rules(everything=ON), "GET", "/nowhere") == "maintenance"
    decision = rules(everything=ON).decide_unrouted("GET", "/nowhere")
    assert (decision.cause, decision.key) == ("maintenance", "")
    assert rules().decide_unrouted("GET", "/nowhere").allowed


@pytest.mark.parametrize(
    ("stamp", "exception"),
    [
        (maintenance("why"), MaintenanceException),
        (disabled("why"), RouteDisabledException),
        (env_only("prod"), EnvGatedException),
    ],
)
def test_a_blocking_decision_has_an_exception(stamp, exception):
    error = rules(declare("GET:/x", stamp)).decide("GET", "/x").exception()
    assert type(error) is exception
    assert "GET:/x" in str(vars(error)) or error.reason == "why"


def test_a_decorators_own_response_travels_with_the_decision():
    def page(request, exc): ...

    ruleset = rules(declare("/x", disabled(response=page)), declare("/y", env_only("prod", response=page)))
    assert ruleset.decide("GET", "/x").response is page
    assert ruleset.decide("GET", "/y").response is page


def test_the_trace_names_every_layer_and_who_set_it():
    trace = []
    ruleset = rules(
        override("shop:GET:/x", "disabled", reason="r", updated_by="ada", revision=7),
        service="shop",
        everything={**ON, "exempt_paths": ["/x"], "updated_by": "bob", "revision": 4},
    )
    ruleset.decide("GET", "/x", trace=trace)
    assert [(step.scope, step.verdict, step.origin, step.by, step.revision) for step in trace] == [
        (EVERYTHING, "exempt", "operator", "bob", 4),
        (Scope.service("shop"), "off", "", "", 0),
        (Scope("route", "GET:/x"), "disabled", "operator", "ada", 7),
    ]


@pytest.mark.parametrize(
    ("declared", "verdict"),
    [
        (declare("/x"), "pass"),
        (declare("/x", force_active), "force_active"),
        (declare("/x", force_active, always_open=True), "always_open"),
    ],
)
def test_the_trace_says_why_the_route_itself_lets_pass(declared, verdict):
    trace = []
    rules(declared).decide("GET", "/x", trace=trace)
    assert trace[-1].verdict == verdict


def test_the_trace_ends_with_the_layer_that_decided():
    trace = []
    rules(declare("/x", disabled()), everything=ON).decide("GET", "/x", at=NOW, trace=trace)
    assert [step.verdict for step in trace] == ["block"]
