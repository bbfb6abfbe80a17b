"""The control plane in a Django project: ``path("shield/", include("shield_django.urls"))``."""

from __future__ import annotations

from django.urls import include, path

from shield_django import health

app_name = "shield_django"

urlpatterns = [
    path("healthz", health.Alive.as_view(), name="healthz"),
    path("readyz", health.Ready.as_view(), name="readyz"),
    path("api/", include("shield_django.api.urls")),
]
