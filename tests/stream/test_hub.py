"""The hub: whatever order changes become known in, a follower ends with what the store holds."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shield_core.backends.memory import MemoryBackend
from shield_core.engine import ShieldEngine
from shield_core.events import FULL, PLAIN, Audience, change_events, opening_events
from shield_core.models import RouteState
from shield_core.snapshot import Changes, Commit, Cursor, Snapshot, Write
from shield_django.stream.app import position_from
from shield_django.stream.hub import Hub

KEYS = ["GET:/a", "GET:/b", "shop:GET:/c", "/d"]


class Client:
    """A follower that keeps what proto 2 tells, and checks that nothing goes backwards.

    ``cut_after`` lets it hear only so many frames.
    """

    def __init__(self, cut_after: int | None = None, service: str | None = None) -> None:
        self.audience = Audience(FULL, service)
        self.start = 0
        self.states: dict[str, dict[str, Any]] = {}
        self.id = ""
        self.revisions: list[tuple[str, int]] = []
        self._left = cut_after

    def tell(self, text: bytes) -> None:
        for frame in text.decode().split("\n\n")[:-1]:
            if self._left is not None:
                if self._left == 0:
                    return
                self._left -= 1
            lines = dict(line.split(": ", 1) for line in frame.split("\n"))
            self.id = lines["id"]
            self._take(json.loads(lines["data"]))

    def check(self) -> None:
        """Nobody is sent away."""

    def _take(self, content: dict[str, Any]) -> None:
        match content:
            case {"type": "snapshot", "payload": payload}:
                self.states = {state["path"]: state for state in payload["routes"]}
            case {"type": "state", "payload": state}:
                before = self.states.get(state["path"], {"revision": 0})
                assert state["revision"] >= before["revision"]
                self.states[state["path"]] = state
            case {"type": "state_delete", "key": key}:
                self.states.pop(key, None)
            case {"type": "sync", "epoch": epoch, "revision": revision}:
                if self.revisions and self.revisions[-1][0] == epoch:
                    assert revision >= self.revisions[-1][1]
                self.revisions.append((epoch, revision))

    def listen(self, hub: Hub, since: str = "") -> None:
        self.tell(hub.subscribe(self, position_from(since)).encoded_for(self.audience))


def expected(snapshot: Snapshot, service: str | None = None) -> dict[str, dict[str, Any]]:
    return {
        key: state.model_dump(mode="json")
        for key, state in snapshot.routes.items()
        if service is None or key.startswith(f"{service}:")
    }


class History:
    """Commits of several processes on one store, and a replica that learns of them in some order."""

    def __init__(self) -> None:
        self.engine = ShieldEngine(MemoryBackend(), threads=False)
        self.engine.sync.start()
        self.hub = Hub(self.engine)
        self.commits: list[Changes] = []
        self.fed = 0

    @property
    def replica(self) -> Any:
        return self.engine.replica

    @property
    def store(self) -> Snapshot:
        return self.engine.backend.load_sync()  # type: ignore[attr-defined, no-any-return]

    def commit(self, keys: list[str], reason: str) -> Changes:
        """Write in the store; nobody here knows of it yet. A key with "-" before it is deleted."""
        writes = tuple(
            Write(key[1:], None)
            if key.startswith("-")
            else Write(key, RouteState(path=key, status="disabled", reason=reason, origin="operator"))
            for key in keys
        )
        changes: Changes = self.engine.backend.commit_sync(Commit(writes))  # type: ignore[attr-defined]
        self.commits.append(changes)
        return changes

    def publish(self, changes: Changes) -> None:
        """Learn of a commit of this very process, perhaps before earlier ones of others."""
        self.replica.publish(changes)

    def feed(self, count: int) -> None:
        """Learn of the next commits by the feed, in one batch."""
        new = self.commits[self.fed : self.fed + count]
        if new:
            self.fed += len(new)
            merged = Changes(new[-1].cursor, tuple(write for one in new for write in one.writes))
            if self.replica._overtake(merged):
                self.replica._tell(merged)

    def reload(self) -> None:
        """Learn everything anew, as after a gap in the feed."""
        self.replica._reload()
        self.fed = len(self.commits)


KEY = st.sampled_from(KEYS)
STEP = st.one_of(
    st.tuples(st.just("here"), st.lists(KEY, min_size=1, max_size=3, unique=True)),
    st.tuples(st.just("elsewhere"), st.lists(KEY, min_size=1, max_size=3, unique=True)),
    st.tuples(st.just("delete"), KEY),
    st.tuples(st.just("feed"), st.integers(1, 3)),
    st.tuples(st.just("reload"), st.none()),
    st.tuples(st.just("join"), st.none()),
    st.tuples(st.just("loop"), st.none()),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEP, max_size=25), st.data())
def test_every_follower_ends_with_the_state_of_the_store(steps: list[Any], data: st.DataObject) -> None:
    async def run() -> None:
        history = History()
        cuts = [Client(), Client(service="shop")]
        for one in cuts:
            one.listen(history.hub)
        for number, (step, what) in enumerate(steps):
            match step:
                case "here":
                    history.publish(history.commit(what, f"{number}"))
                case "elsewhere":
                    history.commit(what, f"{number}")
                case "delete":
                    history.commit([f"-{what}"], "")
                case "feed":
                    history.feed(what)
                case "reload":
                    history.reload()
                case "join":
                    cuts.append(Client(cut_after=data.draw(st.none() | st.integers(0, 8))))
                    cuts[-1].listen(history.hub)
                case "loop":
                    await asyncio.sleep(0)
        history.feed(len(steps))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for one in cuts:
            service = one.audience.service
            if one._left is not None:
                # Cut off somewhere: it comes again with what it has, from the last frame that it heard.
                again = Client()
                again.states, again.revisions = one.states, one.revisions
                again.listen(history.hub, one.id)
                one = again
            assert one.states == expected(history.store, service)
        history.engine.sync.stop()

    asyncio.run(run())


def test_threads_that_commit_at_once_lose_nothing() -> None:
    """Real commits on several threads, followed on a loop of its own, and joined in the middle."""

    async def run() -> None:
        engine = ShieldEngine(MemoryBackend(), refresh_interval=0.05)
        await engine.start()
        keys = [f"GET:/{number}" for number in range(8)]
        await engine.register_batch([(key, {}) for key in keys])
        hub = Hub(engine)
        clients = [Client()]
        clients[0].listen(hub)

        def write(number: int) -> None:
            chosen = random.Random(number)
            for turn in range(100):
                operation = chosen.choice([engine.sync.disable, engine.sync.set_maintenance])
                operation(chosen.choice(keys), reason=f"{number}-{turn}")

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for one in threads:
            one.start()
        while any(one.is_alive() for one in threads):
            clients.append(Client(cut_after=len(clients) % 7))
            clients[-1].listen(hub)
            await asyncio.sleep(0.005)
        while clients[0].revisions[-1][1] < engine.backend.load_sync().revision:  # type: ignore[attr-defined]
            await asyncio.sleep(0.005)
        for one in clients[1:]:
            again = Client()
            again.states, again.revisions = one.states, one.revisions
            again.listen(hub, one.id)
            assert again.states == expected(engine.replica.snapshot or Snapshot())
        assert clients[0].states == expected(engine.replica.snapshot or Snapshot())
        await engine.stop()

    asyncio.run(run())


def test_a_batch_is_encoded_once_for_those_who_hear_the_same() -> None:
    async def run() -> None:
        history = History()
        told: list[tuple[str, bytes]] = []

        class Listening(Client):
            def tell(self, text: bytes) -> None:
                told.append((self.audience.service or "", text))

        services = ["shop", "shop", "other", "third"]
        listening = [Listening(service=one) for one in services]
        for one in listening:
            one.audience = Audience(FULL, one.audience.service)
            history.hub.subscribe(one, None)
        told.clear()
        history.publish(history.commit(["shop:GET:/c"], "x"))
        await asyncio.sleep(0)
        assert len(told) == 4
        assert len({id(text) for _, text in told}) == 2
        assert {service for service, text in told if b"shop:GET:/c" in text} == {"shop"}
        history.engine.sync.stop()

    asyncio.run(run())


@pytest.mark.parametrize(
    "since, told",
    [
        ("the first", "the missed"),
        ("the last", "nothing"),
        ("before the load", "everything"),
        ("another epoch", "everything"),
        ("no revision", "everything"),
        ("the future", "everything"),
    ],
)
def test_what_is_told_first_depends_on_what_is_known(since: str, told: str) -> None:
    async def run() -> None:
        history = History()
        for key in KEYS[:2]:
            history.publish(history.commit([key], "before"))
        history.reload()
        first = Client()
        first.listen(history.hub)
        for key in KEYS[2:]:
            history.publish(history.commit([key], "after"))
        epoch, revision = history.store.cursor
        positions = {
            "the first": f"{epoch}:2",
            "the last": f"{epoch}:{revision}",
            "before the load": f"{epoch}:1",
            "another epoch": f"other:{revision}",
            "no revision": f"{epoch}:0",
            "the future": f"{epoch}:99",
        }
        again = Client()
        again.listen(history.hub, positions[since])
        heard = {"the missed": set(KEYS[2:]), "nothing": set(), "everything": set(KEYS)}[told]
        assert set(again.states) == heard
        history.engine.sync.stop()

    asyncio.run(run())


def test_plain_followers_hear_what_lies_beneath_a_deleted_state() -> None:
    """Who knows no deletion is told what holds now: the bare path's state, or none."""

    async def run() -> None:
        history = History()
        history.publish(history.commit(["GET:/a", "/a", "GET:/b"], "x"))
        heard: dict[str, Any] = {}

        class Plain(Client):
            def _take(self, content: dict[str, Any]) -> None:
                heard[content["payload"]["path"]] = content["payload"]["status"]

        plain = Plain()
        plain.audience = Audience(PLAIN, None)
        plain.listen(history.hub)
        history.publish(history.commit(["-GET:/a", "-GET:/b"], ""))
        await asyncio.sleep(0)
        assert (heard["GET:/a"], heard["GET:/b"]) == ("disabled", "active")
        history.engine.sync.stop()

    asyncio.run(run())


