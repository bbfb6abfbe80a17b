"""Fixtures for the whole suite. Services are real processes on free ports, started when first needed."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from shield_core import reporting
from shield_core.backends.base import ShieldBackend
from tests import api_shield, databases
from tests.postgres import Postgres
from tests.redis_server import RedisServer

Found = TypeVar("Found")


# Started in the background, as by nohup, this process ignores Ctrl-C, and so would the servers it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


#: Fixtures that bring programs of others: neither Python's version nor Django's changes what they meet.
FOREIGN = {"published", "in_browser"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if FOREIGN.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("once")
    if hasattr(config, "workerinput"):
        # Files that start processes take longest: begun last, one would keep a single worker busy.
        slow = {item.path for item in items if any(map(item.get_closest_marker, ("servers", "heavy")))}
        items.sort(key=lambda item: item.path not in slow)


def missing_service(name: str, why: str) -> None:
    """Skip, visibly; under CI (SHIELD_REQUIRE_SERVICES) a missing service is a failure."""
    message = f"{name} is not available: {why}"
    if os.environ.get("SHIELD_REQUIRE_SERVICES"):
        pytest.fail(message)
    pytest.skip(message)


def eventually(condition: Callable[[], Found], *, within: float = 15.0, every: float = 0.02) -> Found:
    """Return what ``condition`` returns once it is true; fail when it is not, ``within`` seconds."""
    end = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < end, f"still {found!r} after {within} s"
        time.sleep(every)
    return found


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask a store that does not answer again after a moment."""
    monkeypatch.setattr(ShieldBackend, "reconnect_delay", 0.03)
    monkeypatch.setattr(reporting, "WRITE_AGAIN", (0.02, 0.05))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of this test run."""
    try:
        server = Postgres.start()
    except FileNotFoundError as error:
        missing_service("PostgreSQL", str(error))
        raise
    yield server
    server.stop()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any) -> Path:
    """A file to copy: to migrate takes a second, to copy a millisecond."""
    path = tmp_path_factory.mktemp("template") / "template.sqlite3"
    with django_db_blocker.unblock():
        databases.migrate(databases.sqlite(path))
    return path


@pytest.fixture(scope="session")
def migrated_postgres(postgres: Postgres, django_db_blocker: Any) -> str:
    """The name of a database to make others from."""
    options = postgres.database()
    with django_db_blocker.unblock():
        databases.migrate(options)
    return str(options["NAME"])


@pytest.fixture
def sqlite_database(tmp_path: Path, migrated_sqlite: Path) -> dict[str, Any]:
    """A migrated database as Django's DATABASES describes it."""
    return databases.sqlite(Path(shutil.copy(migrated_sqlite, tmp_path / "db.sqlite3")))


@pytest.fixture
def postgres_database(postgres: Postgres, migrated_postgres: str) -> dict[str, Any]:
    """A migrated database as Django's DATABASES describes it."""
    return postgres.database(migrated_postgres)


@pytest.fixture(scope="session")
def redis_process() -> Iterator[RedisServer]:
    """A Redis server of this test run."""
    try:
        server = RedisServer()
    except FileNotFoundError as error:
        missing_service("Redis", str(error))
        raise
    with server:
        yield server


@pytest.fixture
def redis_server(redis_process: RedisServer) -> RedisServer:
    """The Redis server, empty."""
    redis_process("FLUSHALL")
    return redis_process


@pytest.fixture(scope="session")
def published(request: pytest.FixtureRequest) -> Path:
    """The programs of `api-shield` 0.8.3, in an environment of its own that is kept between test runs."""
    folder = Path(request.config.cache.mkdir("api-shield-0.8.3-all"))  # type: ignore[union-attr]
    try:
        return api_shield.install(folder)
    except OSError as error:
        missing_service("api-shield 0.8.3", str(error))
        raise
