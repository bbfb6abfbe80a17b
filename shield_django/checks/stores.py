"""Checks of stores: nothing else may empty or evict Shield's state, and workers count together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.core import checks

from shield_core.backends.base import ShieldBackend
from shield_django import limit_storages
from shield_django.checks.stamps import limited_routes
from shield_django.conf import ShieldSettings
from shield_django.project import make_backend

Place = tuple[str, int, int]
_TIMEOUT = 1.0


def check_shared_database(**_: Any) -> list[checks.CheckMessage]:
    """Find cache aliases in the database of the state: ``cache.clear()`` would empty it."""
    backend = _redis_backend()
    if backend is None:
        return []
    place = _place_of_url(backend.url) if backend.url else None
    sharing = [alias for alias, where in _cache_places() if where == place]
    own = _own_cache()
    if own is not None:
        sharing.append(own)
    return [
        checks.Warning(
            f"Shield's state is in the Redis database of the cache {alias!r}: cache.clear() may empty it.",
            hint="Give Shield a database of its own, such as redis://host:6379/5.",
            id="shield.W024",
        )
        for alias in dict.fromkeys(sharing)
    ]


def check_eviction(**_: Any) -> list[checks.CheckMessage]:
    """Find a Redis that evicts keys when its memory is full; asks it, so only with ``--deploy``."""
    backend = _redis_backend()
    policy = backend.eviction_policy(_TIMEOUT) if backend is not None else ""
    if policy in ("", "noeviction"):
        return []
    return [
        checks.Warning(
            f"The Redis of Shield's state evicts keys ({policy}): rules may vanish when it is full.",
            hint="Set maxmemory-policy to noeviction, or use another Redis.",
            id="shield.W025",
        )
    ]


def check_counters(**_: Any) -> list[checks.CheckMessage]:
    """Find limits that each of several workers would count for itself."""
    try:
        read = ShieldSettings.read()
        backend = make_backend(read.backend)
        storage = limit_storages.make(read, backend)
        limited = limited_routes(read)
    except Exception:  # noqa: BLE001 - shield.E001, E011 and E013 say what is wrong
        return []
    storage = storage.rate_limit_storage() if isinstance(storage, ShieldBackend) else storage
    is_chosen = read.rate_limit_storage != limit_storages.AUTO
    if is_chosen or storage.shared_across_processes or not limited or not _has_workers(backend):
        return []
    return [
        checks.Warning(
            "Requests are counted in each process alone, so that several workers let pass several times "
            f"the limit of {', '.join(limited)}.",
            hint="Set SHIELD_REDIS_URL; or, for one worker, SHIELD_RATE_LIMIT_STORAGE = 'memory'.",
            id="shield.W026",
        )
    ]


def _has_workers(backend: ShieldBackend) -> bool:
    """Whether several processes serve, likely: gunicorn's and uvicorn's variable, or production."""
    workers = os.environ.get("WEB_CONCURRENCY", "")
    if workers.isdigit():
        return int(workers) > 1
    return not settings.DEBUG and backend.shared_across_processes


def _redis_backend() -> Any:
    """Return the configured backend when it is a RedisBackend. Broken settings are others' to report."""
    try:
        backend = make_backend(ShieldSettings.read().backend)
    except Exception:  # noqa: BLE001 - shield.E001 and E011 say what is wrong
        return None
    return backend if hasattr(backend, "eviction_policy") else None


def _own_cache() -> str | None:
    setting = getattr(settings, "SHIELD_BACKEND", None)
    options = setting.get("OPTIONS", {}) if isinstance(setting, Mapping) else {}
    cache = options.get("cache") if isinstance(options, Mapping) else None
    return cache if isinstance(cache, str) else None


def _cache_places() -> Iterator[tuple[str, Place]]:
    for alias, cache in settings.CACHES.items():
        locations = cache.get("LOCATION", "")
        for location in [locations] if isinstance(locations, str) else locations:
            place = _place_of_url(location)
            if place is not None:
                yield alias, place


def _place_of_url(url: str) -> Place | None:
    """Return host, port and database of a Redis URL, None for any other location."""
    if not url.startswith(("redis://", "rediss://")):
        return None
    from redis.connection import parse_url

    try:
        found = parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError:
        return None
    host = found.get("host", "localhost")
    return ("127.0.0.1" if host == "localhost" else host, found.get("port", 6379), found.get("db", 0))


CHECKS = [check_shared_database, check_counters]
DEPLOY_CHECKS = [check_eviction]
