"""Whether this process is alive, and whether it knows its rules: for whoever looks after it."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, JsonResponse
from django.utils.decorators import method_decorator
from django.views import View

from shield_core.engine import ShieldEngine
from shield_core.exceptions import BackendError
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
        ready = found.state != "cold" and (found.seconds_since_contact is not None or _answers(engine))
        said = {"status": "ready" if ready else "starting", "store": found.state, "revision": found.revision}
        return JsonResponse(said, status=200 if ready else 503)


def _answers(engine: ShieldEngine) -> bool:
    """Whether the store answers, where nothing follows it yet."""
    try:
        engine.sync.list_services()
    except BackendError:
        return False
    return True
