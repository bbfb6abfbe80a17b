"""Nothing else may empty the Redis that keeps Shield's state, and workers count together."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from django.core import checks
from django.urls import path

from tests.django_app.limited import limited

STATE = "redis://localhost:6379/5"


def shared(settings) -> list[str]:
    return [one.msg for one in checks.run_checks(tags=["shield"]) if one.id == "shield.W024"]


@pytest.mark.parametrize(
    ("location", "warned"),
    [
        ("redis://127.0.0.1:6379/5", True),
        (["redis://other:6379/5", "redis://localhost/5"], True),
        ("redis://localhost:6379/1", False),
        ("redis://other:6379/5", False),
        ("unique-snowflake", False),
    ],
)
def test_a_cache_in_the_database_of_the_state_is_a_warning(settings, location, warned):
    settings.SHIELD_BACKEND = {"BACKEND": "redis", "OPTIONS": {"url": STATE}}
    settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": location}}
    assert bool(shared(settings)) is warned


def test_state_on_the_connection_of_a_cache_is_a_warning(settings):
    settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": STATE}}
    settings.SHIELD_BACKEND = {"BACKEND": "redis", "OPTIONS": {"cache": "default"}}
    assert "'default'" in shared(settings)[0]


def test_the_models_backend_has_nothing_to_do_with_caches(settings):
    settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": STATE}}
    assert shared(settings) == []


# -- who counts --------------------------------------------------------------------------------


@pytest.fixture
def limited_urls(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    module = ModuleType("urlconf_of_a_test")
    module.__dict__["urlpatterns"] = [path("cart/", limited("1/minute"))]
    settings.ROOT_URLCONF = module


def alone() -> list[checks.CheckMessage]:
    return [one for one in checks.run_checks(tags=["shield"]) if one.id == "shield.W026"]


@pytest.mark.usefixtures("limited_urls")
def test_workers_that_count_alone_are_a_warning_in_production(settings: Any) -> None:
    (message,) = alone()
    assert "/cart/" in message.msg
    assert "SHIELD_REDIS_URL" in message.hint
    settings.DEBUG = True
    assert alone() == []


@pytest.mark.usefixtures("limited_urls")
@pytest.mark.parametrize(("workers", "warned"), [("4", True), ("1", False), ("", False)])
def test_the_number_of_workers_is_known_from_the_environment(
    settings: Any, monkeypatch: pytest.MonkeyPatch, workers: str, warned: bool
) -> None:
    settings.DEBUG = True
    monkeypatch.setenv("WEB_CONCURRENCY", workers)
    assert bool(alone()) is warned


@pytest.mark.usefixtures("limited_urls")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SHIELD_REDIS_URL", STATE),
        ("SHIELD_RATE_LIMIT_STORAGE", "memory"),
        ("SHIELD_BACKEND", "memory"),
        ("CACHES", {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": STATE}}),
    ],
)
def test_a_redis_or_a_choice_ends_the_warning(settings: Any, name: str, value: Any) -> None:
    setattr(settings, name, value)
    assert alone() == []


def test_nothing_is_said_where_nothing_is_limited() -> None:
    assert alone() == []
