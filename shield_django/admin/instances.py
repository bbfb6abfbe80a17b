"""The processes that enforce the rules, and how far each has come."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from shield_core.models import INSTANCE_TTL
from shield_django.admin import display
from shield_django.admin.base import EngineAdmin
from shield_django.admin.filters import ServiceFilter
from shield_django.admin.listing import Listing
from shield_django.admin.records import instance_of
from shield_django.auth.access import is_permitted
from shield_django.auth.principals import VIEW
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

    def get_queryset(self, request: HttpRequest) -> Any:
        sync = self.sync(request)

        def load() -> list[ServiceInstance]:
            store = sync.current().cursor
            return [instance_of(one, store) for one in sync.instances()]

        return Listing(ServiceInstance, load)

    # Whoever sees the routes sees who enforces them, in the API too.

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_permitted(request.user, VIEW)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        context = {"title": _("Instances"), "seconds": int(INSTANCE_TTL), **(extra_context or {})}
        response = super().changelist_view(request, context)
        if isinstance(response, TemplateResponse) and response.context_data is not None:
            heard = {row.service for row in response.context_data["cl"].root_queryset}
            services = self.sync(request).list_services()
            response.context_data["silent"] = [name for name in services if name not in heard]
        return response

    def change_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        raise Http404  # the list says everything

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
