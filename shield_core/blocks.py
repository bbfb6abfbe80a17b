"""What blocks a route or a scope at a moment, for people: tables, messages and pages."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from shield_core.models import (
    BLOCKING,
    GlobalMaintenanceConfig,
    MaintenanceWindow,
    RouteState,
    RouteStatus,
)


class Block(NamedTuple):
    """Why something blocks; ``window`` None is for good."""

    status: RouteStatus
    reason: str
    read_only: bool
    window: MaintenanceWindow | None = None

    @property
    def strictness(self) -> tuple[bool, bool, bool]:
        """Order as a request does: disabled, then full, then read-only; of equals the endless."""
        return (self.status is RouteStatus.DISABLED, not self.read_only, self.window is None)


def block_of(held: RouteState | GlobalMaintenanceConfig, now: datetime) -> Block | None:
    """Return what blocks ``held`` now: itself, or the window that runs; of both the stricter."""
    blocks = []
    if isinstance(held, GlobalMaintenanceConfig):
        if held.enabled:
            blocks.append(Block(RouteStatus.MAINTENANCE, held.reason, held.read_only))
    elif held.status in BLOCKING:
        blocks.append(Block(held.status, held.reason, held.read_only))
    window = held.window
    if window is not None and window.runs_at(now):
        fallback = held.reason if isinstance(held, GlobalMaintenanceConfig) else ""
        blocks.append(Block(window.status, window.reason or fallback, window.read_only, window))
    return max(blocks, key=lambda block: block.strictness, default=None)
