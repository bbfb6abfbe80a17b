"""What a request owes to its limits, and what they say of it.

A request is charged once: in ``process_view``; by the view's ``ShieldThrottle``, to which that
leaves it; or on its way out, where no view has met it or its view refused it before its throttles.
What the limits of a request that passes have said is noted on it, as ``request.shield_outcome``.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from shield_core.decisions import ALLOWED, Decision
from shield_core.rate_limit.layers import Layer
from shield_core.rate_limit.limiter import Outcome
from shield_core.responses import limited, rate_headers
from shield_django import api_views, project
from shield_django.callers import RequestCaller

if TYPE_CHECKING:
    from shield_django.project import Project

#: A note on the request that it was charged.
_CHARGED = "_shield_charged"
#: What limits have said of a request, or while a throttle of its view has still to take them, the Due.
OUTCOME = "shield_outcome"

Said: TypeAlias = Outcome | Awaitable[Outcome | None] | None


class Due(NamedTuple):
    """What a request owes: ``path`` is a template, or the URL's path where it matches no route."""

    layers: tuple[Layer, ...] = ()
    path: str = ""


NOTHING = Due()


def charge_at_view(
    request: HttpRequest, view: Any, layers: tuple[Layer, ...], path: str, found: Project, awaits: bool
) -> Said:
    """Charge a request before its view, or leave that to the view's ShieldThrottle."""
    noted = request.__dict__
    if _CHARGED in noted or not project.limits_apply(found):
        return None
    if api_views.throttles_itself(view):
        noted[OUTCOME] = Due(layers, path)
        return None
    return _take(request, layers, path, found, awaits, view, None)


def charge(request: HttpRequest, due: Due, found: Project, *, awaits: bool, api_request: Any = None) -> Said:
    """Charge a request, once; what comes of it is for ``note``."""
    layers, path = due
    if not layers or _CHARGED in request.__dict__ or not project.limits_apply(found):
        return None
    return _take(request, layers, path, found, awaits, None, api_request)


def _take(
    request: HttpRequest,
    layers: tuple[Layer, ...],
    path: str,
    found: Project,
    awaits: bool,
    view: Any,
    api_request: Any,
) -> Said:
    request.__dict__[_CHARGED] = True
    limiter = found.engine.limiter
    caller = RequestCaller(request, limiter.num_proxies, awaits, view, api_request)
    return limiter.limit(layers, caller, method=request.method or "GET", path=path)


def note(request: HttpRequest, outcome: Outcome | None) -> Decision:
    """Note on the request what its limits have said; return the decision that this makes."""
    decision = decision_of(request)
    if outcome is None:
        return decision
    if outcome.allowed:
        tell(request, outcome)
        return decision
    blocked = limited(decision, outcome)
    request.__dict__["shield"] = blocked
    return blocked


def tell(request: HttpRequest, outcome: Outcome) -> None:
    """Let the answer have the headers of a limit, where it is the tightest."""
    noted = request.__dict__
    known = noted.get(OUTCOME)
    if known.__class__ is not Outcome or not outcome.allowed or outcome.remaining < known.remaining:
        noted[OUTCOME] = outcome


def left_of(request: HttpRequest) -> Due:
    """Return what was left to a throttle and is not taken yet; from now on it is."""
    left = request.__dict__.get(OUTCOME)
    if left.__class__ is not Due:
        return NOTHING
    due: Due = request.__dict__.pop(OUTCOME)
    return due


def decision_of(request: HttpRequest) -> Decision:
    decision: Decision = request.__dict__.get("shield", ALLOWED)
    return decision


def add_headers(response: HttpResponseBase, outcome: Outcome) -> None:
    """Add ``X-RateLimit-*``, unless the view has set them."""
    # By themselves, the headers of a response take 1 µs each, to encode what is digits here.
    store: dict[str, tuple[str, str]] = response.headers._store
    for header in rate_headers(outcome, time.time()):
        store.setdefault(header[0].lower(), header)
