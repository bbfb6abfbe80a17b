"""The audit log."""

from __future__ import annotations

from typing import Any

from shield_core.models import AuditEntry
from shield_django.api import bodies
from shield_django.api.base import ControlView, operation


class Audit(ControlView):
    """The audit log, newest first; filters work before the limit."""

    endpoint = "audit"

    @operation(list[AuditEntry], asks=bodies.AuditQuery)
    def get(self) -> Any:
        asked = self.asked
        route = asked.get("route")
        entries = self.sync.get_audit_log(
            self.target(route) if route else None,
            asked.get("limit", 100),
            asked.get("service") or self.service,
            asked.get("actor"),
            asked.get("action"),
            asked.get("since"),
            asked.get("cursor"),
            asked.get("platform"),
        )
        self.unless_known(one.id for one in entries)
        return [one.model_dump(mode="json") for one in entries]
