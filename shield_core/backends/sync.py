"""Backends whose author writes plain functions: the six methods over a synchronous library."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from shield_core.backends.base import ShieldBackend
from shield_core.models import AuditEntry, RouteState

Result = TypeVar("Result")


class SyncShieldBackend(ABC):
    """A store of route states and of the audit log, in plain functions.

    They are the methods of ``ShieldBackend`` and mean the same. All of them run on one thread of
    their own, one at a time, so that a connection may belong to it.
    """

    shared_across_processes: bool = True
    durable: bool = True

    @abstractmethod
    def get_state(self, path: str) -> RouteState:
        """Return the state of one route. Raises KeyError when there is none."""

    @abstractmethod
    def set_state(self, path: str, state: RouteState) -> None:
        """Store the state of one route."""

    @abstractmethod
    def delete_state(self, path: str) -> None:
        """Forget the state of one route; one that is not there is no error."""

    @abstractmethod
    def list_states(self) -> list[RouteState]:
        """Return all states."""

    @abstractmethod
    def write_audit(self, entry: AuditEntry) -> None:
        """Append one entry to the audit log."""

    @abstractmethod
    def get_audit_log(self, path: str | None = None, limit: int = 100) -> list[AuditEntry]:
        """Return entries, of one route or of all, newest first."""

    def startup(self) -> None:
        """Open connections."""

    def shutdown(self) -> None:
        """Close connections."""

    def revision(self) -> object:
        """Return a value that differs after every change, or None (see ``ShieldBackend``)."""
        return None


class AwaitedBackend(ShieldBackend):
    """The form in which the engine uses a ``SyncShieldBackend``."""

    def __init__(self, plain: SyncShieldBackend) -> None:
        self.plain = plain
        self.shared_across_processes = plain.shared_across_processes
        self.durable = plain.durable
        self._thread: ThreadPoolExecutor | None = None

    def described(self) -> str:
        return type(self.plain).__name__

    async def startup(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="shield-store")
        try:
            await self._run(self.plain.startup)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise

    async def shutdown(self) -> None:
        try:
            await self._run(self.plain.shutdown)
        finally:
            if self._thread is not None:
                self._thread.shutdown(wait=False)

    async def get_state(self, path: str) -> RouteState:
        return await self._run(self.plain.get_state, path)

    async def set_state(self, path: str, state: RouteState) -> None:
        await self._run(self.plain.set_state, path, state)

    async def delete_state(self, path: str) -> None:
        await self._run(self.plain.delete_state, path)

    async def list_states(self) -> list[RouteState]:
        return await self._run(self.plain.list_states)

    async def write_audit(self, entry: AuditEntry) -> None:
        await self._run(self.plain.write_audit, entry)

    async def get_audit_log(self, path: str | None = None, limit: int = 100) -> list[AuditEntry]:
        return await self._run(self.plain.get_audit_log, path, limit)

    async def revision(self) -> object:
        return await self._run(self.plain.revision)

    async def _run(self, function: Callable[..., Result], *args: Any) -> Result:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, function, *args)


def awaited(backend: ShieldBackend | SyncShieldBackend) -> ShieldBackend:
    """Return ``backend`` in the form in which the engine uses it."""
    return AwaitedBackend(backend) if isinstance(backend, SyncShieldBackend) else backend
