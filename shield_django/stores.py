"""The core's backends, made from Django settings."""

from __future__ import annotations

import os
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from shield_core.backends.base import ShieldBackend
from shield_django.conf import ShieldSettings


def file_backend(path: str | None = None, **options: Any) -> ShieldBackend:
    """Return a FileBackend on ``path``, else on the file that SHIELD_FILE_PATH names."""
    from shield_core.backends.file import FileBackend

    return FileBackend(path or os.environ.get("SHIELD_FILE_PATH") or "shield-state.json", **options)


def server_backend(url: str | None = None, **options: Any) -> ShieldBackend:
    """Return the backend that follows the Shield Server at ``url``, else at SHIELD_SERVER_URL.

    Credentials and the rest come from the settings; SHIELD_OFFLINE makes it a memory backend.
    """
    from shield_core.backends.memory import MemoryBackend
    from shield_core.config import Configuration, make_server_backend

    read = ShieldSettings.read()
    if read.offline:
        return MemoryBackend()
    given = {name: getattr(read, name) for name in ("token", "token_file", "username", "password")}
    if options.keys() & given.keys():
        given = {}  # all of them come from one place
    if read.snapshot_path is not None:
        given["snapshot_path"] = read.snapshot_path
    # The settings have heard the environment already, over which they stand.
    heard = Configuration({}, {})
    options = {**given, **options}
    return make_server_backend(url or read.server_url or None, read.service, found=heard, **options)


def redis_backend(url: str | None = None, cache: str | None = None, **options: Any) -> ShieldBackend:
    """Return a RedisBackend on ``url``, on a django-redis ``cache``, or on what SHIELD_REDIS_URL names."""
    from shield_core.backends.redis import RedisBackend

    if cache is None:
        found = url or ShieldSettings.read().redis_url
        if not found:
            raise ImproperlyConfigured('it needs {"OPTIONS": {"url": …}}, {"cache": …} or SHIELD_REDIS_URL')
        return RedisBackend(found, **options)
    try:
        from django_redis import get_redis_connection
    except ImportError as error:
        raise ImproperlyConfigured("it needs django-redis: pip install 'shield-django[redis]'") from error
    return RedisBackend(client=lambda: get_redis_connection(cache), **options)
