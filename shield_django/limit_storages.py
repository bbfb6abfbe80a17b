"""Where a Django project's requests are counted: SHIELD_RATE_LIMIT_STORAGE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from shield_core.backends.base import ShieldBackend
from shield_core.rate_limit.storage.base import RateLimitStorage
from shield_core.rate_limit.storage.memory import MemoryRateLimitStorage
from shield_django.conf import ShieldSettings, name_and_options
from shield_django.stores import file_backend

AUTO = "auto"
_DJANGO_REDIS = "django_redis.cache.RedisCache"
_DJANGO = "django.core.cache.backends.redis.RedisCache"
_SCHEMES = ("redis", "rediss", "unix")


def make(read: ShieldSettings, backend: ShieldBackend) -> RateLimitStorage | ShieldBackend:
    """Make the storage that the settings describe. Raises ImproperlyConfigured.

    "auto" is the backend's own; one that processes share and that keeps no shared counters, such as the
    models backend, leaves them to the project's Redis, where one is configured.
    """
    setting = read.rate_limit_storage
    if isinstance(setting, RateLimitStorage | ShieldBackend):
        return setting
    name, options = name_and_options("SHIELD_RATE_LIMIT_STORAGE", "storage", setting)
    try:
        made = _named(name, options, read, backend)
    except (ImportError, TypeError, ValueError, ImproperlyConfigured) as error:
        raise ImproperlyConfigured(
            f"SHIELD_RATE_LIMIT_STORAGE {name!r} cannot be used: {error}. "
            "It is one of auto, memory, file, redis or a dotted path."
        ) from error
    if not isinstance(made, RateLimitStorage | ShieldBackend):
        raise ImproperlyConfigured(
            f"SHIELD_RATE_LIMIT_STORAGE {name!r} makes {made!r}, which is no RateLimitStorage."
        )
    return made


def redis_of_project(read: ShieldSettings) -> dict[str, Any] | None:
    """Return how to reach the project's Redis, as a RedisRateLimitStorage is told.

    It is that of Shield, else that of the cache "default", else that of the channel layer "default".
    """
    if read.redis_url:
        return {"url": read.redis_url}
    return _redis_of_cache(settings.CACHES.get("default", {})) or _redis_of_layer(
        getattr(settings, "CHANNEL_LAYERS", {}).get("default", {})
    )


def _named(name: str, options: dict[str, Any], read: ShieldSettings, backend: ShieldBackend) -> object:
    match name:
        case "auto":
            own = backend.rate_limit_storage(**options)
            counts_alone = backend.shared_across_processes and isinstance(own, MemoryRateLimitStorage)
            found = redis_of_project(read) if counts_alone else None
            return _redis(**found) if found else own
        case "memory":
            return MemoryRateLimitStorage(**options)
        case "file":
            return file_backend(**options).rate_limit_storage()
        case "redis":
            found = {} if {"url", "client"} & options.keys() else redis_of_project(read)
            if found is None:
                raise ImproperlyConfigured('it needs SHIELD_REDIS_URL or {"OPTIONS": {"url": …}}')
            return _redis(**found, **options)
        case _:
            return import_string(name)(**options)


def _redis(**options: Any) -> RateLimitStorage:
    from shield_core.rate_limit.storage.redis import RedisRateLimitStorage

    return RedisRateLimitStorage(**options)


def _redis_of_cache(cache: Mapping[str, Any]) -> dict[str, Any] | None:
    # Projects that share a Redis keep apart by their prefix.
    prefix = f"{found}:shield:" if (found := cache.get("KEY_PREFIX")) else "shield:"
    match cache.get("BACKEND"):
        case str(backend) if backend == _DJANGO_REDIS:
            from django_redis import get_redis_connection

            return {"client": lambda: get_redis_connection("default"), "key_prefix": prefix}
        case str(backend) if backend == _DJANGO:
            locations = cache.get("LOCATION", "")
            first = locations.split(",")[0] if isinstance(locations, str) else next(iter(locations), "")
            url = _url(first, cache.get("OPTIONS", {}))
            return {"url": url, "key_prefix": prefix} if url else None
    return None


def _redis_of_layer(layer: Mapping[str, Any]) -> dict[str, Any] | None:
    if not str(layer.get("BACKEND", "")).startswith("channels_redis."):
        return None
    host = next(iter(layer.get("CONFIG", {}).get("hosts", ())), "")
    options = host if isinstance(host, Mapping) else {}
    address = options.get("address", host)
    text = address if isinstance(address, str) else f"redis://{address[0]}:{address[1]}"
    return {"url": url} if (url := _url(text, options)) else None


def _url(text: str, options: Mapping[str, Any]) -> str:
    """Return a Redis URL with the user, password and database of ``options``; "" for another location."""
    parts = urlsplit(text.strip())
    if parts.scheme not in _SCHEMES:
        return ""
    user, password, database = options.get("username"), options.get("password"), options.get("db")
    if password and not parts.password:
        place = parts.netloc.rpartition("@")[2]
        parts = parts._replace(netloc=f"{quote(user or '', safe='')}:{quote(password, safe='')}@{place}")
    if database is not None and parts.path in ("", "/") and parts.scheme != "unix":
        parts = parts._replace(path=f"/{database}")
    return urlunsplit(parts)
