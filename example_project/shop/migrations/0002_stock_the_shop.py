"""A handful of products and orders to begin with."""

from datetime import UTC, datetime
from decimal import Decimal

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

PRODUCTS = [
    ("teapot", "Teapot, cast iron", "48.00", 12),
    ("sencha", "Sencha, 100 g", "14.50", 80),
    ("kettle", "Kettle with thermometer", "69.00", 7),
    ("whisk", "Bamboo whisk", "11.90", 40),
    ("cup", "Cup, celadon glaze", "18.00", 64),
]
ORDERS = [
    ("sencha", 3, datetime(2024, 11, 29, 9, 12, tzinfo=UTC)),
    ("teapot", 1, datetime(2025, 3, 3, 18, 40, tzinfo=UTC)),
    ("cup", 4, datetime(2025, 12, 19, 7, 55, tzinfo=UTC)),
]


def stock(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    product_model, order_model = apps.get_model("shop", "Product"), apps.get_model("shop", "Order")
    payment_model = apps.get_model("shop", "Payment")
    products = {
        sku: product_model.objects.create(sku=sku, name=name, price=Decimal(price), stock=pieces)
        for sku, name, price, pieces in PRODUCTS
    }
    for sku, quantity, moment in ORDERS:
        product = products[sku]
        order = order_model.objects.create(product=product, quantity=quantity, placed_at=moment)
        payment_model.objects.create(
            order=order, method="card", amount=product.price * quantity, paid_at=moment
        )


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [migrations.RunPython(stock, migrations.RunPython.noop)]
