"""The demo as an ASGI application."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from shield_django.asgi import get_asgi_application

application = get_asgi_application()
