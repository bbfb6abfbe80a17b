"""Rate limits: the list, its cards, and what the forms of all scopes change and refuse."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from shield_core.keys import EVERYTHING, Scope
from shield_core.models import Algorithm, KeyStrategy, RateLimitTier
from shield_django.admin.limits import RateLimitAdmin
from tests.admin.conftest import HAS_DATABASE, STORES, address, client_of, form_of, messages_of, text_of
from tests.admin.test_form import change, errors_of

CART, CODE = "/shop/cart/", "billing:GET:/invoices"
LIST, ADD = address("ratelimit_changelist"), address("ratelimit_add")
FORM, CODE_FORM = address("ratelimit_change", CART), address("ratelimit_change", CODE)
GLOBAL = reverse("admin:shield_ratelimit_scope")
BILLING = reverse("admin:shield_ratelimit_scope", args=["billing"])
SCOPES = {
    "everything": (GLOBAL, EVERYTHING),
    "service": (BILLING, Scope.service("billing")),
    "route": (FORM, Scope("route", CART)),
}
by_scope = pytest.mark.parametrize("page, scope", SCOPES.values(), ids=SCOPES)
#: For what the pages say and refuse by themselves, whatever the store.
on_memory = pytest.mark.parametrize("store", STORES[:1] if HAS_DATABASE else ["memory"], indirect=True)
MAY_ALL = ["view_ratelimit", "change_ratelimit", "view_route", "view_auditlogentry"]


@pytest.fixture(autouse=True)
def _a_limit_of_the_code(billing):
    """The service billing limits its route in the code."""
    billing.register("GET:/invoices", {"status": "active", "rate_limit": {"limit": "5/minute", "burst": 2}})


@pytest.fixture
def operator(store):
    return client_of("olga", MAY_ALL)


@pytest.fixture
def viewer(store):
    return client_of("viktor", ["view_ratelimit"])


def rows_of(response) -> dict[str, str]:
    return {row.key: row.limit for row in response.context["cl"].result_list}


def cards_of(response) -> list[str]:
    return [card["label"] for card in response.context["shared"]["cards"]]


def step_of(page: str, name: str) -> str:
    """Return the address of a step, as the form's page links to it."""
    return page.removesuffix("change/") + f"{name}/"


# -- the list -------------------------------------------------------------------------------


def test_it_lists_the_limits_of_operators_and_of_the_code(operator, sync):
    sync.set_rate_limit_policy(
        CART,
        limit="10/minute",
        algorithm="token_bucket",
        key_strategy="user",
        burst=5,
        shadow=True,
        actor="bob",
    )
    response = operator.get(LIST)
    assert rows_of(response) == {CART: "10/minute", CODE: "5/minute"}
    for words in (
        "/shop/cart/ 10/minute burst 5 counted only, blocks nobody per user token bucket bob",
        f"{CODE} 5/minute burst 2 per address fixed window code",
    ):
        assert words in text_of(response)


@on_memory
def test_it_is_filtered_and_searched(operator, sync):
    sync.set_rate_limit_policy(CART, limit="10/minute", key_strategy="user", actor="bob")
    sync.set_rate_limit_policy("/async/", limit="100/s", actor="ann")
    for query, keys in {
        "service=billing": {CODE},
        "origin=code": {CODE},
        "origin=operator": {CART, "/async/"},
        "key_strategy=user": {CART},
        "q=cart": {CART},
        "q=ANN": {"/async/"},
        "q=100/s": {"/async/"},
        "q=nothing+of+this": set(),
    }.items():
        assert set(rows_of(operator.get(f"{LIST}?{query}"))) == keys, query


@on_memory
def test_it_is_ordered_by_how_much_a_limit_lets_through(operator, sync):
    sync.set_rate_limit_policy(CART, limit="10/minute")
    sync.set_rate_limit_policy("/async/", limit="unlimited")
    assert list(rows_of(operator.get(f"{LIST}?o=1"))) == [CODE, CART, "/async/"]
    assert list(rows_of(operator.get(f"{LIST}?o=-1"))) == ["/async/", CART, CODE]
    for column in range(5):
        assert len(rows_of(operator.get(f"{LIST}?o={column}"))) == 3


