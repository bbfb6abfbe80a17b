"""The demo's URLs: the shop, its board (the first page), the admin and static files."""

from django.contrib import admin
from django.contrib.staticfiles.views import serve
from django.urls import include, path

urlpatterns = [
    path("", include("board.urls")),
    path("", include("shop.urls")),
    path("admin/", admin.site.urls),
    # DEBUG is off here as in production, yet the demo has no web server in front of it.
    path("static/<path:path>", serve, {"insecure": True}),
]
