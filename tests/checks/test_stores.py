"""Nothing else may empty the Redis that keeps Shield's state."""

from __future__ import annotations

import pytest
from django.core import checks

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