def test_cards_show_the_limits_that_routes_share(operator, sync):
    assert cards_of(operator.get(LIST)) == ["everything"]
    assert "Rate limit of everything no limit Set…" in text_of(operator.get(LIST))
    sync.set_global_rate_limit("1000/minute", actor="ann")
    sync.set_service_rate_limit("billing", "50/minute")
    sync.disable_service_rate_limit("billing", actor="bob")
    response = operator.get(f"{LIST}?service=billing")
    assert cards_of(response) == ["everything", "service billing"]
    said = text_of(response)
    steps = "Reset counters… Remove…"
    assert f"1000/minute per address, fixed window, set by ann Configure… Pause… {steps}" in said
    assert "50/minute (paused) per address, fixed window, set by bob" in said
    assert f"Configure… Resume… {steps}" in said
    assert cards_of(operator.get(f"{LIST}?service=nobody")) == ["everything"]


# -- the form -------------------------------------------------------------------------------


@by_scope
def test_all_that_it_asks_is_stored_and_shown_again(operator, sync, page, scope):
    entered = {
        "limit": "100 per 5m",
        "algorithm": "sliding_window",
        "key_strategy": "api_key",
        "on_missing_key": "block",
        "burst": "7",
        "shadow": "on",
    }
    exceptions = {"exempt_routes": "/health/\r\nGET:/status"}
    if scope.kind == "route":
        exceptions = {
            "tiers": "pro = 1000/minute\nfree=unlimited",
            "tier_resolver": "contract",
            "exempt_ips": "10.0.0.0/8, ::1",
            "exempt_roles": "staff, editors",
        }
    response = change(operator, page, **entered, **exceptions, reason="load", note="CHG-1")
    [said] = messages_of(response)
    assert "is now 100 per 5m, per API key, sliding window, burst 7" in said
    policy = sync.get_limit(scope)
    assert (policy.algorithm, policy.key_strategy) == (Algorithm.SLIDING_WINDOW, KeyStrategy.API_KEY)
    assert (policy.on_missing_key, policy.burst, policy.shadow) == ("block", 7, True)
    if scope.kind == "route":
        assert policy.tiers == (
            RateLimitTier(name="pro", limit="1000/minute"),
            RateLimitTier(name="free", limit="unlimited"),
        )
        assert (policy.tier_resolver, policy.exempt_ips) == ("contract", ("10.0.0.0/8", "::1"))
        assert policy.exempt_roles == ("staff", "editors")
    else:
        assert policy.exempt_routes == ("/health/", "GET:/status")
    [entry] = sync.get_audit_log(scope.store_key)
    assert (entry.actor, entry.platform, entry.reason, entry.note) == ("olga", "admin", "load", "CHG-1")

    assert messages_of(change(operator, page)) == ["Nothing was changed."]
    assert sync.get_limit(scope) == policy


@by_scope
def test_what_was_not_touched_stays_as_somebody_else_left_it(operator, sync, page, scope):
    sync.set_limit(scope, {"limit": "10/minute", "burst": 3})
    change(operator, page, limit="20/minute")
    policy = sync.get_limit(scope)
    assert (policy.limit, policy.burst) == ("20/minute", 3)


@by_scope
def test_a_stale_form_is_refused_and_kept(operator, sync, page, scope):
    sync.set_limit(scope, {"limit": "10/minute"})
    stale = form_of(operator.get(page)) | {"limit": "30/minute", "reason": "mine"}
    sync.set_limit(scope, {"limit": "20/minute"}, "theirs", actor="bob")
    response = operator.post(page, stale)
    assert response.status_code == 409
    assert "10/minute → 20/minute" in text_of(response)
    assert "by bob" in text_of(response)
    assert sync.get_limit(scope).limit == "20/minute"
    assert operator.post(page, form_of(response)).status_code == 302
    assert sync.get_limit(scope).limit == "30/minute"


