"""Mutations of several routes in one commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from shield_core.exceptions import BulkRefusedError, InvalidInputError, ShieldException
from shield_core.keys import RouteKey
from shield_core.plan.commands import Command, joined
from shield_core.plan.resolution import resolve, resolve_all
from shield_core.plan.routes import (
    CancelSchedule,
    ClearOverride,
    Disable,
    Enable,
    RouteCommand,
    Schedule,
    SetEnvironments,
    SetMaintenance,
)
from shield_core.snapshot import Changes, Commit, Snapshot

RouteAction = Literal["enable", "disable", "maintenance", "env", "schedule", "schedule-cancel", "reset"]

#: What people and programs call the mutations of a route that can be done to several at once.
ROUTE_ACTIONS: Mapping[RouteAction, type[RouteCommand]] = {
    "enable": Enable,
    "disable": Disable,
    "maintenance": SetMaintenance,
    "env": SetEnvironments,
    "schedule": Schedule,
    "schedule-cancel": CancelSchedule,
    "reset": ClearOverride,
}


@dataclass(frozen=True, kw_only=True)
class ChangeRoutes(Command):
    """Do the same to each of ``targets``, to all of them or to none; ``what`` are the command's own fields.

    ``all_methods``: to every key that the path of a target has.
    """

    targets: Sequence[str]
    action: RouteAction
    what: Mapping[str, Any] = field(default_factory=dict)
    service: str | None = None
    all_methods: bool = False

    def plan(self, snapshot: Snapshot) -> Commit:
        """Raises what one route refuses, and BulkRefusedError where there are several."""
        targets, refusals = self._resolved(snapshot)
        if self.by.get("expected_revision") is not None and len(targets) > 1:
            raise InvalidInputError(
                "A revision is that of one object: expect one where you change one route."
            )
        parts: list[Commit] = []
        shared = Counter(RouteKey.parse(key).path for key in targets)
        for key, target in targets.items():
            try:
                part = self._of(key).plan(snapshot)
            except ShieldException as error:
                refusals[key if self.all_methods else target] = error
                continue
            parts.append(part)
            if shared[RouteKey.parse(key).path] > 1:  # the methods of a path fall back to its bare key
                snapshot = snapshot.apply(Changes(snapshot.cursor, part.writes), advance=False)
        if len(refusals) == 1 and not parts:
            raise next(iter(refusals.values()))
        if refusals:
            raise BulkRefusedError(refusals)
        return joined(parts)

    def keys(self, snapshot: Snapshot) -> list[str]:
        """Return the keys of ``targets`` in a snapshot that has them."""
        return list(self._resolved(snapshot)[0])

    def _resolved(self, snapshot: Snapshot) -> tuple[dict[str, str], dict[str, ShieldException]]:
        """Return the keys, those of bare paths first, with their targets, and why some targets have none."""
        found: dict[str, str] = {}
        refusals: dict[str, ShieldException] = {}
        for target in self.targets:
            try:
                if self.all_methods:
                    found |= dict.fromkeys(resolve_all(snapshot, target, self.service), target)
                else:
                    found[resolve(snapshot, target, self.service)] = target
            except ShieldException as error:
                refusals[target] = error
        bare_first = sorted(found, key=lambda key: RouteKey.parse(key).method is not None)
        return {key: found[key] for key in bare_first}, refusals

    def _of(self, key: str) -> RouteCommand:
        command = ROUTE_ACTIONS[self.action]
        return command(by=self.by, reason=self.reason, now=self.now, target=key, **self.what)
