"""Mutations of rate limits, of any scope."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pydantic import ValidationError

from shield_core.exceptions import (
    AmbiguousRouteError,
    InvalidInputError,
    RouteNotFoundException,
)
from shield_core.keys import ExemptEntry, RouteKey, Scope
from shield_core.models import (
    GlobalRateLimitPolicy,
    KeyStrategy,
    RateLimitPolicy,
    RateLimitReset,
    StoredPolicy,
    reasons,
)
from shield_core.plan.commands import Command, joined
from shield_core.plan.resolution import resolve
from shield_core.snapshot import Commit, Snapshot

#: How audit actions begin, by the kind of the scope.
PREFIXES = {"global": "global_rl", "service": "svc_rl", "route": "rl_policy"}
RESETS = {"global": "global_rl_reset", "service": "svc_rl_reset", "route": "rl_reset"}
#: What identifies a limit or tells its history, and cannot be set.
_GIVEN = frozenset({"path", "method", "revision", "updated_at", "updated_by"})
#: Where None is a value: the strategy's own answer.
_MAY_BE_NONE = frozenset({"on_missing_key"})
#: What only the code can have a function for.
_CALLABLE = {"key_strategy": "ip, user, api_key or global", "tier_resolver": "an attribute of the user"}


class Stays(Enum):
    """What an argument is that nobody has given, where None is a value."""

    AS_IT_IS = "as it is"


def given(named: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that somebody has given: None is none of them, unless it is a value."""
    return {
        name: value
        for name, value in named.items()
        if value is not Stays.AS_IT_IS and (value is not None or name in _MAY_BE_NONE)
    }


@dataclass(frozen=True, kw_only=True)
class LimitCommand(Command):
    """A mutation of the limit of ``scope``; the name of a route may be all that stands for its key."""

    scope: Scope
    #: This process's own service, in which a route without one is looked for first.
    service: str | None = None

    def plan(self, snapshot: Snapshot) -> Commit:
        return self._plan(snapshot, self._resolved(snapshot))

    @abstractmethod
    def _plan(self, snapshot: Snapshot, scope: Scope) -> Commit: ...

    def _resolved(self, snapshot: Snapshot) -> Scope:
        if self.scope.kind != "route":
            return self.scope
        name = self.scope.name
        key = RouteKey.parse(name, service=self.service)
        if key.method == "HEAD":
            key = key._replace(method="GET")  # which answers it, and counts it
            name = str(key)
        exact = Scope("route", str(key))
        return exact if snapshot.policy(exact) else Scope("route", resolve(snapshot, name, self.service))

    def _store(
        self,
        snapshot: Snapshot,
        scope: Scope,
        before: StoredPolicy | None,
        after: StoredPolicy | None,
        action: str,
    ) -> Commit:
        then = after or limit_in_force(snapshot, scope, besides=scope)[1]
        return self._commit(
            scope.limit_key,
            before,
            after,
            action=f"{PREFIXES[scope.kind]}_{action}",
            previous=limit_status(before),
            new=limit_status(then),
        )


@dataclass(frozen=True, kw_only=True)
class SetLimit(LimitCommand):
    """Set a limit; what ``named`` does not have stays as it is in force, also by the code alone."""

    named: Mapping[str, Any] = field(default_factory=dict)

    def _plan(self, snapshot: Snapshot, scope: Scope) -> Commit:
        model = RateLimitPolicy if scope.kind == "route" else GlobalRateLimitPolicy
        unknown = sorted(set(self.named) - (set(model.model_fields) - _GIVEN))
        if unknown:
            raise InvalidInputError(f"A limit of {scope.label} has no {', '.join(unknown)}.")
        before = snapshot.policy(scope) or self._inherited(snapshot, scope)
        values = {**(dict(before) if before else _new(scope)), **self.named, **self._stamp}
        if values.get("limit") is None:
            raise InvalidInputError(
                f"There is no rate limit of {scope.label} yet: say which, such as '100/minute'."
            )
        try:
            after = model.model_validate({**values, "revision": 0})
        except ValidationError as error:
            raise InvalidInputError(reasons(error)) from error
        refuse_functions(after, self.named, limit_of_code(snapshot, scope))
        if isinstance(after, GlobalRateLimitPolicy) and "exempt_routes" in self.named:
            for entry in after.exempt_routes:
                ExemptEntry.parse(entry)
        return self._store(snapshot, scope, before, after, "updated" if before else "set")

    def _inherited(self, snapshot: Snapshot, scope: Scope) -> StoredPolicy | None:
        """Return what is in force without a limit of this very scope, as if it were that scope's."""
        _, policy = limit_in_force(snapshot, scope)
        if policy is None:
            return None
        return policy.replace(revision=0, **_new(scope))


@dataclass(frozen=True, kw_only=True)
class DeleteLimit(LimitCommand):
    """Take an operator's limit away; what is in force without it, as the code's, counts again."""

    def _plan(self, snapshot: Snapshot, scope: Scope) -> Commit:
        before = snapshot.policy(scope)
        if before is None:
            at, known = limit_in_force(snapshot, scope)
            if known is None:
                raise InvalidInputError(f"There is no rate limit of {scope.label} to delete.")
            if snapshot.policy(at) is not None:
                raise InvalidInputError(
                    f"{scope.label} has no limit of its own: that of {at.label} holds, delete that one."
                )
            raise InvalidInputError(
                f"The limit of {scope.label} is set in the code: set it to 'unlimited' to lift it."
            )
        return self._store(snapshot, scope, before, None, "deleted")


