"""What the audit log's words are called on the pages."""

from __future__ import annotations

from typing import NamedTuple

from django.utils.translation import gettext_lazy as _

from shield_core.models import AuditEntry
from shield_django.admin.display import status_word, transition, when

ACTIONS = {
    "enable": _("enabled"),
    "maintenance_on": _("maintenance"),
    "disable": _("disabled"),
    "env_gate": _("environments set"),
    "deprecate": _("deprecated"),
    "schedule": _("window set"),
    "schedule_cancel": _("window cancelled"),
    "window_opened": _("window opened"),
    "window_closed": _("window closed"),
    "override_cleared": _("returned to the code"),
    "global_maintenance_on": _("global maintenance on"),
    "global_maintenance_off": _("global maintenance off"),
    "service_maintenance_on": _("service maintenance on"),
    "service_maintenance_off": _("service maintenance off"),
}
PLATFORMS = {
    "admin": _("admin"),
    "cli": _("command line"),
    "api": _("API"),
    "sdk": _("SDK"),
    "code": _("code"),
    "system": _("system"),
}


def action_word(action: str) -> str:
    """Return the words for an audit action, also one that these pages do not know."""
    return str(ACTIONS.get(action) or action.replace("_", " "))


def platform_word(platform: str) -> str:
    return str(PLATFORMS.get(platform) or platform)


class Line(NamedTuple):
    """One change, in words."""

    time: str
    action: str
    actor: str
    platform: str
    before: str
    after: str
    transition: str
    reason: str
    note: str
    url: str = ""

    @classmethod
    def of(cls, entry: AuditEntry, url: str = "") -> Line:
        return cls(
            when(entry.timestamp),
            action_word(entry.action),
            entry.actor,
            platform_word(entry.platform),
            status_word(entry.previous_status or ""),
            status_word(entry.new_status or ""),
            transition(entry.previous_status or "", entry.new_status or ""),
            entry.reason,
            entry.note,
            url,
        )
