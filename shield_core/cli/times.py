"""Moments and spans as people write them, and moments as people read them."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_PART = re.compile(r"(\d{1,9})\s*([smhdw])\s*")
_SPAN = re.compile(rf"(?:{_PART.pattern})+")


def parse_span(text: str) -> timedelta:
    """Return the span that ``text`` ('30m', '2h', '1d', '1h30m') stands for. Raises ValueError."""
    text = text.strip().lower()
    if not _SPAN.fullmatch(text):
        raise ValueError(f"{text!r} is not a span of time: write 30m, 2h, 1d or 1h30m.")
    try:
        span = sum((timedelta(**{_UNITS[unit]: int(n)}) for n, unit in _PART.findall(text)), timedelta())
    except OverflowError:
        raise ValueError(f"{text!r} is too long.") from None
    if not span:
        raise ValueError("The span must be longer than nothing.")
    return span


def parse_moment(text: str, zone: tzinfo | None, now: datetime) -> datetime:
    """Return the moment (UTC) of an ISO 8601 text, of '2h' and 'in 2h' from ``now`` on, or of '2h ago'.

    A text without a zone is taken in ``zone`` (None: the machine's own). Raises ValueError.
    """
    span = text.strip().lower().removeprefix("in ")
    if _SPAN.fullmatch(span.strip()):
        return _shifted(text, now, parse_span(span))
    if span.endswith(" ago"):
        return parse_past_moment(text, zone, now)
    return _parse_iso(text, zone, "2026-03-01T14:30, 2h or 'in 2h'")


def parse_past_moment(text: str, zone: tzinfo | None, now: datetime) -> datetime:
    """Return the moment (UTC) of an ISO 8601 text, or of '2h' and '2h ago'. Raises ValueError."""
    span = text.strip().lower().removesuffix(" ago")
    if _SPAN.fullmatch(span.strip()):
        return _shifted(text, now, -parse_span(span))
    return _parse_iso(text, zone, "2026-03-01T14:30, 2h or '2h ago'")


def parse_lasting(text: str, zone: tzinfo | None, now: datetime) -> timedelta | datetime:
    """Return the span of '2h', or the moment (UTC) that something else says. Raises ValueError."""
    if _SPAN.fullmatch(text.strip().lower()):
        return parse_span(text)
    try:
        return parse_moment(text, zone, now)
    except ValueError:
        raise ValueError(f"{text!r} is not a span of time: write 30m, 2h, 1d or 1h30m, or a date.") from None


def shown(moment: datetime, zone: tzinfo | None) -> str:
    """Return ``moment`` in ``zone`` (None: the machine's own), with the zone's name."""
    with suppress(OverflowError):  # 9999-12-31, which people write for "for ever", may have no local time
        moment = moment.astimezone(zone)
    return moment.strftime("%Y-%m-%d %H:%M:%S %Z")


def _shifted(text: str, now: datetime, span: timedelta) -> datetime:
    try:
        return (now + span).astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is too far away.") from None


def _parse_iso(text: str, zone: tzinfo | None, examples: str) -> datetime:
    try:
        written = datetime.fromisoformat(text.strip())
        moment = written if written.tzinfo or zone is None else written.replace(tzinfo=zone)
        moment = moment.astimezone(UTC)
        is_skipped = written.tzinfo is None and moment.astimezone(zone).replace(tzinfo=None) != written
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{text!r} is not a time: write {examples}.") from None
    if is_skipped:
        raise ValueError(f"There is no {text!r} in this time zone: clocks are put forward over it.")
    return moment