@dataclass(frozen=True, kw_only=True)
class SwitchLimit(LimitCommand):
    """Pause the limit of everything or of a service, or take it up again."""

    enabled: bool

    def _plan(self, snapshot: Snapshot, scope: Scope) -> Commit:
        if scope.kind == "route":
            raise InvalidInputError("A route's limit has no switch: delete it, or set it to 'unlimited'.")
        before = snapshot.policy(scope)
        if not isinstance(before, GlobalRateLimitPolicy):
            raise InvalidInputError(f"There is no rate limit of {scope.label}: set one first.")
        if before.enabled is self.enabled:
            self._check_expected(scope, before.revision)
            return Commit(result=scope.limit_key)
        after = before.replace(enabled=self.enabled, **self._stamp)
        return self._store(snapshot, scope, before, after, "enabled" if self.enabled else "disabled")


@dataclass(frozen=True, kw_only=True)
class ResetLimit(LimitCommand):
    """Let the counters of a scope begin anew, in every process; the limit itself stays.

    A method that is counted together with others, under their bare path, is reset with them.
    ``all_methods``: what counts any method of the route's path.
    """

    all_methods: bool = False

    def plan(self, snapshot: Snapshot) -> Commit:
        if not self.all_methods:
            return super().plan(snapshot)
        return joined([self._plan(snapshot, scope) for scope in self._counted(snapshot)])

    def _counted(self, snapshot: Snapshot) -> list[Scope]:
        """Return the scopes at which the methods of one path, of one service, are counted."""
        asked = RouteKey.parse(self.scope.name, service=self.service)
        known = [RouteKey.parse(key) for key in snapshot.routes]
        known += [RouteKey.parse(scope.name) for scope in snapshot.policies if scope.kind == "route"]
        found = [key for key in known if key.path == asked.path]
        found = found or [key for key in known if key.path.rstrip("/") == asked.path.rstrip("/")]
        found = [key for key in found if asked.service in (None, key.service)]
        services = {key.service for key in found}
        if len(services) > 1:
            if None not in services:
                raise AmbiguousRouteError(self.scope.name, sorted({str(key) for key in found}))
            found = [key for key in found if key.service is None]
        in_force = [limit_in_force(snapshot, Scope("route", str(key))) for key in found]
        counted = sorted({at for at, policy in in_force if policy is not None})
        if not counted:
            key = found[0] if found else RouteKey.parse(resolve(snapshot, str(asked)))
            raise _nothing_counted(Scope("route", str(key._replace(method=None))))
        return counted

    def _plan(self, snapshot: Snapshot, scope: Scope) -> Commit:
        scope, policy = limit_in_force(snapshot, scope)
        if policy is None:
            raise _nothing_counted(scope)
        return self._commit(
            scope.reset_key,
            snapshot.objects.get(scope.reset_key),
            RateLimitReset(**self._stamp),
            action=RESETS[scope.kind],
            previous=limit_status(policy),
            new=limit_status(policy),
        )


def limit_in_force(
    snapshot: Snapshot, scope: Scope, *, besides: Scope | None = None
) -> tuple[Scope, StoredPolicy | None]:
    """Return the limit that holds for ``scope``, and the scope at which it is stored and counted.

    An operator's wins over the code's; of each that of a method over that of its bare path, as in the
    ruleset. ``besides`` is a scope whose own limit is passed over.
    """
    if scope.kind != "route":
        return scope, snapshot.policy(scope) if scope != besides else None
    bare = Scope("route", str(RouteKey.parse(scope.name)._replace(method=None)))
    for at in (scope, bare):
        if at != besides and (policy := snapshot.policy(at)) is not None:
            return at, policy
    code = limit_of_code(snapshot, scope)
    return (Scope("route", str(code.key)), code) if code is not None else (scope, None)


def limit_of_code(snapshot: Snapshot, scope: Scope) -> RateLimitPolicy | None:
    """Return what the code's decorator says of a route: of its method, else of its bare path."""
    if scope.kind != "route":
        return None
    own = snapshot.route(scope.name)
    bare = snapshot.route(str(RouteKey.parse(scope.name)._replace(method=None)))
    by_operator_alone = own is not None and own.origin == "operator" and own.baseline is None
    state = bare if own is None or (by_operator_alone and bare is not None) else own
    return state.rate_limit if state is not None else None


def refuse_functions(after: StoredPolicy, named: Collection[str], code: RateLimitPolicy | None) -> None:
    """Refuse a function that somebody has ``named`` in a limit, and the code has not."""
    for name, instead in _CALLABLE.items():
        wanted = name in named and getattr(after, name) == KeyStrategy.CUSTOM
        if wanted and (code is None or getattr(code, name) != KeyStrategy.CUSTOM):
            raise InvalidInputError(
                f"{name}: 'custom' is a function, which only the code can have: use {instead}."
            )


def hit_key(snapshot: Snapshot, target: str, service: str | None = None) -> RouteKey:
    """Return the key under which the hits of ``target`` are found; one without a method is of all.

    A path that no route has is one that callers asked for all the same.
    """
    asked = RouteKey.parse(target, service=service)
    try:
        found = {RouteKey.parse(resolve(snapshot, target, service))}
    except RouteNotFoundException:
        return asked
    except AmbiguousRouteError as error:
        found = {RouteKey.parse(match)._replace(method=None) for match in error.matches}
        if len(found) > 1:
            raise
    return found.pop()._replace(method=asked.method)


def _new(scope: Scope) -> dict[str, Any]:
    """Return the fields that say which scope a new limit is of."""
    if scope.kind != "route":
        return {}
    key = RouteKey.parse(scope.name)
    return {"path": str(key._replace(method=None)), "method": key.method or ""}


def _nothing_counted(scope: Scope) -> InvalidInputError:
    return InvalidInputError(f"There is no rate limit of {scope.label} whose counters could be reset.")


def limit_status(policy: StoredPolicy | None) -> str:
    """Return what the audit log says of a limit."""
    return policy.limit if policy is not None else ""
