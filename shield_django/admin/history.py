"""A route's history: its lines of the audit log, page by page from the newest."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from shield_django.admin.base import EngineAdmin
from shield_django.admin.records import route_of
from shield_django.admin.wording import Line

_PER_PAGE = 50


class HistoryPage(EngineAdmin):
    """See the module."""

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.check_view(request)
        key = unquote(object_id)
        state = self.states(request).get(key)
        if state is None:
            return self.not_found(request, key)
        before = request.GET.get("before")
        entries = self.sync(request).get_audit_log(key, limit=_PER_PAGE + 1, cursor=before)
        shown = entries[:_PER_PAGE]
        return self.page(
            request,
            "route/object_history.html",
            title=_("Change history: %s") % key,
            object=route_of(state),
            lines=[Line.of(entry, self.audit_url(request, entry.id)) for entry in shown],
            older=f"?before={shown[-1].id}" if len(entries) > len(shown) else "",
            newest=request.path if before else "",
        )
