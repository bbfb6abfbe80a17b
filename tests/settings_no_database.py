"""The suite's project without any database: sessions and messages in cookies, users in memory.

``tests/admin`` runs a second time with these settings (see ``tests/admin/test_without_database.py``).
"""

from tests.settings import *  # noqa: F403
from tests.settings import MIDDLEWARE as _MIDDLEWARE

DATABASES: dict[str, object] = {}
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"
ROOT_URLCONF = "tests.admin.urls_no_database"
SHIELD_BACKEND = "memory"
MIDDLEWARE = [
    "tests.admin.people.Middleware" if name.endswith("AuthenticationMiddleware") else name
    for name in _MIDDLEWARE
]
