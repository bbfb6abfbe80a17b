"""The server's pages: the admin site of routes, limits, instances and audit log, with a login of its own."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.core.validators import RegexValidator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, include, path, re_path, reverse
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from shield_core.exceptions import NotAllowedError
from shield_core.plan import Authorship
from shield_core.texts import CONTROL
from shield_django.admin.site import ShieldAdminSite
from shield_django.api.errors import TooManyLogins
from shield_django.api.throttle import guarded
from shield_django.auth.principals import DASHBOARD, principal_in
from shield_django.auth.sources import source_of
from shield_django.auth.tokens import Token
from shield_django.control import control_of
from shield_django.models import AuditLogEntry, RateLimit, Route, ServiceInstance

logger = logging.getLogger("shield.server")

_FORM_METHODS = ["GET", "HEAD", "POST"]
#: Pages of Django's own site that need its users, its tables or a cross-reference between sites.
_LEFT_OUT = {"login", "logout", "password_change", "password_change_done", "autocomplete", "view_on_site"}


class LoginForm(forms.Form):
    """Name and password."""

    username = forms.CharField(
        label=gettext_lazy("Username"),
        max_length=255,
        # What failed is written into the audit log, which is read in terminals.
        validators=[RegexValidator(CONTROL, inverse_match=True)],
        widget=forms.TextInput({"autofocus": True, "autocomplete": "username", "autocapitalize": "none"}),
    )
    password = forms.CharField(
        label=gettext_lazy("Password"),
        max_length=4096,
        strip=False,
        widget=forms.PasswordInput({"autocomplete": "current-password"}),
    )


class ServerSite(ShieldAdminSite):
    """Asks ``control_of(request)`` for everything, so that one site serves all servers of a process."""

    site_url = None

    def get_urls(self) -> list[Any]:
        found = super().get_urls()
        *kept, catch_all = [one for one in found if not _is_left_out(one)]
        pages = [one for one in kept if isinstance(one, URLPattern) and one.name != "app_list"]
        return [
            *pages,
            re_path(r"^login/?$", self.login, name="login"),
            re_path(r"^logout/?$", self.logout, name="logout"),
            path("routes/", include(self._registry[Route].urls)),
            path("rate-limits/", include(self._registry[RateLimit].urls)),
            path("instances/", include(self._registry[ServiceInstance].urls)),
            path("audit/", include(self._registry[AuditLogEntry].urls)),
            # Not below the name of the application, which is what a public path may be called.
            re_path(r"^panel/(?P<app_label>shield)/$", self.admin_view(self.app_index), name="app_list"),
            catch_all,
        ]

    @method_decorator(
        [never_cache, sensitive_post_parameters(), require_http_methods(["GET", "HEAD", "POST"])]
    )
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the form, and let in whoever has the right password."""
        control = control_of(request)
        if request.method != "POST" and self.has_permission(request):
            return HttpResponseRedirect(self._next(request))
        form = LoginForm(request.POST or None)
        status, headers = (400 if form.errors else 200), {}
        if request.method == "POST" and form.is_valid():
            try:
                said = form.cleaned_data
                token = guarded(
                    request,
                    said["username"],
                    DASHBOARD,
                    lambda: control.operator_token(request, **said, platform=DASHBOARD),
                )
            except TooManyLogins as refused:
                status, headers = 429, {"Retry-After": str(refused.wait)}
                form.add_error(None, str(refused.detail))
            else:
                if token is not None:
                    return self._let_in(request, token)
                status = 401
                form.add_error(None, _("The username or the password is wrong."))
        context = {
            **self.each_context(request),
            "title": _("Log in"),
            "subtitle": None,
            "form": form,
            "app_path": request.get_full_path(),
            "username": request.user.get_username(),
            REDIRECT_FIELD_NAME: self._next(request),
            **(extra_context or {}),
        }
        request.current_app = self.name
        page = "admin/shield/server/login.html"
        return TemplateResponse(request, page, context, status=status, headers=headers)

    def _let_in(self, request: HttpRequest, token: Token) -> HttpResponse:
        control = control_of(request)
        response = HttpResponseRedirect(self._next(request))
        lifetime = int((token.expires_at - datetime.now(UTC)).total_seconds())
        response.set_cookie(control.session_cookie, control.tokens.sign(token), lifetime)
        return response

    @method_decorator([never_cache, require_POST])
    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """End the session on every node, and the streams that its token holds open."""
        control, user = control_of(request), principal_in(request)
        if user is not None and user.token is not None:
            by: Authorship = {**source_of(request), "actor": user.username, "platform": DASHBOARD}
            try:
                control.engine.sync.revoke_token(user.token.id, user.token.record, **by)
            except NotAllowedError as error:
                # The store is a Shield Server's, where a service revokes nothing; this browser forgets it.
                logger.warning("The login of %s is ended in this browser only: %s", user.username, error)
        response = HttpResponseRedirect(reverse("admin:login", current_app=self.name))
        response.delete_cookie(control.session_cookie)
        return response

    def _next(self, request: HttpRequest) -> str:
        """Return where to go after the login: a page of this server."""
        asked = request.POST.get(REDIRECT_FIELD_NAME) or request.GET.get(REDIRECT_FIELD_NAME) or ""
        here = {request.get_host()}
        if url_has_allowed_host_and_scheme(asked, here, require_https=request.is_secure()):
            return asked
        return reverse("admin:index", current_app=self.name)


def _is_left_out(one: URLPattern | URLResolver) -> bool:
    return isinstance(one, URLPattern) and one.name in _LEFT_OUT


site = ServerSite()
