"""The shop's routes, under the namespace ``shop``."""

from django.urls import include, path, re_path
from rest_framework.routers import SimpleRouter

from shop import api, views

app_name = "shop"

router = SimpleRouter()
router.register("products", api.ProductViewSet, basename="product")

urlpatterns = [
    path("health/", views.health, name="health"),
    path("catalogue/", views.CatalogueView.as_view(), name="catalogue"),
    path("search/", views.search, name="search"),
    path("products/<slug:sku>/", views.product, name="product"),
    path("cart/", views.CartView.as_view(), name="cart"),
    path("orders/<int:pk>/", views.order, name="order"),
    re_path(r"^archive/(?P<year>[0-9]{4})/$", views.archive, name="archive"),
    path("payments/", views.PaymentsView.as_view(), name="payments"),
    path("coupons/<str:code>/", views.coupon, name="coupon"),
    path("warehouse/", views.warehouse, name="warehouse"),
    path("reports/sales/", views.sales_report, name="sales-report"),
    path("debug/stock/", views.debug_stock, name="debug-stock"),
    path("api/", include(router.urls)),
    path("api/orders/", api.OrdersView.as_view(), name="api-orders"),
]
