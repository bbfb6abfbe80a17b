"""What an operator does with the maintenance of everything and of services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from shield_core import plan
from shield_core.exceptions import (
    InvalidInputError,
)
from shield_core.keys import EVERYTHING, Scope
from shield_core.models import (
    GlobalMaintenanceConfig,
    MaintenanceWindow,
)
from shield_core.operations.commits import Committing
from shield_core.plan import Authorship


class MaintenanceOperations(Committing):
    """The maintenance of a scope; what is named after one is that at its scope."""

    async def get_maintenance(self, scope: Scope) -> GlobalMaintenanceConfig:
        """Return the maintenance of a scope: everything or a service."""
        return (await self._fresh()).maintenance(scope)

    async def enable_maintenance(
        self,
        scope: Scope,
        reason: str = "",
        exempt_paths: Sequence[str] | None = None,
        include_force_active: bool = False,
        read_only: bool = False,
        window: MaintenanceWindow | None = None,
        **by: Unpack[Authorship],
    ) -> GlobalMaintenanceConfig:
        """Put a scope into maintenance, at once or in a window; exempt paths None keeps them."""
        command = plan.EnableScopeMaintenance(
            by=by,
            scope=scope,
            reason=reason,
            exempt_paths=exempt_paths,
            include_force_active=include_force_active,
            read_only=read_only,
            window=window,
        )
        return await self._scope(command)

    async def disable_maintenance(
        self, scope: Scope, reason: str = "", **by: Unpack[Authorship]
    ) -> GlobalMaintenanceConfig:
        """End the maintenance of a scope; a future window stays."""
        return await self._scope(plan.DisableScopeMaintenance(by=by, scope=scope, reason=reason))

    async def cancel_maintenance_schedule(
        self, scope: Scope, reason: str = "", **by: Unpack[Authorship]
    ) -> GlobalMaintenanceConfig:
        """Take the window of a scope's maintenance away, a running one too."""
        return await self._scope(plan.CancelScopeSchedule(by=by, scope=scope, reason=reason))

    async def set_scope_maintenance(
        self,
        scope: Scope,
        enabled: bool,
        reason: str = "",
        exempt_paths: Sequence[str] = (),
        include_force_active: bool = False,
        read_only: bool = False,
        window: MaintenanceWindow | None = None,
        **by: Unpack[Authorship],
    ) -> GlobalMaintenanceConfig:
        """Set a scope's switch, window and exempt paths in one commit, as a form does."""
        command = plan.SetScopeMaintenance(
            by=by,
            scope=scope,
            enabled=enabled,
            reason=reason,
            exempt_paths=exempt_paths,
            include_force_active=include_force_active,
            read_only=read_only,
            window=window,
        )
        return await self._scope(command)

    async def set_exempt_paths(
        self, scope: Scope, paths: Sequence[str], reason: str = "", **by: Unpack[Authorship]
    ) -> GlobalMaintenanceConfig:
        """Replace a scope's exempt paths, without switching its maintenance on or off."""
        return await self._scope(plan.SetExemptPaths(by=by, scope=scope, reason=reason, exempt_paths=paths))

    async def exempt_path(
        self, scope: Scope, path: str, exempt: bool = True, reason: str = "", **by: Unpack[Authorship]
    ) -> GlobalMaintenanceConfig:
        """Let one path through a scope's maintenance, or (``exempt`` False) no longer."""
        return await self._scope(plan.ExemptPath(by=by, scope=scope, reason=reason, path=path, exempt=exempt))

    async def get_global_maintenance(self) -> GlobalMaintenanceConfig:
        return await self.get_maintenance(EVERYTHING)

    async def enable_global_maintenance(
        self,
        reason: str = "",
        exempt_paths: Sequence[str] | None = None,
        include_force_active: bool = False,
        read_only: bool = False,
        window: MaintenanceWindow | None = None,
        **by: Unpack[Authorship],
    ) -> GlobalMaintenanceConfig:
        return await self.enable_maintenance(
            EVERYTHING, reason, exempt_paths, include_force_active, read_only, window, **by
        )

    async def disable_global_maintenance(
        self, reason: str = "", **by: Unpack[Authorship]
    ) -> GlobalMaintenanceConfig:
        return await self.disable_maintenance(EVERYTHING, reason, **by)

    async def set_global_exempt_paths(
        self, paths: Sequence[str], reason: str = "", **by: Unpack[Authorship]
    ) -> GlobalMaintenanceConfig:
        return await self.set_exempt_paths(EVERYTHING, paths, reason, **by)

    async def get_service_maintenance(self, service: str) -> GlobalMaintenanceConfig:
        return await self.get_maintenance(Scope.service(service))

    async def enable_service_maintenance(
        self,
        service: str,
        reason: str = "",
        exempt_paths: Sequence[str] | None = None,
        include_force_active: bool = False,
        read_only: bool = False,
        window: MaintenanceWindow | None = None,
        **by: Unpack[Authorship],
    ) -> GlobalMaintenanceConfig:
        return await self.enable_maintenance(
            Scope.service(service), reason, exempt_paths, include_force_active, read_only, window, **by
        )

    async def disable_service_maintenance(
        self, service: str, reason: str = "", **by: Unpack[Authorship]
    ) -> GlobalMaintenanceConfig:
        return await self.disable_maintenance(Scope.service(service), reason, **by)

    async def _scope(self, command: plan.ScopeCommand) -> GlobalMaintenanceConfig:
        if command.scope.kind == "route":
            raise InvalidInputError("A route has a state of its own: use set_maintenance().")
        snapshot, _ = await self._run(command)
        return snapshot.maintenance(command.scope)
