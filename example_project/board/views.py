"""The demo's first page, and the page that shows one answer. No maintenance blocks them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import conditional_page, require_POST, require_safe

from board import words
from board.probe import NoAnswer, ask
from board.tiles import find, tiles
from shield_core.backends.server import ShieldServerBackend
from shield_django import engine
from shield_django.decorators import force_active

View = Callable[[HttpRequest], HttpResponse]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def own_content_only(view: View) -> View:
    """Forbid the page everything that does not come from this server."""

    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponse:
        response = view(request)
        response["Content-Security-Policy"] = POLICY
        return response

    return answer


@force_active
@require_safe
@conditional_page
@own_content_only
def board(request: HttpRequest) -> HttpResponse:
    """Show a tile per route; the page's script asks for it again to follow changes."""
    is_controlled = isinstance(engine.backend, ShieldServerBackend)  # which tells a service of no changes
    now, everything = datetime.now(UTC), engine.sync.get_global_maintenance()
    last = [] if is_controlled else engine.sync.get_audit_log(limit=5)
    context = {
        "tiles": list(tiles()),
        "environment": engine.current_env,
        "status": engine.status(),
        "everything": everything,
        "everything_stops": everything.in_force(now),
        "window": everything.window if everything.window and everything.window.end > now else None,
        "is_controlled": is_controlled,
        "audit": [(entry, words.action(entry), words.target(entry)) for entry in last],
    }
    return render(request, "board/board.html", context)


@force_active
@csrf_exempt  # a visitor's request with a visitor's rights: there is no login to abuse
@require_POST
@own_content_only
def send(request: HttpRequest) -> HttpResponse:
    """Send a request to one of the shop's routes and show what came back."""
    tile = find(request.POST.get("key", ""))
    if tile is None:
        raise Http404("The shop has no such route.")
    context: dict[str, object] = {"tile": tile}
    if not serves_several(request):
        context["failure"] = "This server answers one request at a time, so it cannot ask itself."
        return render(request, "board/answer.html", context)
    try:
        context["answer"] = ask(
            tile, request.META["SERVER_NAME"], int(request.META["SERVER_PORT"]), request.get_host()
        )
    except NoAnswer as error:
        context["failure"] = str(error)
    return render(request, "board/answer.html", context)


def serves_several(request: HttpRequest) -> bool:
    """Whether the server can answer a second request while this one waits (PEP 3333)."""
    environ = getattr(request, "environ", None)
    return environ is None or bool(environ.get("wsgi.multithread") or environ.get("wsgi.multiprocess"))
