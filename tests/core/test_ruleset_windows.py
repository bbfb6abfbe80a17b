"""Windows are an overlay: from their start to their end they add to the base status."""

import pytest

from shield_core.decorators import deprecated, disabled, env_only, maintenance
from shield_core.models import MaintenanceWindow

from .rules import FUTURE, HOUR, NOW, OVER, RUNNING, SECOND, answers, declare, override, rules


def in_everything(window):
    return rules(declare("/x"), service="shop", everything={"window": window})


def in_service(window):
    return rules(declare("/x"), service="shop", shop={"window": window})


def in_an_override(window):
    return rules(declare("/x"), override("/x", window=window))


def in_the_code(window):
    return rules(declare("/x", maintenance(window.reason, start=window.start, end=window.end)))


PLACES = [in_everything, in_service, in_an_override, in_the_code]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("window", "expected"), [(FUTURE, "open"), (RUNNING, "maintenance"), (OVER, "open")])
def test_a_window_blocks_while_it_runs_and_only_then(place, window, expected):
    assert answers(place(window), "GET", "/x") == expected


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (FUTURE.start - SECOND / 1000, "open"),
        (FUTURE.start, "maintenance"),
        (FUTURE.end - SECOND / 1000, "maintenance"),
        (FUTURE.end, "open"),
    ],
    ids=["before", "start", "last moment", "end"],
)
def test_a_window_includes_its_start_and_excludes_its_end(place, moment, expected):
    assert answers(place(FUTURE), "GET", "/x", at=moment) == expected


@pytest.mark.parametrize("place", PLACES)
def test_the_answer_of_a_window_knows_its_end_and_its_reason(place):
    decision = place(RUNNING).decide("GET", "/x")
    assert (decision.until, decision.reason) == (RUNNING.end, "now")


@pytest.mark.parametrize("place", [in_everything, in_service, in_an_override])
def test_a_window_may_disable(place):
    assert answers(place(RUNNING.replace(status="disabled")), "GET", "/x") == "disabled"


@pytest.mark.parametrize(
    ("base", "overlay", "expected", "reason", "until"),
    [
        ("active", "maintenance", "maintenance", "window", RUNNING.end),
        ("active", "disabled", "disabled", "window", RUNNING.end),
        ("maintenance", "disabled", "disabled", "window", RUNNING.end),
        ("disabled", "maintenance", "disabled", "base", None),
        ("maintenance", "maintenance", "maintenance", "base", None),
        ("disabled", "disabled", "disabled", "base", None),
    ],
)
def test_of_base_and_window_the_stricter_answers_and_of_equals_the_endless(
    base, overlay, expected, reason, until
):
    window = RUNNING.replace(status=overlay, reason="window")
    decision = rules(override("/x", base, reason="base", window=window)).decide("GET", "/x")
    assert (decision.cause, decision.reason, decision.until) == (expected, reason, until)


@pytest.mark.parametrize("base", ["maintenance", "disabled"])
def test_a_window_that_is_over_leaves_the_base_status(base):
    assert answers(rules(override("/x", base, window=OVER)), "GET", "/x") == base


def test_a_read_only_base_promises_writers_no_end_when_a_window_over_it_ends():
    ruleset = rules(override("/x", "maintenance", read_only=True, window=RUNNING))
    assert ruleset.decide("GET", "/x").until == RUNNING.end
    assert ruleset.decide("POST", "/x").until is None
    assert answers(ruleset, "GET", "/x", at=RUNNING.end) == "open"
    assert answers(ruleset, "POST", "/x", at=RUNNING.end) == "maintenance"


def test_a_gate_stays_closed_before_and_after_a_window():
    ruleset = rules(declare("/x", env_only("prod"), maintenance(start=FUTURE.start, end=FUTURE.end)))
    moments = (NOW, FUTURE.start, FUTURE.end)
    assert [answers(ruleset, "GET", "/x", at=moment) for moment in moments] == [
        "env_gated",
        "maintenance",
        "env_gated",
    ]


def test_an_operators_disable_survives_the_end_of_a_window():
    ruleset = rules(declare("/x"), override("/x", "disabled", window=RUNNING))
    assert answers(ruleset, "GET", "/x", at=RUNNING.end + HOUR) == "disabled"


def test_a_window_without_a_reason_borrows_that_of_its_scope():
    window = MaintenanceWindow(start=RUNNING.start, end=RUNNING.end)
    decision = rules(everything={"reason": "scope", "window": window}).decide("GET", "/x")
    assert decision.reason == "scope"


def test_without_a_moment_the_clock_decides():
    ruleset = rules(declare("/x"), override("/x", window=FUTURE))
    assert answers(ruleset, "GET", "/x") == "open"
    assert answers(ruleset, "GET", "/x", at=FUTURE.start) == "maintenance"


def test_the_hours_of_a_window_mean_the_same_in_every_time_zone():
    window = FUTURE.replace(
        start=FUTURE.start.isoformat().replace("+00:00", "Z"), end="2027-01-01T19:30+05:30"
    )
    assert answers(rules(override("/x", window=window)), "GET", "/x", at=FUTURE.end - SECOND) == "maintenance"
    assert answers(rules(override("/x", window=window)), "GET", "/x", at=FUTURE.end) == "open"


DEPRECATED = deprecated("2027-06-01T00:00:00Z", use_instead="/v2/x", since="2027-01-01T00:00:00Z")
HEADERS = (
    ("Deprecation", "@1798761600"),
    ("Sunset", "Tue, 01 Jun 2027 00:00:00 GMT"),
    ("Link", '</v2/x>; rel="successor-version"'),
)


def test_a_deprecated_route_answers_with_the_headers_of_its_rfcs():
    assert rules(declare("/x", DEPRECATED)).decide("GET", "/x").headers == HEADERS


def test_a_deprecation_without_a_date_or_successor_is_for_ever_and_has_no_link():
    headers = rules(declare("/x", deprecated("2027-06-01"))).decide("GET", "/x").headers
    assert headers == (("Deprecation", "@0"), ("Sunset", "Tue, 01 Jun 2027 00:00:00 GMT"))


@pytest.mark.parametrize(
    "state",
    [override("/x"), override("/x", window=FUTURE), override("/x", "env_gated", allowed_envs=["dev"])],
    ids=["enabled", "window", "gate"],
)
def test_a_deprecation_is_told_on_every_allowed_answer(state):
    assert rules(declare("/x", DEPRECATED), state).decide("GET", "/x").headers == HEADERS


def test_a_blocked_answer_tells_no_deprecation():
    assert rules(declare("/x", DEPRECATED, disabled())).decide("GET", "/x").headers == ()
