"""Shield in Django's admin: routes, limits, instances and audit log, over the engine instead of tables."""

from django.contrib import admin

from shield_django.admin.audit import AuditLogEntryAdmin
from shield_django.admin.instances import ServiceInstanceAdmin
from shield_django.admin.limits import RateLimitAdmin
from shield_django.admin.routes import RouteAdmin
from shield_django.models import AuditLogEntry, RateLimit, Route, ServiceInstance

__all__ = ["AuditLogEntryAdmin", "RateLimitAdmin", "RouteAdmin", "ServiceInstanceAdmin"]

admin.site.register(Route, RouteAdmin)
admin.site.register(RateLimit, RateLimitAdmin)
admin.site.register(ServiceInstance, ServiceInstanceAdmin)
admin.site.register(AuditLogEntry, AuditLogEntryAdmin)
