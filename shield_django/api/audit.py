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
        asked = dict(self.asked)
        route = asked.pop("route", None)
        entries = self.sync.get_audit_log(
            self.target(route) if route else None,
            entry_id=asked.pop("id", None),
            **{**asked, "service": self.service},
        )
        self.unless_known(one.id for one in entries)
        return [one.model_dump(mode="json") for one in entries]
