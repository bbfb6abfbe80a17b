"""A project with the control plane in it."""

from django.http import HttpResponse
from django.urls import include, path


def page(request):
    return HttpResponse("here")


urlpatterns = [
    path("shield/", include("shield_django.urls")),
    path("page/", page, name="page"),
]
