"""What may happen to each kind of store: it is gone for a while, or it comes back empty."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connections

from shield_core.backends.file import FileBackend
from shield_core.backends.redis import RedisBackend
from tests.backends import stores
from tests.redis_server import RedisServer

_BROKEN = "SELECT * FROM nowhere"
KINDS = [*stores.ATOMIC, "SQLite in six functions"]


@dataclass
class FragileStore:
    """``make_backend`` opens it; the other three do to it what their names say."""

    make_backend: Callable[[], Any]
    take_away: Callable[[], object]
    bring_back: Callable[[], object]
    empty: Callable[[], object]


def fragile(kind: str, request: pytest.FixtureRequest, stack: ExitStack) -> FragileStore:
    folder: Path = request.getfixturevalue("tmp_path")
    match kind:
        case "file":
            return _file(folder / "state.json")
        case "redis":
            request.getfixturevalue("redis_process")  # skips where there is no Redis
            server = stack.enter_context(RedisServer())
            return FragileStore(
                partial(RedisBackend, server.url),
                partial(server.stop, save=True),
                server.start,
                partial(server, "FLUSHALL"),
            )
        case "models on PostgreSQL":
            make_backend = stores.open_store(kind, request, stack)
            server = request.getfixturevalue("postgres")
            options = request.getfixturevalue("postgres_database")

            def pause() -> None:
                with psycopg.connect(_dsn(options), autocommit=True) as connection:
                    connection.execute("CHECKPOINT")  # the test's server writes nothing down by itself
                server.pause()

            def resume() -> None:
                server.resume()
                connections[options["NAME"]].close()  # as Django does at the beginning of a request

            return FragileStore(make_backend, pause, resume, partial(_truncate, options))
        case _:
            make_backend = stores.open_store(kind, request, stack)
            path = folder / ("store.sqlite3" if kind.startswith("SQLite") else "db.sqlite3")
            table = "states" if kind.startswith("SQLite") else "shield_storerevision"
            return FragileStore(
                make_backend,
                partial(
                    _sqlite, path, f"ALTER TABLE {table} RENAME TO away", f"CREATE VIEW {table} AS {_BROKEN}"
                ),
                partial(_sqlite, path, f"DROP VIEW {table}", f"ALTER TABLE away RENAME TO {table}"),
                partial(_delete_all, path),
            )


def _file(path: Path) -> FragileStore:
    kept = path.with_suffix(".kept")

    def take_away() -> None:
        kept.write_bytes(path.read_bytes())
        path.write_text('{"states": {"GET:/x"')

    return FragileStore(
        partial(FileBackend, path), take_away, lambda: path.write_bytes(kept.read_bytes()), path.unlink
    )


def _sqlite(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, timeout=30)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def _delete_all(path: Path) -> None:
    connection = sqlite3.connect(path)
    names = "SELECT name FROM sqlite_master WHERE type = 'table'"
    tables = [name for (name,) in connection.execute(names) if _is_shields(name)]
    connection.close()
    _sqlite(path, *(f"DELETE FROM {table}" for table in tables))


def _is_shields(table: str) -> bool:
    return table.startswith("shield_") or table in ("states", "audit")


def _truncate(options: dict[str, Any]) -> None:
    with psycopg.connect(_dsn(options)) as connection:
        names = connection.execute(
            "SELECT tablename FROM pg_tables WHERE tablename LIKE 'shield_%'"
        ).fetchall()
        connection.execute(f"TRUNCATE {', '.join(name for (name,) in names)}")


def _dsn(options: dict[str, Any]) -> str:
    return f"host={options['HOST']} port={options['PORT']} user={options['USER']} dbname={options['NAME']}"
