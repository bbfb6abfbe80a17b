"""The neighbour ``django-ratelimit``: a view that raises its ``Ratelimited`` gets Shield's 429.

What a project does with that exception by itself comes first: its ``RatelimitMiddleware``, and a
``handler403`` or DRF exception handler that answers anything but 403.
"""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import get_resolver
from django.views import defaults

from shield_core.decisions import Decision
from shield_core.models import LimitCause
from shield_django.limits import decision_of

_MIDDLEWARE = "django_ratelimit.middleware.RatelimitMiddleware"
#: A note on a request whose 403 the project's own handler makes of the exception.
_RAISED = "_shield_ratelimited"


def decide(request: HttpRequest, exception: Exception) -> Decision | None:
    """Return the decision that answers an exception of a view; None leaves it to the project."""
    theirs: Any = sys.modules.get("django_ratelimit.exceptions")
    if theirs is None or not isinstance(exception, theirs.Ratelimited) or _MIDDLEWARE in settings.MIDDLEWARE:
        return None
    if _has_own_handler(request):
        request.__dict__[_RAISED] = True
        return None
    return _blocked(request)


def decide_answered(request: HttpRequest, response: Any) -> Decision | None:
    """Return the decision that replaces a 403, where it stands for the exception; else None."""
    if _RAISED in request.__dict__ or _made_by_drf(response):
        return _blocked(request)
    return None


def _made_by_drf(response: Any) -> bool:
    """Whether DRF made this 403 of the exception, which it does not let out of a view's method.

    The decorator notes ``limited`` on the request it is given, DRF's, just before it raises.
    """
    if "django_ratelimit.exceptions" not in sys.modules or not getattr(response, "exception", False):
        return False
    context = getattr(response, "renderer_context", None) or {}
    return vars(context.get("request", response)).get("limited") is True


def _has_own_handler(request: HttpRequest) -> bool:
    urlconf = getattr(request, "urlconf", None) or settings.ROOT_URLCONF
    handler: Any = get_resolver(urlconf).resolve_error_handler(403)
    return handler is not defaults.permission_denied


def _blocked(request: HttpRequest) -> Decision:
    decision = decision_of(request)
    return Decision(LimitCause.RATE_LIMITED, decision.key, decision.scope)
