"""Every setting has a check with an id and a hint."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from django.core import checks

from shield_django.conf import NAMES, ShieldSettings

ROOT = Path(__file__).parents[2]


def found(identifier: str) -> list[checks.CheckMessage]:
    return [one for one in checks.run_checks(tags=["shield"]) if one.id == identifier]


def test_the_default_settings_pass():
    serious = [one for one in checks.run_checks(tags=["shield"]) if one.is_serious(checks.WARNING)]
    assert [one for one in serious if one.id != "shield.W021"] == []


@pytest.mark.parametrize(
    ("name", "value", "identifier"),
    [
        ("SHIELD_BACKEND", "nowhere.Backend", "shield.E001"),
        ("SHIELD_BACKEND", 3, "shield.E001"),
        ("SHIELD_BACKEND", "builtins.dict", "shield.E001"),
        ("SHIELD_BACKEND", {"BACKEND": "models", "OPTIONS": {"unknown": 1}}, "shield.E001"),
        ("SHIELD_ENV", ["dev"], "shield.E002"),
        ("SHIELD_SERVICE", "Not A Name", "shield.E003"),
        ("SHIELD_EXEMPT", "/health", "shield.E004"),
        ("SHIELD_EXEMPT", ["/he alth"], "shield.E004"),
        ("SHIELD_REFRESH_INTERVAL", 0, "shield.E005"),
        ("SHIELD_REFRESH_INTERVAL", "1", "shield.E005"),
        ("SHIELD_INIT_TIMEOUT", -1, "shield.E006"),
        ("SHIELD_NO_STORE", "open", "shield.E007"),
        ("SHIELD_RESPONSES", {"gone": print}, "shield.E008"),
        ("SHIELD_RESPONSES", {"maintenance": "nowhere.page"}, "shield.E008"),
        ("SHIELD_RESPONSES", {"maintenance": 3}, "shield.E008"),
        ("SHIELD_RESPONSES", ["maintenance"], "shield.E008"),
        ("SHIELD_RELEASE", 7, "shield.E009"),
        ("SHIELD_TESTING", "perhaps", "shield.E010"),
        ("SHIELD_RESPONSES", {"rate_limited": 3}, "shield.E008"),
        ("SHIELD_NUM_PROXIES", -1, "shield.E012"),
        ("SHIELD_NUM_PROXIES", "1", "shield.E012"),
        ("SHIELD_NUM_PROXIES", True, "shield.E012"),
        ("SHIELD_RATE_LIMIT_STORAGE", "nowhere.Storage", "shield.E013"),
        ("SHIELD_RATE_LIMIT_STORAGE", "redis", "shield.E013"),
        ("SHIELD_RATE_LIMIT_STORAGE", 3, "shield.E013"),
        ("SHIELD_REDIS_URL", "localhost:6379", "shield.E014"),
        ("SHIELD_FAIL_OPEN", "perhaps", "shield.E015"),
        ("SHIELD_DRAFT_HEADERS", 2, "shield.E016"),
        ("SHIELD_SERVER_URL", "localhost:9000", "shield.E017"),
        ("SHIELD_SERVER_URL", "http://me:pw@localhost:9000", "shield.E017"),
        ("SHIELD_SERVER_URL", 9000, "shield.E017"),
        ("SHIELD_TOKEN", 7, "shield.E018"),
        ("SHIELD_SNAPSHOT_PATH", 7, "shield.E019"),
        ("SHIELD_OFFLINE", "perhaps", "shield.E020"),
        ("SHIELD_EXEMT", ["/health"], "shield.W001"),
        ("SHIELD_EXEMPT", ["shop:nowhere"], "shield.W023"),
    ],
)
def test_a_bad_value_is_one_message_that_names_the_setting(settings, name, value, identifier):
    setattr(settings, name, value)
    (message,) = found(identifier)
    assert message.hint
    assert message.msg.count(name) == 1


def test_a_misspelt_setting_is_told_the_right_name(settings):
    settings.SHIELD_EXEMT = []
    assert "SHIELD_EXEMPT" in found("shield.W001")[0].hint


def test_an_environment_variable_is_read_and_checked(settings, monkeypatch):
    monkeypatch.setenv("SHIELD_INIT_TIMEOUT", "0.5")
    monkeypatch.setenv("SHIELD_EXEMPT", "/health, shop:cart")
    read = ShieldSettings.read()
    assert (read.init_timeout, read.exempt) == (0.5, ["/health", "shop:cart"])
    monkeypatch.setenv("SHIELD_INIT_TIMEOUT", "soon")
    assert "SHIELD_INIT_TIMEOUT" in found("shield.E011")[0].msg


def test_a_flag_in_the_environment_that_is_misspelt_is_no_false(settings, monkeypatch):
    monkeypatch.setenv("SHIELD_FAIL_OPEN", " Off ")
    assert ShieldSettings.read().fail_open is False
    monkeypatch.setenv("SHIELD_FAIL_OPEN", "ture")
    assert "SHIELD_FAIL_OPEN='ture' cannot be read: it is true or false." in found("shield.E011")[0].msg


def test_a_setting_is_stronger_than_the_environment(settings, monkeypatch):
    monkeypatch.setenv("SHIELD_ENV", "from-environment")
    settings.SHIELD_ENV = "from-settings"
    assert ShieldSettings.read().env == "from-settings"
    settings.SHIELD_ENV = None
    assert ShieldSettings.read().env == "from-environment"


def test_the_environment_is_dev_only_with_debug(settings):
    settings.SHIELD_ENV = None
    assert ShieldSettings.read().env is None
    settings.DEBUG = True
    assert ShieldSettings.read().env == "dev"


def test_there_are_at_most_24_settings():
    assert len(NAMES) <= 24


WITHOUT_REDIS = """
import json, sys
sys.modules["redis"] = None
from django.conf import settings
settings.configure(INSTALLED_APPS=["shield_django"], ROOT_URLCONF="tests.checks", **json.loads(sys.argv[1]))
import django
from django.core import checks
django.setup()
print(json.dumps({one.id: one.msg for one in checks.run_checks(tags=["shield"])}))
"""
REDIS = "redis://localhost:6379/5"
CACHE = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS}


@pytest.mark.parametrize(
    ("settings", "identifier"),
    [
        ({"SHIELD_BACKEND": {"BACKEND": "redis", "OPTIONS": {"url": REDIS}}}, "shield.E001"),
        ({"SHIELD_REDIS_URL": REDIS}, "shield.E013"),
        ({"SHIELD_REDIS_URL": REDIS, "SHIELD_RATE_LIMIT_STORAGE": "redis"}, "shield.E013"),
        ({"CACHES": {"default": CACHE, "other": CACHE}}, "shield.E013"),
    ],
)
def test_a_package_that_is_missing_is_told_to_be_installed(settings, identifier):
    asked = [sys.executable, "-c", WITHOUT_REDIS, json.dumps(settings)]
    ran = subprocess.run(asked, capture_output=True, text=True, check=True, cwd=ROOT)
    told = json.loads(ran.stdout)
    assert "pip install 'shield-django[redis]'" in told.pop(identifier)
    assert set(told) <= {"shield.W002"}
