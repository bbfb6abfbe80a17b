"""What Shield's pages in the admin have in common.

Everything is read from the engine and written through it, so that one set of pages serves every
backend, also without a database: nothing here touches LogEntry, ContentType or a transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import AdminErrorList, AdminForm
from django.contrib.admin.options import ShowFacets
from django.contrib.admin.utils import quote
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.utils.http import urlencode
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from shield_core.engine import ShieldEngine
from shield_core.exceptions import BackendError, NotAllowedError
from shield_core.keys import EVERYTHING, Scope
from shield_core.models import RouteState
from shield_core.plan import Authorship
from shield_core.sync import SyncEngine
from shield_django.auth.principals import principal_in
from shield_django.auth.sources import source_of
from shield_django.control import SCOPE_KEY, control_of
from shield_django.models import AuditLogEntry

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin

logger = logging.getLogger("shield.admin")


class EngineAdmin(_ModelAdmin):
    """A ModelAdmin over the engine instead of a table."""

    #: Under any maintenance the operator reaches the controls (shield_django.openness).
    always_open = True
    show_facets = ShowFacets.NEVER
    list_per_page = 100
    list_max_show_all = 1000

    class Media:
        css = {"all": ["shield/admin.css"]}

    # -- the engine -------------------------------------------------------------------------

    def get_engine(self, request: HttpRequest) -> ShieldEngine:
        """Return the engine that these pages show: that of the request's server, else the project's."""
        return control_of(request).engine

    def sync(self, request: HttpRequest) -> SyncEngine:
        return self.get_engine(request).sync

    def wide_scope(self, request: HttpRequest, service: str | None) -> Scope:
        """Return everything, or a service. Raises Http404 for one that nobody knows."""
        if service is None:
            return EVERYTHING
        if service not in self.sync(request).list_services():
            raise Http404
        return Scope.service(service)

    def states(self, request: HttpRequest) -> dict[str, RouteState]:
        """Return all routes by their keys."""
        return {state.path: state for state in self.sync(request).list_states()}

    def authorship(
        self, request: HttpRequest, note: str = "", expected_revision: int | None = None
    ) -> Authorship:
        """Return who changes something, and from where."""
        principal = principal_in(request)
        return {
            **source_of(request),
            "actor": request.user.get_username(),
            "platform": principal.platform if principal is not None else "admin",
            "note": note,
            "expected_revision": expected_revision,
        }

    # -- permissions ------------------------------------------------------------------------

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def check_view(self, request: HttpRequest) -> None:
        """Raise PermissionDenied for whoever may not see this, or may not change it and tries."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        if request.method == "POST" and not self.has_change_permission(request):
            raise PermissionDenied

    # -- pages ------------------------------------------------------------------------------

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        self.check_view(request)
        return super().changelist_view(request, extra_context)

    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        raise PermissionDenied

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        raise PermissionDenied

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        raise Http404  # the audit log has it

    def wrap(self, view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        """Return a view of a further URL, guarded and marked as ModelAdmin does its own."""

        def wrapper(*args: Any, **kwargs: Any) -> HttpResponse:
            return self.admin_site.admin_view(view)(*args, **kwargs)

        wrapper.model_admin = self  # type: ignore[attr-defined]
        return self._with_refusals(update_wrapper(wrapper, view))

    def get_urls(self) -> list[URLPattern]:
        found: list[URLPattern] = super().get_urls()
        for one in found:
            one.callback = self._with_refusals(one.callback)
        return found

    def _with_refusals(self, view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        """Return ``view`` with a page for what a store does not let this project do, or does not answer."""

        def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            try:
                return view(request, *args, **kwargs)
            except BackendError as error:
                if SCOPE_KEY in getattr(request, "scope", {}):
                    raise  # of a ShieldServer, which has pages of its own for it
                logger.warning("%r cannot be shown: %s", request.path, error)
                return self._refusal(request, error)

        return update_wrapper(wrapper, view)

    def _refusal(self, request: HttpRequest, error: BackendError) -> TemplateResponse:
        if isinstance(error, NotAllowedError):
            title, status = _("The Shield Server does not allow this"), 403
            said = _("The credentials of this service are not enough for it. Look at the server's own pages.")
        else:
            title, status = _("The store does not answer"), 503
            said = _("Nothing was changed; try again. The rules that are known stay in force.")
        context = {**self.admin_site.each_context(request), "title": title, "said": said}
        return TemplateResponse(request, "admin/shield/refused.html", context, status=status)

    def page(self, request: HttpRequest, name: str, status: int = 200, **context: Any) -> TemplateResponse:
        """Return the page of the template ``admin/shield/…``, with what all admin pages show."""
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "subtitle": None,
            "add": False,
            "change": False,
            "has_view_permission": self.has_view_permission(request),
            "has_change_permission": self.has_change_permission(request),
            "preserved_filters": self.get_preserved_filters(request),
            "module_name": capfirst(self.opts.verbose_name_plural),
            **context,
        }
        return TemplateResponse(request, f"admin/shield/{name}", context, status=status)

    def form_page(self, request: HttpRequest, name: str, form: Form, **context: Any) -> TemplateResponse:
        """Return a page with a form in the admin's own look."""
        fieldsets: Sequence[Any] = form.fieldsets  # type: ignore[attr-defined]
        adminform = AdminForm(form, fieldsets, {}, model_admin=self)  # type: ignore[arg-type]
        context = {
            "adminform": adminform,
            "errors": AdminErrorList(form, []),  # type: ignore[arg-type]
            "media": self.media + adminform.media,
            **context,
        }
        return self.page(request, name, **context)

    def url(self, request: HttpRequest, name: str, *args: Any) -> str:
        """Return the address of a page of this model: changelist, change, history, …"""
        info = f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}"
        return reverse(info, args=[quote(arg) for arg in args], current_app=self.admin_site.name)

    def back_to_list(self, request: HttpRequest) -> HttpResponse:
        """Return to the list as it was filtered."""
        return self.response_post_save_change(request, None)

    def audit_url(self, request: HttpRequest, entry_id: str = "") -> str:
        """Return the address of the audit log or an entry, empty for whoever may not see it."""
        if entry_id:
            return self.url_elsewhere(request, AuditLogEntry, "change", entry_id)
        return self.url_elsewhere(request, AuditLogEntry, "changelist")

    def audit_url_of(self, request: HttpRequest, scope: Scope) -> str:
        """Return the address of a scope's lines of the audit log, empty for whoever may not see it."""
        found = self.audit_url(request)
        return found and f"{found}?{urlencode({'path': scope.store_key})}"

    def url_elsewhere(self, request: HttpRequest, model: type[Model], name: str, *args: Any) -> str:
        """Return the address of a page of another model, empty for whoever may not see it."""
        found = self.admin_site._registry.get(model)
        if not isinstance(found, EngineAdmin) or not found.has_view_or_change_permission(request):
            return ""
        return found.url(request, name, *args)

    def not_found(self, request: HttpRequest, key: str) -> HttpResponse:
        """Return to the list, with a message."""
        self.message_user(
            request,
            _("%(name)s “%(key)s” does not exist.") % {"name": self.opts.verbose_name, "key": key},
            messages.WARNING,
        )
        return HttpResponseRedirect(self.url(request, "changelist"))

    # -- Django's own log of changes, which the audit log replaces ------------------------------

    def log_addition(self, *args: Any, **kwargs: Any) -> Any:
        return None

    def log_change(self, *args: Any, **kwargs: Any) -> Any:
        return None

    def log_deletions(self, *args: Any, **kwargs: Any) -> Any:
        return None
