"""An explanation is the decision itself, with what each layer said before it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from shield_core.decorators import force_active, rate_limit
from shield_core.explain import LIFECYCLE, LIMIT, MAINTENANCE, NOT_ASKED, PASSED_OVER, explain, registered
from shield_core.keys import EVERYTHING, Scope
from shield_core.models import GlobalRateLimitPolicy, RateLimitPolicy
from shield_core.ruleset import Ruleset
from shield_core.snapshot import Snapshot, Write

from .rules import FUTURE, NOW, RUNNING, declare, override, snapshot
from .test_ruleset_properties import METHODS, MOMENTS, PATHS, batches, committed, declarations, environment

SHOP = Scope.service("shop")


def stored(batches, code=()):
    """A state of the store, in which the code of the shop is registered as far as it ever is."""
    found = Snapshot("epoch")
    states = [one.state("shop", "") for one in code if not one.always_open]
    for batch in ([Write(state.path, state) for state in states], *batches):
        found = found.apply(committed(found, batch), advance=True)
    return found


def of(explained):
    return {(one.layer, one.scope.kind): one for one in explained.findings}


@settings(max_examples=150, deadline=None)
@given(
    declarations,
    batches,
    environment,
    st.sampled_from(METHODS),
    st.sampled_from([*PATHS, "/nowhere"]),
    st.sampled_from(MOMENTS),
)
def test_it_decides_as_a_request_is_decided_on(code, batches, env, method, path, moment):
    declared = {one.key: one for one in code}
    store = stored(batches, code)
    rules = Ruleset.compile(store, declared, service="shop", env=env)
    explained = explain(store, method, path, at=moment, service="shop", env=env, declared=declared)
    assert explained.decision == rules.decide(method, path, at=moment)
    deciding = [one for one in explained.findings if one.decides]
    assert bool(deciding) is not explained.decision.allowed
    if deciding:
        [layer] = deciding
        assert (layer.reason, layer.until) == (explained.decision.reason, explained.decision.until)
        later = explained.findings[explained.findings.index(layer) + 1 :]
        assert {one.said for one in later} <= {NOT_ASKED}


@settings(max_examples=150, deadline=None)
@given(declarations, environment, st.sampled_from(METHODS), st.sampled_from(PATHS), st.sampled_from(MOMENTS))
def test_what_the_code_has_registered_decides_as_the_code(code, env, method, path, moment):
    code = [one for one in code if not one.always_open]
    declared = {one.key: one for one in code}
    store = stored([], code)
    by_code, by_store = (
        explain(store, method, path, at=moment, service="shop", env=env, declared=known)
        for known in (declared, None)
    )
    assert registered(store, "shop").keys() == declared.keys()
    assert by_store.status == by_code.status
    assert [one.said for one in by_store.findings] == [one.said for one in by_code.findings]


def test_every_layer_is_there_in_the_order_of_the_decision():
    explained = explain(snapshot(override("shop:GET:/x")), "GET", "/x", at=NOW, service="shop")
    assert [(one.layer, one.scope) for one in explained.findings] == [
        (MAINTENANCE, EVERYTHING),
        (MAINTENANCE, SHOP),
        (LIFECYCLE, Scope("route", "shop:GET:/x")),
        (LIMIT, EVERYTHING),
        (LIMIT, SHOP),
        (LIMIT, Scope("route", "shop:GET:/x")),
    ]


def test_who_set_it_and_when_it_ends():
    everything = {"window": RUNNING, "reason": "moving", "updated_by": "ann", "revision": 7}
    explained = explain(snapshot(everything=everything), "GET", "/x", at=NOW)
    layer = explained.decider
    assert (layer.by, layer.origin, layer.revision) == ("ann", "operator", 7)
    assert (layer.reason, layer.until) == ("now", RUNNING.end)
    assert explained.status == 503


def test_a_window_to_come_is_told_and_decides_at_its_time():
    store = snapshot(override("GET:/x", window=FUTURE), everything={"window": FUTURE})
    now = of(explain(store, "GET", "/x", at=NOW))
    assert {now[MAINTENANCE, "global"].window, now[LIFECYCLE, "route"].window} == {FUTURE}
    assert explain(store, "GET", "/x", at=FUTURE.start).decider.layer == MAINTENANCE
    assert explain(store, "GET", "/x", at=FUTURE.end).decider is None


def test_an_unknown_url_meets_the_wide_layers_only():
    store = snapshot(everything={"enabled": True, "exempt_paths": ["/other"]})
    assert explain(store, "GET", "/nothing", at=NOW, is_known=False).status == 503
    other = explain(store, "GET", "/other", at=NOW, is_known=False)
    assert other.status is None
    assert of(other)[LIFECYCLE, "route"].said == "unknown"


def limited(**policies):
    objects = {
        EVERYTHING.limit_key: GlobalRateLimitPolicy(limit="5/s", revision=3, updated_by="ann", **policies)
    }
    return Snapshot("epoch", 3, objects)


def test_limits_in_all_their_states():
    def said(store, *code):
        declared = {one.key: one for one in code}
        return of(explain(store, "GET", "/x", at=NOW, declared=declared))[LIMIT, "global"].said

    plain = declare("GET:/x")
    assert said(limited(), plain) == "limit"
    assert said(limited(shadow=True), plain) == "shadow"
    assert said(limited(enabled=False), plain) == "paused"
    assert said(limited(exempt_routes=["/x"]), plain) == "exempt"
    assert said(limited(), declare("GET:/x", force_active)) == "force_active"
    assert said(limited(), declare("GET:/x", always_open=True)) == "always_open"
    assert said(Snapshot("epoch"), plain) == "none"


def test_a_limit_of_the_code_and_one_of_an_operator_over_it():
    code = [declare("GET:/x", rate_limit("1/s"))]
    by_code = of(explain(stored([], code), "GET", "/x", at=NOW, service="shop"))[LIMIT, "route"]
    assert (by_code.said, by_code.origin, by_code.policy.limit) == ("limit", "code", "1/s")
    key = Scope("route", "shop:GET:/x").limit_key
    policy = RateLimitPolicy(path="shop:/x", method="GET", limit="unlimited", updated_by="ann")
    over = stored([[Write(key, policy)]], code)
    by_operator = of(explain(over, "GET", "/x", at=NOW, service="shop"))[LIMIT, "route"]
    assert (by_operator.said, by_operator.origin, by_operator.by) == ("unlimited", "operator", "ann")


def test_nothing_is_asked_of_what_is_always_open():
    declared = {one.key: one for one in [declare("GET:/x", always_open=True)]}
    found = of(explain(snapshot(everything={"enabled": True}), "GET", "/x", at=NOW, declared=declared))
    assert found[MAINTENANCE, "global"].said == PASSED_OVER
    assert found[LIFECYCLE, "route"].said == "always_open"


def test_a_key_that_only_an_operator_made_is_no_code():
    store = snapshot(override("shop:GET:/x", "disabled"))
    assert registered(store, "shop") == {}
    assert explain(store, "GET", "/x", at=NOW, service="shop").status == 503
