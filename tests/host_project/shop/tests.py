"""The project's own tests, which know nothing of Shield; the last class does."""

import threading
import unittest
from urllib.request import urlopen

from django.conf import settings
from django.core import mail
from django.test import (
    AsyncClient,
    LiveServerTestCase,
    SimpleTestCase,
    TestCase,
    TransactionTestCase,
    override_settings,
)

from shop.models import Order


class WithoutDatabase(SimpleTestCase):
    def test_home(self):
        self.assertContains(self.client.get("/"), "home")

    def test_unknown(self):
        self.assertEqual(self.client.get("/nowhere/").status_code, 404)

    async def test_home_async(self):
        self.assertEqual((await self.async_client.get("/")).status_code, 200)


class WithDatabase(TestCase):
    @classmethod
    def setUpTestData(cls):
        Order.objects.create(number="1")

    def test_queries(self):
        with self.assertNumQueries(1):
            self.assertEqual(self.client.get("/orders/").json(), {"orders": ["1"]})

    def test_queries_again(self):
        for _ in range(3):
            with self.assertNumQueries(1):
                self.client.get("/orders/")
        with self.assertNumQueries(0):
            self.client.get("/")
            self.client.get("/nowhere/")

    def test_mail(self):
        self.client.post("/orders/new/", {"number": "2"})
        self.assertEqual([one.body for one in mail.outbox], ["2"])

    def test_on_commit(self):
        with self.captureOnCommitCallbacks() as callbacks:
            self.client.post("/orders/new/", {"number": "3"})
        self.assertEqual(callbacks, [])

    def test_no_threads(self):
        before = threading.active_count()
        self.client.get("/orders/")
        self.assertEqual(threading.active_count(), before)


class WithTransactions(TransactionTestCase):
    def test_orders(self):
        self.client.post("/orders/new/", {"number": "4"})
        self.assertEqual(Order.objects.count(), 1)

    async def test_async(self):
        self.assertEqual((await AsyncClient().get("/orders/")).json(), {"orders": []})


class WithServer(LiveServerTestCase):
    def test_home(self):
        with urlopen(self.live_server_url) as answer:
            self.assertEqual(answer.read(), b"home")

    def test_orders(self):
        Order.objects.create(number="5")
        with urlopen(f"{self.live_server_url}/orders/") as answer:
            self.assertIn(b"5", answer.read())


@unittest.skipUnless("shield_django" in settings.INSTALLED_APPS, "the project before it took Shield in")
class WithShield(SimpleTestCase):
    def test_settings_work_at_once(self):
        self.assertEqual(self.client.get("/beta/").status_code, 404)
        with override_settings(SHIELD_ENV="staging"):
            self.assertEqual(self.client.get("/beta/").status_code, 200)
        self.assertEqual(self.client.get("/beta/").status_code, 404)

    @override_settings(SHIELD_ENV="staging")
    def test_settings_as_a_decorator(self):
        self.assertEqual(self.client.get("/beta/").status_code, 200)

    def leave_a_state_behind(self):
        from shield_django import engine

        self.assertEqual(self.client.get("/").status_code, 200)
        engine.sync.disable("home")
        engine.sync.enable_global_maintenance()
        self.assertEqual(self.client.get("/").status_code, 503)

    test_a = test_b = leave_a_state_behind
