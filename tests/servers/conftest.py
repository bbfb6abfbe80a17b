"""Databases for server processes, and an operator who works on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests import databases
from tests.servers.processes import Server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A migrated database as Django's DATABASES describes it."""
    name = {"sqlite": "sqlite_database", "postgresql": "postgres_database"}[request.param]
    found: dict[str, Any] = request.getfixturevalue(name)
    return found


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
