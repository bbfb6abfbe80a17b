"""The engine: the one write path, and the door to the read path.

Every mutation is a command that ``plan`` turns into a commit; a short loop commits it and plans
again after a conflict. The loop is written once, as a coroutine over a port: ``engine.sync``
(``shield_core.sync``, generated from this file) runs the same coroutine without a loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from shield_core import forking, plan, recovery
from shield_core.audit import AuditQuery
from shield_core.backends.base import ShieldBackend
from shield_core.backends.memory import MemoryBackend
from shield_core.backends.sync import SyncShieldBackend, awaited
from shield_core.declarations import Declaration
from shield_core.exceptions import (
    AmbiguousRouteError,
    BackendError,
    ConflictError,
    InvalidInputError,
    RouteNotFoundException,
)
from shield_core.keys import EVERYTHING, RouteKey, Scope, check_service
from shield_core.models import (
    AuditEntry,
    GlobalMaintenanceConfig,
    GlobalRateLimitPolicy,
    Instance,
    MaintenanceWindow,
    RateLimitHit,
    RateLimitPolicy,
    RateLimitResult,
    RouteState,
    RouteStatus,
    StoredPolicy,
)
from shield_core.plan import Authorship
from shield_core.ports import AwaitingPort, HomeLoop, PlainPort, Port, drive
from shield_core.rate_limit.caller import ContextCaller
from shield_core.rate_limit.hits import HitQuery
from shield_core.rate_limit.limiter import Limiter
from shield_core.rate_limit.storage.base import RateLimitStorage
from shield_core.rate_limit.storage.failover import guarded
from shield_core.replica import Listener, NoStore, Replica, Status
from shield_core.responses import limited
from shield_core.ruleset import Decision, Ruleset, Trace
from shield_core.snapshot import Changes, Commit, Snapshot

if TYPE_CHECKING:
    from shield_core.sync import SyncEngine

_ATTEMPTS = 100


class ShieldEngine:
    """Everything an operator or an application asks of Shield.

    ``current_env`` None means that the environment was forgotten: no gate matches then.
    ``service`` is this process's own service, if it has a name. ``resolver`` turns what a person
    wrote (a view name, a real URL) into keys; ``discover`` declares the routes of an adapter's
    application, before the first look at them. ``threads`` False keeps the replica's thread away,
    for tests. ``rate_limit_backend`` counts requests where the backend should not: a storage, or a
    backend whose storage is taken. ``fail_open`` says what happens while it cannot be reached: requests
    are counted in this process alone (True), or those that have a limit are blocked. ``num_proxies`` are
    trusted to tell the client's address; ``draft_headers`` adds the IETF draft's ``RateLimit`` headers.
    Times are in seconds.
    """

    def __init__(
        self,
        backend: ShieldBackend | SyncShieldBackend | None = None,
        current_env: str | None = "dev",
        *,
        service: str | None = None,
        release: str = "",
        refresh_interval: float = 1.0,
        init_timeout: float = 2.0,
        no_store: NoStore = "decorators",
        resolver: Callable[[str], Iterable[str]] | None = None,
        discover: Callable[[], None] | None = None,
        threads: bool = True,
        rate_limit_backend: RateLimitStorage | ShieldBackend | None = None,
        fail_open: bool = True,
        num_proxies: int = 0,
        draft_headers: bool = False,
    ) -> None:
        self.backend = awaited(backend if backend is not None else MemoryBackend())
        self.current_env = current_env
        self.service = check_service(service) if service else None
        self.release = release
        self._resolver = resolver
        self._discoveries = [discover] if discover is not None else []
        self._home = HomeLoop(self.backend)
        self._port: Port = AwaitingPort(self.backend, self._home)
        plain = PlainPort(self.backend, self._home)
        self.backend.refresh_interval = refresh_interval
        self.replica = Replica(
            self.backend,
            plain,
            service=self.service,
            release=release,
            env=current_env,
            refresh_interval=refresh_interval,
            init_timeout=init_timeout,
            no_store=no_store,
            threads=threads,
            run=lambda command: drive(self._plain._run(command)),
            register=lambda: drive(self._plain._register_declared()),
            flush_hits=lambda: drive(self._plain._flush_hits()),
        )
        source = rate_limit_backend if rate_limit_backend is not None else self.backend
        storage = source.rate_limit_storage() if isinstance(source, ShieldBackend) else source
        self.limiter = Limiter(
            guarded(storage, fail_open=fail_open), num_proxies=num_proxies, draft_headers=draft_headers
        )
        self._plain = copy.copy(self)
        self._plain._port = plain

    @cached_property
    def sync(self) -> SyncEngine:
        """The same operations for synchronous code."""
        from shield_core.sync import SyncEngine

        return SyncEngine(self._plain)

    # -- life cycle -------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the backend up, follow it, and await the first load."""
        if _is_plain(self._port):
            self.replica.start()
            self.replica.ready()
        else:
            await self._home.adopt_running_loop()
            self.replica.start()
            await self.replica.ready_async()

    async def stop(self) -> None:
        """Stop following and shut the backend down; the last rules stay in force until then."""
        if _is_plain(self._port):
            self.replica.stop()
            self.limiter.storage.stop()
            self._home.leave_sync()
        else:
            # In a thread, because the replica may be waiting for this very loop.
            await asyncio.to_thread(self.replica.stop)
            await asyncio.to_thread(self.limiter.storage.stop)
            await self._home.leave()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def instances(self) -> list[Instance]:
        """Return the processes that follow the store and were heard of in the last 90 seconds."""
        now = datetime.now(UTC)
        return [one for one in await self._port.instances() if one.alive_at(now)]

    def status(self) -> Status:
        """Return how fresh this process's rules are."""
        return self.replica.status()

    def subscribe(self, listener: Listener) -> None:
        """Call ``listener(snapshot, changes)`` in this process after every change it applies."""
        self.replica.subscribe(listener)

    # -- read path --------------------------------------------------------------------------

    @property
    def ruleset(self) -> Ruleset:
        """The rules in force; a cold process loads them first, at most ``init_timeout`` seconds."""
        return self.replica.ruleset or self.replica.ready()

    def decide(
        self, method: str, path: str, *, at: datetime | None = None, trace: Trace | None = None
    ) -> Decision:
        """Decide on a request to the route template ``path``, without I/O once rules are loaded."""
        return self.ruleset.decide(method, path, at=at, trace=trace)

    async def check(
        self, path: str, method: str | None = None, context: Mapping[str, Any] | None = None
    ) -> RateLimitResult | None:
        """Raise the exception of the layer that blocks ``path`` (a key or a template), if any.

        ``context`` tells who is asking: ip, headers, user, request. A request is charged to its limits;
        the answer is what they say of it, None where it has none.
        """
        key = RouteKey.parse(path)
        plain = _is_plain(self._port)
        rules = self.ruleset if plain else await self.replica.ready_async()
        asked = method or key.method or "GET"
        decision = rules.decide(asked, key.path)
        if decision.allowed and (layers := rules.limits(asked, key.path)):
            caller = ContextCaller(context or {}, awaits=not plain)
            outcome = self.limiter.limit(layers, caller, method=asked, path=key.path)
            decision = limited(decision, await outcome if isinstance(outcome, Awaitable) else outcome)
        if not decision.allowed:
            raise decision.exception()
        return decision.outcome.result if decision.outcome is not None else None

    # -- declarations -----------------------------------------------------------------------

    def discover_with(self, discover: Callable[[], None]) -> None:
        """Call ``discover`` before the store is asked for routes, to declare those of an application."""
        self._discoveries.append(discover)

    def declare(self, declarations: Iterable[Declaration]) -> None:
        """Put what the code declares in force in this process; it is registered later."""
        self.replica.declare(declarations)

    async def register(self, path: str, meta: Mapping[str, Any]) -> None:
        """Declare one route (``meta`` as in ``__shield_meta__``) and store it for operators."""
        await self.register_batch([(path, meta)])

    async def register_batch(self, routes: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Declare and store many routes in one commit, none when nothing is new."""
        self.declare(Declaration.from_meta(RouteKey.parse(path), meta) for path, meta in routes)
        await self._register_declared()

    async def route_exists(self, key: str) -> bool:
        """Return whether exactly this key is registered."""
        snapshot = await self._fresh()
        return snapshot.route(str(RouteKey.parse(key, service=self.service))) is not None

    # -- routes -----------------------------------------------------------------------------

    async def get_state(self, path: str) -> RouteState:
        """Return a route's stored state. Raises RouteNotFoundException or AmbiguousRouteError."""
        snapshot = await self._fresh()
        target = self._target(path)
        try:
            key = plan.resolve(snapshot, target, self.service)
        except RouteNotFoundException:
            await self._register_declared(target)
            snapshot = await self._fresh()
            key = plan.resolve(snapshot, target, self.service)
        return snapshot.routes.get(key) or snapshot.routes[str(RouteKey.parse(key)._replace(method=None))]

    async def list_states(self, service: str | None = None) -> list[RouteState]:
        """Return all routes, of one service or of all, in the order of their keys."""
        await self._register_declared()
        routes = (await self._fresh()).routes
        return [routes[key] for key in sorted(routes) if service in (None, routes[key].service)]

    async def list_services(self) -> list[str]:
        """Return the names of the services that have routes or maintenance of their own."""
        snapshot = await self._fresh()
        scopes = (Scope.of(key) for key in snapshot.objects)
        named = {scope.name for scope in scopes if scope.kind == "service"}
        return sorted(named | {state.service for state in snapshot.routes.values() if state.service})

    async def enable(self, path: str, reason: str = "", **by: Unpack[Authorship]) -> RouteState:
        """Lift maintenance and disabled; an environment gate and a future window stay."""
        return await self._route(plan.Enable, path, by, reason=reason)

    async def disable(
        self, path: str, reason: str = "", until: datetime | None = None, **by: Unpack[Authorship]
    ) -> RouteState:
        """Answer 503, for good or until a time (aware)."""
        return await self._route(plan.Disable, path, by, reason=reason, until=until)

    async def set_maintenance(
        self,
        path: str,
        reason: str = "",
        window: MaintenanceWindow | None = None,
        read_only: bool = False,
        until: datetime | None = None,
        **by: Unpack[Authorship],
    ) -> RouteState:
        """Answer 503 with a reason: for good, until a time, or in a window."""
        return await self._route(
            plan.SetMaintenance, path, by, reason=reason, window=window, until=until, read_only=read_only
        )

    async def set_env_only(
        self, path: str, envs: Sequence[str], reason: str = "", **by: Unpack[Authorship]
    ) -> RouteState:
        """Gate the route to ``envs``; an empty list lifts the gate."""
        return await self._route(plan.SetEnvironments, path, by, reason=reason, envs=tuple(envs))

    async def schedule_maintenance(
        self, path: str, window: MaintenanceWindow, reason: str = "", **by: Unpack[Authorship]
    ) -> RouteState:
        """Set the route's window, in place of the one it has."""
        return await self._route(plan.Schedule, path, by, reason=reason, window=window)

    async def cancel_schedule(self, path: str, reason: str = "", **by: Unpack[Authorship]) -> RouteState:
        """Take the route's window away, a running one too."""
        return await self._route(plan.CancelSchedule, path, by, reason=reason)

    async def clear_override(self, path: str, reason: str = "", **by: Unpack[Authorship]) -> RouteState:
        """Go back to what the code says."""
        return await self._route(plan.ClearOverride, path, by, reason=reason)

    async def set_route(
        self,
        path: str,
        status: RouteStatus,
        reason: str = "",
        window: MaintenanceWindow | None = None,
        envs: Sequence[str] = (),
        read_only: bool = False,
        **by: Unpack[Authorship],
    ) -> RouteState:
        """Set a route's status, window and gate in one commit, as a form does."""
        return await self._route(
            plan.SetRoute,
            path,
            by,
            reason=reason,
            status=status,
            window=window,
            envs=tuple(envs),
            read_only=read_only,
        )

    # -- maintenance of everything and of a service -------------------------------------------

    async def get_maintenance(self, scope: Scope) -> GlobalMaintenanceConfig:
        """Return the maintenance of a scope: everything or a service."""
        return (await self._fresh()).maintenance(scope)

    async def enable_maintenance(
        self,
        scope: Scope,
        reason: str = "",
        exempt_paths: Sequence[str] | None = None,
        include_force_active: bool = False,
        read_only: bool = False,
        window: MaintenanceWindow | None = None,
        **by: Unpack[Authorship],
    ) -> GlobalMaintenanceConfig:
        """Put a scope into maintenance, at once or in a window; exempt paths None keeps them."""
        command = plan.EnableScopeMaintenance(
            by=by,
            scope=scope,
            reason=reason,
            exempt_paths=exempt_paths,
            include_force_active=include_force_active,
            read_only=read_only,
            window=window,
        )
        return await self._scope(command)

    async def disable_maintenance(
        self, scope: Scope, reason: str = "", **by: Unpack[Authorship]
    ) -> GlobalMaintenanceConfig:
        """End the maintenance of a scope; a future window stays."""
        return await self._scope(plan.DisableScopeMaintenance(by=by, scope=scope, reason=reason))

    async def set_scope_maintenance(
        self,
        scope: Scope,
        enabled: bool,
        reason: str = "",
        exempt_paths: Sequence[str] = (),
        include_force_active: bool = False,
        read_only: bool = False,
        window: MaintenanceWindow | None = None,
        **by: Unpack[Authorship],
    ) -> GlobalMaintenanceConfig:
        """Set a scope's switch, window and exempt paths in one commit, as a form does."""
        command = plan.SetScopeMaintenance(
            by=by,
            scope=scope,
            enabled=enabled,
            reason=reason,
            exempt_paths=exempt_paths,
            include_force_active=include_force_active,
            read_only=read_only,
            window=window,
        )
        return await self._scope(command)

    async def set_exempt_paths(
        self, scope: Scope, paths: Sequence[str], reason: str = "", **by: Unpack[Authorship]
    ) -> GlobalMaintenanceConfig:
        """Replace a scope's exempt paths, without switching its maintenance on or off."""
        return await self._scope(plan.SetExemptPaths(by=by, scope=scope, reason=reason, exempt_paths=paths))

    async def get_global_maintenance(self) -> GlobalMaintenanceConfig:
        return await self.get_maintenance(EVERYTHING)

    async def enable_global_maintenance(
        self,
        reason: str = "",
        exempt_paths: Sequence[str] | None = None,
        include_force_active: bool = False,
        read_only: bool = False,
        window: MaintenanceWindow | None = None,
        **by: Unpack[Authorship],
    ) -> GlobalMaintenanceConfig:
        return await self.enable_maintenance(
            EVERYTHING, reason, exempt_paths, include_force_active, read_only, window, **by
        )

    async def disable_global_maintenance(
        self, reason: str = "", **by: Unpack[Authorship]
    ) -> GlobalMaintenanceConfig:
        return await self.disable_maintenance(EVERYTHING, reason, **by)

    async def set_global_exempt_paths(
        self, paths: Sequence[str], reason: str = "", **by: Unpack[Authorship]
    ) -> GlobalMaintenanceConfig:
        return await self.set_exempt_paths(EVERYTHING, paths, reason, **by)

    async def get_service_maintenance(self, service: str) -> GlobalMaintenanceConfig:
        return await self.get_maintenance(Scope.service(service))

    async def enable_service_maintenance(
        self,
        service: str,
        reason: str = "",
        exempt_paths: Sequence[str] | None = None,
        include_force_active: bool = False,
        read_only: bool = False,
        window: MaintenanceWindow | None = None,
        **by: Unpack[Authorship],
    ) -> GlobalMaintenanceConfig:
        return await self.enable_maintenance(
            Scope.service(service), reason, exempt_paths, include_force_active, read_only, window, **by
        )

    async def disable_service_maintenance(
        self, service: str, reason: str = "", **by: Unpack[Authorship]
    ) -> GlobalMaintenanceConfig:
        return await self.disable_maintenance(Scope.service(service), reason, **by)

    # -- rate limits --------------------------------------------------------------------------

    async def list_limits(self, service: str | None = None) -> list[RateLimitPolicy]:
        """Return the limits of routes, operators' and those of the code (at revision 0), by their keys."""
        await self._register_declared()
        snapshot = await self._fresh()
        found = {key: state.rate_limit for key, state in snapshot.routes.items() if state.rate_limit}
        for scope, policy in snapshot.policies.items():
            if isinstance(policy, RateLimitPolicy):
                found[scope.name] = policy
        return [found[key] for key in sorted(found) if service in (None, found[key].key.service)]

    async def get_limit(self, scope: Scope) -> StoredPolicy | None:
        """Return the limit of a scope; of a route also what its code says, at revision 0."""
        snapshot = await self._fresh()
        if scope.kind == "route":
            scope = Scope("route", plan.resolve(snapshot, self._target(scope.name), self.service))
        return snapshot.policy(scope) or plan.policy_of_code(snapshot, scope)

    async def set_limit(
        self, scope: Scope, named: Mapping[str, Any], reason: str = "", **by: Unpack[Authorship]
    ) -> StoredPolicy:
        """Set the fields of a scope's limit that are ``named``; the others stay as they are.

        Raises InvalidInputError for what is no limit.
        """
        given = {name: value for name, value in named.items() if value is not None}
        found = await self._limit(plan.SetLimit, scope, by, reason=reason, named=given)
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
        on_missing_key: str | None = None,
        burst: int | None = None,
        tiers: Sequence[Mapping[str, str]] | None = None,
        tier_resolver: str | None = None,
        exempt_ips: Sequence[str] | None = None,
        exempt_roles: Sequence[str] | None = None,
        shadow: bool | None = None,
        reason: str = "",
        **by: Unpack[Authorship],
    ) -> RateLimitPolicy:
        """Set a route's limit; what is None stays as it is, at first as the code has it."""
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
        found = await self.set_limit(_route_scope(path, method), named, reason, **by)
        assert isinstance(found, RateLimitPolicy)
        return found

    async def get_rate_limit_policy(self, path: str, method: str | None = None) -> RateLimitPolicy | None:
        found = await self.get_limit(_route_scope(path, method))
        return found if isinstance(found, RateLimitPolicy) else None

    async def delete_rate_limit_policy(
        self, path: str, method: str | None = None, reason: str = "", **by: Unpack[Authorship]
    ) -> None:
        await self.delete_limit(_route_scope(path, method), reason, **by)

    async def reset_rate_limit(
        self, path: str, method: str | None = None, reason: str = "", **by: Unpack[Authorship]
    ) -> None:
        """Let a route's counters begin anew; without a method those of all its methods."""
        scope = _route_scope(path, method)
        every = RouteKey.parse(self._target(scope.name)).method is None
        await self.reset_limit(scope, reason, every, **by)

    async def get_rate_limit_hits(
        self, path: str | None = None, limit: int | None = 100
    ) -> list[RateLimitHit]:
        """Return requests that limits have blocked (or would have, ``shadow``), newest first."""
        await self._flush_hits()
        key = RouteKey.parse(self._target(path), service=self.service) if path is not None else None
        return await self._port.read_hits(HitQuery(key, limit))

    async def get_global_rate_limit(self) -> GlobalRateLimitPolicy | None:
        return _wide(await self.get_limit(EVERYTHING))

    async def set_global_rate_limit(
        self, limit: str | None = None, reason: str = "", **what: Any
    ) -> GlobalRateLimitPolicy:
        """Set the limit of everything; ``what`` are its fields, None and those left out stay."""
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

    # -- recovery ---------------------------------------------------------------------------

    async def restore(self, reason: str = "", timeout: float = 10.0, **by: Unpack[Authorship]) -> None:
        """Let a running process put the rules back into an emptied store.

        Raises BackendError when none has done so within ``timeout`` seconds.
        """
        await self._run(recovery.RequestRestore(by=by, reason=reason))
        deadline = time.monotonic() + timeout
        while recovery.is_requested(await self._fresh()):
            if time.monotonic() > deadline:
                await self._run(recovery.RequestRestore(by=by, withdraw=True))
                raise BackendError(
                    "No running process holds rules that the store has lost. If the store is right as it "
                    "is, accept it with 'shield reset --all'."
                )
            await self._port.pause(0.05)

    async def reset_all(self, reason: str = "", **by: Unpack[Authorship]) -> None:
        """Lift every override and all maintenance; running processes accept the store as it is then."""
        await self._run(recovery.ResetEverything(by=by, reason=reason))

    # -- audit ------------------------------------------------------------------------------

    async def get_audit_log(
        self,
        path: str | None = None,
        limit: int | None = 100,
        service: str | None = None,
        actor: str | None = None,
        action: str | None = None,
        since: datetime | None = None,
        cursor: str | None = None,
        platform: str | None = None,
        search: str | None = None,
        entry_id: str | None = None,
    ) -> list[AuditEntry]:
        """Return audit entries, newest first; filters work before ``limit`` (None: all).

        ``path`` may be all that names a route; what names none is taken as it is.
        """
        if path is not None:
            with contextlib.suppress(RouteNotFoundException, InvalidInputError):
                path = plan.resolve(await self._fresh(), self._target(path), self.service)
        query = AuditQuery(
            path=path,
            service=service,
            actor=actor,
            action=action,
            platform=platform,
            since=since,
            search=search,
            id=entry_id,
            cursor=cursor,
            limit=limit,
        )
        return await self._port.read_audit(query)

    # -- the commit loop --------------------------------------------------------------------

    async def _route(
        self, command: type[plan.RouteCommand], path: str, by: Authorship, **what: Any
    ) -> RouteState:
        target = self._target(path)
        try:
            snapshot, key = await self._run(command(by=by, target=target, service=self.service, **what))
        except RouteNotFoundException:
            # Also where nothing is left to register: the replica may have registered it meanwhile.
            await self._register_declared(target)
            snapshot, key = await self._run(command(by=by, target=target, service=self.service, **what))
        state = snapshot.route(key) or snapshot.route(str(RouteKey.parse(key)._replace(method=None)))
        assert state is not None
        return state

    async def _scope(self, command: plan.ScopeCommand) -> GlobalMaintenanceConfig:
        if command.scope.kind == "route":
            raise InvalidInputError("A route has a state of its own: use set_maintenance().")
        snapshot, _ = await self._run(command)
        return snapshot.maintenance(command.scope)

    async def _limit(
        self, command: type[plan.LimitCommand], scope: Scope, by: Authorship, **what: Any
    ) -> StoredPolicy | None:
        if scope.kind == "route":
            scope = Scope("route", self._target(scope.name))

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

    async def _flush_hits(self) -> None:
        if self.limiter.hits:
            await self._port.write_hits(self.limiter.hits.drain(self.service))

    async def _run(
        self, command: plan.Command, published: Callable[[], None] | None = None
    ) -> tuple[Snapshot, str]:
        """Plan and commit until it fits; return the snapshot after it and the key it was about."""
        for attempt in range(_ATTEMPTS):
            await self._port.prepare()
            snapshot = await self._fresh()
            with forking.held_off():
                commit = command.plan(snapshot)
            if not commit:
                if published:
                    published()
                return snapshot, commit.result
            try:
                changes = await self._commit(commit, published)
            except ConflictError:
                await self._port.pause(random.uniform(0, 0.002 * min(attempt + 1, 25)))
                continue
            return snapshot.apply(changes, advance=False), commit.result
        raise BackendError(f"The change was overtaken {_ATTEMPTS} times in a row and was given up.")

    async def _commit(self, commit: Commit, published: Callable[[], None] | None) -> Changes:
        def publish(changes: Changes) -> None:
            self.replica.publish(changes)
            if published:
                published()

        return await self._port.commit(commit, publish)

    async def _fresh(self) -> Snapshot:
        """Return the state of the store as the caller sees it, an open transaction included."""
        known = self.replica.snapshot
        if known is not None:
            changes = await self._port.watch(known.cursor)
            if not changes.reset:
                return known.apply(changes, advance=True) if changes.writes else known
        return await self._port.load()

    async def _register_declared(self, target: str | None = None) -> bool:
        """Store what is declared and not stored yet; also an unlisted route that ``target`` names."""
        for discover in self._discoveries:
            discover()
        waiting = self.replica.unregistered
        if target is not None:
            path = RouteKey.parse(target).path
            waiting += [
                one for one in self.replica.declared.values() if one.unlisted and one.key.path == path
            ]
        if not waiting:
            return False
        states = [one.state(self.service, self.release) for one in waiting]
        await self._run(plan.Register(states=states), lambda: self.replica.registered(waiting))
        return True

    def _target(self, text: str) -> str:
        """Return the key that ``text`` stands for: a key, or what the resolver makes of it."""
        if self._resolver is None:
            return text
        keys = list(self._resolver(text))
        if len(keys) > 1:
            raise AmbiguousRouteError(text, keys)
        return keys[0] if keys else text


def _route_scope(path: str, method: str | None) -> Scope:
    """Return the scope of a route, whose key is still to be found; ``method`` may stand in the path."""
    if not method:
        return Scope("route", path)
    key = RouteKey.parse(path)
    if key.method not in (None, method.upper()):
        raise InvalidInputError(f"{path!r} has another method than {method!r}.")
    return Scope("route", str(key._replace(method=method.upper())))


def _wide(policy: StoredPolicy | None) -> GlobalRateLimitPolicy | None:
    return policy if isinstance(policy, GlobalRateLimitPolicy) else None


def _there(policy: StoredPolicy) -> GlobalRateLimitPolicy:
    assert isinstance(policy, GlobalRateLimitPolicy)
    return policy


def _is_plain(port: Port) -> bool:
    return isinstance(port, PlainPort)
