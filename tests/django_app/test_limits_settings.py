"""Where requests are counted: SHIELD_RATE_LIMIT_STORAGE and what the project has of Redis."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import AsyncClient, Client
from django.urls import path

from shield_core.backends.memory import MemoryBackend
from shield_core.rate_limit.storage.base import RateLimitStorage
from shield_core.rate_limit.storage.memory import MemoryRateLimitStorage
from shield_core.rate_limit.storage.redis import RedisRateLimitStorage
from shield_django import limit_storages, project
from shield_django.backends import ModelsBackend
from shield_django.conf import ShieldSettings
from tests.django_app.callers import Caller
from tests.django_app.limited import limited
from tests.redis_server import RedisServer

DJANGO_CACHE = "django.core.cache.backends.redis.RedisCache"
DJANGO_REDIS = "django_redis.cache.RedisCache"
CHANNELS_REDIS = "channels_redis.core.RedisChannelLayer"


def made(backend: Any = None, **values: Any) -> Any:
    return limit_storages.make(ShieldSettings(**values), backend or ModelsBackend())


class OwnStorage(MemoryRateLimitStorage):
    pass


def test_named() -> None:
    assert type(made(rate_limit_storage="memory")) is MemoryRateLimitStorage
    assert isinstance(made(rate_limit_storage="redis", redis_url="redis://h/1"), RedisRateLimitStorage)
    assert isinstance(made(rate_limit_storage=f"{__name__}.OwnStorage"), OwnStorage)
    budget = {"BACKEND": "memory", "OPTIONS": {"budget": 7}}
    assert made(rate_limit_storage=budget).budget == 7
    own = OwnStorage()
    assert made(rate_limit_storage=own) is own
    backend = MemoryBackend()
    assert made(rate_limit_storage=backend) is backend


@pytest.mark.parametrize(
    "value, told",
    [
        ("nowhere.Storage", "nowhere"),
        ("builtins.dict", "no RateLimitStorage"),
        ({"BACKEND": "memory", "OPTIONS": {"unknown": 1}}, "unknown"),
        (3, "must name a storage"),
        ("redis", "SHIELD_REDIS_URL"),
    ],
)
def test_what_cannot_be_used_is_one_clear_error(value: Any, told: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=told):
        made(rate_limit_storage=value)


def test_the_models_backend_counts_in_memory_without_a_redis() -> None:
    assert type(made()) is MemoryRateLimitStorage


@pytest.mark.parametrize(
    "caches, layers, url, prefix",
    [
        (("x", "locmem"), None, None, None),
        ((DJANGO_CACHE, "redis://h:1/2"), None, "redis://h:1/2", "shield:"),
        ((DJANGO_CACHE, ["redis://a/1", "redis://b/1"]), None, "redis://a/1", "shield:"),
        ((DJANGO_CACHE, "redis://a/1,redis://b/1"), None, "redis://a/1", "shield:"),
        ((DJANGO_CACHE, "redis://h", {"db": 3, "password": "p@"}), None, "redis://:p%40@h/3", "shield:"),
        ((DJANGO_CACHE, "redis://h/1", {}, "shop"), None, "redis://h/1", "shop:shield:"),
        (None, (CHANNELS_REDIS, ["redis://h/4"]), "redis://h/4", None),
        (None, (CHANNELS_REDIS, [("h", 6379)]), "redis://h:6379", None),
        (None, (CHANNELS_REDIS, [{"address": "redis://h/4", "password": "p"}]), "redis://:p@h/4", None),
        (None, (CHANNELS_REDIS, [{"address": ("h", 1)}]), "redis://h:1", None),
        (None, ("channels.layers.InMemoryChannelLayer", []), None, None),
        ((DJANGO_CACHE, "redis://cache/1"), (CHANNELS_REDIS, ["redis://l/4"]), "redis://cache/1", "shield:"),
    ],
)
def test_the_redis_of_a_project(settings: Any, caches: Any, layers: Any, url: Any, prefix: Any) -> None:
    if caches:
        names = ("BACKEND", "LOCATION", "OPTIONS", "KEY_PREFIX")
        settings.CACHES = {"default": dict(zip(names, caches, strict=False))}
    if layers:
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": layers[0], "CONFIG": {"hosts": layers[1]}}}

    found = limit_storages.redis_of_project(ShieldSettings()) or {}
    assert (found.get("url"), found.get("key_prefix")) == (url, prefix)
    assert isinstance(made(), RedisRateLimitStorage) is (url is not None)
    assert type(made(rate_limit_storage="memory")) is MemoryRateLimitStorage


def test_shields_own_redis_comes_first(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CACHES = {"default": {"BACKEND": DJANGO_CACHE, "LOCATION": "redis://cache/1"}}
    monkeypatch.setenv("SHIELD_REDIS_URL", "redis://environment/1")
    assert limit_storages.redis_of_project(ShieldSettings.read()) == {"url": "redis://environment/1"}
    settings.SHIELD_REDIS_URL = "redis://setting/1"
    assert limit_storages.redis_of_project(ShieldSettings.read()) == {"url": "redis://setting/1"}


def test_a_backend_of_one_process_keeps_its_counts(settings: Any) -> None:
    own = made(MemoryBackend(), redis_url="redis://h/1")
    assert type(own) is MemoryRateLimitStorage


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {
        "NUM_PROXIES": "2",
        "RATE_LIMIT_STORAGE": "memory",
        "FAIL_OPEN": "no",
        "DRAFT_HEADERS": "yes",
    }.items():
        monkeypatch.setenv(f"SHIELD_{name}", text)
    read = ShieldSettings.read()
    assert (read.num_proxies, read.rate_limit_storage) == (2, "memory")
    assert (read.fail_open, read.draft_headers) == (False, True)


# -- as in production --------------------------------------------------------------------------


@pytest.fixture
def production(settings: Any) -> Any:
    settings.SHIELD_BACKEND = "memory"
    settings.SHIELD_TESTING = False
    yield settings
    project.reset()


@pytest.mark.parametrize("cache", [DJANGO_REDIS, DJANGO_CACHE])
def test_processes_count_together_in_the_cache_of_the_project(
    client: Caller, urls: Any, production: Any, redis_server: RedisServer, cache: str
) -> None:
    production.CACHES = {
        "default": {"BACKEND": cache, "LOCATION": redis_server.url, "KEY_PREFIX": "shop"},
    }
    production.SHIELD_RATE_LIMIT_STORAGE = "redis"
    urls(path("cart/", limited("3/366d")))

    assert [client.status("/cart/") for _ in range(2)] == [200, 200]
    project.reset()  # another process, as far as counting goes
    assert [client.status("/cart/") for _ in range(2)] == [200, 429]
    assert all(key.startswith(b"shop:shield:") for key in redis_server("KEYS", "*"))


def test_fail_closed_blocks_while_the_counters_are_away(client: Caller, urls: Any, production: Any) -> None:
    production.SHIELD_RATE_LIMIT_STORAGE = "redis"
    production.SHIELD_REDIS_URL = "redis://127.0.0.1:1/0"
    urls(path("cart/", limited("3/366d")), path("free/", lambda request: None))

    production.SHIELD_FAIL_OPEN = False
    assert client.status("/cart/") == 429
    production.SHIELD_FAIL_OPEN = True
    assert [client.status("/cart/") for _ in range(4)] == [200, 200, 200, 429]


def test_limits_apply_with_the_real_backend_in_tests(urls: Any, production: Any) -> None:
    urls(path("cart/", limited("1/366d")))

    assert [Client().get("/cart/").status_code for _ in range(2)] == [200, 429]


async def test_and_in_async_tests(urls: Any, production: Any) -> None:
    urls(path("cart/", limited("1/366d")))

    assert [(await AsyncClient().get("/cart/")).status_code for _ in range(2)] == [200, 429]


def test_a_storage_is_what_the_limiter_uses(production: Any) -> None:
    production.SHIELD_RATE_LIMIT_STORAGE = f"{__name__}.OwnStorage"
    storage: RateLimitStorage = project.current().engine.limiter.storage
    assert isinstance(storage, OwnStorage)
