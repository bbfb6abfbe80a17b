"""The pages of the audit log, which nobody changes.

The log may hold millions of lines, so the list reads no more than it shows: every filter and the
search work in the store, and pages follow each other by the id of the last line shown, without
a number of pages, which would have to be counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self, cast

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import FieldError
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from shield_core.keys import Scope
from shield_core.sync import SyncEngine
from shield_django.admin import display
from shield_django.admin.base import EngineAdmin
from shield_django.admin.facts import entry_changes, entry_facts
from shield_django.admin.filters import (
    ActionFilter,
    ActorFilter,
    PathFilter,
    PlatformFilter,
    ServiceFilter,
    SinceFilter,
)
from shield_django.admin.listing import Lookup, Rows
from shield_django.admin.records import entry_of
from shield_django.admin.wording import action_word, platform_word
from shield_django.models import AuditLogEntry

BEFORE = "before"
_FILTERS = {
    "id": "entry_id",
    "pk": "entry_id",
    "path": "path",
    "service": "service",
    "actor": "actor",
    "action": "action",
    "platform": "platform",
    "timestamp__gte": "since",
}


class AuditListing(Rows):
    """The log's lines, newest first; filters become those of the store."""

    def __init__(self, sync: SyncEngine, narrowed: Mapping[str, Any] | None = None) -> None:
        super().__init__(AuditLogEntry)
        self._sync = sync
        self._narrowed = dict(narrowed or {})

    def _clone(self) -> Self:
        return type(self)(self._sync, self._narrowed)

    def filter(self, *conditions: Q, **lookups: Any) -> Self:
        """Narrow by exact values and a time. Raises FieldError for what no store can filter."""
        narrowed = dict(self._narrowed)
        for name, value in _flat(Q(*conditions, **lookups)):
            known = _FILTERS.get(name.removesuffix("__exact"))
            if known is None:
                raise FieldError(f"The audit log cannot be filtered by {name!r}.")
            narrowed[known] = value
        return type(self)(self._sync, narrowed)

    def search(self, text: str) -> Self:
        return type(self)(self._sync, {**self._narrowed, "search": text} if text else self._narrowed)

    def order_by(self, *names: str) -> Self:
        return self._clone()

    def distinct(self) -> Self:
        return self._clone()

    def page(self, limit: int, before: str | None) -> list[AuditLogEntry]:
        """Return at most ``limit`` lines older than the line with the id ``before``."""
        found = self._sync.get_audit_log(limit=limit, cursor=before, **self._narrowed)
        return [entry_of(entry) for entry in found]

    def __iter__(self) -> Iterator[AuditLogEntry]:
        return iter(self.page(1, None) if "entry_id" in self._narrowed else self.page(1000, None))


def _flat(condition: Q) -> Iterator[Lookup]:
    if condition.negated or (condition.connector != Q.AND and len(condition.children) > 1):
        raise FieldError("The audit log is filtered by values that all apply.")
    for child in condition.children:
        if isinstance(child, Q):
            yield from _flat(child)
        else:
            yield cast("Lookup", child)


class AuditChangeList(ChangeList):
    """Pages by the id of their last line (``?before=``)."""

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        found: dict[str, Any] = super().get_filters_params(params)
        found.pop(BEFORE, None)
        return found

    def get_query_string(self, new_params: Any = None, remove: Any = None) -> str:
        """Begin at the newest again where a filter changes."""
        return super().get_query_string(
            new_params, remove if new_params and BEFORE in new_params else [*(remove or []), BEFORE]
        )

    def get_results(self, request: HttpRequest) -> None:
        before = self.params.pop(BEFORE, None)
        found = self.queryset.page(self.list_per_page + 1, before)
        self.result_list = found[: self.list_per_page]
        self.result_count = self.full_result_count = len(self.result_list)
        self.show_full_result_count = False
        self.show_admin_actions = self.can_show_all = self.multi_page = False
        self.paginator = self.model_admin.get_paginator(request, self.result_list, self.list_per_page)
        has_older = len(found) > len(self.result_list)
        self.older = self.get_query_string({BEFORE: self.result_list[-1].pk}) if has_older else ""
        self.newest = self.get_query_string() if before else ""


class AuditLogEntryAdmin(EngineAdmin):
    """The audit log: a list, and a page for each entry."""

    actions = None
    list_display = ("time", "what", "target", "who", "why")
    list_display_links = ("time",)
    list_filter = (ActionFilter, PlatformFilter, SinceFilter, ServiceFilter, ActorFilter, PathFilter)
    search_fields = ("path", "actor", "reason", "note")
    search_help_text = gettext_lazy("Searches route, person, reason and note.")
    sortable_by = ()

    def get_queryset(self, request: HttpRequest) -> Any:
        return AuditListing(self.sync(request))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return AuditChangeList

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        return queryset.search(search_term.strip()), False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return super().changelist_view(request, {"title": _("Audit log"), **(extra_context or {})})

    # -- the list ---------------------------------------------------------------------------

    @admin.display(description=display.zoned(gettext_lazy("time")))
    def time(self, entry: AuditLogEntry) -> SafeString:
        return display.when(entry.timestamp)

    @admin.display(description=gettext_lazy("action"))
    def what(self, entry: AuditLogEntry) -> SafeString:
        change = display.transition(entry.previous_status, entry.new_status)
        return format_html("{}<div>{}</div>", action_word(entry.action), change)

    @admin.display(description=gettext_lazy("route"), empty_value="")
    def target(self, entry: AuditLogEntry) -> str | SafeString:
        return self._narrowing("path", entry.path, display.scope_label(Scope.of(entry.path)))

    @admin.display(description=gettext_lazy("who, from where"))
    def who(self, entry: AuditLogEntry) -> SafeString:
        where = ", ".join(filter(None, [platform_word(entry.platform), entry.client_ip]))
        name = self._narrowing("actor", entry.actor, entry.actor)
        return display.with_details(name, where)

    @admin.display(description=gettext_lazy("reason"), empty_value="")
    def why(self, entry: AuditLogEntry) -> SafeString:
        return display.with_details(entry.reason, entry.note)

    def _narrowing(self, name: str, value: str, label: str) -> str | SafeString:
        """Return a link to the lines that have the same value."""
        return format_html('<a href="?{}">{}</a>', urlencode({name: value}), label) if value else label

    # -- an entry ---------------------------------------------------------------------------

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show an entry, with what was there before and after it."""
        self.check_view(request)
        entry = self.get_object(request, unquote(object_id))
        if entry is None:
            return self.not_found(request, unquote(object_id))
        return self.page(
            request,
            "auditlogentry/change_form.html",
            title=_("Audit log entry"),
            subtitle=f"{action_word(entry.action)} · {display.scope_label(Scope.of(entry.path))}",
            original=display.exactly(entry.timestamp),
            entry=entry,
            facts=entry_facts(entry),
            changes=entry_changes(entry.details),
            list_url=self.url(request, "changelist"),
        )