def test_a_limit_set_over_that_of_the_code_begins_as_the_code_has_it(operator, sync):
    assert form_of(operator.get(CODE_FORM))["limit"] == "5/minute"
    change(operator, CODE_FORM, limit="9/minute")
    assert (sync.get_rate_limit_policy(CODE).limit, sync.get_rate_limit_policy(CODE).burst) == ("9/minute", 2)
    assert "The code says 5/minute" in text_of(operator.get(CODE_FORM))


@on_memory
def test_what_is_no_limit_is_refused(operator, sync):
    for page, entered, said in (
        (FORM, {"limit": "many"}, "is no limit"),
        (FORM, {"limit": ""}, "required"),
        (FORM, {"limit": "1/s", "burst": "-1"}, "greater than or equal"),
        (FORM, {"limit": "1/s", "tiers": "pro"}, "is no tier"),
        (FORM, {"limit": "1/s", "tiers": "pro=x"}, "is no limit"),
        (FORM, {"limit": "1/s", "tiers": "pro=1/s\npro=2/s"}, "two tiers have the same name"),
        (FORM, {"limit": "1/s", "exempt_ips": "home"}, "neither an address"),
        (FORM, {"limit": "1/s", "key_strategy": "custom"}, "Select a valid choice"),
        (FORM, {"limit": "1/s", "tier_resolver": "custom"}, "which only the code can have"),
        (GLOBAL, {"limit": "1/s", "exempt_routes": "health"}, "is not a route key"),
    ):
        assert said in errors_of(change(operator, page, **entered)), entered
    assert sync.get_audit_log() == []


def test_a_function_of_the_code_can_be_kept(operator, sync, billing):
    billing.register("GET:/invoices", {"rate_limit": {"limit": "5/minute", "key": lambda request: "x"}})
    assert form_of(operator.get(CODE_FORM))["key_strategy"] == "custom"
    change(operator, CODE_FORM, limit="6/minute")
    assert sync.get_rate_limit_policy(CODE).key_strategy is KeyStrategy.CUSTOM


@on_memory
def test_what_a_caller_without_a_key_meets_can_be_left_unsaid_again(operator, sync):
    sync.set_rate_limit_policy(CART, limit="10/minute", on_missing_key="block")
    change(operator, FORM, on_missing_key="")
    policy = sync.get_rate_limit_policy(CART)
    assert (policy.limit, policy.on_missing_key) == ("10/minute", None)


# -- the steps ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["everything", "service"])
def test_pausing_and_resuming(operator, sync, name):
    page, scope = SCOPES[name]
    sync.set_limit(scope, {"limit": "10/minute"})
    response = change(operator, step_of(page, "pause"), reason="load test", note="CHG-2")
    assert "paused" in messages_of(response)[0]
    assert not sync.get_limit(scope).enabled
    assert "paused" in text_of(operator.get(page))
    change(operator, step_of(page, "resume"))
    assert sync.get_limit(scope).enabled
    _, off, *_ = sync.get_audit_log(scope.store_key)
    assert (off.actor, off.reason, off.note) == ("olga", "load test", "CHG-2")
    assert off.action.endswith("_disabled")


@by_scope
def test_resetting_counters_changes_no_limit(operator, sync, page, scope):
    sync.set_limit(scope, {"limit": "10/minute"})
    for _ in range(2):  # the second time, too, although the counters have a revision by then
        [said] = messages_of(change(operator, step_of(page, "reset")))
        assert "begin anew" in said
    newest, *_ = sync.get_audit_log(scope.store_key)
    assert (newest.action.endswith("rl_reset"), newest.actor) == (True, "olga")
    assert sync.get_limit(scope).limit == "10/minute"


@by_scope
def test_removing(operator, sync, page, scope):
    sync.set_limit(scope, {"limit": "10/minute"})
    response = change(operator, step_of(page, "delete"), reason="over")
    assert "has no rate limit now" in messages_of(response)[0]
    assert sync.get_limit(scope) is None
    assert sync.get_audit_log(scope.store_key)[0].reason == "over"


def test_removing_an_operators_limit_returns_to_the_code(operator, sync):
    assert "Return to the code" not in text_of(operator.get(CODE_FORM))
    sync.set_rate_limit_policy(CODE, limit="9/minute")
    assert "Return to the code…" in text_of(operator.get(CODE_FORM))
    response = change(operator, step_of(CODE_FORM, "delete"))
    assert "is now 5/minute" in messages_of(response)[0]
    assert "set by the code" in messages_of(response)[0]


