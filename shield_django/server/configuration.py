"""Django's settings for a server: its own in a process without any, else the project's.

The first server of a process that has no settings makes them: no database, no sessions, English and
UTC. Later servers reuse them. Nothing that differs between two servers is a setting.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import django
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.template import TemplateDoesNotExist
from django.template.loader import get_template

from shield_django.server.bodies import LIMIT

_APPS = (
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "shield_django",
)
#: An app that only helps, such as messages, may be missing in a project.
_NEEDED = tuple(name for name in _APPS if name != "django.contrib.messages")
_PROCESSORS = (
    "django.template.context_processors.request",
    "django.contrib.auth.context_processors.auth",
    "django.contrib.messages.context_processors.messages",
)
_PAGE = "admin/shield/server/login.html"
_TEMPLATES = Path(__file__).parent.parent / "templates" / "shield" / "server_site"
_ENGINES = {
    "sqlite": "django.db.backends.sqlite3",
    "postgres": "django.db.backends.postgresql",
    "postgresql": "django.db.backends.postgresql",
    "mysql": "django.db.backends.mysql",
}
#: Seconds for which a login waits for the counters of failed ones.
_PATIENCE = 2
#: How many counters of failed logins a process keeps without Redis.
_COUNTED = 100_000
_made_here = False


def configure(secret: str, database: str | Mapping[str, Any] | None = None, redis_url: str = "") -> None:
    """Make Django usable in this process.

    ``redis_url`` is where failed logins are counted for all nodes, else each process counts its own.

    Raises ImproperlyConfigured where a project's settings lack something, or a database comes too late.
    """
    global _made_here
    # Somebody who names settings in the environment means them, also before they were first read.
    if not settings.configured and not os.environ.get("DJANGO_SETTINGS_MODULE"):
        settings.configure(**own_settings(secret, database, redis_url))
        _made_here = True
    elif database is not None and not database_of(database).items() <= _default_database().items():
        raise ImproperlyConfigured(
            "database= comes too late: this process has Django settings already. Name the database in "
            "their DATABASES, or give it to the first ShieldServer of the process."
        )
    if not apps.ready:
        django.setup()
    wrong = next(_wrong(), None)
    if wrong is not None:
        raise ImproperlyConfigured(f"ShieldServer uses this process's Django settings, and {wrong}.")


def _wrong() -> Iterator[str]:
    """Yield why the settings will not do; templates can only be looked for when the apps are there."""
    missing = [name for name in _NEEDED if not apps.is_installed(name)]
    if missing:
        yield f"their INSTALLED_APPS lack {', '.join(missing)}"
    for name in ("ROOT_URLCONF", "STATIC_URL"):
        if not getattr(settings, name, None):
            yield f"they have no {name}"
    if settings.FORCE_SCRIPT_NAME:
        yield "their FORCE_SCRIPT_NAME would lead its pages elsewhere: give it settings without that"
    try:
        get_template(_PAGE)
    except TemplateDoesNotExist:
        yield "their TEMPLATES find no templates of apps: add a DjangoTemplates with APP_DIRS"


def _default_database() -> Mapping[str, Any]:
    found: Mapping[str, Any] = settings.DATABASES.get("default", {})
    return found


def require_database() -> None:
    """Raise ImproperlyConfigured where this process has no database for the models."""
    if str(_default_database().get("ENGINE", ".dummy")).endswith(".dummy"):
        raise ImproperlyConfigured(
            'The models backend needs a database: database="postgresql://…", or SHIELD_DATABASE_URL.'
        )


def require_users() -> None:
    """Raise ImproperlyConfigured where this process has no users of a Django project."""
    if _made_here:
        raise ImproperlyConfigured(
            'auth="django" means the users of a Django project, and this process has none: name its settings '
            "in DJANGO_SETTINGS_MODULE, or give names and passwords."
        )


def settings_are_own() -> bool:
    """Whether a server made this process's settings."""
    return _made_here


def own_settings(
    secret: str, database: str | Mapping[str, Any] | None = None, redis_url: str = ""
) -> dict[str, Any]:
    """Return the settings of a process that has none."""
    return {
        # Signs nothing but the notes between two pages; tokens have keys of each server's own.
        "SECRET_KEY": hashlib.sha256(b"shield.settings" + secret.encode()).hexdigest(),
        "DEBUG": False,
        # Each server checks hosts by its own public_url and allowed_hosts.
        "ALLOWED_HOSTS": ["*"],
        "INSTALLED_APPS": list(_APPS),
        "MIDDLEWARE": [],
        "ROOT_URLCONF": "shield_django.server.urls",
        "DATABASES": {"default": database_of(database)} if database is not None else {},
        "CACHES": {"default": _cache(redis_url)},
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "TEMPLATES": [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "DIRS": [_TEMPLATES],
                "APP_DIRS": True,
                "OPTIONS": {"context_processors": list(_PROCESSORS)},
            }
        ],
        "STATIC_URL": "static/",
        "STORAGES": {"staticfiles": {"BACKEND": "shield_django.server.static.Storage"}},
        "DATA_UPLOAD_MAX_MEMORY_SIZE": LIMIT,
        "USE_TZ": True,
        "TIME_ZONE": "UTC",
        # The application around this one has its own ideas about logging.
        "LOGGING_CONFIG": None,
        # The server's own middleware does what these checks look for.
        "SILENCED_SYSTEM_CHECKS": [
            *("admin.E408", "admin.E409", "admin.E410"),
            *("security.W001", "security.W002", "security.W003"),
            *("shield.W002", "shield.I001"),
        ],
    }


def _cache(redis_url: str) -> dict[str, Any]:
    if not redis_url:
        return {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": "shield",
            # More than failed logins from everywhere fill while they count; Django's 300 forget them.
            "OPTIONS": {"MAX_ENTRIES": _COUNTED},
        }
    return {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": redis_url,
        "KEY_PREFIX": "shield-logins",
        "OPTIONS": {"socket_timeout": _PATIENCE, "socket_connect_timeout": _PATIENCE},
    }


def database_of(given: str | Mapping[str, Any]) -> dict[str, Any]:
    """Read a URL such as ``postgresql://user:password@host/name`` or ``sqlite:///path``."""
    if not isinstance(given, str):
        return dict(given)
    url = urlsplit(given)
    if url.scheme not in _ENGINES:
        raise ImproperlyConfigured(f"A database URL begins with {', '.join(_ENGINES)}, not {url.scheme!r}.")
    name = unquote(url.path.removeprefix("/"))
    if not name:
        raise ImproperlyConfigured("A database URL ends with the database's name or, for SQLite, its path.")
    found = {"ENGINE": _ENGINES[url.scheme], "NAME": name}
    parts = {"USER": url.username, "PASSWORD": url.password, "HOST": url.hostname, "PORT": url.port}
    return found | {key: unquote(str(value)) for key, value in parts.items() if value}
