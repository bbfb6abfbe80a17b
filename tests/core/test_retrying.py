"""How often a store is asked that does not answer."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shield_core import retrying
from shield_core.retrying import Retries

MINUTE = 60.0


class Clock:
    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


def attempts(monkeypatch, durations, wishes=()):
    """Return when a store is asked whose every attempt fails, ``durations`` seconds after it began."""
    clock = Clock()
    monkeypatch.setattr(retrying, "time", clock)
    retries, begun = Retries(), []
    for index, seconds in enumerate(durations):
        begun.append(clock.now)
        clock.now += seconds
        clock.now += retries.delay(wishes[index] if index < len(wishes) else 0.0)
    return begun


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.001, 0.3, 5.0, 21.0]), min_size=40, max_size=120))
def test_there_are_at_most_twelve_attempts_in_any_minute(durations):
    with pytest.MonkeyPatch.context() as monkeypatch:
        begun = attempts(monkeypatch, durations)
    for first in begun:
        assert sum(first <= one < first + MINUTE for one in begun) <= 12


def test_it_is_never_given_up_and_never_longer_than_some_seconds(monkeypatch):
    begun = attempts(monkeypatch, [0.0] * 500)
    pauses = [later - one for one, later in itertools.pairwise(begun)]
    assert max(pauses) <= 10.0
    assert len(begun) == 500


def test_the_first_attempts_come_quickly(monkeypatch):
    begun = attempts(monkeypatch, [0.0] * 3)
    assert begun[1] - begun[0] <= 1.0
    assert begun[2] - begun[0] <= 3.0


def test_a_fleet_does_not_come_back_all_at_once(monkeypatch):
    firsts = [attempts(monkeypatch, [0.0, 0.0])[1] for _ in range(200)]
    halves = [sum(one < 1000.5 for one in firsts), sum(one >= 1000.5 for one in firsts)]
    assert min(halves) > 50


def test_a_wish_is_granted_and_spread(monkeypatch):
    pauses = [one - 1000.0 for one in (attempts(monkeypatch, [0.0, 0.0], [30.0])[1] for _ in range(50))]
    assert min(pauses) >= 30.0
    assert max(pauses) - min(pauses) > 0.1


def test_nobody_makes_us_wait_for_ever(monkeypatch):
    assert attempts(monkeypatch, [0.0, 0.0], [1e12])[1] - 1000.0 <= 3600.0 + 1.0
