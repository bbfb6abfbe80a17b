"""What the shop accepts by POST."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms

from shop.models import Order, Payment, Product


class CartForm(forms.Form):
    product = forms.SlugField()
    quantity = forms.IntegerField(min_value=1, max_value=100, required=False)

    def clean_product(self) -> Product:
        try:
            return Product.objects.get(sku=self.cleaned_data["product"])
        except Product.DoesNotExist:
            raise forms.ValidationError("The shop does not sell this.") from None

    @property
    def wanted(self) -> Product:
        found: Product = self.cleaned_data["product"]
        return found

    @property
    def pieces(self) -> int:
        return int(self.cleaned_data["quantity"] or 1)

    @property
    def total(self) -> Decimal:
        return self.wanted.price * self.pieces


class PaymentForm(forms.Form):
    """Pay ``order``, or the latest order that nobody has paid yet."""

    order = forms.IntegerField(required=False)
    method = forms.ChoiceField(choices=Payment.Method.choices, required=False)

    def clean(self) -> dict[str, Any]:
        unpaid = Order.objects.filter(payment=None)
        if number := self.cleaned_data.get("order"):
            unpaid = unpaid.filter(pk=number)
        self.cleaned_data["order"] = unpaid.select_related("product").first()
        if self.cleaned_data["order"] is None:
            raise forms.ValidationError("There is nothing to pay.")
        return self.cleaned_data

    def pay(self) -> Payment:
        order: Order = self.cleaned_data["order"]
        method = self.cleaned_data["method"] or Payment.Method.CARD
        return Payment.objects.create(order=order, method=method, amount=order.total)
