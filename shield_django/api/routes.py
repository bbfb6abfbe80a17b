"""Routes: their states and every change of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.http import HttpRequest

from shield_core.events import now
from shield_core.models import BLOCKING, MaintenanceWindow, RouteState, RouteStatus
from shield_core.plan import Authorship
from shield_django.api import bodies
from shield_django.api.base import ControlView, operation
from shield_django.api.bodies import window_of

_A_MOMENT, _CLOCKS_DIFFER = timedelta(seconds=10), timedelta(minutes=1)
_OPEN = frozenset(RouteStatus) - BLOCKING


class Routes(ControlView):
    """All routes; a service sees its own."""

    endpoint = "routes"

    @operation(list[RouteState], asks=bodies.RouteQuery)
    def get(self) -> Any:
        service = self.service
        if self.principal.is_sdk and service is None:
            return []  # a token that has not registered yet: nothing is its own
        states = self.sync.list_states(service)
        self.unless_known((one.path, one.revision, one.updated_at, one.effective()) for one in states)
        return states


class Route(ControlView):
    """One route."""

    endpoint = "route"

    @operation(RouteState, asks=bodies.RouteQuery)
    def get(self, key: str) -> Any:
        return self.sync.get_state(self.target_in_url(key))


class RouteAction(ControlView):
    """A change of one route. ``verb`` is the last part of its address."""

    verb = ""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        # A route may end like an action; only a reading request can mean it.
        if request.method in ("GET", "HEAD") and "/" in kwargs["key"]:
            return Route.as_view()(request, key=f"{kwargs['key']}/{self.verb}")
        return super().dispatch(request, *args, **kwargs)


class Bulk(ControlView):
    """The same change of several routes in one commit: of all of them, or of none."""

    endpoint = "routes-bulk"

    @operation(list[RouteState], takes=bodies.BulkChange, asks=bodies.RouteQuery)
    def post(self) -> Any:
        said, action = self.said, self.said["action"]
        window = window_of(said, RouteStatus.MAINTENANCE) if said["start"] else None
        if window is not None and action == "disable":
            action, window = "schedule", window.replace(status=RouteStatus.DISABLED)
        return self.sync.change_routes(
            [self.target(route) for route in said["routes"]],
            action,
            self.reason,
            all_methods=said.get("all_methods", False),
            until=None if window else said["end"],
            window=window,
            envs=said.get("envs", ()),
            read_only=False if window else said.get("read_only", False),
            **self.by,
        )


class Enable(RouteAction):
    """Lift maintenance and disabled."""

    endpoint, verb = "route-enable", "enable"

    @operation(RouteState, takes=bodies.Change, asks=bodies.RouteQuery)
    def post(self, key: str) -> Any:
        return self.sync.enable(self.target_in_url(key), self.reason, **self.by)


class Disable(RouteAction):
    """Answer 503, for good or for a time."""

    endpoint, verb = "route-disable", "disable"

    @operation(RouteState, takes=bodies.Disable, asks=bodies.RouteQuery)
    def post(self, key: str) -> Any:
        target = self.target_in_url(key)
        if self.said["start"] is None:
            return self.sync.disable(target, self.reason, self.said["end"], **self.by)
        window = window_of(self.said, RouteStatus.DISABLED)
        assert window is not None
        return self.sync.schedule_maintenance(target, window, self.reason, **self.by)


class Maintenance(RouteAction):
    """Answer 503 with a reason, for good, for a time or in a window."""

    endpoint, verb = "route-maintenance", "maintenance"

    @operation(RouteState, takes=bodies.Maintenance, asks=bodies.RouteQuery)
    def post(self, key: str) -> Any:
        window = window_of(self.said, RouteStatus.MAINTENANCE) if self.said["start"] else None
        return self.sync.set_maintenance(
            self.target_in_url(key),
            self.reason,
            window,
            self.said.get("read_only", False),
            until=None if window else self.said["end"],
            **self.by,
        )


class Environments(RouteAction):
    """Gate the route to environments; an empty list lifts the gate."""

    endpoint, verb = "route-env", "env"

    @operation(RouteState, takes=bodies.Environments, asks=bodies.RouteQuery)
    def post(self, key: str) -> Any:
        return self.sync.set_env_only(self.target_in_url(key), self.said["envs"], self.reason, **self.by)


class Schedule(RouteAction):
    """Set the route's window, or take it away."""

    endpoint, verb = "route-schedule", "schedule"

    @operation(RouteState, takes=bodies.Schedule, asks=bodies.RouteQuery)
    def post(self, key: str) -> Any:
        window = window_of(self.said, RouteStatus.MAINTENANCE)
        assert window is not None
        target = self.target_in_url(key)
        disabled = self._disabled_just_now(target, window)
        if disabled is None:
            return self.sync.schedule_maintenance(target, window, self.reason, **self.by)
        window = window.replace(status=RouteStatus.DISABLED, start=min(window.start, now()))
        by: Authorship = {**self.by, "expected_revision": self.expected_revision or disabled.revision}
        return self.sync.schedule_maintenance(target, window, self.reason, instead=True, **by)

    def _disabled_just_now(self, target: str, window: MaintenanceWindow) -> RouteState | None:
        """Return the route if the same caller has closed it a moment ago, and now says until when.

        So `disable --until` of api-shield's CLI does it: first for good, then a window from now on.
        It has told its user that the route will open again.
        """
        by_name = "status" in self.said  # which that CLI never says
        if self.principal.platform != "cli" or by_name or abs(window.start - now()) > _CLOCKS_DIFFER:
            return None
        state = self.sync.get_state(target)
        log = self.sync.get_audit_log(state.path, limit=1) if state.status is RouteStatus.DISABLED else []
        if not log or now() - log[0].timestamp > _A_MOMENT or log[0].revision != state.revision:
            return None
        done = (log[0].action, log[0].actor, log[0].platform, log[0].reason)
        was_open = log[0].details.get("before", {}).get("status") in _OPEN
        return state if was_open and done == ("disable", self.by["actor"], "cli", self.reason) else None

    @operation(RouteState, takes=bodies.Change, asks=bodies.ChangeQuery)
    def delete(self, key: str) -> Any:
        return self.sync.cancel_schedule(self.target_in_url(key), self.reason, **self.by)


class Override(RouteAction):
    """Go back to what the code says."""

    endpoint, verb = "route-override", "override"

    @operation(RouteState, takes=bodies.Change, asks=bodies.ChangeQuery)
    def delete(self, key: str) -> Any:
        return self.sync.clear_override(self.target_in_url(key), self.reason, **self.by)


ACTIONS: tuple[type[RouteAction], ...] = (Enable, Disable, Maintenance, Environments, Schedule, Override)
