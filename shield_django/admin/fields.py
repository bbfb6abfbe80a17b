"""Form fields that several of Shield's forms have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from ipaddress import ip_network
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminSplitDateTime, AdminTextareaWidget, AdminTextInputWidget
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from shield_core.exceptions import InvalidInputError
from shield_core.keys import ExemptEntry
from shield_core.models import RateLimitTier
from shield_core.rate_limit.grammar import Rate
from shield_core.texts import CONTROL
from shield_django.admin.moments import universal
from shield_django.models import KEY_LENGTH, LIMIT_LENGTH

#: How many entries a list may have, as over REST.
ENTRIES = 500


class OneLineField(forms.CharField):
    """A text of one line; line breaks and control characters become spaces."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"required": False, "widget": AdminTextInputWidget, "max_length": 2000, **options})

    def to_python(self, value: Any) -> str:
        if isinstance(value, str) and "\0" not in value:  # which is refused
            value = " ".join(filter(None, map(str.strip, CONTROL.split(value))))
        return super().to_python(value) or ""


class MomentField(forms.SplitDateTimeField):
    """A time, entered in the project's zone; its value is in UTC."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"required": False, "widget": AdminSplitDateTime, **options})

    def clean(self, value: Any) -> datetime | None:
        moment: datetime | None = super().clean(value)
        if moment is None:
            return None
        try:
            return universal(moment)
        except OverflowError as error:
            raise ValidationError(_("This time is beyond the calendar.")) from error


class NamesField(OneLineField):
    """Names with commas between them; the value is a tuple."""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, tuple) else value

    def clean(self, value: Any) -> Any:
        names = [name.strip() for name in super().clean(value).split(",")]
        return tuple(dict.fromkeys(filter(None, names)))

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.clean(data) != tuple(initial or ()))


class LimitField(OneLineField):
    """A limit as it is written, such as 100/minute."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"required": True, "max_length": LIMIT_LENGTH, **options})

    def clean(self, value: Any) -> Any:
        limit = super().clean(value)
        with _telling():
            Rate.parse(limit)
        return limit


class NetworksField(NamesField):
    """Addresses and networks with commas between them."""

    def clean(self, value: Any) -> Any:
        found = super().clean(value)
        for text in found:
            try:
                ip_network(text, strict=False)
            except ValueError as error:
                said = _("“%(text)s” is neither an address nor a network such as 10.0.0.0/8.")
                raise ValidationError(said % {"text": text}) from error
        return found


class LinesField(forms.CharField):
    """Entries, one in a line; the value is a tuple."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"required": False, "widget": AdminTextareaWidget(attrs={"rows": 4}), **options})

    def read(self, line: str) -> Any:
        """Return the entry that ``line`` is. Raises InvalidInputError."""
        raise NotImplementedError

    def written(self, entry: Any) -> str:
        return str(entry)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(self.written, value)) if isinstance(value, tuple) else value

    def clean(self, value: Any) -> Any:
        lines = [*filter(None, map(str.strip, super().clean(value).splitlines()))]
        if len(lines) > ENTRIES:
            raise ValidationError(_("At most %(most)d lines.") % {"most": ENTRIES})
        for line in lines:
            if len(line) > KEY_LENGTH or CONTROL.search(line):
                said = _("“%(text)s” is too long, or has control characters.")
                raise ValidationError(said % {"text": CONTROL.sub(" ", line[:80])})
        with _telling():
            return tuple(dict.fromkeys(map(self.read, lines)))

    def has_changed(self, initial: Any, data: Any) -> bool:
        return str(data or "").split() != str(self.prepare_value(tuple(initial or ()))).split()


class ExemptPathsField(LinesField):
    """Exempt paths."""

    def read(self, line: str) -> str:
        ExemptEntry.parse(line)
        return line


class TiersField(LinesField):
    """The limits of kinds of callers, such as ``pro=1000/minute``."""

    def read(self, line: str) -> RateLimitTier:
        name, equals, limit = (part.strip() for part in line.partition("="))
        if not equals or not name:
            said = _("“%(text)s” is no tier: write a name and a limit, such as pro=1000/minute.")
            raise ValidationError(said % {"text": line})
        Rate.parse(limit)
        return RateLimitTier(name=name, limit=limit)

    def written(self, entry: RateLimitTier) -> str:
        return f"{entry.name}={entry.limit}"


@contextmanager
def _telling() -> Iterator[None]:
    """Tell of a field what the engine's own reading of it refuses."""
    try:
        yield
    except InvalidInputError as error:
        raise ValidationError(str(error)) from error