@by_scope
def test_a_step_is_refused_where_the_limit_has_changed_meanwhile(operator, sync, page, scope):
    sync.set_limit(scope, {"limit": "10/minute"})
    delete = step_of(page, "delete")
    stale = form_of(operator.get(delete))
    sync.set_limit(scope, {"limit": "20/minute"}, actor="bob")
    response = operator.post(delete, stale)
    assert response.status_code == 409
    assert "by bob" in text_of(response)
    assert sync.get_limit(scope).limit == "20/minute"
    operator.post(delete, form_of(response))
    assert sync.get_limit(scope) is None


@on_memory
def test_a_step_that_cannot_be_taken_says_why(operator, sync):
    for page, name, said in (
        (GLOBAL, "pause", "There is no rate limit"),
        (GLOBAL, "delete", "There is no rate limit"),
        (FORM, "reset", "There is no rate limit"),
        (FORM, "pause", "limit has no switch"),
        (CODE_FORM, "delete", "is set in the code"),
    ):
        assert said in errors_of(change(operator, step_of(page, name))), (page, name)
    assert sync.get_audit_log() == []


@on_memory
def test_saving_may_lead_back_to_the_form(operator, sync):
    response = change(operator, FORM, limit="10/minute", _continue="1")
    assert response.redirect_chain == [(FORM, 302)]
    assert "Set by olga" in text_of(response)


@on_memory
def test_a_form_without_what_it_had_seen_is_refused(operator, sync):
    sync.set_global_rate_limit("10/minute")
    for page in (GLOBAL, step_of(GLOBAL, "delete")):
        assert "revision" in errors_of(change(operator, page, revision="", limit="1/s")), page
    assert sync.get_global_rate_limit().limit == "10/minute"


@on_memory
def test_after_a_step_the_list_is_filtered_as_before(operator, sync):
    sync.set_service_rate_limit("billing", "50/minute")
    [url] = [
        url
        for card in operator.get(f"{LIST}?service=billing").context["shared"]["cards"]
        for label, url in card["steps"]
        if label == "Pause"
    ]
    response = change(operator, f"{url}?_changelist_filters=service%3Dbilling")
    assert response.redirect_chain == [(f"{LIST}?service=billing", 302)]


# -- a limit where there is none --------------------------------------------------------------


def test_a_route_without_a_limit_gets_one(operator, sync):
    assert f'<option value="{CART}">' in operator.get(ADD).content.decode()
    response = change(operator, ADD, route="shop:cart", limit="10/minute", tiers="pro=1/s", reason="new")
    assert f"The rate limit of {CART} is now 10/minute" in messages_of(response)[0]
    assert [str(policy.key) for policy in sync.list_limits()] == [CART, CODE]
    assert sync.get_audit_log(CART)[0].reason == "new"
    assert f'<option value="{CART}">' not in operator.get(ADD).content.decode()


def test_a_method_of_a_route_may_have_a_limit_of_its_own(operator, sync):
    change(operator, ADD, route=f"POST:{CART}", limit="10/minute")
    assert sync.get_rate_limit_policy(f"POST:{CART}").method == "POST"
    assert sync.get_rate_limit_policy(CART) is None
    assert form_of(operator.get(address("ratelimit_change", f"POST:{CART}")))["limit"] == "10/minute"


def test_the_limit_of_all_methods_is_shown_at_each_of_them(operator, sync):
    sync.set_rate_limit_policy(CART, limit="10/minute")
    page = address("ratelimit_change", f"POST:{CART}")
    assert f"That of {CART}" in text_of(operator.get(page))
    assert "Remove" not in text_of(operator.get(page))
    change(operator, page, limit="20/minute")
    assert rows_of(operator.get(LIST)) == {CART: "10/minute", f"POST:{CART}": "20/minute", CODE: "5/minute"}


