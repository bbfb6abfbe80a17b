"""A server that is slow to take what services tell it tells them of changes all the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shield_core.backends.memory import MemoryBackend
from shield_core.backends.server import ShieldServerBackend
from shield_core.declarations import Declaration
from shield_core.engine import ShieldEngine
from shield_core.keys import RouteKey
from shield_django.api import sdk as views
from tests.conftest import eventually
from tests.sdk.node import Node

pytestmark = pytest.mark.servers


@pytest.fixture
def node() -> Iterator[Node]:
    with Node(MemoryBackend) as running:
        yield running


@pytest.fixture
def service(node: Node) -> Iterator[ShieldEngine]:
    backend = ShieldServerBackend(node.address, "payments", token=node.token("payments"), snapshot_path="")
    engine = ShieldEngine(backend, service="payments")
    yield engine
    engine.sync.stop()


@pytest.fixture(params=[views.Acknowledge, views.Register])
def held(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """One of the writes hangs until the test is over; the event tells that it has come."""
    view: Any = request.param
    came, over = threading.Event(), threading.Event()
    own_service: Callable[..., Any] = view.own_service

    def wait(self: Any) -> Any:
        came.set()
        over.wait(20)
        return own_service(self)

    monkeypatch.setattr(view, "own_service", wait)
    yield came
    over.set()


def test_a_change_arrives_while_the_server_has_not_answered(
    node: Node, service: ShieldEngine, held: threading.Event
) -> None:
    service.declare([Declaration(RouteKey.parse("GET:/slow"))])
    service.sync.start()
    assert held.wait(5)
    node.engine.sync.enable_service_maintenance("payments", reason="now")
    eventually(lambda: service.decide("GET", "/slow").reason == "now", within=3)
    node.engine.sync.disable_service_maintenance("payments")
    eventually(lambda: service.decide("GET", "/slow").allowed, within=3)


def test_stopping_does_not_wait_for_it(service: ShieldEngine, held: threading.Event) -> None:
    service.declare([Declaration(RouteKey.parse("GET:/slow"))])
    service.sync.start()
    assert held.wait(5)
    stopping = threading.Thread(target=service.sync.stop)
    stopping.start()
    stopping.join(4)
    assert not stopping.is_alive()
