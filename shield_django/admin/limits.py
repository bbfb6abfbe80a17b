"""The pages of rate limits: the limits of routes in a list, and cards of those that routes share."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import URLPattern
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from shield_core.keys import EVERYTHING, Scope
from shield_django.admin import display
from shield_django.admin.filters import KeyFilter, OriginFilter, ServiceFilter
from shield_django.admin.hits import HitsPage
from shield_django.admin.limit_pages import LimitPages
from shield_django.admin.listing import Listing
from shield_django.admin.records import limit_of
from shield_django.models import Origin, RateLimit


class RateLimitAdmin(LimitPages, HitsPage):
    """Rate limits as operators see and change them."""

    actions = None
    list_display = ("route", "limit_now", "counted", "counting", "set_by")
    list_filter = (ServiceFilter, OriginFilter, KeyFilter)
    search_fields = ("key", "limit", "updated_by")
    search_help_text = gettext_lazy("Searches route, limit and the person who changed it last.")
    ordering = ("path", "method", "key")

    def get_queryset(self, request: HttpRequest) -> Any:
        sync = self.sync(request)
        return Listing(RateLimit, lambda: [limit_of(policy) for policy in sync.list_limits()])

    def get_urls(self) -> list[URLPattern]:
        return [*self.hits_urls(), *self.limit_urls(), *super().get_urls()]

    # -- the list ---------------------------------------------------------------------------

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        shared = self._shared(request) if self.has_view_or_change_permission(request) else None
        context = {"shared": shared, "title": _("Rate limits"), **(extra_context or {})}
        return super().changelist_view(request, context)

    def _shared(self, request: HttpRequest) -> dict[str, Any]:
        """Return the cards above the list: of everything, and of the service that the list is filtered by."""
        services = self.sync(request).list_services()
        chosen = request.GET.get(ServiceFilter.parameter_name)
        scopes = [EVERYTHING, *(Scope("service", name) for name in services if name == chosen)]
        known = [self.known(request, scope) for scope in scopes]
        return {
            "cards": [self.card(request, one) for one in known if one is not None],
            "services": [name for name in services if name != chosen],
            "hits_url": self.hits_url(request, EVERYTHING),
            "audit_url": self.audit_url(request),
            "can_change": self.has_change_permission(request),
        }

    @admin.display(description=gettext_lazy("route"), ordering="path")
    def route(self, row: RateLimit) -> str:
        return row.key

    @admin.display(description=gettext_lazy("limit"), ordering="rate")
    def limit_now(self, row: RateLimit) -> SafeString:
        return display.with_details(
            format_html('<span class="shield-limit">{}</span>', row.limit),
            _("burst %(count)s") % {"count": row.burst} if row.burst else "",
            display.tiers_text(row.policy),
            _("counted only, blocks nobody") if row.shadow else "",
        )

    @admin.display(description=gettext_lazy("algorithm"), ordering="algorithm")
    def counting(self, row: RateLimit) -> str:
        return display.algorithm_text(row.algorithm)

    @admin.display(description=gettext_lazy("counted"), ordering="key_strategy")
    def counted(self, row: RateLimit) -> str:
        return display.key_text(row.key_strategy)

    @admin.display(description=display.zoned(gettext_lazy("set by, when")), ordering="updated_at")
    def set_by(self, row: RateLimit) -> str | SafeString:
        if row.origin == Origin.CODE:
            return row.get_origin_display()
        return display.author(row.updated_by, row.policy.updated_at)
