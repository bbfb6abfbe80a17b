"""A custom backend: the six methods and nothing else, kept as JSON, as a user would write one."""

import asyncio
import threading

from shield_core.backends.base import ShieldBackend
from shield_core.models import AuditEntry, RouteState


class StoreDown(ConnectionError):
    pass


class NotebookBackend(ShieldBackend):
    """Counts what is asked of it, and checks that all of it runs on one loop.

    ``down`` makes it raise, ``stuck`` makes it hang. Two of them share a store through ``pages``.
    """

    def __init__(self, pages: dict[str, str] | None = None, log: list[str] | None = None) -> None:
        self.pages = {} if pages is None else pages
        self.log = [] if log is None else log
        self.down = False
        self.stuck = False
        self.loops: list[asyncio.AbstractEventLoop] = []
        self.threads: set[int] = set()
        self.events: list[str] = []
        self.calls = 0
        self.loads = 0

    async def _ask(self) -> None:
        self.calls += 1
        assert self.events[-1:] == ["startup"], "used before its startup or after its shutdown"
        assert asyncio.get_running_loop() is self.loops[-1]
        self.threads.add(threading.get_ident())
        await asyncio.sleep(0)
        while self.stuck:
            await asyncio.sleep(0.01)
        if self.down:
            raise StoreDown("connection refused")

    async def startup(self) -> None:
        await asyncio.sleep(0.01)
        self.loops.append(asyncio.get_running_loop())
        self.events.append("startup")

    async def shutdown(self) -> None:
        assert asyncio.get_running_loop() is self.loops[-1]
        self.events.append("shutdown")

    async def get_state(self, path: str) -> RouteState:
        await self._ask()
        return RouteState.model_validate_json(self.pages[path])

    async def set_state(self, path: str, state: RouteState) -> None:
        await self._ask()
        self.pages[path] = state.model_dump_json()

    async def delete_state(self, path: str) -> None:
        await self._ask()
        self.pages.pop(path, None)

    async def list_states(self) -> list[RouteState]:
        self.loads += 1
        await self._ask()
        return [RouteState.model_validate_json(page) for page in self.pages.values()]

    async def write_audit(self, entry: AuditEntry) -> None:
        await self._ask()
        self.log.append(entry.model_dump_json())

    async def get_audit_log(self, path: str | None = None, limit: int = 100) -> list[AuditEntry]:
        await self._ask()
        entries = [AuditEntry.model_validate_json(line) for line in reversed(self.log)]
        return [entry for entry in entries if path in (None, entry.path)][:limit]
