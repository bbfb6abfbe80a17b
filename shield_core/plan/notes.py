"""What is written into the audit log without changing anything here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shield_core.models import AuditEntry
from shield_core.plan.commands import Command
from shield_core.snapshot import Commit, Snapshot


@dataclass(frozen=True, kw_only=True)
class Note(Command):
    """Write down what happened elsewhere: at a login, or in a process that only follows this store."""

    action: str
    path: str = ""
    service: str | None = None
    previous_status: str | None = None
    new_status: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def plan(self, snapshot: Snapshot) -> Commit:
        entry = AuditEntry(
            timestamp=self.now,
            path=self.path,
            service=self.service,
            action=self.action,
            actor=self._actor,
            platform=self.by.get("platform", "system"),
            reason=self.reason,
            note=self.by.get("note", ""),
            request_id=self.by.get("request_id", ""),
            client_ip=self.by.get("client_ip", ""),
            previous_status=self.previous_status,
            new_status=self.new_status,
            details=dict(self.details),
        )
        return Commit(audit=(entry,))
