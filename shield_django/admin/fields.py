"""Form fields that several of Shield's forms have."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminSplitDateTime, AdminTextareaWidget, AdminTextInputWidget
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from shield_core.exceptions import InvalidInputError
from shield_core.keys import ExemptEntry
from shield_django.admin.moments import universal

_BREAKS = re.compile(r"\s*[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+\s*")


class OneLineField(forms.CharField):
    """A text of one line; line breaks, which logs and tables cannot take, become spaces."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"required": False, "widget": AdminTextInputWidget, "max_length": 2000, **options})

    def to_python(self, value: Any) -> str:
        return super().to_python(_BREAKS.sub(" ", value) if isinstance(value, str) else value) or ""


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


class ExemptPathsField(forms.CharField):
    """Exempt paths, one in a line; the value is a tuple."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"required": False, "widget": AdminTextareaWidget(attrs={"rows": 4}), **options})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, tuple) else value

    def clean(self, value: Any) -> Any:
        lines = [line.strip() for line in super().clean(value).splitlines()]
        entries = tuple(dict.fromkeys(filter(None, lines)))
        for entry in entries:
            try:
                ExemptEntry.parse(entry)
            except InvalidInputError as error:
                raise ValidationError(str(error)) from error
        return entries

    def has_changed(self, initial: Any, data: Any) -> bool:
        return tuple(str(data or "").split()) != tuple(initial or ())
