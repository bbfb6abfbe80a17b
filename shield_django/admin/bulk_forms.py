"""What the pages of the bulk actions ask."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from shield_django.admin.fields import MomentField
from shield_django.admin.forms import NoteForm


class BulkForm(NoteForm):
    """Why several routes are changed; ``keys`` are theirs, with spaces between them."""

    keys = forms.CharField(widget=forms.HiddenInput)

    asks: tuple[str, ...] = ("reason", "note")

    @property
    def fieldsets(self) -> tuple[Any, ...]:
        return ((None, {"fields": ("keys", *self.asks)}),)

    def clean_keys(self) -> list[str]:
        return list(dict.fromkeys(str(self.cleaned_data["keys"]).split()))


_LASTING = [
    ("", _("until somebody enables it again")),
    ("15", _("15 minutes")),
    ("30", _("30 minutes")),
    ("60", _("1 hour")),
    ("120", _("2 hours")),
    ("240", _("4 hours")),
    ("1440", _("1 day")),
]


class BulkBlockForm(BulkForm):
    """Also how long: a span, or an end."""

    lasting = forms.ChoiceField(label=pgettext_lazy("span of time", "For"), choices=_LASTING, required=False)
    end = MomentField(label=_("Or until"))

    asks = (*BulkForm.asks, "lasting", "end")

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        now, lasting, end = datetime.now(UTC), cleaned.get("lasting"), cleaned.get("end")
        if lasting and end:
            raise ValidationError({"end": gettext("Choose a span or an end, not both.")})
        if end is not None and end <= now:
            raise ValidationError({"end": gettext("The end is in the past.")})
        cleaned["until"] = now + timedelta(minutes=int(lasting)) if lasting else end
        return cleaned


class BulkMaintenanceForm(BulkBlockForm):
    """Also whether reading stays possible."""

    read_only = forms.BooleanField(
        label=_("Read-only maintenance"),
        required=False,
        help_text=_("Only writes are blocked: GET, HEAD and OPTIONS pass."),
    )

    asks = (*BulkBlockForm.asks, "read_only")
