"""Plain forms, because a ModelForm would look for a database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from django import forms
from django.contrib.admin.widgets import AdminRadioSelect
from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shield_core.models import (
    BLOCKING,
    GlobalMaintenanceConfig,
    MaintenanceWindow,
    RouteState,
    RouteStatus,
)
from shield_django.admin.fields import ExemptPathsField, MomentField, NamesField, OneLineField
from shield_django.admin.moments import local
from shield_django.models import Status

State = TypeVar("State", RouteState, GlobalMaintenanceConfig)

_ACTIVE, _MAINTENANCE, _DISABLED = Status.ACTIVE, Status.MAINTENANCE, Status.DISABLED
_WINDOW = (
    _("Window"),
    {
        "fields": (
            "window_start",
            "window_end",
            "window_status",
            "window_reason",
            "window_read_only",
        ),
        "description": _(
            "Blocks for a time, whatever the status above, and lifts itself. Leave the start empty to "
            "begin now; leave both empty for no window."
        ),
    },
)


class NoteForm(forms.Form):
    """Why something is changed: for callers, and for operators only."""

    reason = OneLineField(label=_("Reason"), help_text=_("Shown to callers."))
    note = OneLineField(
        label=_("Note"), help_text=_("For operators only: in the audit log and on these pages.")
    )


class StateForm(NoteForm, Generic[State]):
    """What the forms of a route and of a scope's maintenance have in common: status and window.

    ``revision`` is the one that the person saw: a form that is older than the state is refused.
    """

    revision = forms.IntegerField(widget=forms.HiddenInput)
    status = forms.ChoiceField(label=_("Status"), widget=AdminRadioSelect)
    read_only = forms.BooleanField(
        label=_("Read-only maintenance"),
        required=False,
        help_text=_("Only writes are blocked: GET, HEAD and OPTIONS pass."),
    )
    window_start = MomentField(label=_("Start"))
    window_end = MomentField(label=_("End"))
    window_status = forms.ChoiceField(
        label=_("During the window"),
        choices=[(_MAINTENANCE.value, _MAINTENANCE.label), (_DISABLED.value, _DISABLED.label)],
        initial=_MAINTENANCE.value,
        required=False,
    )
    window_reason = OneLineField(
        label=_("Reason of the window"), help_text=_("Empty: the reason of the status.")
    )
    window_read_only = forms.BooleanField(label=_("Read-only during the window"), required=False)

    def __init__(self, data: Any = None, *, state: State, **options: Any) -> None:
        self.state: State = state
        self.now = datetime.now(UTC)
        initial = {**self._initial(), **options.pop("initial", {})}
        super().__init__(data, initial=initial, **options)

    def _initial(self) -> dict[str, Any]:
        initial = {name: getattr(self.state, name) for name in ("reason", "note", "read_only", "revision")}
        window = self._known_window
        if window is not None:
            initial |= {
                "window_start": local(window.start),
                "window_end": local(window.end),
                "window_status": window.status.value,
                "window_reason": window.reason,
                "window_read_only": window.read_only,
            }
        return initial

    @property
    def _known_window(self) -> MaintenanceWindow | None:
        window = self.state.window
        return window if window is not None and window.end > self.now else None

    @property
    def base_status(self) -> RouteStatus:
        return RouteStatus(self.cleaned_data["status"])

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            cleaned["read_only"] = cleaned["read_only"] and self.base_status is RouteStatus.MAINTENANCE
            cleaned["window"] = self._window(cleaned)
            self._refuse_useless_window(cleaned["window"])
        return cleaned

    def _window(self, cleaned: dict[str, Any]) -> MaintenanceWindow | None:
        start, end, known = cleaned["window_start"], cleaned["window_end"], self._known_window
        if start is None and end is None:
            return None
        if end is None:
            raise ValidationError({"window_end": gettext("A window needs an end.")})
        if known is not None:
            # The widget knows no microseconds; what was not touched stays as it was.
            start = start if "window_start" in self.changed_data else known.start
            end = end if "window_end" in self.changed_data else known.end
        start = start or min(self.now, end)
        if end <= start or (known is None and end <= self.now):
            raise ValidationError(
                {"window_end": gettext("The window must end after it starts, and after now.")}
            )
        return MaintenanceWindow(
            start=start,
            end=end,
            status=RouteStatus(cleaned.get("window_status") or RouteStatus.MAINTENANCE),
            reason=cleaned["window_reason"] or cleaned["reason"],
            read_only=cleaned["window_read_only"],
        )

    def _refuse_useless_window(self, window: MaintenanceWindow | None) -> None:
        """A status that blocks anyway is not lifted at the window's end, which people expect."""
        if window is None or window == self._known_window or self.base_status not in BLOCKING:
            return
        if window.start <= self.now and self.base_status is window.status:
            raise ValidationError(
                {
                    "window_end": gettext(
                        "The status “%(status)s” would stay when the window ends. Choose “active” as "
                        "the status: the window blocks until its end, and then lifts itself."
                    )
                    % {"status": Status(self.base_status).label}
                }
            )


class RouteForm(StateForm[RouteState]):
    """A route: its base status, gate and window."""

    allowed_envs = NamesField(
        label=_("Environments"),
        help_text=_("With commas between them. Elsewhere the route answers 404. Empty: everywhere."),
    )

    fieldsets = (
        (None, {"fields": ("revision", "status", "reason", "note", "read_only", "allowed_envs")}),
        _WINDOW,
    )

    def __init__(self, data: Any = None, **options: Any) -> None:
        super().__init__(data, **options)
        self.fields["status"].choices = [  # type: ignore[attr-defined]
            (one.value, one.label) for one in (_ACTIVE, _MAINTENANCE, _DISABLED)
        ]

    def _initial(self) -> dict[str, Any]:
        status = self.state.status if self.state.status in BLOCKING else RouteStatus.ACTIVE
        return {**super()._initial(), "status": status.value, "allowed_envs": self.state.allowed_envs}


class MaintenanceForm(StateForm[GlobalMaintenanceConfig]):
    """The maintenance of everything or of a service."""

    exempt_paths = ExemptPathsField(
        label=_("Exempt paths"),
        help_text=_("One in a line, such as /health/ or GET:/status/; these stay open."),
    )
    include_force_active = forms.BooleanField(
        label=_("Block protected routes too"),
        required=False,
        help_text=_("Also those that the code keeps open with @force_active, such as health checks."),
    )

    fieldsets = (
        (
            None,
            {
                "fields": (
                    "revision",
                    "status",
                    "reason",
                    "note",
                    "read_only",
                    "exempt_paths",
                    "include_force_active",
                )
            },
        ),
        _WINDOW,
    )

    def __init__(self, data: Any = None, **options: Any) -> None:
        super().__init__(data, **options)
        self.fields["status"].choices = [  # type: ignore[attr-defined]
            (_ACTIVE.value, _("only in the window") if self._known_window else _("no maintenance")),
            (_MAINTENANCE.value, _("maintenance, until somebody ends it")),
        ]

    def _initial(self) -> dict[str, Any]:
        return {
            **super()._initial(),
            "status": (_MAINTENANCE if self.state.enabled else _ACTIVE).value,
            "exempt_paths": self.state.exempt_paths,
            "include_force_active": self.state.include_force_active,
        }
