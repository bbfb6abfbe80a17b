"""What an operator does with rate limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from shield_core import plan
from shield_core.exceptions import (
    InvalidInputError,
    RouteNotFoundException,
)
from shield_core.keys import EVERYTHING, RouteKey, Scope
from shield_core.models import (
    GlobalRateLimitPolicy,
    RateLimitHit,
    RateLimitPolicy,
    StoredPolicy,
)
from shield_core.operations.commits import Committing
from shield_core.plan import Authorship
from shield_core.rate_limit.hits import HitQuery

#: How many hundredths of a second to wait for hits that another thread is storing.
_MOMENTS = 100


class LimitOperations(Committing):
    """Rate limits of any scope; what is named after one is that at its scope."""

    async def list_limits(self, service: str | None = None) -> list[RateLimitPolicy]:
        """Return the limits of routes, operators' and those of the code (at revision 0), by their keys."""
        await self._register_declared()
        snapshot = await self._fresh()
        by_code = [plan.limit_of_code(snapshot, Scope("route", key)) for key in snapshot.routes]
        found = {str(policy.key): policy for policy in by_code if policy is not None}
        for scope, policy in snapshot.policies.items():
            if isinstance(policy, RateLimitPolicy):
                found[scope.name] = policy
        return [found[key] for key in sorted(found) if service in (None, found[key].key.service)]

    async def get_limit(self, scope: Scope) -> StoredPolicy | None:
        """Return the limit in force at a scope: of a route its own, its bare path's or the code's."""
        snapshot = await self._fresh()
        if scope.kind == "route":
            scope = Scope("route", plan.resolve(snapshot, self._target(scope.name), self.service))
        return plan.limit_in_force(snapshot, scope)[1]

    async def set_limit(
        self, scope: Scope, named: Mapping[str, Any], reason: str = "", **by: Unpack[Authorship]
    ) -> StoredPolicy:
        """Set the fields of a scope's limit that are ``named``; the others, and those of None, stay.

        ``on_missing_key`` of None is that of the key strategy again. Raises InvalidInputError for what is
        no limit.
        """
        found = await self._limit(plan.SetLimit, scope, by, reason=reason, named=plan.given(named))
        assert found is not None
        return found

    async def delete_limit(self, scope: Scope, reason: str = "", **by: Unpack[Authorship]) -> None:
        """Take an operator's limit away; what the code says of a route counts again."""
        await self._limit(plan.DeleteLimit, scope, by, reason=reason)

    async def switch_limit(
        self, scope: Scope, enabled: bool, reason: str = "", **by: Unpack[Authorship]
    ) -> StoredPolicy:
        """Pause the limit of everything or of a service, or take it up again."""
        found = await self._limit(plan.SwitchLimit, scope, by, reason=reason, enabled=enabled)
        assert found is not None
        return found

    async def reset_limit(
        self, scope: Scope, reason: str = "", all_methods: bool = False, **by: Unpack[Authorship]
    ) -> None:
        """Let the counters of a scope begin anew, in every process."""
        await self._limit(plan.ResetLimit, scope, by, reason=reason, all_methods=all_methods)

    async def set_rate_limit_policy(
        self,
        path: str,
        method: str | None = None,
        limit: str | None = None,
        *,
        algorithm: str | None = None,
        key_strategy: str | None = None,
        on_missing_key: str | plan.Stays | None = plan.Stays.AS_IT_IS,
        burst: int | None = None,
        tiers: Mapping[str, str] | Sequence[Mapping[str, str]] | None = None,
        tier_resolver: str | None = None,
        exempt_ips: Sequence[str] | None = None,
        exempt_roles: Sequence[str] | None = None,
        shadow: bool | None = None,
        reason: str = "",
        **by: Unpack[Authorship],
    ) -> RateLimitPolicy:
        """Set a route's limit; what is None stays as it is, at first as the code has it.

        ``on_missing_key`` stays when it is left out; None is that of the key strategy.
        """
        named = {
            "limit": limit,
            "algorithm": algorithm,
            "key_strategy": key_strategy,
            "on_missing_key": on_missing_key,
            "burst": burst,
            "tiers": tiers,
            "tier_resolver": tier_resolver,
            "exempt_ips": exempt_ips,
            "exempt_roles": exempt_roles,
            "shadow": shadow,
        }
        found = await self.set_limit(self._route_scope(path, method), named, reason, **by)
        assert isinstance(found, RateLimitPolicy)
        return found

    async def get_rate_limit_policy(self, path: str, method: str | None = None) -> RateLimitPolicy | None:
        found = await self.get_limit(self._route_scope(path, method))
        return found if isinstance(found, RateLimitPolicy) else None

    async def delete_rate_limit_policy(
        self, path: str, method: str | None = None, reason: str = "", **by: Unpack[Authorship]
    ) -> None:
        await self.delete_limit(self._route_scope(path, method), reason, **by)

    async def reset_rate_limit(
        self, path: str, method: str | None = None, reason: str = "", **by: Unpack[Authorship]
    ) -> None:
        """Let a route's counters begin anew; without a method those of all its methods."""
        scope = self._route_scope(path, method)
        every = RouteKey.parse(self._target(scope.name)).method is None
        await self.reset_limit(scope, reason, every, **by)

    async def get_rate_limit_hits(
        self, path: str | None = None, limit: int | None = 100
    ) -> list[RateLimitHit]:
        """Return requests that limits have blocked (or would have, ``shadow``), newest first.

        A bare ``path`` means all its methods.
        """
        await self._flush_hits()
        for _ in range(_MOMENTS):  # the replica may be storing some just now
            if not self.limiter.hits.is_storing:
                break
            await self._port.pause(0.01)
        key = plan.hit_key(await self._fresh(), self._target(path), self.service) if path else None
        return await self._port.read_hits(HitQuery(key, limit))

    async def get_global_rate_limit(self) -> GlobalRateLimitPolicy | None:
        return _wide(await self.get_limit(EVERYTHING))

    async def set_global_rate_limit(
        self, limit: str | None = None, reason: str = "", **what: Any
    ) -> GlobalRateLimitPolicy:
        """Set the limit of everything; ``what`` are its fields, as ``named`` of ``set_limit``."""
        return await self._set_wide(EVERYTHING, limit, reason, what)

    async def delete_global_rate_limit(self, reason: str = "", **by: Unpack[Authorship]) -> None:
        await self.delete_limit(EVERYTHING, reason, **by)

    async def reset_global_rate_limit(self, reason: str = "", **by: Unpack[Authorship]) -> None:
        await self.reset_limit(EVERYTHING, reason, **by)

    async def enable_global_rate_limit(
        self, reason: str = "", **by: Unpack[Authorship]
    ) -> GlobalRateLimitPolicy:
        return _there(await self.switch_limit(EVERYTHING, True, reason, **by))

    async def disable_global_rate_limit(
        self, reason: str = "", **by: Unpack[Authorship]
    ) -> GlobalRateLimitPolicy:
        return _there(await self.switch_limit(EVERYTHING, False, reason, **by))

    async def get_service_rate_limit(self, service: str) -> GlobalRateLimitPolicy | None:
        return _wide(await self.get_limit(Scope.service(service)))

    async def set_service_rate_limit(
        self, service: str, limit: str | None = None, reason: str = "", **what: Any
    ) -> GlobalRateLimitPolicy:
        """Set the limit of one service, as ``set_global_rate_limit`` does that of everything."""
        return await self._set_wide(Scope.service(service), limit, reason, what)

    async def delete_service_rate_limit(
        self, service: str, reason: str = "", **by: Unpack[Authorship]
    ) -> None:
        await self.delete_limit(Scope.service(service), reason, **by)

    async def reset_service_rate_limit(
        self, service: str, reason: str = "", **by: Unpack[Authorship]
    ) -> None:
        await self.reset_limit(Scope.service(service), reason, **by)

    async def enable_service_rate_limit(
        self, service: str, reason: str = "", **by: Unpack[Authorship]
    ) -> GlobalRateLimitPolicy:
        return _there(await self.switch_limit(Scope.service(service), True, reason, **by))

    async def disable_service_rate_limit(
        self, service: str, reason: str = "", **by: Unpack[Authorship]
    ) -> GlobalRateLimitPolicy:
        return _there(await self.switch_limit(Scope.service(service), False, reason, **by))

    async def _limit(
        self, command: type[plan.LimitCommand], scope: Scope, by: Authorship, **what: Any
    ) -> StoredPolicy | None:
        if scope.kind == "route":
            scope = Scope("route", self._target(scope.name))
            await self._register_declared()  # what is not named stays as the code has it

        def made() -> plan.LimitCommand:
            return command(by=by, scope=scope, service=self.service, **what)

        try:
            snapshot, key = await self._run(made())
        except RouteNotFoundException:
            await self._register_declared(scope.name)
            snapshot, key = await self._run(made())
        return snapshot.policy(Scope.of(key))

    async def _set_wide(
        self, scope: Scope, limit: str | None, reason: str, what: Mapping[str, Any]
    ) -> GlobalRateLimitPolicy:
        by = {name: what[name] for name in Authorship.__annotations__ if name in what}
        named = {name: value for name, value in what.items() if name not in by}
        return _there(await self.set_limit(scope, {"limit": limit, **named}, reason, **by))

    def _route_scope(self, path: str, method: str | None) -> Scope:
        """Return the scope of a route, whose key is still to be found; ``method`` may stand in the path."""
        if not method:
            return Scope("route", path)
        key = RouteKey.parse(self._target(path))
        if key.method not in (None, method.upper()):
            raise InvalidInputError(f"{path!r} has another method than {method!r}.")
        return Scope("route", str(key._replace(method=method.upper())))

    async def _flush_hits(self) -> None:
        if self.limiter.hits:
            with self.limiter.hits.batch(self.service) as hits:
                await self._port.write_hits(hits)


def _wide(policy: StoredPolicy | None) -> GlobalRateLimitPolicy | None:
    return policy if isinstance(policy, GlobalRateLimitPolicy) else None


def _there(policy: StoredPolicy) -> GlobalRateLimitPolicy:
    assert isinstance(policy, GlobalRateLimitPolicy)
    return policy
