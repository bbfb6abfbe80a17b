"""The suite's routes with Shield's own admin site, and nothing that needs a database."""

from django.urls import URLPattern, path

from shield_django.admin.site import ShieldAdminSite
from tests.project.urls import urlpatterns as _patterns

site = ShieldAdminSite()

urlpatterns = [path("admin/", site.urls), *(one for one in _patterns if isinstance(one, URLPattern))]

urlpatterns += [one for one in _patterns if str(one.pattern) == "shop/"]
