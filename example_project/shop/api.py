"""The shop's REST API: a ViewSet with extra actions, and a plain APIView."""

from __future__ import annotations

from django.db.models import F, Sum
from django.shortcuts import get_object_or_404
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from shield_django.decorators import env_only
from shop.models import Order, OutOfStock, Product


class ProductSerializer(serializers.ModelSerializer[Product]):
    class Meta:
        model = Product
        fields = ("id", "sku", "name", "price", "stock")


class OrderSerializer(serializers.Serializer[Order]):
    product = serializers.SlugRelatedField(slug_field="sku", queryset=Product.objects.all())
    quantity = serializers.IntegerField(min_value=1, max_value=100, default=1)


class ProductViewSet(ViewSet):
    def list(self, request: Request) -> Response:
        return Response(ProductSerializer(Product.objects.all(), many=True).data)

    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(ProductSerializer(get_object_or_404(Product, pk=pk)).data)

    @action(detail=False)
    def bestsellers(self, request: Request) -> Response:
        """Rank what was sold most."""
        sold = Product.objects.annotate(sold=Sum("orders__quantity")).filter(sold__gt=0)
        return Response(list(sold.order_by("-sold").values("sku", "name", "sold")))

    @action(detail=True, methods=["post"])
    def restock(self, request: Request, pk: str) -> Response:
        """Put ten more on the shelf."""
        product = get_object_or_404(Product, pk=pk)
        Product.objects.filter(pk=product.pk).update(stock=F("stock") + 10)
        product.refresh_from_db()
        return Response(ProductSerializer(product).data)

    @env_only("dev")
    @action(detail=True, methods=["post"], url_path="sell-out")
    def sell_out(self, request: Request, pk: str) -> Response:
        """Empty the shelf, to try what customers see then; never in production."""
        product = get_object_or_404(Product, pk=pk)
        Product.objects.filter(pk=product.pk).update(stock=0)
        product.refresh_from_db()
        return Response(ProductSerializer(product).data)


class OrdersView(APIView):
    """List orders, of one year with ``?year=`` (GET), and place one (POST)."""

    def get(self, request: Request) -> Response:
        orders = Order.objects.select_related("product")
        if (year := request.query_params.get("year", "")).isdecimal():
            orders = orders.filter(placed_at__year=int(year))
        return Response([order.as_dict() for order in orders[:20]])

    def post(self, request: Request) -> Response:
        wanted = OrderSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        try:
            placed = Order.place(**wanted.validated_data)
        except OutOfStock as error:
            return Response({"quantity": [str(error)]}, status=status.HTTP_409_CONFLICT)
        return Response(placed.as_dict(), status=status.HTTP_201_CREATED)
