"""The middleware: decides on every request that Django resolved, in sync and in async mode.

Decisions fall in ``process_view``, where Django has resolved the URL and language, session and
user are known. A URL that resolves to nothing meets the wider scopes on its way out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import async_to_sync, iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from shield_core.ruleset import Decision, Ruleset
from shield_django import hiding, openness, project, responses
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
        blocked = _finish(request, response, found)
        return response if blocked is None else _settled(responses.make(request, blocked, found))

    async def _call_async(self, request: HttpRequest) -> Any:
        found = project.current()
        if found.replica.ruleset is None or not found.serves:
            await found.ready_async()
        response = await self.get_response(request)
        blocked = _finish(request, response, found)
        if blocked is None:
            return response
        answer = responses.make(request, blocked, found)
        return await answer if isinstance(answer, Awaitable) else answer

    def _process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> Any:
        found = project.current()
        decision = _decide(request, found.replica.ruleset or found.ready(), found)
        return None if decision.cause is None else _settled(_answer(request, view, decision, found))

    async def _process_view_async(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> Any:
        found = project.current()
        decision = _decide(request, found.replica.ruleset or await found.ready_async(), found)
        if decision.cause is None:
            return None
        answer = _answer(request, view, decision, found)
        return await answer if isinstance(answer, Awaitable) else answer


def _decide(request: HttpRequest, rules: Ruleset, found: Project) -> Decision:
    """Decide on a resolved request, and keep the decision as ``request.shield``."""
    route: str = request.resolver_match.route  # type: ignore[union-attr]
    template = found.templates.get(route)
    if template is None or getattr(request, "urlconf", None) is not None:
        template = found.template_of(request, route)
        rules = found.replica.ruleset or rules
    decision = rules.decide(request.method or "GET", template)
    request.shield = decision  # type: ignore[attr-defined]
    return decision


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


def _finish(request: HttpRequest, response: Any, found: Project) -> Decision | None:
    """Add an allowed route's headers; return the decision that blocks an answer that no view made."""
    decision: Decision | None = getattr(request, "shield", None)
    if decision is None:
        return _decide_unseen(request, response.status_code, found)
    for name, value in decision.headers:
        response.setdefault(name, value)
    return None


def _decide_unseen(request: HttpRequest, status: int, found: Project) -> Decision | None:
    """Decide on an answer that no view made: Django's own 404, a cached page, a middleware's answer."""
    if not (status < 300 or status in (304, 404)) or _preflight_for(request) or _is_static(request):
        return None
    rules = found.replica.ruleset or found.replica.ready()
    method = request.method or "GET"
    match = request.resolver_match if status == 404 else hiding.resolve_all(request)
    if match is not None:
        decision = rules.decide(method, found.template_of(request, match.route))
    else:
        decision = rules.decide_unrouted(method, request.path_info)
        if decision.cause is not None and openness.is_exempt(found.catalog.exempt, method, request.path_info):
            return None
    return decision if decision.cause is not None else None


def _is_static(request: HttpRequest) -> bool:
    prefix = settings.STATIC_URL or "/"
    return prefix != "/" and request.path.startswith(prefix)


def _preflight_for(request: HttpRequest) -> str:
    """Return the method that a CORS preflight asks for, empty for any other request."""
    if request.method != "OPTIONS" or "HTTP_ORIGIN" not in request.META:
        return ""
    return str(request.META.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD", ""))


def _settled(answer: Any) -> Any:
    """Return a custom answer in sync mode, also one that an ``async def`` makes."""
    if not isinstance(answer, Awaitable):
        return answer

    async def wait() -> Any:
        return await answer

    return async_to_sync(wait)()
