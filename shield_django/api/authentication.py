"""Who asks: by token, by the server's cookie, by a project's session; on an open server anybody."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from rest_framework.authentication import BaseAuthentication, CSRFCheck
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from shield_django.auth.authorities import Django
from shield_django.auth.browsers import changes_something, is_foreign, logged_in
from shield_django.auth.principals import ANYBODY, DASHBOARD, Nobody, Principal
from shield_django.auth.tokens import InvalidToken
from shield_django.control import ControlPlane, control_of

#: The operator of an open server.
ANONYMOUS = Principal(ANYBODY, "api")


class Credentials(BaseAuthentication):
    """Finds the principal; one who names a token that is not valid is nobody, whatever else he has."""

    def authenticate(self, request: Request) -> tuple[Any, Any]:
        plain: HttpRequest = request._request
        control = control_of(plain)
        text = token_in(plain)
        if text:
            try:
                found = control.principal_of(text)
            except InvalidToken as error:
                if not control.authority.is_open:
                    raise AuthenticationFailed(str(error)) from error
            else:
                return found, found.token
        if control.authority.is_open:
            # The browser's own account of where a change comes from must do.
            if changes_something(plain) and is_foreign(plain):
                raise PermissionDenied("This change comes from a page of another site.")
            return ANONYMOUS, None
        browser = logged_in(plain, control) or _of_session(plain, control)
        if browser is None:
            return Nobody(), None
        _enforce_csrf(plain)
        return browser, browser.token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="shield"'


def token_in(request: HttpRequest) -> str:
    """Return the token of the headers, "" where there is none."""
    named = request.headers.get("X-Shield-Token", "").strip()
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    return named or (rest.strip() if scheme.lower() == "bearer" else "")


def _of_session(request: HttpRequest, control: ControlPlane) -> Principal | None:
    user = getattr(request, "user", None)
    if not isinstance(control.authority, Django) or user is None or isinstance(user, Principal):
        return None
    if not (user.is_authenticated and user.is_active):
        return None
    return Principal(user.get_username(), DASHBOARD, None, user)


def _enforce_csrf(request: HttpRequest) -> None:
    """Refuse a change that another site made the browser send."""
    check = CSRFCheck(_nothing)
    check.process_request(request)
    reason = check.process_view(request, _nothing, (), {})
    if reason:
        raise PermissionDenied(f"CSRF failed: {reason}")


def _nothing(request: HttpRequest) -> HttpResponse:
    """Stand for the view, which the check does not call."""
    return HttpResponse()
