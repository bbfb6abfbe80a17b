"""Databases for server processes, and an operator who works on them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import databases
from tests.servers.processes import Server


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: Any, django_db_blocker: Any) -> Path:
    path = tmp_path_factory.mktemp("template") / "template.sqlite3"
    with django_db_blocker.unblock():
        databases.migrate(databases.sqlite(path))
    return Path(path)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(
    request: pytest.FixtureRequest, tmp_path: Path, migrated_sqlite: Path, django_db_blocker: Any
) -> dict[str, Any]:
    """A migrated database as Django's DATABASES describes it."""
    if request.param == "sqlite":
        return databases.sqlite(Path(shutil.copy(migrated_sqlite, tmp_path / "db.sqlite3")))
    options: dict[str, Any] = request.getfixturevalue("postgres").database()
    with django_db_blocker.unblock():
        databases.migrate(options)
    return options


@pytest.fixture
def operator(database: dict[str, Any], django_db_blocker: Any) -> Iterator[Any]:
    with django_db_blocker.unblock(), databases.operating_on(database) as sync:
        yield sync


@pytest.fixture
def serve(database: dict[str, Any]) -> Iterator[Any]:
    """``serve("uvicorn")`` starts a server process on the database; all end with the test."""
    with ExitStack() as stack:

        def start(kind: str, **options: Any) -> Server:
            return stack.enter_context(Server(kind, database, **options))

        yield start
