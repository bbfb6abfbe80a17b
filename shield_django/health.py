"""Whether this process is alive, and whether it knows its rules: for whoever looks after it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, JsonResponse
from django.utils.decorators import method_decorator
from django.views import View

from shield_core.engine import ShieldEngine
from shield_core.exceptions import BackendError
from shield_core.replica import Status
from shield_django.control import control_of


@method_decorator(login_not_required, name="dispatch")
class Alive(View):
    always_open = True

    def get(self, request: HttpRequest) -> JsonResponse:
        return JsonResponse({"status": "ok"})


@method_decorator(login_not_required, name="dispatch")
class Ready(View):
    """503 until the rules are loaded and the store has been seen."""

    always_open = True

    def get(self, request: HttpRequest) -> JsonResponse:
        engine = control_of(request).engine
        if engine.status().state == "cold":
            engine.replica.ready()
        found = engine.status()
        seen = found.seconds_since_contact is not None or (found.state != "cold" and _answers(engine))
        status, said = readiness(found, was_seen=seen)
        return JsonResponse(said, status=status)


def readiness(found: Status, *, was_seen: bool) -> tuple[int, dict[str, Any]]:
    """Return the answer of a process whose store ``was_seen`` by now, or not yet."""
    ready = found.state != "cold" and was_seen
    said = {"status": "ready" if ready else "starting", "store": found.state, "revision": found.revision}
    return 200 if ready else 503, said


def _answers(engine: ShieldEngine) -> bool:
    """Whether the store answers, where nothing follows it yet."""
    try:
        engine.sync.list_services()
    except BackendError:
        return False
    return True
