"""The addresses of a server, below the path at which it is mounted."""

from django.urls import include, path, re_path

from shield_django.server import errors, static
from shield_django.server.site import site

handler400 = errors.bad_request
handler403 = errors.permission_denied
handler404 = errors.not_found
handler500 = errors.server_error

urlpatterns = [
    *(path(f"{prefix}<path:name>", static.serve) for prefix in sorted(static.prefixes())),
    path("", include("shield_django.urls")),
    path("favicon.ico", static.serve, {"name": "shield/icon.svg"}),
    re_path(r"^(?:api|static)(?:/|$)", errors.not_found),
    path("", site.urls),
]
