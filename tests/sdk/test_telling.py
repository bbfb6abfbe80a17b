"""What services tell the server: it keeps no change waiting, and many services take turns."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from shield_core import reporting
from shield_core.backends.memory import MemoryBackend
from shield_core.backends.server import ShieldServerBackend
from shield_core.declarations import Declaration
from shield_core.engine import ShieldEngine
from shield_core.keys import RouteKey
from shield_core.models import Instance
from shield_core.remote.connection import Reply
from shield_django.api import sdk as views
from shield_django.stream.hub import Hub
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


def test_stopping_waits_a_moment_only_for_a_server_that_hangs_to_hear_of_it(
    service: ShieldEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.sync.start()
    eventually(lambda: service.status().acknowledged is not None)
    over = threading.Event()
    monkeypatch.setattr(views.Acknowledge, "own_service", lambda view: over.wait(20))
    began = time.monotonic()
    service.sync.stop()
    over.set()
    assert time.monotonic() - began < 3


def test_a_route_that_the_server_does_not_take_does_not_keep_a_service_from_acknowledging(
    node: Node, service: ShieldEngine, caplog: pytest.LogCaptureFixture
) -> None:
    service.declare([Declaration(RouteKey.parse(f"GET:/{'x' * 900}"))])
    service.sync.start()
    eventually(lambda: service.status().acknowledged is not None)
    assert [one.service for one in node.engine.sync.instances()] == ["payments"]
    eventually(lambda: "at most 500 characters" in caplog.text)


class Latest(random.Random):
    """Chooses the latest moment."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_services_take_turns_where_the_server_has_many(
    node: Node, service: ShieldEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hub, "__len__", lambda hub: 100)  # which leaves 2 seconds for all of them
    monkeypatch.setattr(reporting, "random", Latest())
    service.sync.start()
    eventually(lambda: service.backend.beats_within == 2.0)
    before = service.status().acknowledged
    began = time.monotonic()
    node.engine.sync.enable_service_maintenance("payments", reason="one")
    node.engine.sync.enable_service_maintenance("payments", reason="two")
    eventually(lambda: service.decide("GET", "/slow").reason == "two", within=2)
    newest = service.status().revision
    heard = {before}
    eventually(lambda: heard.add(service.status().acknowledged) or newest in heard)
    assert heard == {before, newest}  # the change between them was not told of
    assert time.monotonic() - began >= 2.0


@pytest.mark.parametrize(
    ("told", "understood"),
    [
        ({"ok": True}, 0.0),
        ({"within": 20}, 20.0),
        ({"within": 1e9}, 60.0),
        ({"within": -3}, 0.0),
        ({"within": float("nan")}, 0.0),
        ({"within": "soon"}, 0.0),
        ({"within": None}, 0.0),
        ([], 0.0),
        (None, 0.0),
    ],
)
def test_no_answer_of_a_server_keeps_a_service_from_telling(
    monkeypatch: pytest.MonkeyPatch, told: Any, understood: float
) -> None:
    backend = ShieldServerBackend("http://127.0.0.1:1", "payments", snapshot_path="")
    monkeypatch.setattr(backend.connection, "request", lambda *args, **names: Reply(200, told))
    instance = Instance(id="a", service="payments", revision=3, epoch="e", seen_at=datetime.now(UTC))
    backend.beat_sync(instance)
    assert (backend.acknowledged, backend.beats_within) == (3, understood)
