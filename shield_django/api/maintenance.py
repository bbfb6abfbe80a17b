"""The maintenance of everything and of one service: the same views, at two scopes."""

from __future__ import annotations

from typing import Any

from rest_framework.exceptions import ValidationError

from shield_core.keys import EVERYTHING, Scope, check_service
from shield_core.models import GlobalMaintenanceConfig, RouteStatus
from shield_django.api import bodies
from shield_django.api.base import ControlView, operation
from shield_django.api.bodies import window_of


class ScopeView(ControlView):
    """A view of a scope: everything, or the service that its address names."""

    def scope(self, service: str | None) -> Scope:
        if service is None:
            return EVERYTHING
        self.allow(check_service(service))
        return Scope.service(service)


class Maintenance(ScopeView):
    """The maintenance of everything or of a service."""

    @operation(GlobalMaintenanceConfig)
    def get(self, service: str | None = None) -> Any:
        return self.sync.get_maintenance(self.scope(service))


class Enable(ScopeView):
    """Switch maintenance on, for good, for a time or in a window."""

    @operation(GlobalMaintenanceConfig, takes=bodies.ScopeMaintenance)
    def post(self, service: str | None = None) -> Any:
        return self.sync.enable_maintenance(
            self.scope(service),
            self.reason,
            self.said.get("exempt_paths"),
            self.said.get("include_force_active", False),
            self.said.get("read_only", False),
            window_of(self.said, RouteStatus.MAINTENANCE),
            **self.by,
        )


class Disable(ScopeView):
    """Switch maintenance off; a window in the future stays."""

    @operation(GlobalMaintenanceConfig, takes=bodies.Change)
    def post(self, service: str | None = None) -> Any:
        return self.sync.disable_maintenance(self.scope(service), self.reason, **self.by)


class Schedule(ScopeView):
    """Take the window of maintenance away, a running one too."""

    @operation(GlobalMaintenanceConfig, takes=bodies.Change, asks=bodies.ChangeQuery)
    def delete(self, service: str | None = None) -> Any:
        return self.sync.cancel_maintenance_schedule(self.scope(service), self.reason, **self.by)


class Exempt(ScopeView):
    """Exempt paths from maintenance, or no longer; never switches it on or off."""

    @operation(GlobalMaintenanceConfig, takes=bodies.ExemptPath)
    def post(self, service: str | None = None) -> Any:
        return self._exempt(service, self.said["path"], exempt=True)

    @operation(GlobalMaintenanceConfig, takes=bodies.ExemptPaths)
    def put(self, service: str | None = None) -> Any:
        return self.sync.set_exempt_paths(self.scope(service), self.said["paths"], self.reason, **self.by)

    @operation(GlobalMaintenanceConfig, takes=bodies.DeleteExempt, asks=bodies.ExemptQuery)
    def delete(self, service: str | None = None) -> Any:
        path = self.said.get("path") or self.asked.get("path")
        if not path:
            raise ValidationError({"path": "Say which path, in the body or in the query."})
        return self._exempt(service, path, exempt=False)

    def _exempt(self, service: str | None, path: str, *, exempt: bool) -> GlobalMaintenanceConfig:
        return self.sync.exempt_path(self.scope(service), path, exempt, self.reason, **self.by)
