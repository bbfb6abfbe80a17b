"""Bulk actions on routes: a page asks for the reason, then all of them are changed in one commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from shield_core.exceptions import BulkRefusedError, ShieldException
from shield_core.models import RouteState
from shield_core.plan import RouteAction
from shield_django.admin.base import EngineAdmin
from shield_django.admin.bulk_forms import BulkBlockForm, BulkForm, BulkMaintenanceForm
from shield_django.admin.display import route_badge, route_sentence, sentence, time_text

#: How many routes the page names; the rest it counts.
_LISTED = 100
#: Of how many the next page says why they were refused: what a cookie holds.
_REFUSALS_TOLD = 10


@dataclass(frozen=True)
class Bulk:
    """One bulk action: what it is called, what it asks, and which of the answers the change takes."""

    title: str | Promise
    button: str | Promise
    form: type[BulkForm]
    action: RouteAction
    takes: tuple[str, ...] = ()


BULKS = {
    "enable": Bulk(
        gettext_lazy("Enable routes"),
        gettext_lazy("Enable"),
        BulkForm,
        "enable",
    ),
    "maintenance": Bulk(
        gettext_lazy("Put routes into maintenance"),
        gettext_lazy("Put into maintenance"),
        BulkMaintenanceForm,
        "maintenance",
        ("until", "read_only"),
    ),
    "disable": Bulk(
        gettext_lazy("Disable routes"),
        gettext_lazy("Disable"),
        BulkBlockForm,
        "disable",
        ("until",),
    ),
    "reset": Bulk(
        gettext_lazy("Return routes to the code"),
        gettext_lazy("Return to the code"),
        BulkForm,
        "reset",
    ),
}


def _done(name: str, count: int, until: datetime | None) -> str:
    said = {
        "enable": ngettext("%(count)d route was enabled", "%(count)d routes were enabled", count),
        "maintenance": ngettext(
            "%(count)d route was put into maintenance%(until)s",
            "%(count)d routes were put into maintenance%(until)s",
            count,
        ),
        "disable": ngettext(
            "%(count)d route was disabled%(until)s", "%(count)d routes were disabled%(until)s", count
        ),
        "reset": ngettext(
            "%(count)d route was returned to the code", "%(count)d routes were returned to the code", count
        ),
    }
    end = _(" until %(end)s") % {"end": time_text(until)} if until else ""
    return sentence(said[name] % {"count": count, "until": end})


class BulkActions(EngineAdmin):
    """The actions of the list, and the page between them and the change."""

    actions: Sequence[Any] = ("enable", "maintenance", "disable", "reset")

    @admin.action(permissions=["change"], description=gettext_lazy("Enable"))
    def enable(self, request: HttpRequest, queryset: Any) -> HttpResponse:
        return self._ask(request, "enable", queryset)

    @admin.action(permissions=["change"], description=gettext_lazy("Maintenance"))
    def maintenance(self, request: HttpRequest, queryset: Any) -> HttpResponse:
        return self._ask(request, "maintenance", queryset)

    @admin.action(permissions=["change"], description=gettext_lazy("Disable"))
    def disable(self, request: HttpRequest, queryset: Any) -> HttpResponse:
        return self._ask(request, "disable", queryset)

    @admin.action(permissions=["change"], description=gettext_lazy("Return to the code"))
    def reset(self, request: HttpRequest, queryset: Any) -> HttpResponse:
        return self._ask(request, "reset", queryset)

    def bulk_urls(self) -> list[URLPattern]:
        return [path("bulk/<slug:name>/", self.wrap(self.bulk_view), name="shield_route_bulk")]

    def bulk_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Change the routes that the page listed; what is refused is told route by route."""
        self.check_view(request)
        if name not in BULKS or request.method != "POST":
            raise Http404
        form = BULKS[name].form(request.POST)
        if not form.is_valid():
            return self._bulk_page(request, name, form, str(request.POST.get("keys", "")).split())
        keys: list[str] = form.cleaned_data["keys"]
        self._bulk_change(request, name, keys, form.cleaned_data)
        return self.back_to_list(request)

    def _ask(self, request: HttpRequest, name: str, queryset: Any) -> HttpResponse:
        keys = [route.key for route in queryset]
        return self._bulk_page(request, name, BULKS[name].form(initial={"keys": " ".join(keys)}), keys)

    def _bulk_page(self, request: HttpRequest, name: str, form: BulkForm, keys: list[str]) -> HttpResponse:
        bulk, known, now = BULKS[name], self.states(request), datetime.now(UTC)
        context: Any = {"opts": self.opts, "preserved_filters": self.get_preserved_filters(request)}
        return self.form_page(
            request,
            "route/bulk.html",
            form,
            title=bulk.title,
            original=bulk.title,
            button=bulk.button,
            count=len(keys),
            rows=[
                {"route": key, "badge": route_badge(known[key], now)}
                for key in keys[:_LISTED]
                if key in known
            ],
            unlisted=max(0, len(keys) - _LISTED),
            form_url=add_preserved_filters(context, self.url(request, "bulk", name)),
            list_url=add_preserved_filters(context, self.url(request, "changelist")),
        )

    def _bulk_change(self, request: HttpRequest, name: str, keys: list[str], asked: dict[str, Any]) -> None:
        changed, refusals = self._changed(request, BULKS[name], keys, asked)
        for key, why in islice(refusals.items(), _REFUSALS_TOLD):
            refused = _("%(route)s was left as it was: %(why)s") % {"route": key, "why": why}
            self.message_user(request, refused, messages.ERROR)
        if untold := max(0, len(refusals) - _REFUSALS_TOLD):
            said = ngettext(
                "%(count)d further route was left as it was.",
                "%(count)d further routes were left as they were.",
                untold,
            )
            self.message_user(request, said % {"count": untold}, messages.ERROR)
        if len(changed) == 1:
            self.message_user(request, route_sentence(changed[0]), messages.SUCCESS)
        elif changed:
            self.message_user(request, _done(name, len(changed), asked.get("until")), messages.SUCCESS)

    def _changed(
        self, request: HttpRequest, bulk: Bulk, keys: list[str], asked: dict[str, Any]
    ) -> tuple[list[RouteState], dict[str, ShieldException]]:
        """Change all routes but those that refuse it; return both."""
        what = {name: asked[name] for name in bulk.takes}
        by = self.authorship(request, asked["note"])
        refusals: dict[str, ShieldException] = {}
        while keys:
            try:
                changed = self.sync(request).change_routes(keys, bulk.action, asked["reason"], **what, **by)
                return changed, refusals
            except BulkRefusedError as error:
                refusals |= error.refusals
            except ShieldException as error:
                refusals |= dict.fromkeys(keys, error)
            keys = [key for key in keys if key not in refusals]
        return [], refusals
