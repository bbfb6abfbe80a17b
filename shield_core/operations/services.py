"""What services tell that follow this store over HTTP: their routes, their doings, that they are alive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from shield_core import plan
from shield_core.models import AuditEntry, Instance, RateLimitHit, RouteState
from shield_core.operations.commits import Committing
from shield_core.plan import Authorship
from shield_core.snapshot import Changes, Cursor, Snapshot, Write


class ServiceOperations(Committing):
    """For a server: nothing here decides in this process."""

    async def current(self) -> Snapshot:
        """Return the state of the store as it is now, at one revision."""
        return await self._fresh()

    async def register_states(
        self, states: Sequence[RouteState], **by: Unpack[Authorship]
    ) -> list[RouteState]:
        """Store what another process's code declares, in one commit, none when nothing is new.

        Return the routes as they are now: an operator's override wins.
        """
        snapshot, _ = await self._run(plan.Register(by=by, states=states))
        return [snapshot.routes[state.path] for state in states]

    async def propose(
        self,
        proposals: Sequence[plan.Proposal],
        entries: Sequence[AuditEntry],
        may_be_silent: bool = False,
        **by: Unpack[Authorship],
    ) -> Changes:
        """Commit what another process proposes; return what was stored, with the revision it got.

        ``entries`` tell each of them; ``may_be_silent`` lets go of that rule.
        """
        command = plan.Propose(by=by, proposals=proposals, entries=entries, may_be_silent=may_be_silent)
        snapshot, _ = await self._run(command)
        keys = [one.key for one in proposals]
        revisions = [max(snapshot.revision_of(key), snapshot.deleted.get(key, 0)) for key in keys]
        position = Cursor(snapshot.epoch, max(revisions, default=snapshot.revision))
        return Changes(position, tuple(Write(key, snapshot.objects.get(key)) for key in keys))

    async def heard_of(self, instance: Instance) -> None:
        """Note that a process follows this store from elsewhere, and the revision that it has applied."""
        await self._port.beat(instance)

    async def report_hits(self, hits: Sequence[RateLimitHit]) -> None:
        """Keep requests that limits have blocked in another process, the oldest first."""
        if hits:
            await self._port.write_hits(hits)

    async def note(
        self,
        action: str,
        path: str = "",
        service: str | None = None,
        previous_status: str | None = None,
        new_status: str | None = None,
        details: Mapping[str, Any] | None = None,
        reason: str = "",
        **by: Unpack[Authorship],
    ) -> None:
        """Write an audit entry about what happened elsewhere."""
        command = plan.Note(
            by=by,
            reason=reason,
            action=action,
            path=path,
            service=service,
            previous_status=previous_status,
            new_status=new_status,
            details=details or {},
        )
        await self._run(command)
