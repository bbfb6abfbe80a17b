"""The processes that enforce the rules, and how far each has come."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from shield_django.admin import display
from shield_django.admin.base import EngineAdmin
from shield_django.admin.filters import ServiceFilter
from shield_django.admin.listing import Listing
from shield_django.admin.records import instance_of
from shield_django.auth.principals import CHANGE, VIEW
from shield_django.models import ServiceInstance


class ServiceInstanceAdmin(EngineAdmin):
    """The live instances of all services, as ``shield instances`` lists them; nobody changes them."""

    actions = None
    list_display = ("service", "process", "release", "applied", "seen")
    list_display_links = None
    list_filter = (ServiceFilter,)
    search_fields = ("service", "host", "release")
    search_help_text = gettext_lazy("Searches service, host and release.")
    ordering = ("service", "host", "pid")
    list_per_page = 100
    list_max_show_all = 1000

    def get_queryset(self, request: HttpRequest) -> Any:
        sync = self.sync(request)

        def load() -> list[ServiceInstance]:
            store = sync.current().cursor
            return [instance_of(one, store) for one in sync.instances()]

        return Listing(ServiceInstance, load)

    # Whoever sees the routes sees who enforces them, in the API too.

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(VIEW) or request.user.has_perm(CHANGE)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        silent = self._silent(request) if self.has_view_permission(request) else []
        context = {"silent": silent, "title": _("Instances"), **(extra_context or {})}
        return super().changelist_view(request, context)

    def _silent(self, request: HttpRequest) -> list[str]:
        """Return the services of which no instance is alive."""
        heard = {one.service for one in self.sync(request).instances()}
        return [name for name in self.sync(request).list_services() if name not in heard]

    def change_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        raise Http404  # the list says everything

    def history_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        raise Http404

    # -- the list ---------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("process"), ordering="host")
    def process(self, row: ServiceInstance) -> SafeString:
        return display.with_details(row.host, _("process %(pid)s") % {"pid": row.pid})

    @admin.display(description=gettext_lazy("rules in force"), ordering="lag")
    def applied(self, row: ServiceInstance) -> SafeString:
        revision = _("revision %(number)s") % {"number": row.revision}
        if row.lag is None:
            return display.badge("", revision, look="disabled", word=_("of another history of the store"))
        if row.lag == 0:
            return display.badge("", revision, look="active", word=_("up to date"))
        behind = ngettext("%(count)s change behind", "%(count)s changes behind", row.lag)
        return display.badge("", revision, look="maintenance", word=behind % {"count": row.lag})

    @admin.display(description=display.zoned(gettext_lazy("last seen")), ordering="seen_at")
    def seen(self, row: ServiceInstance) -> SafeString:
        return display.when(row.seen_at)
