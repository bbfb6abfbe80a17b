from django.conf.urls.i18n import i18n_patterns
from django.contrib import admin
from django.contrib.auth.views import LoginView
from django.urls import include, path, re_path
from rest_framework.routers import DefaultRouter

from tests.project import views

router = DefaultRouter()
router.register("items", views.Items, basename="item")

shop = (
    [
        path("", views.plain, name="index"),
        path("cart/", views.plain, name="cart"),
        path("items/<int:pk>/", views.plain, name="item"),
    ],
    "shop",
)

urlpatterns = [
    path("admin/", admin.site.urls),
    path("accounts/login/", LoginView.as_view(), name="login"),
    path("shop/", include(shop)),
    path("api/", include(router.urls)),
    path("async/", views.plain_async, name="async"),
    path("payments/", views.Payments.as_view(), name="payments"),
    path("maintenance/", views.in_maintenance),
    path("disabled/", views.is_disabled),
    path("gated/", views.gated, name="gated"),
    path("gated-class/", views.GatedClass.as_view()),
    path("open-gate/", views.open_gate),
    path("old/", views.old),
    path("health/", views.health),
    path("read-only/", views.read_only),
    path("members/", views.members),
    path("whole/", views.WholeClass.as_view()),
    path("inherits/", views.Inherits.as_view()),
    path("overrides/", views.Overrides.as_view()),
    path("one-method/", views.OneMethod.as_view()),
    path("dispatched/", views.Dispatched.as_view()),
    path("listed/", views.Listed.as_view()),
    path("report/", views.Report.as_view()),
    path("function-api/", views.function_api),
    re_path(r"^years/(?P<year>[0-9]{4})/$", views.plain),
    re_path(r"^unnamed/([0-9]+)/(\w+)/$", lambda request, *args: views.plain(request)),
    path("no-slash", views.plain),
]

urlpatterns += i18n_patterns(
    path("info/", views.plain, name="info"),
    path("localized-admin/", admin.site.urls),
    path("localized-gate/", views.gated),
)
