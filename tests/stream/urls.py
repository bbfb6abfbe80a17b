from django.urls import include, path

from tests.project.urls import urlpatterns as project

urlpatterns = [
    path("tenants/<slug:tenant>/shield/", include("shield_django.urls")),
    path("shield/", include("shield_django.urls")),
    *project,
]
