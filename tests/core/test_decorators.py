import itertools
from datetime import UTC, datetime

import pytest

from shield_core.decorators import (
    deprecated,
    disabled,
    env_only,
    force_active,
    is_stamped,
    maintenance,
    meta_of,
    stamped_objects,
)

from .stamps import STAMPS, fresh_view


@pytest.mark.parametrize("name", STAMPS)
def test_a_decorator_returns_the_same_object_and_leaves_its_behaviour_alone(name):
    view = fresh_view()
    assert STAMPS[name](view) is view
    assert view() == "ran"
    assert is_stamped(view)


def test_a_view_without_a_decorator_is_not_stamped():
    assert not is_stamped(fresh_view())
    assert meta_of(fresh_view()) == {}


def test_the_meta_of_a_maintenance_is_exactly_what_the_contract_says():
    @maintenance(reason="x")
    def view(): ...

    assert view.__shield_meta__ == {"status": "maintenance", "reason": "x"}


@pytest.mark.parametrize(
    ("stamp", "meta"),
    [
        (disabled("gone"), {"status": "disabled", "reason": "gone"}),
        (env_only("dev"), {"status": "env_gated", "allowed_envs": ["dev"]}),
        (force_active, {"force_active": True}),
        (
            deprecated("2027-01-01", use_instead="/v2"),
            {
                "status": "deprecated",
                "sunset_date": datetime(2027, 1, 1, tzinfo=UTC),
                "successor_path": "/v2",
            },
        ),
        (maintenance(read_only=True), {"status": "maintenance", "reason": "", "read_only": True}),
    ],
    ids=["disabled", "env_only", "force_active", "deprecated", "read_only"],
)
def test_each_decorator_says_its_own(stamp, meta):
    assert stamp(fresh_view()).__shield_meta__ == meta


@pytest.mark.parametrize("size", [2, 3, len(STAMPS)])
def test_the_order_of_stacked_decorators_does_not_matter(size):
    for names in itertools.combinations(STAMPS, size):
        metas = []
        for order in itertools.permutations(names):
            view = fresh_view()
            for name in order:
                STAMPS[name](view)
            metas.append(view.__shield_meta__)
        assert all(meta == metas[0] for meta in metas), names


@pytest.mark.parametrize(
    ("weaker", "stricter", "reason"),
    [
        ("maintenance", "disabled", "d"),
        ("env_only", "maintenance", "m"),
        ("env_only", "disabled", "d"),
        ("deprecated", "maintenance", "m"),
    ],
)
def test_of_stacked_decorators_the_strictest_gives_status_and_reason(weaker, stricter, reason):
    meta = STAMPS[weaker](STAMPS[stricter](fresh_view())).__shield_meta__
    assert meta["status"] == STAMPS[stricter](fresh_view()).__shield_meta__["status"]
    assert meta["reason"] == reason


def test_a_stricter_stamp_keeps_the_gate_beneath_it():
    meta = STAMPS["env_only"](STAMPS["disabled"](fresh_view())).__shield_meta__
    assert (meta["status"], meta["allowed_envs"]) == ("disabled", ["dev", "staging"])


def test_the_meta_is_a_new_dictionary_after_each_decorator():
    view = maintenance("x")(fresh_view())
    first = view.__shield_meta__
    disabled("y")(view)
    assert first == {"status": "maintenance", "reason": "x"}
    assert view.__shield_meta__ is not first


def test_a_decorator_object_may_serve_many_views():
    stamp = maintenance("x")
    one, two = stamp(fresh_view()), stamp(fresh_view())
    disabled("y")(one)
    assert two.__shield_meta__ == {"status": "maintenance", "reason": "x"}


async def test_a_coroutine_function_stays_one():
    @maintenance("x")
    async def view():
        return "ran"

    assert await view() == "ran"


def test_a_class_hands_its_stamps_to_its_subclasses():
    @maintenance("base")
    class Base: ...

    class Child(Base): ...

    assert meta_of(Child) == {"status": "maintenance", "reason": "base"}


def test_the_stamp_of_a_subclass_wins_over_the_same_of_its_base():
    @maintenance("base")
    @env_only("dev")
    class Base: ...

    @maintenance("child")
    class Child(Base): ...

    assert meta_of(Child)["reason"] == "child"
    assert meta_of(Child)["allowed_envs"] == ["dev"]
    assert meta_of(Base)["reason"] == "base"


def test_of_a_class_and_its_handler_the_handlers_reason_wins():
    @maintenance("class")
    class View:
        @maintenance("handler")
        def get(self): ...

    assert meta_of(View, View.get)["reason"] == "handler"


def test_of_a_class_and_its_handler_the_stricter_status_wins():
    @disabled("class")
    class View:
        @maintenance("handler")
        def get(self): ...

    assert meta_of(View, View.get) == {"status": "disabled", "reason": "class"}


@pytest.mark.parametrize(
    ("outer", "inner", "common"),
    [
        (("dev", "qa", "prod"), ("qa", "prod"), ["qa", "prod"]),
        (("dev",), ("dev",), ["dev"]),
        (("dev",), ("prod",), ["(none)"]),
    ],
)
def test_the_gates_of_a_class_and_its_handler_must_both_be_open(outer, inner, common):
    @env_only(*outer)
    class View:
        @env_only(*inner)
        def get(self): ...

    assert meta_of(View, View.get)["allowed_envs"] == common


def test_stamped_objects_are_known_while_they_live():
    view = maintenance("x")(fresh_view())
    assert any(found is view for found in stamped_objects())
    identity = id(view)
    del view
    assert all(id(found) != identity for found in stamped_objects())


@pytest.mark.parametrize("name", ["disabled", "force_active"])
def test_a_stamp_remembers_the_module_and_the_line_that_made_it(name):
    stamps = {"disabled": lambda view: disabled()(view), "force_active": lambda view: force_active(view)}
    module, line = stamps[name](fresh_view()).__shield_stamped_at__
    assert (module, line) == (__name__, stamps[name].__code__.co_firstlineno)


def test_each_stamp_keeps_its_own_response():
    def down(request, exc): ...

    def gone(request, exc): ...

    view = maintenance(response=down)(disabled(response=gone)(fresh_view()))
    assert view.__shield_meta__["responses"] == {"maintenance": down, "disabled": gone}
