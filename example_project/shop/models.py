"""What the shop sells, and to whom it has sold."""

from __future__ import annotations

from decimal import Decimal

from django.core.validators import MinValueValidator
from django.db import models, transaction
from django.utils import timezone


class OutOfStock(Exception):
    """There are fewer pieces left than were ordered."""


class Product(models.Model):
    sku = models.SlugField(unique=True)
    name = models.CharField(max_length=80)
    price = models.DecimalField(max_digits=8, decimal_places=2, validators=[MinValueValidator(Decimal(0))])
    stock = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def as_dict(self) -> dict[str, object]:
        return {
            "id": self.pk,
            "sku": self.sku,
            "name": self.name,
            "price": str(self.price),
            "stock": self.stock,
        }


class Order(models.Model):
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="orders")
    quantity = models.PositiveIntegerField(default=1, validators=[MinValueValidator(1)])
    placed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-placed_at", "-pk")

    def __str__(self) -> str:
        return self.number

    @property
    def number(self) -> str:
        return f"A-{1000 + self.pk}"

    @property
    def total(self) -> Decimal:
        return self.product.price * self.quantity

    @classmethod
    def place(cls, product: Product, quantity: int) -> Order:
        """Order and take from stock, or raise OutOfStock."""
        with transaction.atomic():
            left = Product.objects.filter(pk=product.pk, stock__gte=quantity)
            if not left.update(stock=models.F("stock") - quantity):
                raise OutOfStock(f"Fewer than {quantity} of {product.name} are left.")
            return cls.objects.create(product=product, quantity=quantity)

    def as_dict(self) -> dict[str, object]:
        return {
            "number": self.number,
            "product": self.product.sku,
            "quantity": self.quantity,
            "total": str(self.total),
            "placed_at": self.placed_at.isoformat(timespec="seconds"),
        }


class Payment(models.Model):
    class Method(models.TextChoices):
        CARD = "card"
        INVOICE = "invoice"

    order = models.OneToOneField(Order, on_delete=models.CASCADE, related_name="payment")
    method = models.CharField(max_length=10, choices=Method, default=Method.CARD)
    amount = models.DecimalField(max_digits=8, decimal_places=2)
    paid_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-paid_at",)

    def __str__(self) -> str:
        return f"{self.amount} for {self.order}"

    def as_dict(self) -> dict[str, object]:
        return {"order": self.order.number, "method": self.method, "amount": str(self.amount)}
