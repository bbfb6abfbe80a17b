"""The commit loop: every operation that changes something goes through here.

A command is planned and committed, and after a conflict planned again. The loop is written once, as a
coroutine over a port: ``engine.sync`` runs the same coroutine without a loop.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from shield_core import forking, plan
from shield_core.exceptions import (
    AmbiguousRouteError,
    BackendError,
    ConflictError,
)
from shield_core.keys import RouteKey
from shield_core.ports import Port
from shield_core.rate_limit.limiter import Limiter
from shield_core.replica import Replica
from shield_core.snapshot import Changes, Commit, Snapshot

_ATTEMPTS = 100


class Committing:
    """What operations work with: a store behind a port, and the replica that follows it."""

    service: str | None
    release: str
    replica: Replica
    limiter: Limiter
    _port: Port
    _resolver: Callable[[str], Iterable[str]] | None
    _discoveries: list[Callable[[], None]]

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

    def _discover(self) -> None:
        """Let adapters declare the routes of their applications, where no request has made them."""
        for discover in self._discoveries:
            discover()

    async def _register_declared(self, target: str | None = None) -> bool:
        """Store what is declared and not stored yet; also an unlisted route that ``target`` names."""
        self._discover()
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
