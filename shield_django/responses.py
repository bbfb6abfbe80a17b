"""What a blocked caller gets from Django: a custom answer, a page, JSON, or what an unknown URL gets."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template import Context, Engine, TemplateDoesNotExist, loader
from django.urls import Resolver404

from shield_core.decisions import Decision
from shield_core.models import RouteStatus
from shield_core.responses import Answer, answer, log_blocked
from shield_django.signals import request_blocked

if TYPE_CHECKING:
    from shield_django.project import Project

_OWN_TEMPLATES = Engine(
    dirs=[str(Path(__file__).parent / "templates")],
    libraries={"i18n": "django.templatetags.i18n"},
)


#: A note on a request that its answer is made.
_MADE = "_shield_answered"


def make(request: HttpRequest, decision: Decision, found: Project) -> Any:
    """Return the answer to a blocked request, or an awaitable of it.

    Raises Resolver404 for an environment gate: the project's own answer to an unknown URL.
    """
    assert decision.cause is not None
    request.__dict__[_MADE] = True
    _tell(request, decision)
    custom = decision.response or found.responses.get(decision.cause.value)
    neutral = _neutral(request, decision)
    if custom is not None:
        made = custom(request, decision.exception())
        return _own_later(made, neutral) if isinstance(made, Awaitable) else _own(made, neutral)
    if neutral is None:
        raise _unknown_url(request)
    return _marked(_page(request, decision, neutral) if _prefers_html(request) else _json(neutral))


def is_made(request: HttpRequest) -> bool:
    """Whether a blocked request has its answer already."""
    return _MADE in request.__dict__


def _neutral(request: HttpRequest, decision: Decision) -> Answer | None:
    """Return the built-in answer, which an environment gate has not."""
    if decision.cause is RouteStatus.ENV_GATED:
        return None
    return answer(decision, method=request.method or "GET", path=request.path_info)


def _json(neutral: Answer) -> HttpResponse:
    return HttpResponse(
        neutral.body, status=neutral.status, content_type="application/json", headers=dict(neutral.headers)
    )


def _page(request: HttpRequest, decision: Decision, neutral: Answer) -> HttpResponse:
    """Render ``shield/<status>.html`` without context processors, which may want a database."""
    assert decision.cause is not None
    wait = neutral.error.get("retry_after_seconds")
    name = f"shield/{decision.cause.value}.html"
    context = {
        "request": request,
        "decision": decision,
        "message": neutral.error["message"],
        "reason": decision.reason,
        "until": decision.until,
        "retry_after_seconds": wait,
    }
    try:
        text = loader.get_template(name).render(context)
    except (TemplateDoesNotExist, ImproperlyConfigured):
        text = _OWN_TEMPLATES.get_template(name).render(Context(context))
    return HttpResponse(text, status=neutral.status, headers=dict(neutral.headers))


def _prefers_html(request: HttpRequest) -> bool:
    return request.get_preferred_type(["application/json", "text/html"]) == "text/html"


def _unknown_url(request: HttpRequest) -> Resolver404:
    """Return the exception that Django raises for a URL that resolves to nothing."""
    match = request.resolver_match
    tried = list(match.tried or []) if match is not None else []
    request.resolver_match = None
    return Resolver404({"tried": tried or [[]], "path": request.path_info.lstrip("/")})


def _own(response: Any, neutral: Answer | None) -> HttpResponseBase:
    """Check an answer of the project's own, and give it those built-in headers that it does not set."""
    if not isinstance(response, HttpResponseBase):
        raise TypeError(f"A custom answer must be an HttpResponse, got {response!r}.")
    for name, value in neutral.headers if neutral is not None else ():
        response.setdefault(name, value)
    return _marked(response)


async def _own_later(response: Awaitable[Any], neutral: Answer | None) -> HttpResponseBase:
    return _own(await response, neutral)


def _marked(response: HttpResponseBase) -> HttpResponseBase:
    """Keep Django from logging planned maintenance as an error, which would mail the ADMINS."""
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def _tell(request: HttpRequest, decision: Decision) -> None:
    from shield_django.middleware import ShieldMiddleware

    log_blocked(decision, method=str(request.method), path=request.path_info)
    request_blocked.send(sender=ShieldMiddleware, request=request, decision=decision)
