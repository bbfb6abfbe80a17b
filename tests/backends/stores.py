"""The stores that the suites of this package run on, opened as another process opens them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from shield_core.backends.file import FileBackend
from shield_core.backends.memory import MemoryBackend
from shield_core.backends.redis import RedisBackend

MakeBackend = Callable[[], Any]
#: Every store that processes share and that a commit changes as a whole.
ATOMIC = ["file", "redis", "models on SQLite", "models on PostgreSQL"]
ALL = ["memory", *ATOMIC, "SQLite in six functions", "JSON in six coroutines"]

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "sqlite_backend.py"


def open_models(options: dict[str, Any]) -> Any:
    """Open the models backend on a migrated database, in this process or in a new one."""
    import django

    django.setup()
    from django.db import connections

    from shield_django.backends import ModelsBackend

    # An alias of its own: other threads may still know a test's before.
    alias = options["NAME"]
    if alias not in connections.settings:
        connections.settings[alias] = connections.configure_settings({"default": {}, alias: options})[alias]
    return ModelsBackend(using=alias)


def open_example(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("sqlite_backend", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SQLiteBackend(path)


def open_store(kind: str, request: pytest.FixtureRequest, stack: ExitStack) -> MakeBackend:
    """Return what opens an empty store of this kind; ``stack`` ends with the test."""
    folder: Path = request.getfixturevalue("tmp_path")
    if kind == "memory":
        backend = MemoryBackend(audit_limit=None)
        return lambda: backend
    if kind == "file":
        return partial(FileBackend, folder / "shield-state.json", audit_limit=None)
    if kind == "redis":
        return partial(RedisBackend, request.getfixturevalue("redis_server").url, audit_limit=None)
    if kind == "SQLite in six functions":
        return partial(open_example, folder / "store.sqlite3")
    if kind == "JSON in six coroutines":
        from tests.core.notebook import NotebookBackend

        return partial(NotebookBackend, {}, [])
    stack.enter_context(request.getfixturevalue("django_db_blocker").unblock())
    name = "sqlite_database" if kind == "models on SQLite" else "postgres_database"
    return partial(open_models, request.getfixturevalue(name))
