"""Maintenance of everything and of each service: a strip above the routes, and one page.

There is one implementation, which a Scope parametrises.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _

from shield_core.blocks import block_of
from shield_core.keys import EVERYTHING, Scope
from shield_core.models import GlobalMaintenanceConfig
from shield_core.plan import Authorship
from shield_django.admin.display import scope_label, scope_sentence, timing, when
from shield_django.admin.facts import maintenance_facts
from shield_django.admin.filters import ServiceFilter
from shield_django.admin.forms import MaintenanceForm
from shield_django.admin.saving import Editor, SavingPages
from shield_django.control import SCOPE_KEY


class MaintenancePages(SavingPages):
    """See the module."""

    def maintenance_urls(self) -> list[URLPattern]:
        view = self.wrap(self.maintenance_view)
        return [
            path("maintenance/", view, name="shield_route_maintenance"),
            path("maintenance/<str:service>/", view, name="shield_route_maintenance"),
        ]

    def maintenance_view(self, request: HttpRequest, service: str | None = None) -> HttpResponse:
        """Show and change a scope's maintenance."""
        self.check_view(request)
        scope = self.wide_scope(request, service)
        wanted = {"status": "maintenance"} if "on" in request.GET else {}
        return self.edit(
            request,
            Editor(
                scope=scope,
                look=lambda: self.sync(request).get_maintenance(scope),
                form=lambda data, config: MaintenanceForm(data, state=config, initial=wanted),
                page=partial(self._maintenance_page, request, scope),
                change=partial(self._save_maintenance, request, scope),
            ),
        )

    def _save_maintenance(
        self, request: HttpRequest, scope: Scope, form: MaintenanceForm, by: Authorship
    ) -> str:
        sync, asked = self.sync(request), form.cleaned_data
        if "_end" in request.POST:
            return scope_sentence(scope, sync.disable_maintenance(scope, asked["reason"], **by))
        saved = sync.set_scope_maintenance(
            scope,
            form.base_status == "maintenance",
            asked["reason"],
            exempt_paths=asked["exempt_paths"],
            include_force_active=asked["include_force_active"],
            read_only=asked["read_only"],
            window=asked["window"],
            **by,
        )
        return scope_sentence(scope, saved)

    def _maintenance_page(
        self,
        request: HttpRequest,
        scope: Scope,
        config: GlobalMaintenanceConfig,
        form: MaintenanceForm,
        **context: Any,
    ) -> HttpResponse:
        title = _("Maintenance of %(scope)s") % {"scope": scope_label(scope)}
        return self.form_page(
            request,
            "route/maintenance.html",
            form,
            title=title,
            original=title,
            scope=self.scope_row(scope, config),
            facts=maintenance_facts(config),
            history_url=self.audit_url_of(request, scope),
            list_url=self.url(request, "changelist"),
            this_url=request.path,
            **context,
        )

    def scope_row(self, scope: Scope, config: GlobalMaintenanceConfig) -> dict[str, Any]:
        """Return what the strip says of a scope."""
        now = datetime.now(UTC)
        block = block_of(config, now)
        args = [scope.name] if scope.kind == "service" else []
        return {
            "label": scope_label(scope),
            "kind": scope.kind,
            "name": scope.name,
            "in_force": block is not None,
            "block": block,
            "timing": timing(config, now),
            "changed": when(config.updated_at),
            "changed_by": config.updated_by,
            "url": reverse("admin:shield_route_maintenance", args=args, current_app=self.admin_site.name),
        }

    def strip(self, request: HttpRequest) -> dict[str, Any]:
        """Return what stands above the list of routes."""
        engine = self.get_engine(request)
        sync = engine.sync
        services = [Scope("service", name) for name in sync.list_services()]
        now = sync.current()  # once, however many services there are
        rows = [self.scope_row(scope, now.maintenance(scope)) for scope in (EVERYTHING, *services)]
        chosen = request.GET.get(ServiceFilter.parameter_name)
        return {
            "off": [row for row in rows if row["name"] in ("", chosen) and not row["in_force"]],
            "in_force": [row for row in rows if row["in_force"]],
            "planned": [row for row in rows if row["timing"] and not row["in_force"]],
            "services": [row for row in rows[1:] if row["name"] != chosen],
            "environment": engine.current_env,
            # A server that has no environment of its own gates nothing.
            "names_environment": bool(engine.current_env) or SCOPE_KEY not in getattr(request, "scope", {}),
            "replica": engine.status(),
            "can_change": self.has_change_permission(request),
            "audit_url": self.audit_url(request),
        }
