"""The pages of the routes: list, form and history."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from shield_core.keys import Scope
from shield_core.models import RouteState
from shield_core.plan import Authorship, in_force
from shield_core.snapshot import Snapshot
from shield_django.admin import display
from shield_django.admin.bulk import BulkActions
from shield_django.admin.facts import route_facts
from shield_django.admin.filters import OriginFilter, ServiceFilter, StatusFilter
from shield_django.admin.forms import RouteForm
from shield_django.admin.history import HistoryPage
from shield_django.admin.listing import Listing
from shield_django.admin.records import route_of
from shield_django.admin.saving import Editor
from shield_django.admin.scopes import MaintenancePages
from shield_django.models import Origin, RateLimit, Route


class RouteAdmin(BulkActions, MaintenancePages, HistoryPage):
    """Routes as operators see and change them."""

    list_display = ("route", "status_now", "reason_now", "set_by")
    list_filter = (StatusFilter, OriginFilter, ServiceFilter)
    search_fields = ("key", "reason", "note", "updated_by")
    search_help_text = gettext_lazy("Searches route, reason, note and the person who changed it last.")
    ordering = ("path", "method", "key")

    def get_queryset(self, request: HttpRequest) -> Any:
        sync = self.sync(request)

        def load() -> list[Route]:
            now = datetime.now(UTC)
            return [route_of(state, now) for state in sync.list_states()]

        return Listing(Route, load)

    def get_urls(self) -> list[URLPattern]:
        return [*self.maintenance_urls(), *self.bulk_urls(), *super().get_urls()]

    # -- the list ---------------------------------------------------------------------------

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        strip = self.strip(request) if self.has_view_or_change_permission(request) else None
        context = {"strip": strip, "title": _("Routes"), **(extra_context or {})}
        return super().changelist_view(request, context)

    @admin.display(description=gettext_lazy("route"), ordering="path")
    def route(self, route: Route) -> str:
        return route.key

    @admin.display(description=gettext_lazy("status now"), ordering="effective_status")
    def status_now(self, route: Route) -> SafeString:
        return display.route_badge(route.state, datetime.now(UTC))

    @admin.display(description=gettext_lazy("reason"), ordering="reason", empty_value="")
    def reason_now(self, route: Route) -> str:
        return route.reason

    @admin.display(description=display.zoned(gettext_lazy("set by, when")), ordering="updated_at")
    def set_by(self, route: Route) -> str | SafeString:
        if route.origin == Origin.CODE:
            return route.get_origin_display()
        return display.author(route.updated_by, route.state.updated_at)

    # -- the form ---------------------------------------------------------------------------

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a route, and change it where that is allowed."""
        self.check_view(request)
        key = unquote(object_id)
        return self.edit(
            request,
            Editor(
                scope=Scope("route", key),
                look=partial(self._look, request, key),
                form=lambda data, state: RouteForm(data, state=state),
                page=partial(self._form_page, request),
                change=partial(self._save, request, key),
            ),
        )

    def _look(self, request: HttpRequest, key: str) -> RouteState | None:
        """Return what holds for a route: the form of a method that all methods' override blocks says so."""
        states = self.states(request)
        found = states.get(key)
        return in_force(Snapshot(objects=states), key, found) if found is not None else None

    def _save(self, request: HttpRequest, key: str, form: RouteForm, by: Authorship) -> str:
        sync, asked = self.sync(request), form.cleaned_data
        if "_reset" in request.POST:
            return display.route_sentence(sync.clear_override(key, asked["reason"], **by))
        if not form.has_changed():
            return ""
        saved = sync.set_route(
            key,
            form.base_status,
            reason=asked["reason"],
            window=asked["window"],
            envs=asked["allowed_envs"],
            read_only=asked["read_only"],
            **by,
        )
        return display.route_sentence(saved)

    def _form_page(
        self, request: HttpRequest, state: RouteState, form: RouteForm, **context: Any
    ) -> HttpResponse:
        may_change = self.has_change_permission(request)
        return self.form_page(
            request,
            "route/change_form.html",
            form,
            title=_("Change route") if may_change else _("View route"),
            subtitle=state.path,
            original=route_of(state),
            object_id=state.path,
            change=True,
            badge=display.route_badge(state, datetime.now(UTC)),
            facts=route_facts(state, self.sync(request).get_limit(Scope("route", state.path))),
            overridden=state.origin == "operator",
            limit_url=self.url_elsewhere(request, RateLimit, "change", state.path),
            this_url=self.url(request, "change", state.path),
            list_url=self.url(request, "changelist"),
            **context,
        )
