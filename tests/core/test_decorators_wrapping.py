"""Stamps survive what frameworks and users wrap around a view."""

import functools
import itertools

import pytest

from shield_core.decorators import (
    disabled,
    env_only,
    meta_of,
)

from .stamps import STAMPS, fresh_view


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
