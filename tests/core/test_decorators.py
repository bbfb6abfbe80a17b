import functools
import itertools
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield_core.decorators import (
    deprecated,
    disabled,
    env_only,
    force_active,
    is_stamped,
    maintenance,
    meta_of,
    parse_moment,
    rate_limit,
    stamped_objects,
)
from shield_core.exceptions import InvalidInputError

STAMPS = {
    "maintenance": maintenance(reason="m"),
    "disabled": disabled(reason="d"),
    "env_only": env_only("dev", "staging"),
    "deprecated": deprecated("2027-01-01", use_instead="/v2"),
    "rate_limit": rate_limit("10/minute"),
    "force_active": force_active,
}


def fresh_view():
    def view():
        return "ran"

    return view


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


def wrapped(view):
    @functools.wraps(view)
    def wrapper(*args):
        return view(*args)

    return wrapper


def update_wrapped_lambda(view):
    return functools.update_wrapper(lambda *args: view(*args), view)


def partially_applied(view):
    return functools.partial(view)


@pytest.mark.parametrize("wrap", [wrapped, update_wrapped_lambda, partially_applied])
@pytest.mark.parametrize("name", STAMPS)
def test_stamps_survive_wrapping(wrap, name):
    view = STAMPS[name](fresh_view())
    assert meta_of(wrap(wrap(view))) == view.__shield_meta__


@pytest.mark.parametrize("wrap", [wrapped, update_wrapped_lambda, partially_applied])
def test_stamps_below_and_above_a_wrapper_add_up(wrap):
    view = disabled("d")(wrap(env_only("dev")(fresh_view())))
    assert meta_of(view) == {"status": "disabled", "reason": "d", "allowed_envs": ["dev"]}


def method_decorator(*decorators):
    """Do what Django's does: decorate a dummy and copy the dummy's attributes to a wrapper."""

    def decorate(method):
        def wrapper(self):
            bound = functools.wraps(method)(functools.partial(method.__get__(self, type(self))))
            for decorator in decorators:
                bound = decorator(bound)
            return bound()

        def dummy(): ...

        for decorator in decorators:
            functools.update_wrapper(wrapper, decorator(dummy))
        return functools.update_wrapper(wrapper, method)

    return decorate


@pytest.mark.parametrize("order", list(itertools.permutations(["maintenance", "env_only", "force_active"])))
def test_stamps_survive_a_method_decorator_above_other_stamps(order):
    first, *others = order

    class View:
        @method_decorator(*(STAMPS[name] for name in others))
        @STAMPS[first]
        def get(self):
            return "ran"

    assert meta_of(View.get) == {
        "status": "maintenance",
        "reason": "m",
        "allowed_envs": ["dev", "staging"],
        "force_active": True,
    }
    assert View().get() == "ran"


class Views:
    def get(self): ...


@pytest.mark.parametrize("name", STAMPS)
@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        (Views().get, "a bound method or a built-in keeps no attributes"),
        (len, "a bound method or a built-in keeps no attributes"),
        (int, "a bound method or a built-in keeps no attributes"),
        ("shop:cart", "cannot be called"),
        (None, "cannot be called"),
    ],
    ids=["bound method", "builtin", "builtin class", "text", "None"],
)
def test_what_cannot_be_stamped_is_refused_by_name(name, target, complaint):
    with pytest.raises(InvalidInputError, match=complaint) as caught:
        STAMPS[name](target)
    assert f"@{name} " in str(caught.value)
    assert repr(target) in str(caught.value)


@pytest.mark.parametrize("envs", [(), ("",), ("dev", " "), (None,), (["dev"],)])
def test_a_gate_names_its_environments(envs):
    with pytest.raises(InvalidInputError, match=re.escape('@env_only("dev", "staging")')):
        env_only(*envs)


@pytest.mark.parametrize(
    "arguments", [{"start": "2027-01-01T00:00Z"}, {"end": "2027-01-01T00:00Z"}], ids=["start", "end"]
)
def test_a_window_needs_both_ends(arguments):
    with pytest.raises(InvalidInputError, match="both start and end"):
        maintenance(**arguments)


def test_a_window_ends_after_it_starts():
    with pytest.raises(ValueError, match="must end after it starts"):
        maintenance(start="2027-01-02", end="2027-01-01")


def test_a_maintenance_window_carries_reason_and_read_only():
    view = maintenance("m", start="2027-01-01", end="2027-01-02", read_only=True)(fresh_view())
    window = view.__shield_meta__["window"]
    assert (window.reason, window.read_only) == ("m", True)
    assert window.end == datetime(2027, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-12-31T23:59:59Z",
        "2026-12-31T23:59:59+00:00",
        "2027-01-01T01:59:59+02:00",
        "Thu, 31 Dec 2026 23:59:59 GMT",
        datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(2027, 1, 1, 1, 59, 59, tzinfo=timezone(timedelta(hours=2))),
    ],
    ids=str,
)
def test_a_sunset_may_be_iso_8601_an_http_date_or_an_aware_datetime(text):
    sunset = deprecated(text)(fresh_view()).__shield_meta__["sunset_date"]
    assert sunset == datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert sunset.tzinfo is UTC


def test_a_bare_date_is_its_midnight_in_utc():
    assert parse_moment("2027-01-01") == datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "complaint"),
    [
        ("2026-12-31T23:59:59", "names no time zone"),
        (datetime(2026, 12, 31), "names no time zone"),
        ("next tuesday", "neither an ISO 8601 date nor an HTTP date"),
        ("", "neither an ISO 8601 date nor an HTTP date"),
        ("2026-13-01", "neither an ISO 8601 date nor an HTTP date"),
        (None, "neither a text nor a datetime"),
        (datetime(2027, 1, 1).date(), "neither a text nor a datetime"),
        (1798761599, "neither a text nor a datetime"),
        ("0001-01-01T00:00:00+10:00", "not within the years"),
    ],
    ids=str,
)
def test_a_moment_that_cannot_be_read_is_refused_with_a_reason(moment, complaint):
    with pytest.raises(InvalidInputError, match=complaint):
        deprecated(moment)


@given(st.text(max_size=40))
def test_any_text_is_a_moment_or_is_refused(text):
    try:
        moment = parse_moment(text)
    except InvalidInputError as error:
        refusal = str(error)
    else:
        refusal = repr(text) if moment.tzinfo is UTC else "not in UTC"
    assert repr(text) in refusal


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_moment_survives_iso_8601(moment):
    assert parse_moment(moment.isoformat()) == moment


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
