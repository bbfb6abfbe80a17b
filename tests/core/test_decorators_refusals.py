"""What cannot be a stamp is refused where it is written, with what to do instead."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield_core.decorators import (
    deprecated,
    disabled,
    env_only,
    maintenance,
    parse_moment,
    rate_limit,
)
from shield_core.exceptions import InvalidInputError

from .stamps import STAMPS, fresh_view


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


@pytest.mark.parametrize(
    ("decorator", "complaint"),
    [
        (maintenance, '@maintenance() or @maintenance("why")'),
        (disabled, '@disabled() or @disabled("why")'),
        (env_only, '@env_only("dev", "staging")'),
        (deprecated, "neither a text nor a datetime"),
        (rate_limit, "@rate_limit: limit"),
    ],
)
def test_forgotten_parentheses_are_told(decorator, complaint):
    with pytest.raises(InvalidInputError, match=re.escape(complaint)):
        decorator(fresh_view())


@pytest.mark.parametrize("envs", [(), ("",), ("dev", " "), (None,), (["dev"],)])
def test_a_gate_names_its_environments(envs):
    with pytest.raises(InvalidInputError, match=re.escape('@env_only("dev", "staging")')):
        env_only(*envs)


@pytest.mark.parametrize("name", ["exempt_ips", "exempt_roles"])
def test_a_lone_text_is_no_list_of_exemptions(name):
    with pytest.raises(InvalidInputError, match=rf"{name} is a list of texts: write \['staff'\]"):
        rate_limit("10/minute", **{name: "staff"})


@pytest.mark.parametrize(
    "arguments", [{"start": "2027-01-01T00:00Z"}, {"end": "2027-01-01T00:00Z"}], ids=["start", "end"]
)
def test_a_window_needs_both_ends(arguments):
    with pytest.raises(InvalidInputError, match="both start and end"):
        maintenance(**arguments)


def test_a_window_ends_after_it_starts():
    with pytest.raises(InvalidInputError, match="ends before it starts"):
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
