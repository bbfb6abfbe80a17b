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
    "rl_policy_set": _("rate limit set"),
    "rl_policy_updated": _("rate limit changed"),
    "rl_policy_deleted": _("rate limit deleted"),
    "rl_reset": _("rate limit counted anew"),
    "global_rl_set": _("global rate limit set"),
    "global_rl_updated": _("global rate limit changed"),
    "global_rl_deleted": _("global rate limit deleted"),
    "global_rl_reset": _("global rate limit counted anew"),
    "global_rl_enabled": _("global rate limit on"),
    "global_rl_disabled": _("global rate limit paused"),
    "svc_rl_set": _("service rate limit set"),
    "svc_rl_updated": _("service rate limit changed"),
    "svc_rl_deleted": _("service rate limit deleted"),
    "svc_rl_reset": _("service rate limit counted anew"),
    "svc_rl_enabled": _("service rate limit on"),
    "svc_rl_disabled": _("service rate limit paused"),
    "token_issued": _("token issued"),
    "token_revoked": _("token revoked"),
    "login_failed": _("login failed"),
    "store_restored": _("store restored"),
}
_LIMIT_ACTIONS = ("rl_", "global_rl_", "svc_rl_")
#: What a caller meets of whom a limit's key is not known.
MISSING_KEY = {
    "": _("as is usual for the key"),
    "exempt": _("is let through"),
    "fallback_ip": _("is counted by address"),
    "block": _("is blocked"),
}
PLATFORMS = {
    "admin": _("admin"),
    "dashboard": _("dashboard"),
    "cli": _("command line"),
    "api": _("API"),
    "sdk": _("SDK"),
    "code": _("code"),
    "system": _("system"),
}


def action_word(action: str) -> str:
    """Return the words for an audit action, also one that these pages do not know."""
    return str(ACTIONS.get(action) or action.replace("_", " "))


def is_of_limit(action: str) -> bool:
    """Whether an audit action is about a rate limit, whose statuses are limits."""
    return action.startswith(_LIMIT_ACTIONS)


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
