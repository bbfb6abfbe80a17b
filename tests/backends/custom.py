"""Custom backends as users write them, with what tests want to know of them."""

from __future__ import annotations

import threading

from shield_core.backends.sync import SyncShieldBackend
from shield_core.models import AuditEntry, RouteState


class Ledger(SyncShieldBackend):
    """Six plain functions over a dict of JSON texts; ``revision`` counts the writes, if asked to.

    ``down`` makes it raise, ``stuck`` makes it hang until it is set.
    """

    def __init__(self, counts: bool = False, pages: dict[str, str] | None = None) -> None:
        self.pages = {} if pages is None else pages
        self.log: list[str] = []
        self.counts = counts
        self.writes = 0
        self.scans = 0
        self.down = False
        self.stuck: threading.Event | None = None
        self.calls = 0
        self.events: list[str] = []
        self.threads: set[int] = set()

    def startup(self) -> None:
        self.events.append("startup")

    def shutdown(self) -> None:
        self.events.append("shutdown")

    def get_state(self, path: str) -> RouteState:
        self._ask()
        return RouteState.model_validate_json(self.pages[path])

    def set_state(self, path: str, state: RouteState) -> None:
        self._ask()
        self.writes += 1
        self.pages[path] = state.model_dump_json()

    def delete_state(self, path: str) -> None:
        self._ask()
        self.writes += 1
        self.pages.pop(path, None)

    def list_states(self) -> list[RouteState]:
        self._ask()
        self.scans += 1
        return [RouteState.model_validate_json(page) for page in self.pages.values()]

    def write_audit(self, entry: AuditEntry) -> None:
        self._ask()
        self.log.append(entry.model_dump_json())

    def get_audit_log(self, path: str | None = None, limit: int = 100) -> list[AuditEntry]:
        self._ask()
        entries = [AuditEntry.model_validate_json(line) for line in reversed(self.log)]
        return [entry for entry in entries if path in (None, entry.path)][:limit]

    def revision(self) -> object:
        self._ask()
        return self.writes if self.counts else None

    def _ask(self) -> None:
        self.calls += 1
        self.threads.add(threading.get_ident())
        if self.stuck is not None:
            self.stuck.wait()
        if self.down:
            raise ConnectionError("connection refused")


class Unreachable(Ledger):
    """A store that has been down since before the process."""

    def __init__(self) -> None:
        super().__init__()
        self.down = True
