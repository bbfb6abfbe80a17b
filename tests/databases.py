"""Databases that server processes and this process share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import connections

ALIAS = "other"


def sqlite(path: Path) -> dict[str, Any]:
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}


@contextmanager
def attached(options: dict[str, Any]) -> Iterator[str]:
    """Let this process use a database as the alias ``other``."""
    connections.settings[ALIAS] = connections.configure_settings({"default": {}, ALIAS: options})[ALIAS]
    try:
        yield ALIAS
    finally:
        connections[ALIAS].close()
        del connections[ALIAS], connections.settings[ALIAS]


def migrate(options: dict[str, Any]) -> None:
    with attached(options) as alias:
        call_command("migrate", database=alias, verbosity=0)


@contextmanager
def operating_on(options: dict[str, Any]) -> Iterator[Any]:
    """Yield ``engine.sync`` of an operator who works on the database from this process."""
    # Here, because processes that know no Django import this module.
    from shield_core.engine import ShieldEngine
    from shield_django.backends import ModelsBackend
    from shield_django.discovery import Catalog

    with attached(options) as alias:
        engine = ShieldEngine(ModelsBackend(using=alias), "test")
        Catalog().learn("tests.project.urls", engine.declare)
        yield engine.sync
        engine.sync.stop()
