"""What a request owes to its limits, and what they say of it.

A request is charged once: in ``process_view``; by the view's ``ShieldThrottle``, to which that
leaves it; or on its way out, where no view has met it or its view refused it before its throttles.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from django.http import HttpRequest

from shield_core.rate_limit.layers import Layer
from shield_core.rate_limit.limiter import Outcome
from shield_core.responses import limited, rate_headers
from shield_core.ruleset import ALLOWED, Decision
from shield_django import api_views, project
from shield_django.callers import RequestCaller

if TYPE_CHECKING:
    from shield_django.project import Project

#: Notes on the request: that it was charged, and what a throttle of its view has still to take.
_CHARGED = "_shield_charged"
LEFT = "_shield_left"


class Due(NamedTuple):
    """What a request owes: ``path`` is a template, or the URL's path where it matches no route."""

    layers: tuple[Layer, ...] = ()
    path: str = ""


NOTHING = Due()


async def charge_at_view(
    request: HttpRequest, view: Any, due: Due, found: Project, *, awaits: bool
) -> Decision:
    """Charge a request before its view, or leave that to the view's ShieldThrottle."""
    if due.layers and api_views.throttles_itself(view) and project.limits_apply(found):
        request.__dict__[LEFT] = due
        return decision_of(request)
    return await charge(request, due, found, awaits=awaits, view=view)


async def charge(request: HttpRequest, due: Due, found: Project, *, awaits: bool, **caller: Any) -> Decision:
    """Charge a request, once, and note on it what comes of that."""
    decision = decision_of(request)
    noted = request.__dict__
    if not due.layers or _CHARGED in noted or not project.limits_apply(found):
        return decision
    noted[_CHARGED] = True
    limiter = found.engine.limiter
    outcome = limiter.limit(
        due.layers,
        RequestCaller(request, num_proxies=limiter.num_proxies, awaits=awaits, **caller),
        method=request.method or "GET",
        path=due.path,
    )
    if not (outcome is None or isinstance(outcome, Outcome)):
        outcome = await outcome
    decision = limited(decision, outcome)
    noted["shield"] = decision
    return decision


def left_of(request: HttpRequest) -> Due:
    """Return what was left to a throttle and is not taken yet; from now on it is."""
    due: Due = request.__dict__.pop(LEFT, NOTHING)
    return due


def decision_of(request: HttpRequest) -> Decision:
    decision: Decision = request.__dict__.get("shield", ALLOWED)
    return decision


def tell(request: HttpRequest, outcome: Outcome) -> None:
    """Let the answer have the headers of a limit that is not Shield's own, where it is the tightest."""
    decision = decision_of(request)
    known = decision.outcome
    if known is None or not outcome.allowed or outcome.remaining < known.remaining:
        # Of two headers with one name the first counts.
        headers = (*rate_headers(outcome, time.time()), *decision.headers)
        told = Decision(None, decision.key, decision.scope, headers=headers, outcome=outcome)
        request.__dict__["shield"] = told
