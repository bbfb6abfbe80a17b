"""Short words for the audit log's actions, for the first page and the demo's terminal."""

from __future__ import annotations

import re

from shield_core.keys import Scope
from shield_core.models import AuditEntry

WORDS = {
    "maintenance_on": "maintenance",
    "env_gate": "environments",
    "schedule_cancel": "schedule cancelled",
    "override_cleared": "reset",
    "window_opened": "window begins",
    "window_closed": "window ends",
    "global_maintenance_on": "maintenance",
    "global_maintenance_off": "maintenance off",
    "service_maintenance_on": "maintenance",
    "service_maintenance_off": "maintenance off",
}


_LIMIT = re.compile(r"(?:rl_policy|rl|global_rl|svc_rl)_")


def action(entry: AuditEntry) -> str:
    return WORDS.get(entry.action, _LIMIT.sub("rate limit ", entry.action).replace("_", " "))


def target(entry: AuditEntry) -> str:
    """Return what was changed: a route's key, a service, or everything."""
    return Scope.of(entry.path).label if entry.path else "everything"


def line(entry: AuditEntry) -> str:
    """Return an entry as one line of text, without its time."""
    return f"{action(entry)} {target(entry)} by {entry.actor} ({entry.platform})"
