"""The Django application."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ShieldConfig(AppConfig):
    name = "shield_django"
    label = "shield"
    verbose_name = _("Shield")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from shield_django import checks, project

        checks.register()
        project.follow_settings()