@on_memory
def test_a_limit_is_added_to_no_other_route(operator, sync):
    for entered, said in {
        "/nowhere/": "No route",
        "nonsense": "No route",
        "/payments/": "could be any of",
        CODE: "has a limit: 5/minute",
        "": "required",
    }.items():
        response = change(operator, ADD, route=entered, limit="10/minute")
        assert response.status_code == 200
        assert said in errors_of(response), entered
    assert sync.get_audit_log() == []


@on_memory
@pytest.mark.parametrize("named", [CART, "shop:cart"])
def test_a_limit_that_somebody_sets_meanwhile_is_not_overwritten(operator, sync, monkeypatch, named):
    look = RateLimitAdmin._is_free

    def overtaken(admin, request, form):
        found = look(admin, request, form)
        if not sync.get_rate_limit_policy(CART):
            sync.set_rate_limit_policy(CART, limit="1/minute", actor="bob")
        return found

    monkeypatch.setattr(RateLimitAdmin, "_is_free", overtaken)
    response = change(operator, ADD, route=named, limit="10/minute")
    assert "has a limit: 1/minute" in errors_of(response)
    assert sync.get_rate_limit_policy(CART).limit == "1/minute"


# -- who may what ---------------------------------------------------------------------------


@on_memory
def test_who_may_only_look_sees_limits_and_changes_nothing(viewer, sync):
    sync.set_global_rate_limit("1000/minute")
    listed = viewer.get(LIST)
    assert "Add rate limit" not in text_of(listed)
    assert "set by system Show" in text_of(listed)
    for page in (GLOBAL, CODE_FORM):
        assert 'name="_save"' not in viewer.get(page).content.decode()
        assert viewer.post(page, {"limit": "1/s", "revision": "0"}).status_code == 403
        assert viewer.get(step_of(page, "delete")).status_code == 403
        assert viewer.post(step_of(page, "delete"), {"revision": "0"}).status_code == 403
    assert viewer.get(ADD).status_code == 403
    assert len(sync.get_audit_log()) == 1


@on_memory
def test_the_permissions_are_those_of_limits(store):
    of_routes = client_of("rita", ["view_route", "change_route"])
    for page in (LIST, ADD, FORM, GLOBAL, BILLING, step_of(GLOBAL, "pause"), address("ratelimit_hits")):
        assert of_routes.get(page).status_code == 403, page
        assert Client().get(page).status_code == 302, page
    of_limits = client_of("lim", ["change_ratelimit"])
    for page in (LIST, ADD, FORM, GLOBAL):
        assert of_limits.get(page).status_code == 200, page


@on_memory
def test_what_does_not_exist_is_not_found(operator):
    assert operator.get(reverse("admin:shield_ratelimit_scope", args=["nobody"])).status_code == 404
    for key in ("/nowhere/", "nonsense", "\x00"):
        response = operator.get(address("ratelimit_change", key), follow=True)
        assert "does not exist" in messages_of(response)[0]
        response = operator.get(step_of(address("ratelimit_change", key), "delete"), follow=True)
        assert "does not exist" in messages_of(response)[0]
    assert operator.get(address("ratelimit_history", CART)).status_code == 404


def test_the_pages_of_routes_and_limits_lead_to_each_other(operator):
    assert FORM in operator.get(address("route_change", CART)).content.decode()
    assert "path=%2Fshop%2Fcart%2F" in operator.get(FORM).content.decode()
    without_audit = client_of("rudi", ["view_ratelimit", "view_route"])
    assert address("route_history", CART) in without_audit.get(FORM).content.decode()


def test_under_global_maintenance_limits_can_be_changed(operator, sync):
    sync.enable_global_maintenance("all of it", include_force_active=True)
    change(operator, GLOBAL, limit="10/minute")
    assert sync.get_global_rate_limit().limit == "10/minute"
    assert operator.get(address("ratelimit_hits")).status_code == 200


@on_memory
def test_nothing_on_the_pages_is_inline(operator, sync):
    sync.set_global_rate_limit("1000/minute")
    for page in (LIST, FORM, GLOBAL, ADD, step_of(GLOBAL, "pause"), address("ratelimit_hits")):
        body = operator.get(page).content.decode()
        for inline in ("<style", " style=", "onclick=", "<script>"):
            assert inline not in body, page
