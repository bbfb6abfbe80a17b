"""What is written into the audit log without changing anything here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
        entry = self._entry(
            self.action,
            path=self.path,
            service=self.service,
            previous_status=self.previous_status,
            new_status=self.new_status,
            details=dict(self.details),
        )
        return Commit(audit=(entry,))
