"""Rate limits of routes, of services and of everything: one implementation, at three scopes."""

from __future__ import annotations

from typing import Any

from shield_core.events import as_heard
from shield_core.exceptions import InvalidInputError
from shield_core.keys import RouteKey, Scope
from shield_core.models import GlobalRateLimitPolicy, RateLimitHit, RateLimitPolicy
from shield_django.api import answers, bodies
from shield_django.api.base import ControlView, operation
from shield_django.api.maintenance import ScopeView


class RouteLimits(ControlView):
    """The limits of routes, operators' and those of the code."""

    endpoint = "rate-limits"

    @operation(list[RateLimitPolicy])
    def get(self) -> Any:
        service = self.service
        if self.principal.is_sdk and service is None:
            return []
        # Only a program says that it is a service; a person's --service wants whole names.
        heard_by = service if self.principal.is_sdk else self.app_id
        found = [as_heard(one, heard_by) for one in self.sync.list_limits(service)]
        self.unless_known(one.model_dump_json() for one in found)
        return found

    @operation(RateLimitPolicy, takes=bodies.RouteLimit, status=201)
    def post(self) -> Any:
        target, method = self.target(self.said["path"]), self.said.get("method")
        if method is None:
            method = (RouteKey.parse(target).method if "/" in target else None) or "GET"
        scope = _route_scope(target, method)
        return self.sync.set_limit(scope, _named(self.said, bodies.ROUTE_LIMIT), self.reason, **self.by)


class RouteLimit(ControlView):
    """The limit of one route."""

    endpoint = "rate-limit"

    @operation(answers.RouteLimit, asks=bodies.MethodQuery)
    def get(self, key: str) -> Any:
        policy = self.sync.get_limit(_route_scope(self.target_in_url(key), self.asked.get("method")))
        return {"policy": self.shown(policy)}

    @operation(answers.DeletedLimit, takes=bodies.Change, asks=bodies.ResetQuery)
    def delete(self, key: str) -> Any:
        scope = _route_scope(self.target_in_url(key), self.asked.get("method"))
        self.sync.delete_limit(scope, self.reason, **self.by)
        found = RouteKey.parse(scope.name)
        return {"ok": True, "path": str(found._replace(method=None)), "method": found.method or ""}


class RouteLimitReset(ControlView):
    """Let the counters of a route begin anew; without a method those of all its methods."""

    endpoint = "rate-limit-reset"

    @operation(answers.ResetLimit, takes=bodies.Change, asks=bodies.ResetQuery)
    def delete(self, key: str) -> Any:
        scope = _route_scope(self.target_in_url(key), self.asked.get("method"))
        every = RouteKey.parse(scope.name).method is None
        self.sync.reset_limit(scope, self.reason, every, **self.by)
        return {"ok": True, "path": str(RouteKey.parse(scope.name)._replace(method=None))}


class Hits(ControlView):
    """Requests that limits have blocked, newest first."""

    endpoint = "rate-limit-hits"

    @operation(list[RateLimitHit], asks=bodies.HitQuery)
    def get(self) -> Any:
        route = self.asked.get("route")
        path = self.target(route) if route else None
        return self.sync.get_rate_limit_hits(path, self.asked.get("limit", 100))


class WideLimit(ScopeView):
    """The limit of everything or of a service."""

    @operation(answers.WideLimit)
    def get(self, service: str | None = None) -> Any:
        policy = self.sync.get_limit(self.scope(service))
        enabled = isinstance(policy, GlobalRateLimitPolicy) and policy.enabled
        return {"enabled": enabled, "policy": self.shown(policy)}

    @operation(GlobalRateLimitPolicy, takes=bodies.WideLimit, status=201)
    def post(self, service: str | None = None) -> Any:
        named = _named(self.said, bodies.WIDE_LIMIT)
        return self.sync.set_limit(self.scope(service), named, self.reason, **self.by)

    @operation(answers.Ok, takes=bodies.Change, asks=bodies.ChangeQuery)
    def delete(self, service: str | None = None) -> Any:
        self.sync.delete_limit(self.scope(service), self.reason, **self.by)
        return {"ok": True}


class WideLimitReset(ScopeView):
    """Let the counters of everything or of a service begin anew."""

    @operation(answers.Ok, takes=bodies.Change, asks=bodies.ChangeQuery)
    def delete(self, service: str | None = None) -> Any:
        self.sync.reset_limit(self.scope(service), self.reason, **self.by)
        return {"ok": True}


class WideLimitSwitch(ScopeView):
    """Take the limit up again, or pause it (``enabled`` False)."""

    enabled = True

    @operation(answers.Ok, takes=bodies.Change)
    def post(self, service: str | None = None) -> Any:
        self.sync.switch_limit(self.scope(service), self.enabled, self.reason, **self.by)
        return {"ok": True}


def _route_scope(target: str, method: str | None) -> Scope:
    """Return the scope of a key and a method, of which at least one may name it."""
    if not method:
        return Scope("route", target)
    if "/" not in target:
        return Scope("route", f"{method.upper()}:{target}")  # a view's name
    key = RouteKey.parse(target)
    if key.method not in (None, method.upper()):
        raise InvalidInputError(f"{target!r} has another method than {method!r}.")
    return Scope("route", str(RouteKey.parse(str(key._replace(method=method.upper())))))


def _named(said: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if name in names}
