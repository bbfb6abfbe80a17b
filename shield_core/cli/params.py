"""Types of options: each turns a text into a value, or says in one sentence what it should be."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import click

from shield_core.cli.session import Session
from shield_core.cli.times import parse_lasting, parse_moment, parse_past_moment, parse_span
from shield_core.keys import ExemptEntry, Scope, check_service
from shield_core.models import MaintenanceWindow, WindowStatus
from shield_core.rate_limit.grammar import Rate
from shield_core.texts import CONTROL


class _Text(click.ParamType):  # type: ignore[type-arg]  # newer clicks only
    """A text that ``parse`` accepts; a ValueError is a usage error."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._parse(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _Moment(click.ParamType):  # type: ignore[type-arg]
    """A moment, counted from now and read in the session's zone."""

    def __init__(
        self, parse: Callable[[str, tzinfo | None, datetime], datetime | timedelta], name: str = "time"
    ) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        session = ctx.find_object(Session) if ctx else None
        try:
            return self._parse(value, session.zone if session else None, datetime.now(UTC))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _exempt_entry(text: str) -> str:
    ExemptEntry.parse(text)
    return text.strip()


def _line(text: str, longest: int = 1000) -> str:
    if len(text) > longest:
        raise ValueError(f"This has {len(text)} characters, and may have {longest}.")
    if CONTROL.search(text):
        raise ValueError("This must be one line, without control characters.")
    return text


def _filled_line(text: str) -> str:
    if not text.strip():
        raise ValueError("This must not be empty.")
    return _line(text, 500)


def _actor(text: str) -> str:
    if text.strip().lower() in ("", "system"):
        raise ValueError("A change needs a person's name: 'system' is Shield itself.")
    return _line(text.strip(), 255)


def _method(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z-]*", text):
        raise ValueError(f"{text!r} is no method: write GET, POST, or WS for a WebSocket.")
    return text.upper()


def _token_id(text: str) -> str:
    if not re.fullmatch(r"[0-9A-Za-z_-]{1,255}", text):
        raise ValueError(f"{text!r} is no token's ID: 'token list' shows them.")
    return text


def _limit(text: str) -> str:
    Rate.parse(text)
    return text.strip()


def _tier(text: str) -> dict[str, str] | str:
    name, equals, limit = text.partition("=")
    if not text:
        return ""
    if not equals or not name.strip():
        raise ValueError(f"{text!r} is no tier: write a name and a limit, such as pro=1000/minute.")
    return {"name": name.strip(), "limit": _limit(limit)}


SPAN = _Text("span", parse_span)
MOMENT = _Moment(parse_moment)
PAST_MOMENT = _Moment(parse_past_moment)
LASTING = _Moment(parse_lasting, "span")
LINE = _Text("text", _line)
ENVIRONMENT = _Text("name", _filled_line)
ROUTE = _Text("route", _filled_line)
TOKEN_ID = _Text("id", _token_id)
METHOD = _Text("method", _method)
EXEMPT_ENTRY = _Text("path", _exempt_entry)
SERVICE = _Text("service", lambda text: check_service(text) if text else "")
SERVICE_SCOPE = _Text("service", Scope.service)
ACTOR = _Text("actor", _actor)
LIMIT = _Text("limit", _limit)
#: Of options that may be repeated; '' stands for none at all.
TIER = _Text("name=limit", _tier)
EXEMPT_OR_NONE = _Text("path", lambda text: _exempt_entry(text) if text else "")


@dataclass(frozen=True)
class Timing:
    """When a block holds: from ``start`` (None: now) to ``end`` (None: for good)."""

    start: datetime | None = None
    end: datetime | None = None

    @classmethod
    def of(
        cls,
        span: timedelta | datetime | None,
        until: datetime | None,
        start: datetime | None,
        end: datetime | None,
    ) -> Timing:
        """Combine ``--for``, ``--until``, ``--start`` and ``--end``. Raises UsageError."""
        if sum(one is not None for one in (span, until, end)) > 1:
            raise click.UsageError("Give only one of --for, --until and --end.")
        if isinstance(span, datetime):
            end = span
        elif span is not None:
            try:
                end = (start or datetime.now(UTC)) + span
            except OverflowError:
                raise click.UsageError("--for is too long.") from None
        end = end or until
        if start is not None and end is None:
            raise click.UsageError("--start needs an --end.")
        if end is not None and end <= (start or datetime.now(UTC)):
            raise click.UsageError("The end must be after the start." if start else "The end is in the past.")
        return cls(start, end)

    def window(self, status: WindowStatus, reason: str, read_only: bool = False) -> MaintenanceWindow | None:
        """Return the window, None for a block that is for good."""
        if self.end is None:
            return None
        start = self.start or datetime.now(UTC)
        return MaintenanceWindow(start=start, end=self.end, reason=reason, status=status, read_only=read_only)
