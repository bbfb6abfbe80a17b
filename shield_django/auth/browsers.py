"""Browsers: known by a cookie, and sometimes tricked by a page of another site."""

from __future__ import annotations

from django.http import HttpRequest

from shield_django.auth.principals import DASHBOARD, Principal
from shield_django.auth.tokens import InvalidToken
from shield_django.control import ControlPlane

_SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")


def logged_in(request: HttpRequest, control: ControlPlane) -> Principal | None:
    """Return who has logged in with this browser, whose token is of no other platform."""
    text = request.COOKIES.get(control.session_cookie, "")
    try:
        found = control.principal_of(text) if text else None
    except InvalidToken:
        return None
    return found if found is not None and found.platform == DASHBOARD else None


def changes_something(request: HttpRequest) -> bool:
    return request.method not in _SAFE


def is_foreign(request: HttpRequest) -> bool:
    """Whether a page of another site sent this; clients that are no browsers do not say."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = request.headers.get("Origin")
    return origin is not None and origin.lower() != f"{request.scheme}://{request.get_host()}".lower()
