"""What an operator asks of the store itself: its history, who follows it, and its recovery."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from typing import Unpack

from shield_core import plan, recovery
from shield_core.audit import AuditQuery
from shield_core.exceptions import (
    InvalidInputError,
    NothingToRestoreError,
    RouteNotFoundException,
)
from shield_core.models import (
    AuditEntry,
    Instance,
)
from shield_core.operations.commits import Committing
from shield_core.plan import Authorship


class RecordOperations(Committing):
    """Audit log, instances, recovery."""

    async def instances(self) -> list[Instance]:
        """Return the processes that follow the store and were heard of in the last 90 seconds."""
        now = datetime.now(UTC)
        return [one for one in await self._port.instances() if one.alive_at(now)]

    async def restore(self, reason: str = "", timeout: float = 10.0, **by: Unpack[Authorship]) -> None:
        """Let a running process put the rules back into an emptied store.

        Raises NothingToRestoreError when none has done so within ``timeout`` seconds.
        """
        await self._run(recovery.RequestRestore(by=by, reason=reason))
        deadline = time.monotonic() + timeout
        while recovery.is_requested(await self._fresh()):
            if time.monotonic() > deadline:
                await self._run(recovery.RequestRestore(by=by, withdraw=True))
                raise NothingToRestoreError(
                    "No running process holds rules that the store has lost. If the store is right as it "
                    "is, accept it with 'shield reset --all'."
                )
            await self._port.pause(0.05)

    async def reset_all(self, reason: str = "", **by: Unpack[Authorship]) -> None:
        """Lift every override and all maintenance; running processes accept the store as it is then."""
        await self._run(recovery.ResetEverything(by=by, reason=reason))

    async def get_audit_log(
        self,
        path: str | None = None,
        limit: int | None = 100,
        service: str | None = None,
        actor: str | None = None,
        action: str | None = None,
        since: datetime | None = None,
        cursor: str | None = None,
        platform: str | None = None,
        search: str | None = None,
        entry_id: str | None = None,
    ) -> list[AuditEntry]:
        """Return audit entries, newest first; filters work before ``limit`` (None: all).

        ``path`` may be all that names a route; what names none is taken as it is.
        """
        if path is not None:
            with contextlib.suppress(RouteNotFoundException, InvalidInputError):
                path = plan.resolve(await self._fresh(), self._target(path), self.service)
        query = AuditQuery(
            path=path,
            service=service,
            actor=actor,
            action=action,
            platform=platform,
            since=since,
            search=search,
            id=entry_id,
            cursor=cursor,
            limit=limit,
        )
        return await self._port.read_audit(query)
