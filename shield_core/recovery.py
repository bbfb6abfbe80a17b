"""After a store was lost: put the rules back that running processes still hold, or accept the loss.

A process that restores has usually no rules itself: it is a command line. So it leaves a request in
the store, and the first process that kept its rules fulfils it. What was agreed upon stands in
the store as a mark, which tells all others that the store is whole again.
"""

from __future__ import annotations

from dataclasses import dataclass

from shield_core.keys import ACCEPTED_KEY, RESTORE_KEY, Facet, parse_store_key
from shield_core.models import GlobalMaintenanceConfig
from shield_core.plan import ClearOverride, Command, DeleteLimit, SetScopeMaintenance
from shield_core.snapshot import Commit, Snapshot, Write


def is_accepted(snapshot: Snapshot) -> bool:
    return ACCEPTED_KEY in snapshot.objects


def is_requested(snapshot: Snapshot) -> bool:
    return RESTORE_KEY in snapshot.objects


def was_emptied(before: Snapshot, after: Snapshot) -> bool:
    """Whether a store that operators had used holds nothing of theirs any more, and none of them did it.

    Where somebody lifts the last override revisions go on; an emptied store counts from the start.
    """
    if not before.operator_keys or after.operator_keys:
        return False
    return after.revision < before.revision or after.is_another_store(before)


def is_back(kept: Snapshot, found: Snapshot) -> bool:
    """Whether the lost store itself has returned: its epoch, or all that operators had put there."""
    if kept.epoch == found.epoch:
        return bool(found.operator_keys)
    return set(kept.operator_keys) <= set(found.operator_keys)


@dataclass(frozen=True, kw_only=True)
class RequestRestore(Command):
    """Ask the processes that kept their rules to put them back; ``withdraw`` takes the request away."""

    withdraw: bool = False

    def plan(self, snapshot: Snapshot) -> Commit:
        mark = None if self.withdraw else GlobalMaintenanceConfig(reason=self.reason, **self._stamp)
        if self.withdraw and not is_requested(snapshot):
            return Commit()
        return Commit((Write(RESTORE_KEY, mark),), (), {RESTORE_KEY: snapshot.revision_of(RESTORE_KEY)})


@dataclass(frozen=True, kw_only=True)
class Restore(Command):
    """Put back what this process kept, as far as nobody has set it anew."""

    kept: Snapshot

    def plan(self, snapshot: Snapshot) -> Commit:
        if not is_requested(snapshot):
            return Commit()  # another process was first
        anew = set(snapshot.operator_keys)
        keys = [key for key in self.kept.operator_keys if key not in anew]
        request = snapshot.objects[RESTORE_KEY]
        entry = self._entry(
            "store_restored",
            actor=request.updated_by or "system",
            reason=getattr(request, "reason", ""),
            details={"restored": sorted(keys)},
        )
        writes = [Write(key, self.kept.objects[key]) for key in keys]
        writes += [Write(RESTORE_KEY, None), Write(ACCEPTED_KEY, GlobalMaintenanceConfig(**self._stamp))]
        return Commit(tuple(writes), (entry,), {key: snapshot.revision_of(key) for key, _ in writes})


@dataclass(frozen=True, kw_only=True)
class ResetEverything(Command):
    """Lift every override, all maintenance and all limits, and accept the store as it is then."""

    def plan(self, snapshot: Snapshot) -> Commit:
        keys = snapshot.operator_keys
        parts = [self._lift(key).plan(snapshot) for key in keys if parse_store_key(key)[0] is not Facet.TOKEN]
        mark = Write(ACCEPTED_KEY, GlobalMaintenanceConfig(**self._stamp))
        entry = self._entry("override_cleared", details={"reset": "all"})
        expect = {ACCEPTED_KEY: snapshot.revision_of(ACCEPTED_KEY)}
        return Commit(
            (*(write for part in parts for write in part.writes), mark),
            (*(one for part in parts for one in part.audit), entry),
            {**expect, **{key: revision for part in parts for key, revision in part.expect.items()}},
        )

    def _lift(self, key: str) -> Command:
        facet, scope = parse_store_key(key)
        if facet is Facet.LIMIT:
            return DeleteLimit(by=self.by, reason=self.reason, now=self.now, scope=scope)
        if scope.kind == "route":
            return ClearOverride(by=self.by, reason=self.reason, now=self.now, target=key)
        return SetScopeMaintenance(by=self.by, reason=self.reason, now=self.now, scope=scope, enabled=False)


def overlay(kept: Snapshot, found: Snapshot) -> Snapshot:
    """Return the rules that were kept, under what operators have set since in the new store."""
    anew = {key: found.objects[key] for key in found.operator_keys}
    return Snapshot(kept.epoch, kept.revision, {**kept.objects, **anew}, kept.deleted)
