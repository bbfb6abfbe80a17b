"""An admin site of Shield's own, which stands alone and needs no database."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.sites import AdminSite
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from shield_django.admin.audit import AuditLogEntryAdmin
from shield_django.admin.instances import ServiceInstanceAdmin
from shield_django.admin.limits import RateLimitAdmin
from shield_django.admin.routes import RouteAdmin
from shield_django.models import AuditLogEntry, RateLimit, Route, ServiceInstance


class ShieldAdminSite(AdminSite):
    """Routes, rate limits, instances, audit log; ``request.user`` may be anything with ``has_perm``.

    A subclass overrides ``has_permission`` and ``login`` where users do not come from a database.
    """

    site_header = _("Shield")
    site_title = _("Shield")
    index_title = _("Routes, rate limits, instances and audit log")
    index_template = "admin/shield/index.html"

    def __init__(self, name: str = "shield") -> None:
        super().__init__(name)
        self.register(Route, RouteAdmin)
        self.register(RateLimit, RateLimitAdmin)
        self.register(ServiceInstance, ServiceInstanceAdmin)
        self.register(AuditLogEntry, AuditLogEntryAdmin)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the pages in the order in which they are registered: what an operator needs first."""
        order = [model._meta.object_name for model in self._registry]
        found: list[Any] = super().get_app_list(request, app_label)
        for app in found:
            app["models"].sort(key=lambda one: order.index(one["object_name"]))
        return found

    def get_log_entries(self, request: HttpRequest) -> Any:
        """Return no recent actions: they are in the audit log."""
        return ()
