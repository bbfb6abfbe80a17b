"""Shield in Django's admin: routes and audit log, over the engine instead of tables."""

from django.contrib import admin

from shield_django.admin.audit import AuditLogEntryAdmin
from shield_django.admin.routes import RouteAdmin
from shield_django.models import AuditLogEntry, Route

__all__ = ["AuditLogEntryAdmin", "RouteAdmin"]

admin.site.register(Route, RouteAdmin)
admin.site.register(AuditLogEntry, AuditLogEntryAdmin)
