"""The forms of rate limits, of any scope."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminIntegerFieldWidget, AdminTextInputWidget
from django.utils.translation import gettext_lazy as _

from shield_core.models import Algorithm, KeyStrategy, RateLimitPolicy, StoredPolicy
from shield_django.admin.display import ALGORITHMS, key_text
from shield_django.admin.fields import (
    ExemptPathsField,
    LimitField,
    NamesField,
    NetworksField,
    OneLineField,
    TiersField,
)
from shield_django.admin.forms import NoteForm
from shield_django.admin.wording import MISSING_KEY

#: The id of the list of routes that the browser offers.
ROUTES_LIST = "shield-routes"
#: How many routes are in it.
OFFERED = 1000
_HIGHEST_BURST = 1_000_000_000
_ANY_SCOPE = ("limit", "algorithm", "key_strategy", "on_missing_key", "burst", "shadow")
_WHY = (_("Why"), {"fields": ("reason", "note")})


def _limit_fieldset(*before: str) -> tuple[None, dict[str, Any]]:
    fields = ("limit", "algorithm", "key_strategy", "burst", "shadow")
    return (None, {"fields": ("revision", *before, *fields)})


class LimitNoteForm(NoteForm):
    """Why a limit is changed. ``revision`` is that of the limit that the person saw, 0 of none."""

    revision = forms.IntegerField(widget=forms.HiddenInput)

    fieldsets: Any = ((None, {"fields": ("revision", "reason", "note")}),)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["reason"].help_text = _("In the audit log; callers are not told.")
        self.fields["note"].help_text = _("In the audit log, beside the reason.")


class LimitForm(LimitNoteForm):
    """What limits of all scopes have.

    ``policy`` is the limit in force, ``code`` what the code says of a route. Only what somebody has changed
    is ``named``: the rest stays as it is.
    """

    limit = LimitField(
        label=_("Limit"),
        help_text=_(
            "An amount and a period, such as 100/minute, 10/10s or 100/5m; “unlimited” lets everything pass."
        ),
    )
    algorithm = forms.ChoiceField(
        label=_("Algorithm"),
        choices=[(one.value, said) for one, said in ALGORITHMS.items()],
        initial=Algorithm.FIXED_WINDOW.value,
        help_text=_(
            "Fixed windows are the cheapest; a sliding window is exact; a token bucket lets requests pass at "
            "a steady rate."
        ),
    )
    key_strategy = forms.ChoiceField(
        label=_("Counted"), initial=KeyStrategy.IP.value, help_text=_("Who is counted together.")
    )
    on_missing_key = forms.TypedChoiceField(
        label=_("Without a key"),
        choices=list(MISSING_KEY.items()),
        required=False,
        empty_value=None,
        help_text=_("What a caller meets who has no such key."),
    )
    burst = forms.IntegerField(
        label=_("Burst"),
        min_value=0,
        max_value=_HIGHEST_BURST,
        initial=0,
        widget=AdminIntegerFieldWidget,
        help_text=_("So many requests more at once."),
    )
    shadow = forms.BooleanField(
        label=_("Count only"),
        required=False,
        help_text=_("Counts and reports what it would have blocked, and blocks nobody."),
    )

    #: The fields of a policy that the form has.
    limit_fields: tuple[str, ...] = _ANY_SCOPE

    def __init__(
        self, data: Any = None, *, policy: StoredPolicy | None, code: RateLimitPolicy | None, **options: Any
    ) -> None:
        known = {name: getattr(policy, name) for name in self.limit_fields} if policy is not None else {}
        super().__init__(data, initial={**known, **options.pop("initial", {})}, **options)
        has_function = any(one and one.key_strategy is KeyStrategy.CUSTOM for one in (policy, code))
        self.fields["key_strategy"].choices = [  # type: ignore[attr-defined]
            (one, key_text(one)) for one in KeyStrategy if has_function or one is not KeyStrategy.CUSTOM
        ]

    @property
    def named(self) -> dict[str, Any]:
        """What somebody has changed of the limit."""
        return {name: self.cleaned_data[name] for name in self.limit_fields if name in self.changed_data}


class WideLimitForm(LimitForm):
    """The limit of everything or of a service."""

    exempt_routes = ExemptPathsField(
        label=_("Exempt paths"),
        help_text=_("One in a line, such as /health/ or GET:/status/; requests to these are not counted."),
    )

    limit_fields = (*_ANY_SCOPE, "exempt_routes")
    fieldsets = (_limit_fieldset(), (_("Exceptions"), {"fields": ("exempt_routes", "on_missing_key")}), _WHY)


class RouteLimitForm(LimitForm):
    """The limit of a route."""

    tiers = TiersField(
        label=_("Tiers"),
        help_text=_("Other limits for kinds of callers, one in a line, such as pro=1000/minute."),
    )
    tier_resolver = OneLineField(
        label=_("Tier of a caller"),
        required=True,
        initial="plan",
        max_length=255,
        help_text=_("The attribute of users that names their tier."),
    )
    exempt_ips = NetworksField(
        label=_("Exempt addresses"),
        help_text=_("Addresses and networks such as 10.0.0.0/8, with commas between them."),
    )
    exempt_roles = NamesField(
        label=_("Exempt roles"), help_text=_("Roles of users, with commas between them.")
    )

    limit_fields = (*_ANY_SCOPE, "tiers", "tier_resolver", "exempt_ips", "exempt_roles")
    fieldsets = (
        _limit_fieldset(),
        (
            _("Exceptions"),
            {"fields": ("tiers", "tier_resolver", "exempt_ips", "exempt_roles", "on_missing_key")},
        ),
        _WHY,
    )


class AddLimitForm(RouteLimitForm):
    """The limit of a route that has none."""

    route = OneLineField(
        label=_("Route"),
        required=True,
        widget=AdminTextInputWidget(attrs={"list": ROUTES_LIST, "autocomplete": "off"}),
        help_text=_("A key such as GET:/payments/, a path, or the name of a view."),
    )

    fieldsets = (_limit_fieldset("route"), *RouteLimitForm.fieldsets[1:])

    def __init__(self, data: Any = None, **options: Any) -> None:
        super().__init__(data, policy=None, code=None, **options)
