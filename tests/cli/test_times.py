"""Times as people write and read them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from shield_core.cli.times import parse_moment, parse_past_moment, parse_span, shown

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    "text, span",
    [
        ("45s", timedelta(seconds=45)),
        ("30m", timedelta(minutes=30)),
        ("2h", timedelta(hours=2)),
        ("1d", timedelta(days=1)),
        ("2w", timedelta(weeks=2)),
        ("1h30m", timedelta(minutes=90)),
        (" 1H 30M ", timedelta(minutes=90)),
    ],
)
def test_spans(text: str, span: timedelta) -> None:
    assert parse_span(text) == span


@pytest.mark.parametrize("text", ["", "h", "30", "-1h", "1.5h", "1y", "0s", "999999999w", "1h now"])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(ValueError):
        parse_span(text)


@pytest.mark.parametrize(
    "text, moment",
    [
        ("2h", NOW + timedelta(hours=2)),
        ("in 2h", NOW + timedelta(hours=2)),
        ("2h ago", NOW - timedelta(hours=2)),
        ("In 1h30m", NOW + timedelta(minutes=90)),
        ("2026-03-01T14:30", datetime(2026, 3, 1, 13, 30, tzinfo=UTC)),
        ("2026-07-01 14:30", datetime(2026, 7, 1, 12, 30, tzinfo=UTC)),
        ("2026-03-02", datetime(2026, 3, 1, 23, 0, tzinfo=UTC)),
        ("2026-03-01T14:30Z", datetime(2026, 3, 1, 14, 30, tzinfo=UTC)),
        ("2026-03-01T14:30-05:00", datetime(2026, 3, 1, 19, 30, tzinfo=UTC)),
    ],
)
def test_moments(text: str, moment: datetime) -> None:
    assert parse_moment(text, BERLIN, NOW) == moment


@pytest.mark.parametrize("zone", [BERLIN, None])
def test_a_time_that_clocks_skip_is_none(zone: ZoneInfo | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        with pytest.raises(ValueError, match="clocks are put forward over it"):
            parse_moment("2027-03-28T02:30", zone, NOW)
        assert parse_moment("2027-03-28T03:00", zone, NOW) == datetime(2027, 3, 28, 1, tzinfo=UTC)
        twice = parse_moment("2027-10-31T02:30", zone, NOW)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert twice == datetime(2027, 10, 31, 0, 30, tzinfo=UTC)


def test_past_moments() -> None:
    assert parse_past_moment("2h", BERLIN, NOW) == NOW - timedelta(hours=2)
    assert parse_past_moment("2h ago", BERLIN, NOW) == NOW - timedelta(hours=2)
    assert parse_past_moment("2026-02-01", BERLIN, NOW) == datetime(2026, 1, 31, 23, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "soon", "in", "ago", "in 2h ago", "2026-13-01", "9999999w"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError):
        parse_moment(text, BERLIN, NOW)


@pytest.mark.parametrize("text", ["", "in 2h", "9999999w", "0001-01-01"])
def test_what_is_no_past_moment(text: str) -> None:
    with pytest.raises(ValueError):
        parse_past_moment(text, BERLIN, NOW)


def test_the_machines_own_zone_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    local = datetime(2026, 3, 1, 14, 30).astimezone()

    assert parse_moment("2026-03-01T14:30", None, NOW) == local
    assert shown(local, None) == local.strftime("%Y-%m-%d %H:%M:%S %Z")


def test_moments_are_shown_with_the_zone() -> None:
    assert shown(NOW, BERLIN) == "2026-03-01 13:00:00 CET"
    assert shown(NOW, UTC) == "2026-03-01 12:00:00 UTC"


def test_the_end_of_time_is_shown() -> None:
    assert shown(datetime(9999, 12, 31, 23, 59, tzinfo=UTC), BERLIN) == "9999-12-31 23:59:00 UTC"
