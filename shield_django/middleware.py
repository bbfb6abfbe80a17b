"""The middleware: decides on every request that Django resolved, in sync and in async mode.

Decisions fall in ``process_view``, where Django has resolved the URL and language, session and
user are known. A URL that resolves to nothing meets the wider scopes on its way out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from shield_core.decisions import ALLOWED, Decision
from shield_core.ports import drive
from shield_core.rate_limit.limiter import Outcome
from shield_core.ruleset import Ruleset
from shield_django import hiding, limits, openness, project, ratelimited, responses
from shield_django.limits import OUTCOME, Due, Said
from shield_django.modes import settled
from shield_django.project import Project

GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


class ShieldMiddleware:
    """Place it after SecurityMiddleware, WhiteNoise and CorsMiddleware, before all that answers itself."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response: Any = get_response
        project.enter_test_environment()
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)
        # Bound here, because Django would run a sync process_view of an async middleware in a thread.
        self.process_view: Any = self._process_view_async if self.is_async else self._process_view

    def __call__(self, request: HttpRequest) -> Any:
        if self.is_async:
            return self._call_async(request)
        found = project.current()
        if found.replica.ruleset is None or not found.serves:
            found.ready()
        response = self.get_response(request)
        if _is_done(request, response):
            return response
        return drive(_conclude(request, response, found, awaits=False))

    async def _call_async(self, request: HttpRequest) -> Any:
        found = project.current()
        if found.replica.ruleset is None or not found.serves:
            await found.ready_async()
        response = await self.get_response(request)
        if _is_done(request, response):
            return response
        return await _conclude(request, response, found, awaits=True)

    def _process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> Any:
        found = project.current()
        rules = found.replica.ruleset or found.ready()
        judging = _decide(request, view, rules, found, awaits=False)
        return None if judging is None else drive(judging)

    async def _process_view_async(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> Any:
        found = project.current()
        rules = found.replica.ruleset or await found.ready_async()
        judging = _decide(request, view, rules, found, awaits=True)
        return None if judging is None else await judging

    def process_exception(self, request: HttpRequest, exception: Exception) -> Any:
        decision = ratelimited.decide(request, exception)
        if decision is None:
            return None
        request.shield = decision  # type: ignore[attr-defined]
        return settled(responses.make(request, decision, project.current()))


def _decide(
    request: HttpRequest, view: Any, rules: Ruleset, found: Project, *, awaits: bool
) -> Coroutine[Any, Any, Any] | None:
    """Decide on a resolved request, and keep the decision as ``request.shield``.

    None lets it pass; else the answer is still to be made, or a limit to be heard.
    """
    route: str = request.resolver_match.route  # type: ignore[union-attr]
    template = found.templates.get(route)
    if template is None or getattr(request, "urlconf", None) is not None:
        template = found.template_of(request, route)
        rules = found.replica.ruleset or rules
    decision = request.shield = rules.decide(request.method or "GET", template)  # type: ignore[attr-defined]
    said: Said = None
    if decision.cause is None:
        if not rules.is_limited:
            return None
        said = _charge(request, view, template, rules, found, awaits=awaits)
        if said is None:
            return None
    return _judge(request, view, decision, said, found, awaits=awaits)


def _charge(
    request: HttpRequest, view: Any, template: str, rules: Ruleset, found: Project, *, awaits: bool
) -> Said:
    """Charge a resolved request to its limits; None where it passes. A preflight has no limits."""
    method = request.method or "GET"
    layers = rules.limits(method, template)
    if not layers or (method == "OPTIONS" and _preflight_for(request)):
        return None
    said = limits.charge_at_view(request, view, layers, template, found, awaits)
    if said.__class__ is Outcome and said.allowed:
        request.__dict__[OUTCOME] = said
        return None
    return said


async def _judge(
    request: HttpRequest, view: Any, decision: Decision, said: Said, found: Project, *, awaits: bool
) -> Any:
    """Return the answer to a request that its route or its limits block, else None."""
    if decision.cause is not None:
        return await _awaited(_answer(request, view, decision, found), awaits=awaits)
    decision = limits.note(request, await _outcome(said))
    if decision.cause is None:
        return None
    return await _awaited(responses.make(request, decision, found), awaits=awaits)


async def _outcome(said: Said) -> Outcome | None:
    return said if said is None or isinstance(said, Outcome) else await said


def _answer(request: HttpRequest, view: Any, decision: Decision, found: Project) -> Any:
    """Return the answer to a request that is blocked, or None for a preflight that the view may answer."""
    if asked := _preflight_for(request):
        template = found.template_of(request, request.resolver_match.route)  # type: ignore[union-attr]
        preflight = found.engine.ruleset.decide_preflight(asked, template)
        if preflight.cause is None:
            request.shield = preflight  # type: ignore[attr-defined]
            # Anybody can send a preflight's headers: a function would run, and must not.
            return None if hasattr(view, "view_class") or hasattr(view, "cls") else HttpResponse(status=204)
        decision = preflight
    return responses.make(request, decision, found)


def _is_done(request: HttpRequest, response: Any) -> bool:
    """Add the headers of an allowed answer; false where more is to be decided."""
    noted = request.__dict__
    decision: Decision | None = noted.get("shield")
    if decision is None or decision.cause is not None or response.status_code == 403:
        return False
    outcome = noted.get(OUTCOME)
    if outcome is not None:
        if outcome.__class__ is not Outcome:
            return False
        limits.add_headers(response, outcome)
    for name, value in decision.headers:
        response.setdefault(name, value)
    return True


async def _conclude(request: HttpRequest, response: Any, found: Project, *, awaits: bool) -> Any:
    """Decide on an answer that no view made, and on what came about while one was made."""
    due = limits.left_of(request)
    was_met = "shield" in request.__dict__
    if not was_met:
        request.shield, due = _meet(request, response.status_code, found)  # type: ignore[attr-defined]
    decision = limits.decision_of(request)
    if decision.cause is None:
        outcome = await _outcome(limits.charge(request, due, found, awaits=awaits))
        if was_met and outcome is not None and response.status_code < 400:
            limits.tell(request, outcome)  # the view has done its work already
        else:
            decision = limits.note(request, outcome)
    if decision.cause is None and response.status_code == 403:
        decision = ratelimited.decide_answered(request, response) or decision
    if decision.cause is not None and not responses.is_made(request):
        return await _awaited(responses.make(request, decision, found), awaits=awaits)
    if decision.cause is None and (known := request.__dict__.get(OUTCOME)) is not None:
        limits.add_headers(response, known)
    for name, value in decision.headers:
        response.setdefault(name, value)
    return response


def _meet(request: HttpRequest, status: int, found: Project) -> tuple[Decision, Due]:
    """Decide on an answer that no view made: Django's own 404, a cached page, a middleware's answer.

    Maintenance and gates replace pages, but neither redirects nor refusals; limits count them all.
    """
    rules, method, path = found.engine.ruleset, request.method or "GET", request.path_info
    is_page = status < 300 or status in (304, 404)
    if not (is_page or rules.is_limited) or _preflight_for(request) or _is_static(request):
        return ALLOWED, limits.NOTHING
    match = request.resolver_match if status == 404 else hiding.resolve_all(request)
    if match is not None:
        template = found.template_of(request, match.route)
        decision = rules.decide(method, template)
        if decision.cause is None:
            return decision, Due(rules.limits(method, template), template)
    else:
        decision = rules.decide_unrouted(method, path)
    wide = rules.limits_unrouted(method, path)
    is_met = decision.cause is not None or bool(wide)
    if match is None and is_met and openness.is_exempt(found.catalog.exempt, method, path):
        return ALLOWED, limits.NOTHING
    return (
        (decision, limits.NOTHING) if decision.cause is not None and is_page else (ALLOWED, Due(wide, path))
    )


def _is_static(request: HttpRequest) -> bool:
    prefix = settings.STATIC_URL or "/"
    return prefix != "/" and request.path.startswith(prefix)


def _preflight_for(request: HttpRequest) -> str:
    """Return the method that a CORS preflight asks for, empty for any other request."""
    if request.method != "OPTIONS" or "HTTP_ORIGIN" not in request.META:
        return ""
    return str(request.META.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD", ""))


async def _awaited(answer: Any, *, awaits: bool) -> Any:
    """Return a custom answer, also one that an ``async def`` makes."""
    if not awaits:
        return settled(answer)
    return await answer if isinstance(answer, Awaitable) else answer
