"""What holds for every ruleset, whatever the store and the code say."""

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from shield_core.decorators import deprecated, disabled, env_only, force_active, maintenance
from shield_core.keys import EVERYTHING, Scope
from shield_core.models import Baseline, GlobalMaintenanceConfig, MaintenanceWindow, RouteState
from shield_core.ruleset import Ruleset
from shield_core.snapshot import Changes, Cursor, Snapshot, Write

from .rules import FUTURE, HOUR, NOW, OVER, RUNNING, declare

PATHS = ["/x", "/x/", "/items/{id}"]
METHODS = ["GET", "HEAD", "POST", "OPTIONS", "BREW"]
MOMENTS = [NOW, FUTURE.start, FUTURE.end, NOW - 3 * HOUR]

local_keys = st.builds(
    lambda prefix, path: prefix + path, st.sampled_from(["", "GET:", "POST:"]), st.sampled_from(PATHS)
)
store_keys = st.builds(
    lambda service, key: service + key, st.sampled_from(["shop:", "stock:", ""]), local_keys
)
windows = st.none() | st.builds(
    lambda window, status, read_only: window.replace(status=status, read_only=read_only),
    st.sampled_from([FUTURE, RUNNING, OVER]),
    st.sampled_from(["maintenance", "disabled"]),
    st.booleans(),
)
environments = st.lists(st.sampled_from(["dev", "prod"]), max_size=2, unique=True)
baselines = st.builds(
    Baseline,
    status=st.sampled_from(["active", "maintenance", "disabled", "env_gated"]),
    allowed_envs=environments,
    window=windows,
    read_only=st.booleans(),
)
states = st.builds(
    lambda key, baseline, origin: RouteState(path=key, **dict(baseline), origin=origin),
    store_keys,
    baselines,
    st.sampled_from(["operator", "operator", "code"]),
)
configs = st.builds(
    GlobalMaintenanceConfig,
    enabled=st.booleans(),
    exempt_paths=st.lists(st.sampled_from([*PATHS, "GET:/x"]), max_size=2),
    include_force_active=st.booleans(),
    read_only=st.booleans(),
    window=windows,
)
scope_keys = st.sampled_from([EVERYTHING.store_key, Scope.service("shop").store_key])
writes = st.one_of(
    states.map(lambda state: Write(state.path, state)),
    store_keys.map(lambda key: Write(key, None)),
    st.builds(Write, scope_keys, st.none() | configs),
)
stamps = st.lists(
    st.sampled_from(
        [
            maintenance("code"),
            maintenance(read_only=True),
            maintenance("window", start=RUNNING.start, end=RUNNING.end),
            disabled("code"),
            env_only("prod"),
            env_only("dev"),
            deprecated("2028-01-01"),
            force_active,
        ]
    ),
    max_size=2,
)
declarations = st.dictionaries(local_keys, st.tuples(stamps, st.booleans()), max_size=4).map(
    lambda code: [declare(key, *found, always_open=opened) for key, (found, opened) in code.items()]
)
environment = st.sampled_from(["dev", "prod", None])


def committed(before, batch):
    revision = before.revision + 1
    stamped = tuple(Write(key, value and value.replace(revision=revision)) for key, value in batch)
    return Changes(Cursor(before.epoch, revision), stamped)


def compiled(snapshot, code, env):
    return Ruleset.compile(
        snapshot, {one.key: one for one in code}, service="shop", env=env, clock=NOW.timestamp
    )


def decisions(ruleset):
    return {
        (method, path, moment): ruleset.decide(method, path, at=moment)
        for method in METHODS
        for path in [*PATHS, "/nowhere"]
        for moment in MOMENTS
    } | {path: ruleset.hides(path) for path in PATHS}


batches = st.lists(st.lists(writes, min_size=1, max_size=3), max_size=5)


@settings(max_examples=200, deadline=None)
@given(declarations, batches, environment, st.booleans(), st.data())
def test_rules_that_evolved_decide_as_rules_compiled_anew(code, batches, env, asked_between, data):
    later = data.draw(st.integers(0, len(code)))
    snapshot = Snapshot("epoch")
    evolved = compiled(snapshot, code[:later], env)
    for batch in batches:
        changes = committed(snapshot, batch)
        snapshot = snapshot.apply(changes, advance=True)
        evolved = evolved.evolve(snapshot, [key for key, _ in changes.writes])
        if asked_between:
            decisions(evolved)
    evolved = evolved.declare(code[later:])
    assert decisions(evolved) == decisions(compiled(snapshot, code, env))


@settings(max_examples=100, deadline=None)
@given(declarations, batches, environment)
def test_a_decision_with_its_trace_is_the_decision_without(code, batches, env):
    snapshot = Snapshot("epoch")
    for batch in batches:
        snapshot = snapshot.apply(committed(snapshot, batch), advance=True)
    ruleset = compiled(snapshot, code, env)
    for (method, path, moment), decision in (
        (key, found) for key, found in decisions(ruleset).items() if isinstance(key, tuple)
    ):
        trace = []
        assert ruleset.decide(method, path, at=moment, trace=trace) == decision
        assert trace[-1].scope == decision.scope
        assert ruleset.decide(method, path) == ruleset.decide(method, path, at=NOW)


@settings(max_examples=100, deadline=None)
@given(declarations, batches, environment)
def test_what_an_earlier_ruleset_says_never_changes(code, batches, env):
    snapshot = Snapshot("epoch")
    first = compiled(snapshot, code, env)
    before = decisions(first)
    ruleset = first
    for batch in batches:
        changes = committed(snapshot, batch)
        snapshot = snapshot.apply(changes, advance=True)
        ruleset = ruleset.evolve(snapshot, [key for key, _ in changes.writes])
        decisions(ruleset)
    assert decisions(first) == before


changes_of_one_key = st.lists(st.sampled_from(["put", "delete"]), min_size=2, max_size=6)


@given(changes_of_one_key, st.randoms(use_true_random=False))
def test_commits_that_arrive_in_any_order_lead_to_the_same_objects(kinds, random):
    batches = [
        Changes(
            Cursor("epoch", revision),
            (Write("/x", RouteState(path="/x", revision=revision) if kind == "put" else None),),
        )
        for revision, kind in enumerate(kinds, start=1)
    ]
    in_order = Snapshot("epoch")
    for changes in batches:
        in_order = in_order.apply(changes, advance=True)
    shuffled = Snapshot("epoch")
    for changes in random.sample(batches, len(batches)):
        shuffled = shuffled.apply(changes, advance=False)
    assert shuffled.objects == in_order.objects


@given(
    st.datetimes(max_value=datetime(2200, 1, 1), timezones=st.just(UTC)),
    st.timedeltas(HOUR / 3600, 3000 * HOUR),
)
def test_a_window_means_the_same_to_the_model_and_to_the_rules(start, length):
    window = MaintenanceWindow(start=start, end=start + length)
    state = RouteState(path="/x", window=window, origin="operator", revision=1)
    ruleset = compiled(
        Snapshot("epoch", 1, {"shop:/x": state.replace(path="shop:/x", service="shop")}), [], "dev"
    )
    for moment in (start, start + length / 2, window.end):
        assert ruleset.decide("GET", "/x", at=moment).allowed is not window.runs_at(moment)
