"""Who has applied what: in a service's own status, and on the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest

from shield_core.backends.memory import MemoryBackend
from shield_core.backends.server import ShieldServerBackend
from shield_core.config import make_engine
from shield_core.engine import ShieldEngine
from shield_core.exceptions import InvalidInputError
from tests.conftest import eventually
from tests.sdk.node import Node
from tests.sdk.proxy import Link

pytestmark = pytest.mark.servers

SERVICE = "payments"


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with Node(MemoryBackend) as running:
        yield running


@pytest.fixture
def follow(node: Node) -> Iterator[Callable[[str], ShieldEngine]]:
    """``follow(address)`` starts one more replica of the service."""
    with ExitStack() as stack:

        def start(address: str) -> ShieldEngine:
            backend = ShieldServerBackend(
                address, SERVICE, token=node.token(SERVICE), reconnect_delay=0.2, snapshot_path=""
            )
            engine = ShieldEngine(backend, service=SERVICE, release="v7")
            stack.callback(engine.sync.stop)
            engine.sync.register("GET:/pay", {})
            engine.sync.start()
            eventually(lambda: backend.streams)
            return engine

        yield start


@pytest.fixture
def instances(node: Node) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """``instances()`` asks the server for the replicas of the service, as an operator."""
    with httpx2.Client(base_url=f"{node.address}/api/", trust_env=False, timeout=30) as client:
        said = client.post("auth/login", json={"username": "olga", "password": "secret"}).json()
        client.headers["Authorization"] = f"Bearer {said['token']}"

        def ask() -> list[dict[str, Any]]:
            found = client.get("services?detail=1").json()
            return next(one["instances"] for one in found if one["service"] == SERVICE)

        yield ask


def test_a_replica_that_hears_nothing_lags_behind_the_others_until_it_hears_again(
    node: Node, follow: Callable[[str], ShieldEngine], instances: Callable[[], list[dict[str, Any]]]
) -> None:
    with Link(node.port) as link:
        near, far = follow(node.address), follow(link.address)
        revision = node.engine.status().revision
        eventually(lambda: [one.status().acknowledged for one in (near, far)] == [revision] * 2)
        assert [one["lag"] for one in instances()] == [0, 0]
        assert {one["release"] for one in instances()} == {"v7"}

        link.stall()
        for number in range(5):
            node.engine.sync.disable(f"{SERVICE}:GET:/pay", reason=f"change {number}")
        revision = node.engine.status().revision
        eventually(lambda: near.status().acknowledged == revision)
        assert sorted(one["lag"] for one in instances()) == [0, 5]
        assert far.status().acknowledged == revision - 5

        link.cut()
        eventually(lambda: far.status().acknowledged == revision)
        assert [one["lag"] for one in instances()] == [0, 0]
        assert {one["revision"] for one in instances()} == {revision}


def test_a_replica_that_polls_acknowledges_too(
    node: Node, follow: Callable[[str], ShieldEngine], instances: Callable[[], list[dict[str, Any]]]
) -> None:
    engine = follow(node.address)
    assert isinstance(engine.backend, ShieldServerBackend)
    engine.backend._fallback._until = float("inf")
    node.engine.sync.enable(f"{SERVICE}:GET:/pay")
    node.engine.sync.disable(f"{SERVICE}:GET:/pay", reason="polled")
    revision = node.engine.status().revision
    eventually(lambda: engine.status().acknowledged == revision)
    assert not engine.decide("GET", "/pay").allowed
    assert 0 in [one["lag"] for one in instances()]


def test_an_engine_that_never_followed_leaves_no_connection_behind(node: Node) -> None:
    with Link(node.port) as link:
        backend = ShieldServerBackend(link.address, SERVICE, token=node.token(SERVICE), snapshot_path="")
        engine = ShieldEngine(backend, service=SERVICE)
        engine.sync.register("GET:/once", {})
        assert link.open == 1
        engine.sync.stop()
        eventually(lambda: link.open == 0)


def test_an_engine_of_the_configuration_follows_too(
    node: Node, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name, value in {
        "SHIELD_BACKEND": "server",
        "SHIELD_SERVER_URL": node.address,
        "SHIELD_APP_ID": "orders",
        "SHIELD_TOKEN": node.token("orders"),
        "SHIELD_SNAPSHOT_PATH": str(tmp_path / "kept.json"),
        "SHIELD_ENV": "test",
    }.items():
        monkeypatch.setenv(name, value)
    engine = make_engine()
    assert engine.service == "orders"
    engine.sync.register("GET:/orders", {})
    engine.sync.start()
    try:
        node.engine.sync.disable("orders:GET:/orders")
        eventually(lambda: not engine.decide("GET", "/orders").allowed)
        eventually(lambda: engine.status().acknowledged == node.engine.status().revision)
    finally:
        engine.sync.stop()
    assert (tmp_path / "kept.json").exists()


def test_offline_an_engine_of_the_configuration_asks_nobody(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHIELD_OFFLINE", "1")
    with Link(node.port) as link:
        engine = make_engine("test", "server", server_url=link.address, service="orders")
        engine.sync.register("GET:/orders", {"status": "maintenance"})
        assert not engine.decide("GET", "/orders").allowed
        assert isinstance(engine.backend, MemoryBackend)
        assert not link.accepted


@pytest.mark.parametrize("said", ["maybe", "2"])
def test_whether_it_is_offline_is_said_clearly(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("SHIELD_OFFLINE", said)
    with pytest.raises(InvalidInputError, match="SHIELD_OFFLINE"):
        make_engine("test", "server", server_url="http://localhost:9", service="orders")
