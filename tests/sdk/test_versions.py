"""A server and a service of neighbouring minor versions work together, whichever of them is ahead."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from shield_core import events
from shield_core.backends.memory import MemoryBackend
from shield_core.backends.server import ShieldServerBackend
from shield_core.engine import ShieldEngine
from shield_core.events import Event
from shield_django.api import sdk
from shield_django.stream import hub
from shield_django.stream import stream as streams
from tests.conftest import eventually
from tests.sdk.node import Node
from tests.stream.listener import Listener

FREEZE = "freeze it"


@pytest.fixture
def node() -> Iterator[Node]:
    with Node(MemoryBackend) as node:
        yield node


@pytest.fixture
def newer(node: Node, monkeypatch: pytest.MonkeyPatch) -> Node:
    """A server of the next minor version: with more events and fields, and routes that can be frozen."""

    def modern(content: Any) -> Any:
        if isinstance(content, dict):
            told = {name: modern(value) for name, value in content.items()}
            if "status" in told:
                told["colour"] = {"of": "status"}
                told["status"] = "frozen" if told.get("reason") == FREEZE else told["status"]
            return told
        return [modern(one) for one in content] if isinstance(content, list) else content

    def with_more(told: Any) -> Iterator[Event]:
        yield Event(None, {"type": "weather", "payload": "rain"})
        yield Event(None, {"type": "rl_policy", "action": "double", "key": "GET:/pay"})
        for service, content in told:
            yield Event(service, {**modern(dict(content)), "since": "2.1"})

    old_changes, old_opening, old_cut = events.change_events, events.opening_events, events.cut
    greeting = {**events.VERSIONS, "minor": events.VERSIONS["minor"] + 1, "features": ["frozen"]}
    monkeypatch.setattr(streams, "VERSIONS", greeting)
    monkeypatch.setattr(hub, "change_events", lambda *args: with_more(old_changes(*args)))
    monkeypatch.setattr(hub, "opening_events", lambda *args: with_more(old_opening(*args)))
    monkeypatch.setattr(sdk, "cut", lambda *args: {**modern(old_cut(*args)), "calendar": []})
    return node


@pytest.fixture
def start(node: Node) -> Iterator[Any]:
    """Start the service, again with each call."""
    made: list[ShieldEngine] = []

    def one() -> ShieldEngine:
        token = node.token("payments")
        backend = ShieldServerBackend(
            node.address, "payments", token=token, reconnect_delay=0.1, snapshot_path=""
        )
        engine = ShieldEngine(backend, service="payments", refresh_interval=0.1)
        made.append(engine)
        engine.sync.register_batch([("GET:/pay", {}), ("GET:/other", {})])
        engine.sync.start()
        eventually(lambda: engine.status().state == "live" and backend.streams)
        return engine

    yield one
    for engine in made:
        engine.sync.stop()


def reason(engine: ShieldEngine, path: str) -> str:
    return engine.decide("GET", path).reason


def test_a_status_of_a_newer_server_keeps_the_last_rule_and_is_reported(
    newer: Node, start: Any, caplog: pytest.LogCaptureFixture
) -> None:
    engine = start()
    operator = newer.engine.sync
    operator.disable("payments:GET:/pay", "before")
    eventually(lambda: reason(engine, "/pay") == "before")
    with caplog.at_level(logging.WARNING, "shield.sdk"):
        operator.disable("payments:GET:/pay", FREEZE)
        operator.disable("payments:GET:/other", "after")
        eventually(lambda: reason(engine, "/other") == "after")
        assert reason(engine, "/pay") == "before"
        eventually(lambda: "reports: payments:GET:/pay: status" in caplog.text)
    operator.disable("payments:GET:/pay", "again known")
    eventually(lambda: reason(engine, "/pay") == "again known")


def test_a_whole_state_of_a_newer_server_keeps_the_last_rule_too(
    newer: Node, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start()
    newer.engine.sync.disable("payments:GET:/pay", "before")
    eventually(lambda: reason(engine, "/pay") == "before")
    engine.sync.stop()
    newer.engine.sync.disable("payments:GET:/pay", FREEZE)
    newer.engine.sync.disable("payments:GET:/other", "after")
    monkeypatch.setattr(newer.control.hub, "_floor", 1_000_000)  # it knows no single changes any more
    engine.sync.start()
    eventually(lambda: reason(engine, "/other") == "after")
    assert reason(engine, "/pay") == "before"


def test_a_new_service_begins_with_what_it_understands_of_a_newer_server(newer: Node, start: Any) -> None:
    start().sync.stop()
    newer.engine.sync.disable("payments:GET:/pay", FREEZE)
    newer.engine.sync.disable("payments:GET:/other", "after")
    engine = start()
    assert reason(engine, "/other") == "after"
    assert engine.decide("GET", "/pay").allowed


def test_a_newer_service_may_say_more_than_the_server_understands(node: Node) -> None:
    token = {"Authorization": f"Bearer {node.token('payments')}"}
    with httpx2.Client(base_url=f"{node.address}/api/sdk", headers=token, trust_env=False) as client:
        more = {"app_id": "payments", "minor": 1, "features": ["frozen"]}
        state = {"path": "GET:/pay", "status": "active", "colour": "blue", "origin": "code"}
        assert client.post("/register", json={**more, "states": [state]}).status_code == 200
        ack = {**more, "instance": "i", "revision": 1, "mood": "good", "errors": []}
        assert client.post("/ack", json=ack).status_code == 200
        write = {"key": "payments:GET:/pay", "expect": 1, "hint": "x"}
        value = {"path": "payments:GET:/pay", "status": "disabled", "origin": "operator", "colour": "red"}
        told = {"path": "payments:GET:/pay", "action": "disable", "reason": "own", "mood": "bad"}
        done = client.post("/commit", json={**more, "writes": [{**write, "value": value}], "audit": [told]})
        assert done.status_code == 200, done.text
        found = client.get("/snapshot", params={"app_id": "payments", "minor": "1", "features": "frozen"})
        assert [one["status"] for one in found.json()["routes"]] == ["disabled"]
    with Listener(node.port, "proto=2&minor=1&features=frozen", **token) as listener:
        listener.until_open()
        assert listener.frames[0].type == "hello"


def test_a_status_of_a_newer_service_is_refused_and_nothing_is_stored(node: Node) -> None:
    token = {"Authorization": f"Bearer {node.token('payments')}"}
    states = [{"path": "GET:/pay"}, {"path": "GET:/cold", "status": "frozen"}]
    with httpx2.Client(base_url=f"{node.address}/api/sdk", headers=token, trust_env=False) as client:
        answer = client.post("/register", json={"app_id": "payments", "states": states})
    assert answer.status_code == 400
    assert "frozen" in answer.text or "status" in answer.text
    assert not node.engine.sync.list_states()
