from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from shield_core.backends.base import SyncNativeBackend
from shield_core.engine import ShieldEngine
from tests import databases
from tests.backends import stores


@pytest.fixture(scope="session")
def migrated_template(tmp_path_factory: Any, django_db_blocker: Any) -> Path:
    path = Path(tmp_path_factory.mktemp("template") / "template.sqlite3")
    with django_db_blocker.unblock():
        databases.migrate(databases.sqlite(path))
    return path


@pytest.fixture
def sqlite_database(tmp_path: Path, migrated_template: Path) -> dict[str, Any]:
    return databases.sqlite(Path(shutil.copy(migrated_template, tmp_path / "db.sqlite3")))


@pytest.fixture
def postgres_database(postgres: Any, django_db_blocker: Any) -> dict[str, Any]:
    options: dict[str, Any] = postgres.database()
    with django_db_blocker.unblock():
        databases.migrate(options)
    return options


@pytest.fixture
def make_backend(request: pytest.FixtureRequest) -> Iterator[stores.MakeBackend]:
    """Open the store that the test is parametrised with (indirectly), again with each call."""
    with ExitStack() as stack:
        yield stores.open_store(request.param, request, stack)


@pytest.fixture
def start_engine() -> Iterator[Callable[..., ShieldEngine]]:
    """Make engines, each as in a process of its own, and stop them at the end."""
    with ExitStack() as stack:

        def start(backend: Any, **options: Any) -> ShieldEngine:
            engine = ShieldEngine(backend, **{"refresh_interval": 0.1, **options})
            stack.callback(_close, engine)
            return engine

        yield start


def _close(engine: ShieldEngine) -> None:
    engine.sync.stop()
    if isinstance(engine.backend, SyncNativeBackend):
        engine.backend.close_sync()  # what this thread has opened
