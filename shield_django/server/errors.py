"""Answers to what fails: a page for browsers, JSON for the API."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

_SAID = {
    400: _("The request cannot be understood."),
    403: _("This is not allowed."),
    404: _("There is nothing here."),
    500: _("Something went wrong in the server; its log says what."),
    503: _("The store does not answer. Nothing was changed; try again."),
}
_FOREIGN = _(
    "This was not sent by a page of this server, or by one from before the last login: load the page again. "
    "Behind a proxy the server must know its address: set public_url."
)

_HEADERS = {"Cache-Control": "no-store"}


def is_api(request: HttpRequest) -> bool:
    return f"{request.path_info}/".startswith("/api/")


def answer(request: HttpRequest, status: int, text: str | Promise = "") -> HttpResponse:
    said = text or _SAID[status]
    if is_api(request):
        with translation.override("en"):  # as the API itself says what is wrong
            return JsonResponse({"error": str(said)}, status=status, headers=_HEADERS)
    page = render_to_string("admin/shield/server/error.html", {"said": said, "status": status}, request)
    return HttpResponse(page, status=status, headers=_HEADERS)


def bad_request(request: HttpRequest, exception: Any = None) -> HttpResponse:
    return answer(request, 400)


def permission_denied(request: HttpRequest, exception: Any = None) -> HttpResponse:
    return answer(request, 403)


def not_found(request: HttpRequest, exception: Any = None) -> HttpResponse:
    return answer(request, 404)


def server_error(request: HttpRequest) -> HttpResponse:
    return answer(request, 500)


def store_failed(request: HttpRequest) -> HttpResponse:
    return answer(request, 503)


def forbidden(request: HttpRequest) -> HttpResponse:
    """Answer a form that did not come from a page of this server, or from one that is too old."""
    return answer(request, 403, _FOREIGN)
