"""What happens to every request before a view has it: who is asking, and whether a browser was tricked.

There is no session. A browser is known by a token in a cookie, and its forms carry a value that only its
own pages know: derived from that token, or from a cookie of its own before it is logged in.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.messages.storage.cookie import CookieStorage
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CSRF_SESSION_KEY, CsrfViewMiddleware
from django.urls import set_urlconf
from django.utils.cache import patch_vary_headers
from django.utils.crypto import get_random_string

from shield_django.api.formats import is_in_utf8
from shield_django.auth.browsers import changes_something, is_foreign, logged_in
from shield_django.auth.principals import ANYBODY, DASHBOARD, Nobody, Principal
from shield_django.control import ControlPlane, control_of
from shield_django.server.cookies import settle
from shield_django.server.errors import forbidden, is_api

URLCONF = "shield_django.server.urls"
_SECRET = re.compile(r"[A-Za-z0-9]{32}")
_TOKEN_HEADERS = ("Authorization", "X-Shield-Token")

Get = Callable[[HttpRequest], Any]


def guarded(get_response: Get) -> Get:
    """Return ``get_response`` behind the gate."""
    check_form = CsrfViewMiddleware(get_response).process_view

    def answer(request: HttpRequest) -> Any:
        control = control_of(request)
        request.urlconf = URLCONF
        set_urlconf(URLCONF)
        request.get_host()  # raises DisallowedHost
        if not is_in_utf8(request):
            raise BadRequest("Everything is read as UTF-8.")
        request.user = _user(control, request)  # type: ignore[assignment]
        notes = CookieStorage(request)
        notes.cookie_name = f"{control.cookie_prefix}_notes"
        request._messages = notes  # type: ignore[attr-defined]
        secret = _prepare_forms(control, request)
        if changes_something(request):
            needs_form = _needs_form(control, request)
            if needs_form and check_form(request, _a_form, (), {}):
                return forbidden(request)
            # No browser sends a token in a header by itself, and none lets another site's page do so,
            # unless the application around this server has said that it may.
            if is_foreign(request) and not (is_api(request) and _names_token(request)):
                return forbidden(request)
        response = get_response(request)
        _finish(control, request, response, notes, secret)
        return response

    return answer


def _user(control: ControlPlane, request: HttpRequest) -> Principal | Nobody:
    """Return who is asking by cookie; the API looks at the headers itself."""
    if control.authority.is_open:
        return Principal(ANYBODY, DASHBOARD)
    return logged_in(request, control) or Nobody()


# -- forms ----------------------------------------------------------------------------------


def _prepare_forms(control: ControlPlane, request: HttpRequest) -> str:
    """Let Django's own protection of forms, also within the admin, find this browser's secret."""
    token = getattr(request.user, "token", None)
    known = request.COOKIES.get(_form_cookie(control), "")
    if token is not None:
        secret = control.form_secret(token)
    else:
        secret = known if _SECRET.fullmatch(known) else get_random_string(32)
    request.META["CSRF_COOKIE"] = secret
    request.COOKIES[settings.CSRF_COOKIE_NAME] = secret
    if settings.CSRF_USE_SESSIONS:
        request.session = {CSRF_SESSION_KEY: secret}  # type: ignore[assignment]
    return secret


def _needs_form(control: ControlPlane, request: HttpRequest) -> bool:
    """Whether a browser might send this by itself, with its cookie."""
    if not is_api(request):
        return True
    return request.user.is_authenticated and not control.authority.is_open and not _names_token(request)


def _names_token(request: HttpRequest) -> bool:
    return any(name in request.headers for name in _TOKEN_HEADERS)


def _a_form() -> HttpResponse:
    """Stand for the view, which would be asked whether it is exempt; none is."""
    raise NotImplementedError


def _finish(
    control: ControlPlane, request: HttpRequest, response: HttpResponse, notes: CookieStorage, secret: str
) -> None:
    shows_form = request.META.get("CSRF_COOKIE_NEEDS_UPDATE") or settings.CSRF_COOKIE_NAME in response.cookies
    # Set by what protects the admin's own views; it may belong to others on this host.
    response.cookies.pop(settings.CSRF_COOKIE_NAME, None)
    if shows_form and getattr(request.user, "token", None) is None:
        response.set_cookie(_form_cookie(control), secret)
    notes.update(response)
    for name, cookie in response.cookies.items():
        if name.startswith(f"{control.cookie_prefix}_"):
            settle(request, cookie)
    if "public" not in response.get("Cache-Control", ""):
        patch_vary_headers(response, ("Cookie",))
    if not response.streaming and not response.has_header("Content-Length"):
        response["Content-Length"] = str(len(response.content))


def _form_cookie(control: ControlPlane) -> str:
    return f"{control.cookie_prefix}_form"
