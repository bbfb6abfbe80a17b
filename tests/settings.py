"""Settings of the suite's own Django project; DATABASE_URL-free, overridable by environment."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any

import django

SECRET_KEY = "only for tests"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "tests.project.urls"
ASGI_APPLICATION = "tests.project.asgi.application"
WSGI_APPLICATION = "tests.project.wsgi.application"
STATIC_URL = "/static/"
LOGIN_URL = "/accounts/login/"
# The default takes a third of a second on purpose, at each login and for each user.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework.authtoken",
    "shield_django",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "shield_django.middleware.ShieldMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "German"), ("fr", "French")]

#: TEST_DATABASE is a JSON object, for server processes that tests start on a database of theirs.
DATABASES: dict[str, Any] = {
    "default": json.loads(os.environ.get("TEST_DATABASE", "null"))
    or {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": ":memory:",
        # A file: threads that share a database in memory meet locks that no deployment has.
        "TEST": {"NAME": os.path.join(tempfile.gettempdir(), f"shield-test-{os.getpid()}.sqlite3")},
    }
}

SHIELD_ENV = "test"

if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend"}}
