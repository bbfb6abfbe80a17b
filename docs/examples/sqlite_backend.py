"""A backend of one's own: the six methods over SQLite, with the standard library."""

import sqlite3
from pathlib import Path

from shield_core.backends.sync import SyncShieldBackend
from shield_core.models import AuditEntry, RouteState


class SQLiteBackend(SyncShieldBackend):
    def __init__(self, path: str | Path = "shield.sqlite3") -> None:
        self.path = path

    def startup(self) -> None:
        self.db = sqlite3.connect(self.path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("CREATE TABLE IF NOT EXISTS states (path TEXT PRIMARY KEY, state TEXT)")
        self.db.execute(
            "CREATE TABLE IF NOT EXISTS audit (number INTEGER PRIMARY KEY, path TEXT, entry TEXT)"
        )

    def shutdown(self) -> None:
        self.db.close()

    def get_state(self, path: str) -> RouteState:
        found = self.db.execute("SELECT state FROM states WHERE path = ?", [path]).fetchone()
        if found is None:
            raise KeyError(path)
        return RouteState.model_validate_json(found[0])

    def set_state(self, path: str, state: RouteState) -> None:
        row = [path, state.model_dump_json()]
        self.db.execute("INSERT OR REPLACE INTO states (path, state) VALUES (?, ?)", row)

    def delete_state(self, path: str) -> None:
        self.db.execute("DELETE FROM states WHERE path = ?", [path])

    def list_states(self) -> list[RouteState]:
        found = self.db.execute("SELECT state FROM states")
        return [RouteState.model_validate_json(text) for (text,) in found]

    def write_audit(self, entry: AuditEntry) -> None:
        row = [entry.path, entry.model_dump_json()]
        self.db.execute("INSERT INTO audit (path, entry) VALUES (?, ?)", row)

    def get_audit_log(self, path: str | None = None, limit: int = 100) -> list[AuditEntry]:
        found = self.db.execute(
            "SELECT entry FROM audit WHERE ?1 IS NULL OR path = ?1 ORDER BY number DESC LIMIT ?2",
            [path, limit],
        )
        return [AuditEntry.model_validate_json(text) for (text,) in found]

    def revision(self) -> int:
        """Optional: as long as it stays the same, ``list_states`` is not called."""
        return self.db.execute("PRAGMA data_version").fetchone()[0] * 1_000_000 + self.db.total_changes
