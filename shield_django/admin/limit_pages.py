"""The form of a rate limit, and the pages that pause, reset and remove it.

There is one implementation, which a Scope parametrises: everything, a service or a route.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.functional import Promise
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from shield_core.exceptions import ConflictError, InvalidKeyError, ShieldException
from shield_core.keys import EVERYTHING, RouteKey, Scope
from shield_core.models import RateLimitPolicy, StoredPolicy
from shield_core.plan import Authorship
from shield_core.sync import SyncEngine
from shield_django.admin.base import EngineAdmin
from shield_django.admin.conflict import changes_since, take_over
from shield_django.admin.display import (
    is_operators,
    is_paused,
    limit_details,
    limit_sentence,
    limit_text,
    scope_label,
)
from shield_django.admin.facts import limit_facts
from shield_django.admin.limit_forms import (
    OFFERED,
    ROUTES_LIST,
    AddLimitForm,
    LimitForm,
    LimitNoteForm,
    RouteLimitForm,
    WideLimitForm,
)
from shield_django.models import Route


@dataclass(frozen=True)
class Step:
    """One change that asks for nothing but a reason."""

    title: str | Promise
    button: str | Promise
    take: Callable[[SyncEngine, Scope, str, Authorship], object]


def _delete(sync: SyncEngine, scope: Scope, reason: str, by: Authorship) -> None:
    sync.delete_limit(scope, reason, **by)


def _reset(sync: SyncEngine, scope: Scope, reason: str, by: Authorship) -> None:
    # The revision that the person saw is the limit's, not that of its counters.
    by["expected_revision"] = None
    sync.reset_limit(scope, reason, **by)


STEPS = {
    "pause": Step(
        gettext_lazy("Pause the rate limit of %(scope)s"),
        gettext_lazy("Pause"),
        lambda sync, scope, reason, by: sync.switch_limit(scope, False, reason, **by),
    ),
    "resume": Step(
        gettext_lazy("Resume the rate limit of %(scope)s"),
        gettext_lazy("Resume"),
        lambda sync, scope, reason, by: sync.switch_limit(scope, True, reason, **by),
    ),
    "reset": Step(
        gettext_lazy("Reset the counters of %(scope)s"),
        gettext_lazy("Reset counters"),
        _reset,
    ),
    "delete": Step(
        gettext_lazy("Remove the rate limit of %(scope)s"),
        gettext_lazy("Remove"),
        _delete,
    ),
}
_BACK_TO_THE_CODE = Step(
    gettext_lazy("Return the rate limit of %(scope)s to the code"),
    gettext_lazy("Return to the code"),
    _delete,
)


@dataclass(frozen=True)
class Known:
    """The limit in force at a scope; ``code`` is what the code says of a route."""

    scope: Scope
    policy: StoredPolicy | None
    code: RateLimitPolicy | None = None

    @property
    def is_here(self) -> bool:
        """Whether the limit is that of this very scope, and not of a route's bare path."""
        if not isinstance(self.policy, RateLimitPolicy):
            return self.policy is not None
        return str(self.policy.key) == self.scope.name

    @property
    def is_own(self) -> bool:
        """Whether an operator has set a limit of this very scope."""
        return self.policy is not None and self.is_here and is_operators(self.policy)

    @property
    def revision(self) -> int:
        return self.policy.revision if self.policy is not None and self.is_own else 0

    @property
    def steps(self) -> list[str]:
        """The names of the steps that can be taken."""
        found = []
        if self.is_own and self.scope.kind != "route":
            found.append("resume" if is_paused(self.policy) else "pause")
        if self.is_here:
            found.append("reset")
        if self.is_own:
            found.append("delete")
        return found

    def step(self, name: str) -> Step:
        return _BACK_TO_THE_CODE if name == "delete" and self.code is not None else STEPS[name]

    def form(self, data: Any = None) -> LimitForm:
        form = RouteLimitForm if self.scope.kind == "route" else WideLimitForm
        return form(data, policy=self.policy, code=self.code, initial={"revision": self.revision})


