"""``shield_django.testing``: states for the length of a test, and nothing left behind."""

from __future__ import annotations

import asyncio
import unittest
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import AsyncClient, Client, SimpleTestCase, override_settings
from django.test.utils import override_settings as override

from shield_core.exceptions import RouteNotFoundException, RouteProtectedException, ShieldException
from shield_core.models import MaintenanceWindow
from shield_django import engine
from shield_django.testing import maintenance_state, route_state
from tests.django_app.callers import Caller, error_of


def states() -> list[Any]:
    return [state for state in engine.sync.list_states() if state.origin == "operator"]


@pytest.mark.parametrize(
    "target, url",
    [
        ("shop:cart", "/shop/cart/"),
        ("/shop/cart/", "/shop/cart/"),
        ("/shop/items/7/", "/shop/items/8/"),
        ("payments", "/payments/"),
        ("GET:/payments/", "/payments/"),
    ],
)
def test_a_route_for_the_length_of_a_block(client: Caller, target: str, url: str) -> None:
    with route_state(target, "maintenance", reason="stock-taking"):
        assert error_of(client.get(url))["reason"] == "stock-taking"
        assert client.status("/payments/", "POST") == (503 if target == "payments" else 200)

    assert client.status(url) == 200
    assert states() == []


@pytest.mark.parametrize(
    "status, options, code",
    [
        ("active", {}, 200),
        ("disabled", {}, 503),
        ("maintenance", {"read_only": True}, 200),
        ("env_gated", {"envs": ["prod"]}, 404),
        ("env_gated", {"envs": ["test"]}, 200),
    ],
)
def test_every_status(client: Caller, status: str, options: Any, code: int) -> None:
    with route_state("/maintenance/", status, **options):
        assert client.status("/maintenance/") == code

    assert client.status("/maintenance/") == 503


def test_a_window(client: Caller) -> None:
    now = datetime.now(UTC)
    running = MaintenanceWindow(start=now, end=now + timedelta(hours=1))
    with route_state("/shop/", "active", window=running):
        assert client.status("/shop/") == 503


def test_everything_or_a_service(client: Caller, settings: Any) -> None:
    settings.SHIELD_SERVICE = "shop"
    with maintenance_state(reason="all", exempt_paths=["/shop/cart"]):
        assert (client.status("/shop/"), client.status("/shop/cart/"), client.status("/health/")) == (
            503,
            200,
            200,
        )
    with maintenance_state(service="shop"):
        assert client.status("/shop/") == 503
    with maintenance_state(service="billing"):
        assert client.status("/shop/") == 200
    with maintenance_state(until=datetime.now(UTC) + timedelta(minutes=1)):
        assert "Retry-After" in client.get("/shop/")
    assert client.status("/shop/") == 200


def test_nested(client: Caller) -> None:
    with maintenance_state(reason="outer", exempt_paths=["/shop/cart/"]):
        with maintenance_state(reason="inner"):
            assert error_of(client.get("/shop/cart/"))["reason"] == "inner"
        assert error_of(client.get("/shop/"))["reason"] == "outer"
        assert client.status("/shop/cart/") == 200
    with route_state("/shop/", "disabled", reason="outer"):
        with route_state("/shop/", "maintenance", reason="inner"), route_state("/shop/cart/", "disabled"):
            assert error_of(client.get("/shop/"))["reason"] == "inner"
        assert error_of(client.get("/shop/"))["reason"] == "outer"
        assert client.status("/shop/cart/") == 200
    assert client.status("/shop/") == 200


def test_what_an_operator_had_set_comes_back(client: Caller, operator: Any) -> None:
    operator.set_maintenance("/shop/", reason="before", read_only=True)

    with route_state("/shop/", "active"):
        assert client.status("/shop/", "POST") == 200

    assert error_of(client.post("/shop/"))["reason"] == "before"
    assert client.status("/shop/") == 200


@pytest.mark.parametrize("state", [route_state("/shop/", "disabled"), maintenance_state()])
def test_restored_after_an_exception(client: Caller, state: Any) -> None:
    with pytest.raises(ZeroDivisionError), state:
        raise ZeroDivisionError

    assert client.status("/shop/") == 200


def test_as_decorators() -> None:
    @maintenance_state(reason="decorated")
    @route_state("/disabled/", "active")
    def test() -> tuple[int, int]:
        return Client().get("/shop/").status_code, Client().get("/disabled/").status_code

    assert [test(), test()] == [(503, 503)] * 2
    assert Client().get("/shop/").status_code == 200


def test_as_decorators_of_coroutines() -> None:
    @route_state("/shop/", "disabled")
    async def test() -> int:
        return (await AsyncClient().get("/shop/")).status_code

    assert asyncio.run(test()) == 503
    assert Client().get("/shop/").status_code == 200


async def test_in_async_tests() -> None:
    with route_state("/async/", "disabled"), maintenance_state(reason="all"):
        assert (await AsyncClient().get("/async/")).status_code == 503
    assert (await AsyncClient().get("/async/")).status_code == 200


def test_as_decorators_of_test_cases() -> None:
    @route_state("/shop/", "disabled")
    class Decorated(SimpleTestCase):
        def test(self) -> None:
            assert self.client.get("/shop/").status_code == 503

    result = unittest.TestResult()
    Decorated("test")(result)
    assert result.wasSuccessful(), (result.failures, result.errors)


def test_what_is_unknown_or_protected_is_told_and_leaves_nothing(client: Caller) -> None:
    with pytest.raises(RouteNotFoundException), route_state("shop:nothing", "disabled"):
        pass
    with pytest.raises(RouteProtectedException), route_state("/health/", "disabled"):
        pass
    with pytest.raises(ValueError, match="RouteStatus"):
        route_state("/shop/", "no such status")
    assert states() == []


def test_the_fixture(shield: Any, client: Caller) -> None:
    with shield.route_state("/shop/", "disabled"), shield.maintenance_state():
        assert client.status("/shop/") == 503


def test_a_state_stays_when_a_test_overrides_a_setting(client: Caller) -> None:
    with route_state("/shop/", "disabled", reason="kept"):
        with override(SHIELD_ENV="staging"):
            assert (client.status("/shop/"), client.status("/gated/")) == (503, 200)
        assert (client.status("/shop/"), client.status("/gated/")) == (503, 404)
    assert client.status("/shop/") == 200


def test_override_settings_works_at_once(client: Caller) -> None:
    assert client.status("/gated/") == 404
    with override_settings(SHIELD_ENV="dev"):
        assert client.status("/gated/") == 200
    with override_settings(SHIELD_EXEMPT=["/gated/", "disabled"]):
        assert client.status("/gated/") == 200
    assert client.status("/gated/") == 404


@pytest.mark.parametrize("turn", [1, 2])
def test_a_state_that_a_test_leaves_is_gone_in_the_next(client: Caller, operator: Any, turn: int) -> None:
    assert client.status("/shop/") == 200
    operator.enable_global_maintenance()
    assert client.status("/shop/") == 503


@pytest.mark.django_db(transaction=True)
def test_they_refuse_a_store_that_others_share(models_store: Any) -> None:
    with pytest.raises(ShieldException, match="other processes share"), route_state("/shop/", "disabled"):
        pass
