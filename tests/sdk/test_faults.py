"""Consistency: whatever happens to servers and links, services end with the server's rules."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shield_core import reporting
from shield_core.backends import server as backends
from shield_core.backends.file import FileBackend
from shield_core.backends.server import ShieldServerBackend
from shield_core.declarations import Declaration
from shield_core.decorators import deprecated, env_only, maintenance, meta_of
from shield_core.engine import ShieldEngine
from shield_core.events import cut
from shield_core.exceptions import ShieldException
from shield_core.keys import RouteKey
from shield_core.models import AuditEntry, Baseline, MaintenanceWindow, RouteState, RouteStatus
from shield_core.remote import connection, fallback
from shield_core.ruleset import Ruleset
from shield_core.snapshot import Changes, Commit, Snapshot, Write
from shield_django.stream import hub
from tests.conftest import eventually
from tests.heavy import HEAVY
from tests.sdk.node import Node
from tests.sdk.proxy import Link

NAMES = ("payments", "payments", "orders")
#: Routes that single changes are made to, with what the code says of them.
ROUTES = {
    "GET:/a": [],
    "POST:/a": [maintenance("of the code")],
    "/b": [deprecated("2030-01-01")],
    "/c/{id}": [env_only("qa")],
}
#: Routes that are only ever changed together.
TOGETHER = ("GET:/together/1", "GET:/together/2", "POST:/together/3")
REQUESTS = [("GET", "/a"), ("POST", "/a"), ("GET", "/b"), ("PUT", "/b"), ("GET", "/c/{id}")]
REQUESTS += [tuple(key.split(":")) for key in TOGETHER]  # type: ignore[misc]

#: What takes tens of seconds in earnest, in a small fraction of them.
SILENCE = 1.0
SCALED = [
    (reporting, "WRITE_AGAIN", (0.02, 0.05)),
    (hub, "KEEPALIVE_INTERVAL", 0.3),
    (connection, "ANSWER_TIMEOUT", 1.0),
    (backends, "_FIRST_ANSWER", 1.0),
    (backends, "_FIRST_EVENT", 0.5),
    (fallback, "_WITHOUT_STREAM", (0.3, 1.0)),
]


class Service:
    """A service that follows a server over a link of its own, and keeps watch over what it is told."""

    def __init__(self, node: Node, name: str) -> None:
        self.name = name
        self.link = Link(node.port)
        backend = ShieldServerBackend(
            self.link.address,
            name,
            token=node.token(name),
            reconnect_delay=0.05,
            snapshot_path="",
            silence=SILENCE,
        )
        self.engine = ShieldEngine(backend, service=name, refresh_interval=0.2)
        stamped = {**ROUTES, **{key: [] for key in TOGETHER}}
        self.engine.declare(_declaration(key, stamps) for key, stamps in stamped.items())
        #: What it has seen that must not be.
        self.wrong: list[str] = []
        self._seen = Snapshot()
        self._newest: dict[str, int] = {}
        self._lock = threading.Lock()
        self.engine.subscribe(self._watch)
        self.engine.sync.start()

    def close(self) -> None:
        self.engine.sync.stop()
        self.engine.backend.close_sync()  # what was opened after it had been stopped
        self.link.close()

    @property
    def is_registered(self) -> bool:
        return self.engine.status().state == "live" and not self.engine.replica.unregistered

    def __repr__(self) -> str:
        return f"<Service {self.name}, {self.engine.status()}, {self.link}>"

    def differences(self, truth: Snapshot) -> dict[str, Any]:
        """Return what it knows otherwise than the server, in the words of both."""
        here = _sorted(cut(self.engine.replica.snapshot or Snapshot(), self.name))
        there = _sorted(cut(truth, self.name))
        return {name: (here[name], there[name]) for name in there if here[name] != there[name]}

    def answers(self, at: datetime) -> list[Any]:
        return [self.engine.decide(*request, at=at) for request in REQUESTS]

    def answers_by(self, truth: Snapshot, at: datetime) -> list[Any]:
        """What it should answer, by rules that were compiled at once from what the server holds."""
        rules = Ruleset.compile(truth, self.engine.replica.declared, service=self.name, env="dev")
        return [rules.decide(*request, at=at) for request in REQUESTS]

    def _watch(self, _: Snapshot, __: Changes) -> None:
        with self._lock:
            snapshot = self.engine.replica.snapshot
            assert snapshot is not None
            self._compare(self._seen, snapshot)
            self._seen = snapshot

    def _compare(self, before: Snapshot, after: Snapshot) -> None:
        if after.epoch != before.epoch:
            self._newest = {}
        elif after.revision < before.revision:
            self.wrong.append(f"{after.cursor} after {before.cursor}")
        for key, value in after.objects.items():
            if value.revision < self._newest.get(key, 0):
                self.wrong.append(f"{key} at {value.revision} after {self._newest[key]}")
            self._newest[key] = value.revision
        routes = [after.route(f"{self.name}:{key}") for key in TOGETHER]
        if len({route and route.reason for route in routes}) > 1:
            self.wrong.append(f"half of a change: {routes}")


class World:
    """A server on a file, and three services of two kinds."""

    def __init__(self, stack: ExitStack) -> None:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        self._path = Path(folder) / "state.json"
        self.node = stack.enter_context(Node(lambda: FileBackend(self._path)))
        self.services = [Service(self.node, name) for name in NAMES]
        for service in self.services:
            stack.callback(service.close)
        self.count = 0
        for service in self.services:
            eventually(lambda one=service: one.is_registered)

    @property
    def operator(self) -> Any:
        """Whoever changes something: at the server, or while it is down on its file."""
        if self.node.is_running:
            return self.node.engine.sync
        return ShieldEngine(FileBackend(self._path), threads=False).sync

    def truth(self) -> Snapshot:
        found: Snapshot = self.node.engine.sync.current()
        return found

    def change(self, name: str, service: str, route: str) -> None:
        self.count += 1
        with suppress(ShieldException):  # as that there is no limit which could be reset
            CHANGES[name](self.operator, f"{service}:{route}", service, f"change {self.count}")

    def change_together(self, service: str, status: RouteStatus) -> None:
        """Commit a change of several routes, as a program would that works on the store itself."""
        self.count += 1
        keys = [f"{service}:{key}" for key in TOGETHER]
        reason = f"together {self.count}"
        state = {"status": status, "reason": reason, "origin": "operator", "baseline": Baseline()}
        writes = [Write(key, RouteState(path=key, service=service, **state)) for key in keys]
        audit = [AuditEntry(path=key, action="disable", reason=reason) for key in keys]
        FileBackend(self._path).commit_sync(Commit(tuple(writes), tuple(audit)))

    def change_own(self, index: int, route: str) -> None:
        """Let a service change a route of its own, which may not get through."""
        self.count += 1
        with suppress(ShieldException):
            self.services[index].engine.sync.disable(route, f"own {self.count}")

    def edit(self, service: str) -> None:
        """Change a route as somebody does who opens the file in an editor, with which its history breaks."""
        self.count += 1
        key = f"{service}:GET:/a"
        document = json.loads(self._path.read_text())
        route = document["states"][key]
        route |= {"status": "maintenance", "reason": f"edit {self.count}", "origin": "operator"}
        edited = self._path.with_name("edited")
        edited.write_text(json.dumps(document))
        edited.rename(self._path)

    def server(self, action: str) -> None:
        if action != "start":
            self.node.stop()
        if action != "stop":
            self.node.start()

    def settle(self) -> None:
        """Let everything work again, and see that all know what the server knows."""
        self.node.start()
        for service in self.services:
            service.link.mend()
        for service in self.services:
            end = time.monotonic() + 20
            while (differences := service.differences(self.truth())) and time.monotonic() < end:
                time.sleep(0.02)
            assert not differences, (service, differences)

    def check(self) -> None:
        truth, now = self.truth(), datetime.now(UTC)
        for service in self.services:
            assert service.wrong == []
            for at in (now, now + timedelta(hours=1)):
                assert service.answers(at) == service.answers_by(truth, at)
            eventually(lambda one=service: one.engine.status().state == "live")


def _sorted(whole: dict[str, Any]) -> dict[str, Any]:
    """Return a cut in an order that does not tell in which one things were stored."""
    for name in ("routes", "rate_limits"):
        whole[name].sort(key=lambda one: (one["path"], one.get("method") or ""))
    return whole


def _declaration(key: str, stamps: list[Any]) -> Declaration:
    def view() -> None: ...

    for stamp in stamps:
        stamp(view)
    return Declaration.from_meta(RouteKey.parse(key), meta_of(view))


def _soon() -> MaintenanceWindow:
    now = datetime.now(UTC)
    return MaintenanceWindow(start=now + timedelta(seconds=0.1), end=now + timedelta(seconds=0.4))


def _later() -> MaintenanceWindow:
    now = datetime.now(UTC)
    return MaintenanceWindow(start=now + timedelta(minutes=30), end=now + timedelta(hours=2))


#: ``(operator, key, service, reason)`` of each.
CHANGES: dict[str, Callable[[Any, str, str, str], object]] = {
    "disable": lambda do, key, _, why: do.disable(key, why),
    "maintenance": lambda do, key, _, why: do.set_maintenance(key, why, note="for operators"),
    "read-only": lambda do, key, _, why: do.set_maintenance(key, why, read_only=True),
    "enable": lambda do, key, _, why: do.enable(key, why),
    "clear": lambda do, key, _, why: do.clear_override(key, why),
    "one method": lambda do, key, service, why: do.disable(f"{service}:PUT:/b", why),
    "clear one method": lambda do, key, service, why: do.clear_override(f"{service}:PUT:/b", why),
    "gate": lambda do, key, _, why: do.set_env_only(key, ["qa", "dev"], why),
    "window soon": lambda do, key, _, why: do.schedule_maintenance(key, _soon(), why),
    "window later": lambda do, key, _, why: do.schedule_maintenance(key, _later(), why),
    "no window": lambda do, key, _, why: do.cancel_schedule(key, why),
    "everything off": lambda do, key, service, why: do.enable_global_maintenance(why, exempt_paths=["/b"]),
    "everything on": lambda do, key, service, why: do.disable_global_maintenance(why),
    "service off": lambda do, key, service, why: do.enable_service_maintenance(service, why, window=_later()),
    "service on": lambda do, key, service, why: do.disable_service_maintenance(service, why),
    "limit": lambda do, key, *_: do.set_rate_limit_policy(*_path_and_method(key), "5/minute"),
    "no limit": lambda do, key, *_: do.delete_rate_limit_policy(*_path_and_method(key)),
    "reset limit": lambda do, key, *_: do.reset_rate_limit(*_path_and_method(key)),
    "global limit": lambda do, *_: do.set_global_rate_limit("1000/minute"),
    "no global limit": lambda do, *_: do.delete_global_rate_limit(),
    "reset global limit": lambda do, *_: do.reset_global_rate_limit(),
    "service limit": lambda do, key, service, _: do.set_service_rate_limit(service, "500/minute"),
    "no service limit": lambda do, key, service, _: do.delete_service_rate_limit(service),
}

#: What may happen to a link.
FAULTS: dict[str, Callable[[Link], object]] = {
    "cut": lambda link: link.cut(),
    "cut soon": lambda link: link.cut(within=150),
    "cut early": lambda link: setattr(link, "allowance", 300),
    "cut late": lambda link: setattr(link, "allowance", 3000),
    "reset": lambda link: link.reset(),
    "half-open": lambda link: link.stall(),
    "silent": lambda link: setattr(link, "silent", True),
    "refused": lambda link: link.refuse(),
    "delayed": lambda link: setattr(link, "delay", 0.05),
    "slow": lambda link: (setattr(link, "slow", True), setattr(link, "delay", 0.002)),
    "buffered": lambda link: setattr(link, "buffers", True),
    "mended": lambda link: link.mend(),
}


def _path_and_method(key: str) -> tuple[str, str]:
    found = RouteKey.parse(key)
    return str(found._replace(method=None)), found.method or "GET"


def steps() -> st.SearchStrategy[list[tuple[Any, ...]]]:
    names, indexes = st.sampled_from(sorted(set(NAMES))), st.integers(0, len(NAMES) - 1)
    routes = st.sampled_from(sorted(ROUTES))
    change = st.tuples(st.just("change"), st.sampled_from(sorted(CHANGES)), names, routes)
    together = st.tuples(
        st.just("together"), names, st.sampled_from([RouteStatus.DISABLED, RouteStatus.MAINTENANCE])
    )
    fault = st.tuples(st.just("fault"), st.sampled_from(sorted(FAULTS)), indexes)
    own = st.tuples(st.just("own"), indexes, routes)
    node = st.tuples(st.just("server"), st.sampled_from(["restart", "stop", "start"]))
    moment = st.tuples(st.just("moment"), st.sampled_from([0.02, 0.1, 0.3]))
    edit = st.tuples(st.just("edit"), names)
    often = [change, change, together, fault, fault, moment]
    return st.lists(st.one_of(*often, own, edit, node), min_size=5, max_size=60 if HEAVY else 25)


def live_through(world: World, history: list[tuple[Any, ...]]) -> None:
    for kind, *step in history:
        match kind:
            case "change":
                world.change(*step)
            case "together":
                world.change_together(*step)
            case "fault":
                FAULTS[step[0]](world.services[step[1]].link)
            case "own":
                world.change_own(*step)
            case "edit":
                world.edit(*step)
            case "server":
                world.server(*step)
            case "moment":
                time.sleep(*step)  # what has begun may go on for a while, or be over


@contextmanager
def world() -> Iterator[World]:
    with pytest.MonkeyPatch.context() as monkeypatch, ExitStack() as stack:
        for module, name, value in SCALED:
            monkeypatch.setattr(module, name, value)
        yield World(stack)


@settings(
    max_examples=150 if HEAVY else 6,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
@given(steps())
def test_after_any_faults_all_services_have_the_servers_rules_and_none_went_back(history):
    with world() as found:
        live_through(found, history)
        found.settle()
        found.check()


def test_a_registration_moves_no_service_on_to_what_it_has_not_heard_yet():
    with world() as found:
        engine = found.services[0].engine
        engine.sync.stop()
        before = engine.replica.snapshot
        # As it is for a moment, while the one thread hands a change over and another registers routes.
        ahead = before.cursor._replace(revision=before.revision + 1)
        engine.backend._known = Snapshot(*ahead, before.objects)
        engine.sync.register_batch([("GET:/new", {})])
        assert engine.replica.snapshot.cursor == before.cursor
        assert found.truth().route("payments:GET:/new") is not None
