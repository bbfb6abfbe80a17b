"""Limits of WebSockets: refused before they are accepted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from channels.routing import URLRouter
from django.urls import path

from shield_django import engine
from shield_django.asgi import get_asgi_application
from shield_django.decorators import rate_limit
from shield_django.testing import rate_limits
from tests.django_app.test_asgi import connect
from tests.project.sockets import Echo

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _limits_apply() -> Any:
    with rate_limits():
        yield


PEER = {"client": ("192.0.2.1", 1)}


def application(**options: Any) -> Any:
    consumer = rate_limit("2/366d", **options)(type("Limited", (Echo,), {}))
    return get_asgi_application(URLRouter([path("ws/limited/", consumer.as_asgi())]))


async def accepted(app: Any, count: int = 1, **scope: Any) -> list[bool]:
    """Open WebSockets one after the other; return which were accepted."""
    answers = [await connect("/ws/limited/", app=app, **{**PEER, **scope}) for _ in range(count)]
    return [one["type"] == "websocket.accept" for one in answers]


async def test_the_third_of_two_is_refused_with_a_reason() -> None:
    app = application()

    assert await accepted(app, 3) == [True, True, False]
    assert await connect("/ws/limited/", app=app, **PEER) == {"type": "websocket.close", "code": 1013}
    denied = await connect("/ws/limited/", app=app, denial=True, **PEER)
    assert denied["status"] == 429
    error = json.loads(denied["body"])["error"]
    assert (error["code"], error["path"]) == ("RATE_LIMIT_EXCEEDED", "WS:/ws/limited/")
    headers = {name.decode(): value.decode() for name, value in denied["headers"]}
    assert headers["x-ratelimit-limit"] == "2"
    assert 1 <= int(headers["retry-after"]) <= 366 * 86400


async def test_by_address_by_key_and_by_function(settings: Any) -> None:
    app = application()
    assert await accepted(app, 3) == [True, True, False]
    assert await accepted(app, client=("192.0.2.2", 1)) == [True]

    forwarded = {"headers": [(b"x-forwarded-for", b"192.0.2.9")]}
    assert await accepted(app, **forwarded) == [False]
    settings.SHIELD_NUM_PROXIES = 1
    assert await accepted(app, 3, **forwarded) == [True, True, False]

    app = application(key="api_key")
    assert await accepted(app, 3, headers=[(b"x-api-key", b"one")]) == [True, True, False]
    assert await accepted(app, headers=[(b"x-api-key", b"two")]) == [True]


@pytest.mark.parametrize("missing, last", [("exempt", True), ("fallback_ip", False)])
async def test_users_are_not_known_yet(missing: str, last: bool) -> None:
    app = application(key="user", on_missing_key=missing)

    assert await accepted(app, 3) == [True, True, last]


async def test_a_function_is_given_the_scope() -> None:
    app = application(key=lambda scope: scope["query_string"].decode())

    assert await accepted(app, 3, query_string=b"room=1") == [True, True, False]
    assert await accepted(app, query_string=b"room=2") == [True]


async def test_wide_limits_count_sockets_and_unknown_paths() -> None:
    app = application()
    await engine.set_global_rate_limit("1/366d")

    assert await accepted(app, 2) == [True, False]
    assert (await connect("/ws/nowhere/", app=app, **PEER))["code"] == 1013


async def test_limits_are_off_in_tests_that_are_not_about_them() -> None:
    from shield_django import project

    app = application()
    project._limits_in_tests, before = 0, project._limits_in_tests
    try:
        assert await accepted(app, 3) == [True] * 3
    finally:
        project._limits_in_tests = before
