"""Maintenance of everything and of each service: a strip above the routes, and one page.

There is one implementation, which a Scope parametrises.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from shield_core.blocks import block_of
from shield_core.exceptions import ConflictError, ShieldException
from shield_core.keys import EVERYTHING, Scope
from shield_core.models import GlobalMaintenanceConfig
from shield_django.admin.base import EngineAdmin
from shield_django.admin.conflict import changes_since, take_over
from shield_django.admin.display import scope_label, scope_sentence, timing, when, window_text
from shield_django.admin.forms import MaintenanceForm
from shield_django.control import SCOPE_KEY


class MaintenancePages(EngineAdmin):
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
        sync = self.sync(request)
        if service is not None and service not in sync.list_services():
            raise Http404
        scope = Scope("service", service) if service else EVERYTHING
        config = sync.get_maintenance(scope)
        if request.method != "POST":
            wanted = {"status": "maintenance"} if "on" in request.GET else {}
            return self._maintenance_page(
                request, scope, config, MaintenanceForm(state=config, initial=wanted)
            )
        form = MaintenanceForm(request.POST, state=config)
        if not form.is_valid():
            return self._maintenance_page(request, scope, config, form)
        try:
            saved = self._save_maintenance(request, scope, form)
        except ConflictError as error:
            return self._maintenance_conflict(request, scope, form, error)
        except ShieldException as error:
            form.add_error(None, str(error))
            return self._maintenance_page(request, scope, config, form)
        self.message_user(request, scope_sentence(scope, saved), messages.SUCCESS)
        return self.back_to_list(request)

    def _save_maintenance(
        self, request: HttpRequest, scope: Scope, form: MaintenanceForm
    ) -> GlobalMaintenanceConfig:
        sync, asked = self.sync(request), form.cleaned_data
        by = self.authorship(request, asked["note"], asked["revision"])
        if "_end" in request.POST:
            return sync.disable_maintenance(scope, asked["reason"], **by)
        return sync.set_scope_maintenance(
            scope,
            form.base_status == "maintenance",
            asked["reason"],
            exempt_paths=asked["exempt_paths"],
            include_force_active=asked["include_force_active"],
            read_only=asked["read_only"],
            window=asked["window"],
            **by,
        )

    def _maintenance_conflict(
        self, request: HttpRequest, scope: Scope, form: MaintenanceForm, error: ConflictError
    ) -> HttpResponse:
        sync = self.sync(request)
        config = sync.get_maintenance(scope)
        meanwhile = changes_since(sync, scope.store_key, error.expected)
        take_over(form, config.revision)
        return self._maintenance_page(
            request, scope, config, form, conflict=True, meanwhile=meanwhile, status=409
        )

    def _maintenance_page(
        self,
        request: HttpRequest,
        scope: Scope,
        config: GlobalMaintenanceConfig,
        form: MaintenanceForm,
        **context: Any,
    ) -> HttpResponse:
        audit_url = self.audit_url(request)
        title = _("Maintenance of %(scope)s") % {"scope": scope_label(scope)}
        return self.form_page(
            request,
            "route/maintenance.html",
            form,
            title=title,
            original=title,
            scope=self.scope_row(scope, config),
            facts=_facts(config),
            history_url=audit_url and f"{audit_url}?{urlencode({'path': scope.store_key})}",
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
        rows = [self.scope_row(scope, sync.get_maintenance(scope)) for scope in (EVERYTHING, *services)]
        return {
            "everything": rows[0],
            "in_force": [row for row in rows if row["in_force"]],
            "planned": [row for row in rows if row["timing"] and not row["in_force"]],
            "services": rows[1:],
            "environment": engine.current_env,
            # A server that has no environment of its own gates nothing.
            "names_environment": bool(engine.current_env) or SCOPE_KEY not in getattr(request, "scope", {}),
            "replica": engine.status(),
            "can_change": self.has_change_permission(request),
            "audit_url": self.audit_url(request),
        }


def _facts(config: GlobalMaintenanceConfig) -> list[tuple[str, Any]]:
    return [
        (_("Reason"), config.reason),
        (_("Note"), config.note),
        (_("Read-only"), _("yes, only writes are blocked") if config.read_only else ""),
        (_("Exempt paths"), ", ".join(config.exempt_paths)),
        (_("Protected routes"), _("blocked too") if config.include_force_active else ""),
        (_("Window"), window_text(config.window)),
        (_("Changed"), when(config.updated_at)),
        (_("Changed by"), config.updated_by),
        (_("Revision"), config.revision or ""),
    ]
