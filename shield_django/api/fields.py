"""Fields that take exactly what they say: no number for a text, no "yes" for a truth."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from rest_framework import serializers

from shield_core.cli.times import parse_span
from shield_core.keys import SERVICE_LENGTH, check_service
from shield_core.texts import CONTROL


class Text(serializers.CharField):
    """A text of ``max_length`` characters, in one line unless it may have ``lines``."""

    def __init__(self, *, lines: bool = False, **options: Any) -> None:
        options.setdefault("max_length", 1000)
        options.setdefault("allow_blank", True)
        super().__init__(trim_whitespace=False, **options)
        self._lines = lines

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("This must be a text.")
        if not self._lines and CONTROL.search(data):
            raise serializers.ValidationError("This must be one line, without control characters.")
        return data


class Truth(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise serializers.ValidationError("This must be true or false.")
        return data


class Whole(serializers.IntegerField):
    """A whole number; ``text`` True where it stands in a query string."""

    def __init__(self, *, text: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self._text = text

    def to_internal_value(self, data: Any) -> int:
        if self._text and isinstance(data, str) and data.isascii() and data.removeprefix("-").isdigit():
            data = int(data[:18])
        if not isinstance(data, int) or isinstance(data, bool):
            raise serializers.ValidationError("This must be a whole number.")
        return data


class Moment(serializers.DateTimeField):
    """ISO 8601 with a time zone."""

    def to_internal_value(self, value: Any) -> datetime:
        try:
            if not isinstance(value, str):
                raise ValueError(value)
            # A '+' in a query string that nobody encoded arrives as a space.
            moment = datetime.fromisoformat(value.strip().replace(" ", "+") if "T" in value else value)
            if moment.tzinfo is None:
                raise serializers.ValidationError(f"{value[:40]!r} names no time zone: add Z, or +02:00.")
            return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            raise serializers.ValidationError("This must be a time such as 2026-03-01T14:30:00Z.") from None


class Span(serializers.CharField):
    """``30m``, ``2h``, ``1d`` or ``1h30m``."""

    def to_internal_value(self, data: Any) -> timedelta:  # type: ignore[override]
        try:
            return parse_span(data) if isinstance(data, str) else parse_span("")
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from None


class Service(Text):
    """The name of a service."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=SERVICE_LENGTH, allow_blank=False, **options)

    def to_internal_value(self, data: Any) -> str:
        name = super().to_internal_value(data)
        try:
            return check_service(name)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from None


class Texts(serializers.ListField):
    """A list of texts, at most 500."""

    def __init__(self, **options: Any) -> None:
        super().__init__(child=Text(max_length=500, allow_blank=False), max_length=500, **options)

    def to_internal_value(self, data: Any) -> list[str]:
        if not isinstance(data, list):
            raise serializers.ValidationError("This must be a list.")
        found: list[str] = super().to_internal_value(data)
        return found
