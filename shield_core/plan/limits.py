"""Mutations of rate limits, of any scope."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import ValidationError

from shield_core.exceptions import ConflictError, InvalidInputError, RouteNotFoundException
from shield_core.keys import RouteKey, Scope
from shield_core.models import (
    GlobalRateLimitPolicy,
    RateLimitPolicy,
    RateLimitReset,
    StoredPolicy,
    reasons,
)
from shield_core.plan.commands import Command
from shield_core.plan.resolution import resolve
from shield_core.snapshot import Commit, Snapshot

#: How audit actions begin, by the kind of the scope.
_PREFIXES = {"global": "global_rl", "service": "svc_rl", "route": "rl_policy"}


@dataclass(frozen=True, kw_only=True)
class LimitCommand(Command):
    """A mutation of the limit of ``scope``; the name of a route may be all that stands for its key."""

    scope: Scope
    #: This process's own service, in which a route without one is looked for first.
    service: str | None = None

    def plan(self, snapshot: Snapshot) -> Commit:
        scope = self.scope
        if scope.kind == "route":
            scope = Scope("route", resolve(snapshot, scope.name, self.service))
        return self._plan(snapshot, scope)

    @abstractmethod
    def _plan(self, snapshot: Snapshot, scope: Scope) -> Commit: ...

    def _store(
        self, scope: Scope, before: StoredPolicy | None, after: StoredPolicy | None, action: str
    ) -> Commit:
        return self._commit(
            scope.limit_key,
            before,
            after,
            action=f"{_PREFIXES[scope.kind]}_{action}",
            previous=_status(before),
            new=_status(after),
        )


@dataclass(frozen=True, kw_only=True)
class SetLimit(LimitCommand):
    """Set a limit; what ``named`` does not have stays as it is, also where only the code has set it."""

    named: Mapping[str, Any] = field(default_factory=dict)

    def _plan(self, snapshot: Snapshot, scope: Scope) -> Commit:
        before = snapshot.policy(scope)
        known = before or policy_of_code(snapshot, scope)
        values = {**(dict(known) if known else self._new(scope)), **self.named, **self._stamp}
        model = RateLimitPolicy if scope.kind == "route" else GlobalRateLimitPolicy
        unknown = sorted(set(self.named) - set(model.model_fields))
        if unknown:
            raise InvalidInputError(f"The limit of {scope.label} has no {', '.join(unknown)}.")
        if values.get("limit") is None:
            raise InvalidInputError(f"{scope.label} has no limit yet: say which, such as '100/minute'.")
        try:
            after = model.model_validate({**values, "revision": 0})
        except ValidationError as error:
            raise InvalidInputError(reasons(error)) from error
        return self._store(scope, before, after, "updated" if known else "set")

    def _new(self, scope: Scope) -> dict[str, Any]:
        if scope.kind != "route":
            return {}
        key = RouteKey.parse(scope.name)
        return {"path": str(key._replace(method=None)), "method": key.method or ""}


@dataclass(frozen=True, kw_only=True)
class DeleteLimit(LimitCommand):
    """Take an operator's limit away; what the code says of the route counts again."""

    def _plan(self, snapshot: Snapshot, scope: Scope) -> Commit:
        before = snapshot.policy(scope)
        if before is None:
            if policy_of_code(snapshot, scope) is not None:
                raise InvalidInputError(
                    f"The limit of {scope.label} is set in the code: set it to 'unlimited' to lift it."
                )
            raise InvalidInputError(f"{scope.label} has no rate limit.")
        return self._store(scope, before, None, "deleted")


@dataclass(frozen=True, kw_only=True)
class SwitchLimit(LimitCommand):
    """Pause the limit of everything or of a service, or take it up again."""

    enabled: bool

    def _plan(self, snapshot: Snapshot, scope: Scope) -> Commit:
        before = snapshot.policy(scope)
        if not isinstance(before, GlobalRateLimitPolicy):
            raise InvalidInputError(f"{scope.label} has no rate limit that could be switched on or off.")
        if before.enabled is self.enabled:
            self._check_expected(scope, before.revision)
            return Commit(result=scope.limit_key)
        after = before.replace(enabled=self.enabled, **self._stamp)
        return self._store(scope, before, after, "enabled" if self.enabled else "disabled")

    def _check_expected(self, scope: Scope, revision: int) -> None:
        expected = self.by.get("expected_revision")
        if expected is not None and expected != revision:
            raise ConflictError(scope.label, expected, revision)


@dataclass(frozen=True, kw_only=True)
class ResetLimit(LimitCommand):
    """Let the counters of a scope begin anew, in every process; the limit itself stays.

    ``all_methods``: those of every method of the route's path.
    """

    all_methods: bool = False

    #: Actions begin otherwise for routes: ``rl_reset``.
    _action: ClassVar[Mapping[str, str]] = {
        "global": "global_rl_reset",
        "service": "svc_rl_reset",
        "route": "rl_reset",
    }

    def plan(self, snapshot: Snapshot) -> Commit:
        if not self.all_methods:
            return super().plan(snapshot)
        parts = [self._plan(snapshot, scope) for scope in self._scopes(snapshot)]
        return Commit(
            tuple(write for part in parts for write in part.writes),
            tuple(entry for part in parts for entry in part.audit),
            {key: revision for part in parts for key, revision in part.expect.items()},
            parts[0].result,
        )

    def _scopes(self, snapshot: Snapshot) -> list[Scope]:
        """Return the route keys of one path that have a limit; of one service, where several share it."""
        asked = RouteKey.parse(self.scope.name, service=self.service)
        limited = {scope for scope in snapshot.policies if scope.kind == "route"}
        limited |= {Scope("route", key) for key, state in snapshot.routes.items() if state.rate_limit}
        found = [scope for scope in limited if _is_at(RouteKey.parse(scope.name), asked)]
        if not found:
            key = resolve(snapshot, self.scope.name, self.service)  # which says when there is no such route
            raise RouteNotFoundException(f"{key} has no rate limit")
        return sorted(found)

    def _plan(self, snapshot: Snapshot, scope: Scope) -> Commit:
        known = snapshot.policy(scope) or policy_of_code(snapshot, scope)
        if known is None:
            raise InvalidInputError(f"{scope.label} has no rate limit.")
        before = snapshot.objects.get(scope.reset_key)
        return self._commit(
            scope.reset_key,
            before,
            RateLimitReset(**self._stamp),
            action=self._action[scope.kind],
            previous=_status(known),
            new=_status(known),
        )


def policy_of_code(snapshot: Snapshot, scope: Scope) -> RateLimitPolicy | None:
    """Return what the code's decorator says of a route, with its bare path for a method without an own."""
    if scope.kind != "route":
        return None
    key = RouteKey.parse(scope.name)
    for state in (snapshot.route(scope.name), snapshot.route(str(key._replace(method=None)))):
        if state is not None and state.rate_limit is not None:
            return state.rate_limit.replace(method=key.method or "")
    return None


def _is_at(key: RouteKey, asked: RouteKey) -> bool:
    path, other = key.path.rstrip("/"), asked.path.rstrip("/")
    return path == other and asked.service in (None, key.service)


def _status(policy: StoredPolicy | None) -> str:
    return policy.limit if policy is not None else ""
