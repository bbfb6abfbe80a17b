"""The shop's own pages in the admin, beside Shield's."""

from django.contrib import admin

from shop.models import Order, Payment, Product


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "sku", "price", "stock")
    search_fields = ("name", "sku")


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("number", "product", "quantity", "placed_at")
    list_select_related = ("product",)
    date_hierarchy = "placed_at"


@admin.register(Payment)
class PaymentAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("order", "method", "amount", "paid_at")
    list_select_related = ("order",)