@pytest.mark.parametrize("proto", [PLAIN, FULL])
def test_a_service_does_not_hear_what_operators_note_for_each_other(proto: int) -> None:
    async def run() -> None:
        async with ShieldEngine(service="shop") as engine:
            await engine.register("GET:/a", {})
            await engine.disable("shop:GET:/a", reason="shown", note="secret")
            await engine.enable_service_maintenance("shop", reason="shown", note="secret")
            snapshot, now = engine.replica.snapshot, datetime.now(UTC)
            assert snapshot is not None
            for service, hears in (("shop", False), (None, True)):
                told = json.dumps([*opening_events(snapshot, Audience(proto, service), now)], default=str)
                changed = json.dumps(
                    [
                        *change_events(
                            snapshot.since(Cursor(snapshot.epoch, 0)).writes,
                            snapshot,
                            Audience(proto, service),
                            now,
                        )
                    ],
                    default=str,
                )
                assert [("secret" in one, "shown" in one) for one in (told, changed)] == [(hears, True)] * 2

    asyncio.run(run())


def test_another_epoch_is_told_as_a_whole() -> None:
    async def run() -> None:
        history = History()
        history.publish(history.commit(["GET:/a"], "x"))
        client = Client()
        client.listen(history.hub)
        history.replica._install(
            Snapshot("another", 7, {"/d": RouteState(path="/d", origin="operator", revision=7)})
        )
        await asyncio.sleep(0)
        assert set(client.states) == {"/d"}
        assert client.id == str(Cursor("another", 7))
        history.engine.sync.stop()

    asyncio.run(run())
