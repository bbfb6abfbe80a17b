"""Tools for tests: of projects that use Shield, and of backends that others write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shield_core.testing.states import bypass, maintenance_state, route_state

if TYPE_CHECKING:
    from shield_core.testing.contract import BackendContract as BackendContract

__all__ = ["BackendContract", "bypass", "maintenance_state", "route_state"]


def __getattr__(name: str) -> Any:
    if name == "BackendContract":  # needs pytest, which a process that only sets a state has not
        from shield_core.testing.contract import BackendContract

        return BackendContract
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
