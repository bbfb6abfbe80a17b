"""One stream over plain ASGI, to a server whose ``send`` waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.db import OperationalError

from shield_core.backends.memory import MemoryBackend
from shield_core.engine import ShieldEngine
from shield_core.models import RouteState
from shield_django.auth.authorities import Foreign, Open
from shield_django.control import SCOPE_KEY, ControlPlane
from shield_django.stream import app, hub
from shield_django.stream import stream as streams
from shield_django.stream.app import stream_application


class Slow:
    """A client of a server with little room: ``take`` lets so many sends through."""

    def __init__(self, control: ControlPlane, token: str = "") -> None:
        self.status = 0
        self.text = b""
        self.ended = False
        self._room = asyncio.Semaphore(0)
        self._gone = asyncio.Event()
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/api/sdk/events",
            "query_string": b"proto=2",
            "headers": [(b"host", b"localhost"), (b"x-shield-token", token.encode())],
            SCOPE_KEY: control,
        }
        self.task = asyncio.create_task(stream_application(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self._room.acquire()
        self.status = message.get("status", self.status)
        self.text += message.get("body", b"")
        self.ended = message["type"] == "http.response.body" and not message.get("more_body", False)

    def leave(self) -> None:
        self._gone.set()

    async def take(self, count: int) -> None:
        for _ in range(count):
            self._room.release()
        for _ in range(10):
            await asyncio.sleep(0)

    @property
    def types(self) -> list[str]:
        """The types of all frames, each of which must be whole."""
        *frames, rest = self.text.split(b"\n\n")
        assert rest == b""
        assert all(one.startswith(b"id: ") for one in frames)
        return [one.split(b'{"type":"')[1].split(b'"')[0].decode() for one in frames]


@pytest.fixture
async def engine() -> Any:
    async with ShieldEngine(MemoryBackend()) as made:
        await made.register_states([RouteState(path=f"GET:/{one}", note="x" * 1000) for one in range(150)])
        yield made


@pytest.fixture
def control(engine: Any) -> ControlPlane:
    return ControlPlane(engine, Open(), ["key"])


async def test_what_happens_during_the_opening_is_told_after_it(engine: Any, control: ControlPlane) -> None:
    client = Slow(control)
    await client.take(3)  # the headers, the greeting, and a part of the snapshot
    await engine.disable("GET:/1")
    await engine.disable("GET:/2")
    await client.take(100)

    assert client.types == ["hello", "snapshot", "sync", "state", "sync", "state", "sync"]
    client.leave()
    await client.task


async def test_who_reads_too_slowly_is_left(engine: Any, control: ControlPlane) -> None:
    client = Slow(control)
    await client.take(100)
    for turn in range(40):
        await engine.disable("GET:/1", reason=f"{turn}" + "x" * 10_000)
        client._room = asyncio.Semaphore(0)
    await asyncio.wait_for(client.task, 5)

    assert not len(control.hub)
    assert not client.ended


async def test_the_end_waits_for_what_is_being_sent(
    engine: Any, control: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_PATIENCE", 30.0)
    client = Slow(control)
    await client.take(3)
    streams.endings.end_all("stopping")
    await client.take(100)
    await asyncio.wait_for(client.task, 5)

    assert client.types == ["hello", "snapshot", "sync", "goodbye"]
    assert client.ended


class Directory:
    """Knows one operator, unless it is away."""

    def __init__(self) -> None:
        self.password = "old"
        self.is_away = False
        self.asked = 0

    def authenticate_user(self, username: str, password: str) -> bool:
        return password == self.password

    def fingerprint(self, username: str) -> str:
        self.asked += 1
        if self.is_away:
            raise OperationalError("away")
        return self.password


@pytest.fixture
def directory() -> Directory:
    return Directory()


@pytest.fixture(params=["cli", "sdk"])
def olga(engine: Any, directory: Directory, request: pytest.FixtureRequest) -> tuple[ControlPlane, str]:
    """A control plane that knows the operators of ``directory``, and the token of one."""
    control = ControlPlane(engine, Foreign(directory), ["key"])
    return control, control.tokens.sign(control.tokens.make("olga", request.param, fingerprint="old"))


async def test_who_cannot_be_asked_about_yet_is_to_come_again(
    directory: Directory, olga: tuple[ControlPlane, str]
) -> None:
    directory.is_away = True
    client = Slow(*olga)
    await client.take(1000)
    await asyncio.wait_for(client.task, 10)
    assert client.status == 503
    assert b"The store cannot be used" in client.text


async def test_a_changed_password_ends_the_streams_of_its_operator(
    directory: Directory, olga: tuple[ControlPlane, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "ASK_AGAIN", 0.0)
    monkeypatch.setattr(hub, "KEEPALIVE_INTERVAL", 0.15)
    client = Slow(*olga)
    await client.take(1000)
    async with asyncio.timeout(10):
        while "sync" not in client.types:
            await asyncio.sleep(0.01)

    directory.is_away = True
    asked = directory.asked
    async with asyncio.timeout(10):
        while directory.asked < asked + 3:
            await asyncio.sleep(0.01)
    assert not client.task.done()

    directory.is_away, directory.password = False, "new"
    await asyncio.wait_for(client.task, 10)
    assert client.types[-1] == "goodbye"


async def test_one_question_at_a_time_is_asked_about_a_listener(
    directory: Directory, olga: tuple[ControlPlane, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that hangs finds no queue of them when it is back."""
    monkeypatch.setattr(app, "ASK_AGAIN", -1.0)
    control, text = olga
    listener = app.Operator(control, control.tokens.read(text, control.snapshot), text)
    assert all(listener.may_listen() for _ in range(5))
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
    assert directory.asked == 1
