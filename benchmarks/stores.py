"""The stores that the benchmarks of backends run on: real ones, started when they are opened."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from shield_core.backends.file import FileBackend  # noqa: E402
from shield_core.backends.redis import RedisBackend  # noqa: E402
from tests.postgres import Postgres  # noqa: E402
from tests.redis_server import RedisServer  # noqa: E402

MakeBackend = Callable[[], Any]
CUSTOM = "custom (six methods, SQLite)"


def models(database: dict[str, Any], layer: str | None) -> Any:
    """Open the models backend in this process, with Django set up for it."""
    import django
    from django.conf import settings

    if not settings.configured:
        layers = {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [layer]}}
        settings.configure(
            DATABASES={"default": database},
            INSTALLED_APPS=["shield_django"],
            CHANNEL_LAYERS={"default": layers} if layer else {},
            USE_TZ=True,
        )
        django.setup()
    from shield_django.backends import ModelsBackend

    return ModelsBackend()


def migrated(make_backend: MakeBackend) -> MakeBackend:
    """Make the tables in a process of its own, because Django can be set up once in each."""
    import multiprocessing

    process = multiprocessing.get_context("spawn").Process(target=_migrate, args=(make_backend,))
    process.start()
    process.join()
    return make_backend


def _migrate(make_backend: MakeBackend) -> None:
    make_backend()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def custom(path: str) -> Any:
    sys.path.insert(0, str(ROOT / "docs" / "examples"))
    from sqlite_backend import SQLiteBackend

    return SQLiteBackend(path)


@contextmanager
def opened() -> Iterator[dict[str, MakeBackend]]:
    """Start every store; each value opens one, in any process."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARK_DIR")))
        redis = stack.enter_context(RedisServer())
        layer = stack.enter_context(RedisServer())
        postgres = Postgres.start()
        stack.callback(postgres.stop)
        sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/models.sqlite3"}
        yield {
            "file": partial(FileBackend, f"{folder}/state.json"),
            "redis": partial(RedisBackend, redis.url),
            "models, SQLite": migrated(partial(models, sqlite, None)),
            "models, PostgreSQL": migrated(partial(models, postgres.database(), None)),
            "models, PostgreSQL and channel layer": migrated(partial(models, postgres.database(), layer.url)),
            CUSTOM: partial(custom, f"{folder}/custom.sqlite3"),
        }


def chosen(stores: dict[str, MakeBackend]) -> dict[str, MakeBackend]:
    """Return the stores whose names hold a word of the command line, all without one."""
    words = sys.argv[1:]
    return {name: one for name, one in stores.items() if not words or any(word in name for word in words)}


__all__ = ["CUSTOM", "MakeBackend", "chosen", "opened"]