class LimitPages(EngineAdmin):
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

    def known(self, request: HttpRequest, scope: Scope) -> Known | None:
        """Return the limit in force at a scope; None where there is no such route."""
        sync = self.sync(request)
        if scope.kind != "route":
            return Known(scope, sync.get_limit(scope))
        listed = {str(policy.key): policy for policy in sync.list_limits()}
        states = self.states(request)
        state = states.get(scope.name) or states.get(_bare(scope.name))
        if scope.name not in listed and state is None:
            return None
        code = state.rate_limit if state is not None else None
        return Known(scope, listed.get(scope.name) or sync.get_limit(scope), code)

    # -- the form ---------------------------------------------------------------------------

    def limit_view(self, request: HttpRequest, service: str | None = None) -> HttpResponse:
        """Show and change the limit of everything or of a service."""
        self.check_view(request)
        return self._form_view(request, self._scope(request, service))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show and change the limit of a route, which need not have one yet."""
        self.check_view(request)
        return self._form_view(request, self._scope(request, key=object_id))

    def _scope(self, request: HttpRequest, service: str | None = None, key: str | None = None) -> Scope:
        if service is not None and service not in self.sync(request).list_services():
            raise Http404
        if key is not None:
            return Scope("route", unquote(key))
        return Scope("service", service) if service is not None else EVERYTHING

    def _form_view(self, request: HttpRequest, scope: Scope) -> HttpResponse:
        known = self.known(request, scope)
        if known is None:
            return self.not_found(request, scope.name)
        if request.method != "POST":
            return self._form_page(request, known, known.form())
        form = known.form(request.POST)
        if not form.is_valid():
            return self._form_page(request, known, form)
        if not form.named:
            self.message_user(request, _("Nothing was changed."))
        else:
            refused = self._change(request, known, form, self._form_page, _set(scope, form))
            if refused is not None:
                return refused
        if "_continue" in request.POST:
            return HttpResponseRedirect(request.get_full_path())
        return self.back_to_list(request)

    def _form_page(
        self, request: HttpRequest, known: Known, form: LimitNoteForm, **context: Any
    ) -> HttpResponse:
        title = _("Rate limit of %(scope)s") % {"scope": scope_label(known.scope)}
        return self.form_page(
            request,
            "ratelimit/change_form.html",
            form,
            title=title,
            original=title,
            **self._beside(request, known),
            **context,
        )

    def _beside(self, request: HttpRequest, known: Known) -> dict[str, Any]:
        """Return what stands beside the form of a limit, and beside that of a step."""
        return {
            "card": self.card(request, known),
            "facts": limit_facts(known.scope, known.policy, known.code),
            "history_url": self._history_url(request, known.scope),
            "hits_url": self.hits_url(request, known.scope),
            "list_url": self.url(request, "changelist"),
            "this_url": request.path,
        }

    def card(self, request: HttpRequest, known: Known) -> dict[str, Any]:
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
        audit_url = self.audit_url(request)
        if audit_url:
            return f"{audit_url}?{urlencode({'path': scope.store_key})}"
        return self.url_elsewhere(request, Route, "history", scope.name) if scope.kind == "route" else ""

    # -- the steps --------------------------------------------------------------------------

    def step_view(
        self, request: HttpRequest, name: str, service: str | None = None, key: str | None = None
    ) -> HttpResponse:
        """Ask for the reason, and take a step."""
        self.check_view(request)
        if not self.has_change_permission(request):
            raise PermissionDenied
        scope = self._scope(request, service, key)
        known = self.known(request, scope)
        if known is None:
            return self.not_found(request, scope.name)
        step = known.step(name)

        def page(request: HttpRequest, known: Known, form: LimitNoteForm, **context: Any) -> HttpResponse:
            return self._step_page(request, known, step, form, **context)

        if request.method != "POST":
            return page(request, known, LimitNoteForm(initial={"revision": known.revision}))
        form = LimitNoteForm(request.POST)
        if not form.is_valid():
            return page(request, known, form)

        def take(sync: SyncEngine, by: Authorship) -> str:
            step.take(sync, scope, form.cleaned_data["reason"], by)
            if name == "reset":
                return _("The counters of %(scope)s begin anew.") % {"scope": scope_label(scope)}
            after = self.known(request, scope)
            return limit_sentence(scope, after.policy if after is not None else None)

        return self._change(request, known, form, page, take) or self.back_to_list(request)

    def _step_page(
        self,
        request: HttpRequest,
        known: Known,
        step: Step,
        form: LimitNoteForm,
        **context: Any,
    ) -> HttpResponse:
        title = step.title % {"scope": scope_label(known.scope)}
        return self.form_page(
            request,
            "ratelimit/step.html",
            form,
            title=title,
            original=title,
            button=step.button,
            **self._beside(request, known),
            **context,
        )

    # -- what they have in common -------------------------------------------------------------

    def _change(
        self,
        request: HttpRequest,
        known: Known,
        form: LimitNoteForm,
        page: Callable[..., HttpResponse],
        change: Callable[[SyncEngine, Authorship], str],
    ) -> HttpResponse | None:
        """Make a change and tell of it, or return the page again with why it was refused."""
        sync, asked = self.sync(request), form.cleaned_data
        try:
            said = change(sync, self.authorship(request, asked["note"], asked["revision"]))
        except ConflictError as error:
            now = self.known(request, known.scope)
            if now is None:
                return self.not_found(request, known.scope.name)
            meanwhile = changes_since(sync, known.scope.store_key, error.expected, of_limit=True)
            take_over(form, now.revision)
            return page(request, now, form, conflict=True, meanwhile=meanwhile, status=409)
        except ShieldException as error:
            form.add_error(None, str(error))
            return page(request, known, form)
        self.message_user(request, said, messages.SUCCESS)
        return None

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
        known = self._without_limit(request, form) if form.is_valid() else None
        if known is None:
            return self._add_page(request, form)

        def page(request: HttpRequest, known: Known, form: AddLimitForm, **conflict: Any) -> HttpResponse:
            if conflict:
                self._without_limit(request, form)  # tells which limit somebody has set meanwhile
            return self._add_page(request, form)

        refused = self._change(request, known, form, page, _set(known.scope, form))
        return refused or self.back_to_list(request)

    def _without_limit(self, request: HttpRequest, form: AddLimitForm) -> Known | None:
        """Return the route that is meant; None where the form tells why it cannot be."""
        sync, scope = self.sync(request), Scope("route", form.cleaned_data["route"])
        try:
            sync.get_state(scope.name)  # which registers a route that this process has not used yet
            policy = sync.get_limit(scope)
        except ShieldException as error:
            form.add_error("route", str(error))
            return None
        if policy is not None:
            said = _("%(route)s has a limit: %(limit)s. Choose it in the list to change it.")
            form.add_error("route", said % {"route": scope.name, "limit": limit_text(policy)})
            return None
        return Known(scope, None)

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


def _set(scope: Scope, form: LimitForm) -> Callable[[SyncEngine, Authorship], str]:
    def change(sync: SyncEngine, by: Authorship) -> str:
        saved = sync.set_limit(scope, form.named, form.cleaned_data["reason"], **by)
        # A person may have named a route by a view's name, or by its bare path.
        at = Scope("route", str(saved.key)) if isinstance(saved, RateLimitPolicy) else scope
        return limit_sentence(at, saved)

    return change


def _bare(key: str) -> str:
    """Return the key of a route's path for all methods; a text that is no key as it is."""
    try:
        return str(RouteKey.parse(key)._replace(method=None))
    except InvalidKeyError:
        return key
