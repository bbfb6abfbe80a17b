"""How limits are written."""

import pytest

from shield_core.exceptions import InvalidInputError
from shield_core.rate_limit.grammar import UNLIMITED, Rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/minute", (100, 60)),
        ("10/10s", (10, 10)),
        ("100/5m", (100, 300)),
        ("1/second", (1, 1)),
        ("5 per hour", (5, 3600)),
        ("5 per 2 hours", (5, 7200)),
        (" 7 / Day ", (7, 86400)),
        ("1000000000/366d", (1_000_000_000, 366 * 86400)),
    ],
)
def test_an_amount_and_a_period(text, rate):
    assert Rate.parse(text) == rate


def test_unlimited_is_no_rate():
    assert Rate.parse(UNLIMITED) is None
    assert Rate.parse(" Unlimited ") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "100",
        "/minute",
        "100/",
        "100/fortnight",
        "-1/minute",
        "1.5/minute",
        "0/minute",
        "10/0s",
        "1/367d",
        "1000000001/s",
        "10/minute;20/hour",
        "١/minute",
        "100//m",
        "9" * 5000 + "/s",
        "100perminute",
        None,
        100,
    ],
)
def test_what_is_no_limit_is_refused_in_one_clear_error(text):
    with pytest.raises(InvalidInputError) as refused:
        Rate.parse(text)
    assert len(str(refused.value).splitlines()) == 1


def test_the_error_names_a_limit_that_would_do():
    with pytest.raises(InvalidInputError, match="'100/minute'"):
        Rate.parse("a lot")
