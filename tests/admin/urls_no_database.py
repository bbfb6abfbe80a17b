"""The suite's routes with Shield's own admin site instead of Django's."""

from django.urls import path

from shield_django.admin.site import ShieldAdminSite
from tests.project.urls import urlpatterns as _patterns

site = ShieldAdminSite()

urlpatterns = [path("admin/", site.urls), *(one for one in _patterns if "admin/" not in str(one.pattern))]
