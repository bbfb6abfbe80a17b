"""The form of a rate limit, and the pages that pause, reset and remove it.

There is one implementation, which a Scope parametrises: everything, a service or a route.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from shield_core.exceptions import InvalidKeyError, ShieldException
from shield_core.keys import RouteKey, Scope
from shield_core.models import RateLimitPolicy
from shield_core.plan import Authorship
from shield_django.admin.display import is_paused, limit_details, limit_sentence, limit_text, scope_label
from shield_django.admin.facts import limit_facts
from shield_django.admin.known_limits import STEPS, KnownLimit
from shield_django.admin.limit_forms import OFFERED, ROUTES_LIST, AddLimitForm, LimitForm, LimitNoteForm
from shield_django.admin.saving import Editor, SavingPages
from shield_django.models import Route


class LimitPages(SavingPages):
    """See the module."""

    def limit_urls(self) -> list[URLPattern]:
        form, step = self.wrap(self.limit_view), self.wrap(self.step_view)
        return [
            path("everything/", form, name="shield_ratelimit_scope"),
            path("service/<str:service>/", form, name="shield_ratelimit_scope"),
            *(
                path(f"{scope}{name}/", step, {"name": name}, name=f"shield_ratelimit_{name}")
                for scope in ("everything/", "service/<str:service>/", "<str:key>/")
                for name in STEPS
            ),
        ]

    def limit_url(self, request: HttpRequest, scope: Scope, page: str = "scope") -> str:
        """Return the address of a limit's form, or of the page of a step."""
        if scope.kind == "route" and page == "scope":
            return self.url(request, "change", scope.name)
        names = {"service": {"service": scope.name}, "route": {"key": quote(scope.name)}}
        kwargs = {**names.get(scope.kind, {}), **({} if page == "scope" else {"name": page})}
        return reverse(f"admin:shield_ratelimit_{page}", kwargs=kwargs, current_app=self.admin_site.name)

    def known(self, request: HttpRequest, scope: Scope) -> KnownLimit | None:
        """Return the limit in force at a scope; None where there is no such route."""
        sync = self.sync(request)
        if scope.kind != "route":
            return KnownLimit(scope, sync.get_limit(scope))
        listed = {str(policy.key): policy for policy in sync.list_limits()}
        states = self.states(request)
        state = states.get(scope.name) or states.get(_bare(scope.name))
        if scope.name not in listed and state is None:
            return None
        code = state.rate_limit if state is not None else None
        return KnownLimit(scope, listed.get(scope.name) or sync.get_limit(scope), code)

    # -- the form ---------------------------------------------------------------------------

    def limit_view(self, request: HttpRequest, service: str | None = None) -> HttpResponse:
        """Show and change the limit of everything or of a service."""
        self.check_view(request)
        return self._form_view(request, self.wide_scope(request, service))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show and change the limit of a route, which need not have one yet."""
        self.check_view(request)
        return self._form_view(request, Scope("route", unquote(object_id)))

    def _form_view(self, request: HttpRequest, scope: Scope) -> HttpResponse:
        return self.edit(
            request,
            Editor(
                scope=scope,
                look=lambda: self.known(request, scope),
                form=lambda data, known: known.form(data),
                page=partial(self._form_page, request),
                change=partial(self._set, request, scope),
                of_limit=True,
            ),
        )

    def _set(self, request: HttpRequest, scope: Scope, form: LimitForm, by: Authorship) -> str:
        if not form.named:
            return ""
        saved = self.sync(request).set_limit(scope, form.named, form.cleaned_data["reason"], **by)
        # A person may have named a route by a view's name, or by its bare path.
        at = Scope("route", str(saved.key)) if isinstance(saved, RateLimitPolicy) else scope
        return limit_sentence(at, saved)

    def _form_page(
        self, request: HttpRequest, known: KnownLimit, form: LimitForm, **context: Any
    ) -> HttpResponse:
        title = _("Rate limit of %(scope)s") % {"scope": scope_label(known.scope)}
        return self._limit_page(request, "ratelimit/change_form.html", known, form, title=title, **context)

    def _limit_page(
        self, request: HttpRequest, name: str, known: KnownLimit, form: LimitNoteForm, **context: Any
    ) -> HttpResponse:
        """Return a page with a form, and what is known of the limit beside it."""
        return self.form_page(
            request,
            name,
            form,
            original=context["title"],
            card=self.card(request, known),
            facts=limit_facts(known.scope, known.policy, known.code),
            history_url=self._history_url(request, known.scope),
            hits_url=self.hits_url(request, known.scope),
            list_url=self.url(request, "changelist"),
            this_url=request.path,
            **context,
        )

    def card(self, request: HttpRequest, known: KnownLimit) -> dict[str, Any]:
        """Return what a card says of a limit, and what can be done with it."""
        steps = known.steps if self.has_change_permission(request) else []
        policy = known.policy
        return {
            "label": scope_label(known.scope),
            "policy": policy,
            "details": limit_details(policy) if policy is not None else "",
            "paused": is_paused(policy),
            "url": self.limit_url(request, known.scope),
            "steps": [(known.step(one).button, self.limit_url(request, known.scope, one)) for one in steps],
        }

    def hits_url(self, request: HttpRequest, scope: Scope) -> str:
        """Return where the requests are listed that limits have blocked, of a route those of its own."""
        url = self.url(request, "hits")
        return f"{url}?{urlencode({'route': scope.name})}" if scope.kind == "route" else url

    def _history_url(self, request: HttpRequest, scope: Scope) -> str:
        found = self.audit_url_of(request, scope)
        if not found and scope.kind == "route":
            return self.url_elsewhere(request, Route, "history", scope.name)
        return found

    # -- the steps --------------------------------------------------------------------------

    def step_view(
        self, request: HttpRequest, name: str, service: str | None = None, key: str | None = None
    ) -> HttpResponse:
        """Ask for the reason, and take a step."""
        self.check_view(request)
        if not self.has_change_permission(request):
            raise PermissionDenied
        scope = Scope("route", unquote(key)) if key is not None else self.wide_scope(request, service)
        return self.edit(
            request,
            Editor(
                scope=scope,
                look=lambda: self.known(request, scope),
                form=lambda data, known: LimitNoteForm(data, initial={"revision": known.revision}),
                page=partial(self._step_page, request, name),
                change=partial(self._take, request, scope, name),
                of_limit=True,
            ),
        )

    def _take(
        self, request: HttpRequest, scope: Scope, name: str, form: LimitNoteForm, by: Authorship
    ) -> str:
        STEPS[name].take(self.sync(request), scope, form.cleaned_data["reason"], by)
        if name == "reset":
            return _("The counters of %(scope)s begin anew.") % {"scope": scope_label(scope)}
        after = self.known(request, scope)
        return limit_sentence(scope, after.policy if after is not None else None)

    def _step_page(
        self, request: HttpRequest, name: str, known: KnownLimit, form: LimitNoteForm, **context: Any
    ) -> HttpResponse:
        step = known.step(name)
        title = step.title % {"scope": scope_label(known.scope)}
        template = "ratelimit/step.html"
        return self._limit_page(request, template, known, form, title=title, button=step.button, **context)

    # -- a limit where there is none ----------------------------------------------------------

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_change_permission(request)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Limit a route that has no limit."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            asked = {"revision": 0, "route": request.GET.get("route", "")}
            return self._add_page(request, AddLimitForm(initial=asked))
        form = AddLimitForm(request.POST)
        if not form.is_valid() or not self._is_free(request, form):
            return self._add_page(request, form)
        scope = Scope("route", form.cleaned_data["route"])
        known = KnownLimit(scope, None)

        def page(known: KnownLimit, form: AddLimitForm, **conflict: Any) -> HttpResponse:
            if conflict:
                self._is_free(request, form)  # tells which limit somebody has set meanwhile
            return self._add_page(request, form)

        editor = Editor(
            scope=scope,
            look=lambda: known,  # the revision of none is told with each attempt
            form=lambda data, known: form,
            page=page,
            change=partial(self._set, request, scope),
            of_limit=True,
        )
        return self.save(request, editor, known, form)

    def _is_free(self, request: HttpRequest, form: AddLimitForm) -> bool:
        """Whether the route that is meant has no limit; else the form tells why there can be none."""
        sync, scope = self.sync(request), Scope("route", form.cleaned_data["route"])
        try:
            sync.get_state(scope.name)  # which registers a route that this process has not used yet
            policy = sync.get_limit(scope)
        except ShieldException as error:
            form.add_error("route", str(error))
            return False
        if policy is not None:
            said = _("%(route)s has a limit: %(limit)s. Choose it in the list to change it.")
            form.add_error("route", said % {"route": scope.name, "limit": limit_text(policy)})
        return policy is None

    def _add_page(self, request: HttpRequest, form: AddLimitForm) -> HttpResponse:
        limited = {str(policy.key) for policy in self.sync(request).list_limits()}
        free = [key for key in self.states(request) if key not in limited]
        return self.form_page(
            request,
            "ratelimit/change_form.html",
            form,
            title=_("Add rate limit"),
            add=True,
            routes=free[:OFFERED],
            routes_list=ROUTES_LIST,
            list_url=self.url(request, "changelist"),
        )


def _bare(key: str) -> str:
    """Return the key of a route's path for all methods; a text that is no key as it is."""
    try:
        return str(RouteKey.parse(key)._replace(method=None))
    except InvalidKeyError:
        return key
