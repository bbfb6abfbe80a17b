"""What an operator does with routes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Unpack

from shield_core import plan
from shield_core.exceptions import (
    BulkRefusedError,
    InvalidInputError,
    RouteNotFoundException,
    ShieldException,
)
from shield_core.keys import RouteKey, Scope
from shield_core.models import (
    MaintenanceWindow,
    RouteState,
    RouteStatus,
)
from shield_core.operations.commits import Committing
from shield_core.plan import Authorship
from shield_core.snapshot import Snapshot
from shield_core.texts import listed


class RouteOperations(Committing):
    """Routes: their states, and every change of them."""

    async def route_exists(self, key: str) -> bool:
        """Return whether exactly this key is registered."""
        snapshot = await self._fresh()
        return snapshot.route(str(RouteKey.parse(key, service=self.service))) is not None

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
        return _state(snapshot, key)

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
        return await self._route(plan.SetEnvironments, path, by, reason=reason, envs=listed(envs, "envs"))

    async def schedule_maintenance(
        self,
        path: str,
        window: MaintenanceWindow,
        reason: str = "",
        instead: bool = False,
        **by: Unpack[Authorship],
    ) -> RouteState:
        """Set the route's window, in place of the one it has.

        ``instead``: also in place of maintenance or disabled for good, which ends with the window.
        """
        return await self._route(plan.Schedule, path, by, reason=reason, window=window, instead=instead)

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
            envs=listed(envs, "envs"),
            read_only=read_only,
        )

    async def change_routes(
        self,
        paths: Sequence[str],
        action: plan.RouteAction,
        reason: str = "",
        *,
        all_methods: bool = False,
        until: datetime | None = None,
        window: MaintenanceWindow | None = None,
        envs: Sequence[str] = (),
        read_only: bool = False,
        **by: Unpack[Authorship],
    ) -> list[RouteState]:
        """Do the same to several routes in one commit: to all of them, or to none.

        ``until``, ``window``, ``envs`` and ``read_only`` are given where the action takes them, and
        ``all_methods`` means every key of each path. Raises BulkRefusedError.
        """
        given = {"until": until, "window": window, "envs": listed(envs, "envs"), "read_only": read_only}
        takes = plan.ROUTE_ACTIONS[action].__dataclass_fields__
        what = {name: value for name, value in given.items() if name in takes}
        if unused := [name for name, value in given.items() if value and name not in takes]:
            raise InvalidInputError(f"'{action}' takes no {', '.join(unused)}.")
        if "window" in takes and window is None and action == "schedule":
            raise InvalidInputError("'schedule' needs a window.")
        targets = self._targets(paths)

        def made() -> plan.ChangeRoutes:
            return plan.ChangeRoutes(
                by=by,
                reason=reason,
                targets=targets,
                action=action,
                what=what,
                service=self.service,
                all_methods=all_methods,
            )

        try:
            return await self._changed(made())
        except (RouteNotFoundException, BulkRefusedError) as error:
            refusals = error.refusals.values() if isinstance(error, BulkRefusedError) else [error]
            if not any(isinstance(one, RouteNotFoundException) for one in refusals):
                raise
            # As for one route: some may not have been registered yet.
            for target in targets:
                await self._register_declared(target)
            return await self._changed(made())

    async def _changed(self, command: plan.ChangeRoutes) -> list[RouteState]:
        snapshot, _ = await self._run(command)
        return [_state(snapshot, key) for key in command.keys(snapshot)]

    def _targets(self, paths: Sequence[str]) -> list[str]:
        """Return the keys that ``paths`` stand for. Raises BulkRefusedError for those that have none."""
        targets: list[str] = []
        refusals: dict[str, ShieldException] = {}
        for path in paths:
            try:
                targets.append(self._target(path))
            except ShieldException as error:
                if len(paths) == 1:
                    raise
                refusals[path] = error
        if refusals:
            raise BulkRefusedError(refusals)
        return targets

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
        return _state(snapshot, key)


def _state(snapshot: Snapshot, key: str) -> RouteState:
    """Return a route's state, which may be that of its bare path."""
    return snapshot.routes.get(key) or snapshot.routes[str(RouteKey.parse(key)._replace(method=None))]
