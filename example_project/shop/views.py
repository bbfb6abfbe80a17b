"""The shop's pages: plain views, sync and async, and what the code says of their lifecycle."""

from __future__ import annotations

from typing import Any

from django.db.models import F, Sum
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from django.views.generic import TemplateView

from shield_django.decorators import deprecated, disabled, env_only, force_active, maintenance, rate_limit
from shop.forms import CartForm, PaymentForm
from shop.models import Order, OutOfStock, Payment, Product

COUPONS = {"SPRING": 10, "WELCOME": 5}


@force_active
async def health(request: HttpRequest) -> JsonResponse:
    """Say that the shop is alive; the load balancer asks, so no maintenance may stop it."""
    return JsonResponse({"healthy": True, "products": await Product.objects.acount()})


class CatalogueView(TemplateView):
    """Show everything that the shop sells, as a page for people."""

    template_name = "shop/catalogue.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(products=Product.objects.all(), **kwargs)


@rate_limit("30/minute")
async def search(request: HttpRequest) -> JsonResponse:
    """Find products by a part of their name."""
    words = request.GET.get("q", "").strip()
    found = [product.as_dict() async for product in Product.objects.filter(name__icontains=words)]
    return JsonResponse({"q": words, "products": found})


@require_safe
def product(request: HttpRequest, sku: str) -> JsonResponse:
    return JsonResponse(get_object_or_404(Product, sku=sku).as_dict())


@maintenance(reason="Prices are being updated: you can look, but not order.", read_only=True)
@method_decorator(csrf_exempt, name="dispatch")
class CartView(View):
    """Price a cart (GET), and order it (POST)."""

    def get(self, request: HttpRequest) -> HttpResponse:
        form = CartForm(request.GET or {"product": "sencha"})
        if not form.is_valid():
            return JsonResponse({"errors": form.errors}, status=400)
        return JsonResponse({"product": form.wanted.sku, "quantity": form.pieces, "total": str(form.total)})

    def post(self, request: HttpRequest) -> HttpResponse:
        form = CartForm(request.POST)
        if not form.is_valid():
            return JsonResponse({"errors": form.errors}, status=400)
        try:
            placed = Order.place(form.wanted, form.pieces)
        except OutOfStock as error:
            return JsonResponse({"errors": {"quantity": [str(error)]}}, status=409)
        return JsonResponse(placed.as_dict(), status=201)


async def order(request: HttpRequest, pk: int) -> JsonResponse:
    try:
        found = await Order.objects.select_related("product").aget(pk=pk)
    except Order.DoesNotExist:
        raise Http404(f"There is no order {pk}.") from None
    return JsonResponse(found.as_dict())


@deprecated(sunset="2027-06-30", use_instead="/api/orders/", since="2026-01-15")
def archive(request: HttpRequest, year: str) -> JsonResponse:
    """List one year's orders; the API lists them with filters now."""
    orders = Order.objects.filter(placed_at__year=int(year)).select_related("product")
    return JsonResponse({"year": int(year), "orders": [order.as_dict() for order in orders]})


@method_decorator(csrf_exempt, name="dispatch")
class PaymentsView(View):
    """List payments (GET), and pay an order (POST)."""

    def get(self, request: HttpRequest) -> HttpResponse:
        payments = Payment.objects.select_related("order")[:20]
        return JsonResponse({"payments": [payment.as_dict() for payment in payments]})

    def post(self, request: HttpRequest) -> HttpResponse:
        form = PaymentForm(request.POST)
        if not form.is_valid():
            return JsonResponse({"errors": form.errors}, status=400)
        return JsonResponse(form.pay().as_dict(), status=201)


@rate_limit("5/minute", algorithm="sliding_window")
@disabled(reason="Coupons were being guessed; they come back when they are longer.")
def coupon(request: HttpRequest, code: str) -> JsonResponse:
    """Tell what a coupon is worth."""
    percent = COUPONS.get(code.upper())
    if percent is None:
        raise Http404("There is no such coupon.")
    return JsonResponse({"code": code.upper(), "percent": percent})


def warehouse(request: HttpRequest) -> JsonResponse:
    """Count what is on the shelves; the demo schedules a stocktaking here at each start."""
    shelves = Product.objects.aggregate(pieces=Sum("stock"), value=Sum(F("stock") * F("price")))
    return JsonResponse({"pieces": shelves["pieces"] or 0, "value": str(shelves["value"] or 0)})


@maintenance(reason="The figures are being computed again after a wrong exchange rate.")
async def sales_report(request: HttpRequest) -> JsonResponse:
    """Sum up all sales."""
    sold = await Payment.objects.aaggregate(total=Sum("amount"))
    return JsonResponse({"total": str(sold["total"] or 0)})


@env_only("dev", "staging")
def debug_stock(request: HttpRequest) -> JsonResponse:
    """Show the raw table; in production this URL does not exist."""
    return JsonResponse({"stock": list(Product.objects.values("sku", "stock", "price"))})
