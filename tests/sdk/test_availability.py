"""A service goes on without its server: it starts, notices, comes back by itself, and can be stopped."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from shield_core import replica
from shield_core.backends import server as backends
from shield_core.backends.file import FileBackend
from shield_core.backends.memory import MemoryBackend
from shield_core.backends.server import ShieldServerBackend
from shield_core.declarations import Declaration
from shield_core.decorators import maintenance, meta_of
from shield_core.engine import ShieldEngine
from shield_core.keys import RouteKey
from shield_core.models import RouteState
from shield_core.remote import connection, fallback
from shield_core.snapshot import Snapshot
from shield_django.stream import hub
from tests.conftest import eventually
from tests.sdk.node import Node
from tests.sdk.proxy import Link, unused_port

INIT_TIMEOUT = 0.5


@maintenance("the code says so")
def moving() -> None: ...


def paying() -> None: ...


DECLARED = [
    Declaration.from_meta(RouteKey.parse(key), meta_of(view))
    for key, view in {"GET:/pay": paying, "GET:/moving": moving}.items()
]


@pytest.fixture
def node() -> Iterator[Node]:
    with Node(MemoryBackend) as node:
        yield node


@pytest.fixture
def link(node: Node) -> Iterator[Link]:
    with Link(node.port) as link:
        yield link


@pytest.fixture
def follow(tmp_path: Path) -> Iterator[Any]:
    """``follow(address, token)`` makes a service that is not started; all end with the test."""
    with ExitStack() as stack:

        def make(address: str, token: str | None = None, **options: Any) -> ShieldEngine:
            made = service(address, **{"token": token, "snapshot_path": tmp_path / "kept.json", **options})
            stack.callback(made.sync.stop)
            return made

        yield make


def service(address: str, engine: Any = None, **options: Any) -> ShieldEngine:
    """Make a service; ``engine`` are options of its engine, the others are those of what it follows."""
    made = ShieldEngine(
        ShieldServerBackend(address, "payments", **{"reconnect_delay": 0.1, **options}),
        service="payments",
        init_timeout=INIT_TIMEOUT,
        refresh_interval=0.1,
        **(engine or {}),
    )
    made.declare(DECLARED)
    return made


def live(engine: ShieldEngine) -> ShieldEngine:
    """Start, and wait until the service follows by stream and its routes are known."""
    engine.sync.start()
    backend: Any = engine.backend
    eventually(lambda: engine.status().state == "live" and not engine.replica.unregistered)
    eventually(lambda: backend.streams)
    return engine


def blocks(engine: ShieldEngine, path: str = "/pay") -> str:
    """Return the reason for which a route is blocked, "" where it is open."""
    return engine.decide("GET", path).reason


def absent() -> str:
    return f"http://127.0.0.1:{unused_port()}"


# -- a start without the server -----------------------------------------------------------------


@pytest.fixture(scope="module")
def once_kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("once") / "kept.json"
    with Node(MemoryBackend) as node:
        engine = service(node.address, token=node.token("payments"), snapshot_path=path)
        live(engine)
        node.engine.sync.disable("payments:GET:/pay", "fraud")
        eventually(lambda: blocks(engine) == "fraud")
        engine.sync.stop()
    return path


@pytest.fixture
def kept(once_kept: Path, tmp_path: Path) -> Path:
    """What a service has kept on disk, in which /pay is disabled."""
    return Path(shutil.copy2(once_kept, tmp_path / "kept.json"))


def test_what_is_kept_is_its_owners_alone(once_kept: Path) -> None:
    assert once_kept.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in once_kept.parent.iterdir()] == ["kept.json"]


@pytest.mark.parametrize("is_silent", [False, True], ids=["refused", "silent"])
def test_a_service_starts_by_what_it_last_knew(
    kept: Path, follow: Any, link: Link, is_silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ANSWER_TIMEOUT", 2.0)
    link.silent = True
    engine = follow(link.address if is_silent else absent())
    began = time.monotonic()
    assert blocks(engine) == "fraud"
    assert time.monotonic() - began < INIT_TIMEOUT + 0.5
    assert blocks(engine, "/moving") == "the code says so"
    eventually(lambda: engine.status().state == "stale", within=20)


def test_a_service_that_never_saw_its_server_starts_by_its_decorators(follow: Any) -> None:
    engine = follow(absent())
    began = time.monotonic()
    assert blocks(engine) == ""
    assert blocks(engine, "/moving") == "the code says so"
    assert time.monotonic() - began < INIT_TIMEOUT + 0.5
    assert engine.status().state == "cold"


def test_a_service_may_start_in_maintenance_where_nothing_is_known(follow: Any) -> None:
    assert blocks(follow(absent(), engine={"no_store": "maintenance"})) == "The service is starting."


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _edit(path: Path) -> None:
    path.write_text(path.read_text().replace("fraud", "trust"))


def _link(path: Path) -> None:
    path.symlink_to(path.rename(path.with_name("elsewhere.json")))


def _give_away(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(path, 65534, 65534)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _another_service(path: Path) -> None:
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "service": "orders"}))


DAMAGES = {
    "truncated": _truncate,
    "edited": _edit,
    "empty": lambda path: path.write_bytes(b""),
    "of nonsense": lambda path: path.write_bytes(bytes(range(256))),
    "of another version": lambda path: path.write_text(
        path.read_text().replace('"format": 1', '"format": 2')
    ),
    "of another service": _another_service,
    "writable by all": lambda path: path.chmod(0o666),
    "of somebody else": _give_away,
    "a symbolic link": _link,
    "a pipe": _pipe,
    "a directory": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_kept_is_believed_only_where_the_service_wrote_it(
    kept: Path, follow: Any, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    DAMAGES[damage](kept)
    engine = follow(absent())
    began = time.monotonic()
    with caplog.at_level(logging.ERROR, "shield.remote"):
        assert blocks(engine) == ""
    assert time.monotonic() - began < INIT_TIMEOUT + 0.5
    assert blocks(engine, "/moving") == "the code says so"
    assert "is not used" in caplog.text


def test_a_server_that_appears_later_is_followed(node: Node, follow: Any) -> None:
    node.stop()
    engine = follow(node.address, node.token("payments"))
    assert blocks(engine) == ""
    node.start()
    live(engine)
    node.engine.sync.disable("payments:GET:/pay", "now")
    eventually(lambda: blocks(engine) == "now")


def test_the_log_says_how_old_the_rules_are_that_a_service_begins_with(
    kept: Path, follow: Any, caplog: pytest.LogCaptureFixture
) -> None:
    document = json.loads(kept.read_text())
    kept.write_text(json.dumps({**document, "saved_at": "2026-11-02T03:04:05.678901+00:00"}))
    assert blocks(follow(absent())) == "fraud"
    assert "of revision" in caplog.text
    assert "kept at 2026-11-02T03:04:05+00:00" in caplog.text


def test_what_the_server_says_replaces_what_was_kept(kept: Path, node: Node, link: Link, follow: Any) -> None:
    link.refuse()
    engine = follow(link.address, node.token("payments"))
    assert blocks(engine) == "fraud"
    node.engine.sync.register_states([RouteState(path="payments:GET:/pay")])
    node.engine.sync.disable("payments:GET:/pay", "of now")
    link.mend()
    eventually(lambda: blocks(engine) == "of now")


# -- several nodes --------------------------------------------------------------------------------


@pytest.mark.parametrize("is_silent", [False, True], ids=["refused", "silent"])
def test_a_service_starts_at_the_node_that_is_there(
    node: Node, link: Link, follow: Any, is_silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ANSWER_TIMEOUT", 1.0)
    link.silent = True
    engine = follow(f"{link.address if is_silent else absent()}, {node.address}", node.token("payments"))
    live(engine)
    node.engine.sync.disable("payments:GET:/pay", "now")
    eventually(lambda: blocks(engine) == "now")


# -- credentials ----------------------------------------------------------------------------------


def test_a_token_in_a_file_may_be_exchanged(node: Node, follow: Any, tmp_path: Path) -> None:
    path = tmp_path / "token"
    first = node.control.tokens.make("payments", "sdk", service="payments")
    path.write_text(node.control.tokens.sign(first))
    engine = live(follow(node.address, token_file=path))
    node.engine.sync.revoke_token(first.id, first.record)
    eventually(lambda: engine.status().state == "stale")
    path.write_text(node.token("payments"))
    live(engine)
    node.engine.sync.disable("payments:GET:/pay", "after")
    eventually(lambda: blocks(engine) == "after")


def test_a_service_with_a_password_logs_in_again(node: Node, follow: Any) -> None:
    engine = live(follow(node.address, username="olga", password="secret"))
    backend: Any = engine.backend
    token = node.control.tokens.read(backend.connection.credentials.token(None), node.control.snapshot)
    node.engine.sync.revoke_token(token.id, token.record)
    node.engine.sync.disable("payments:GET:/pay", "after")
    eventually(lambda: blocks(engine) == "after")
    eventually(
        lambda: backend.connection.credentials.token(None) != token and engine.status().state == "live"
    )


# -- links that say nothing -------------------------------------------------------------------------


def test_a_half_open_stream_is_noticed_and_replaced(
    node: Node, link: Link, follow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "KEEPALIVE_INTERVAL", 0.3)
    engine = live(follow(link.address, node.token("payments"), silence=1.0))
    link.stall()
    began = time.monotonic()
    node.engine.sync.disable("payments:GET:/pay", "unheard")
    eventually(lambda: blocks(engine) == "unheard", every=0.005)
    # The silence, a pause before the next attempt, and what asking takes on a busy machine.
    assert time.monotonic() - began < 1.0 + 0.2 + 1.0


def test_a_stream_that_only_beats_is_not_taken_to_be_half_open(
    node: Node, link: Link, follow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "KEEPALIVE_INTERVAL", 0.3)
    engine = live(follow(link.address, node.token("payments"), silence=1.0))
    streams = link.streams
    beaten = engine.replica.status().seconds_since_contact
    time.sleep(2.5)  # there is nothing to wait for where nothing must happen
    assert beaten is not None
    assert link.streams == streams
    assert engine.status().state == "live"


def test_a_server_that_takes_no_reports_does_not_keep_changes_from_a_service(
    node: Node, link: Link, follow: Any
) -> None:
    engine = live(follow(link.address, node.token("payments")))

    def hang(first: str) -> bytes | None:
        if first.startswith("POST"):
            eventually(lambda: link.answers is None, within=60)
        return None

    link.answers = hang
    try:
        for count in range(4):
            node.engine.sync.disable("payments:GET:/pay", f"change {count}")
            eventually(lambda count=count: blocks(engine) == f"change {count}", within=3.0)
            time.sleep(1.1)  # after which a service reports what it has applied
    finally:
        link.answers = None


@pytest.mark.parametrize("passes_heads", [False, True], ids=["all", "but the head"])
def test_behind_a_proxy_that_buffers_changes_are_asked_for_and_streams_tried_again(
    node: Node, link: Link, follow: Any, monkeypatch: pytest.MonkeyPatch, passes_heads: bool
) -> None:
    monkeypatch.setattr(backends, "_FIRST_ANSWER", 0.5)
    monkeypatch.setattr(backends, "_FIRST_EVENT", 0.5)
    monkeypatch.setattr(fallback, "_WITHOUT_STREAM", (2.0, 2.0))
    link.buffers, link.passes_heads = True, passes_heads
    engine = follow(link.address, node.token("payments"))
    engine.sync.start()
    eventually(lambda: not engine.replica.unregistered and 304 in link.statuses)
    node.engine.sync.disable("payments:GET:/pay", "polled")
    eventually(lambda: blocks(engine) == "polled")
    backend: Any = engine.backend
    assert not backend.streams
    link.buffers = False
    eventually(lambda: backend.streams)
    node.engine.sync.disable("payments:GET:/pay", "streamed")
    eventually(lambda: blocks(engine) == "streamed")
    assert backend.streams


# -- an end -----------------------------------------------------------------------------------------


def stops_within(engine: ShieldEngine, seconds: float) -> None:
    began = time.monotonic()
    engine.sync.stop()
    assert time.monotonic() - began < seconds


def test_a_service_stops_while_its_stream_is_half_open(node: Node, link: Link, follow: Any) -> None:
    engine = live(follow(link.address, node.token("payments")))
    link.stall()
    stops_within(engine, 2.0)


def test_a_service_stops_while_its_server_is_dead(node: Node, link: Link, follow: Any) -> None:
    engine = live(follow(link.address, node.token("payments"), reconnect_delay=30.0))
    link.refuse()
    eventually(lambda: engine.status().state == "stale")
    stops_within(engine, 2.0)


def test_a_service_stops_while_its_server_does_not_answer(
    link: Link, follow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "_PATIENCE", 1.0)
    link.silent = True
    engine = follow(link.address)
    engine.sync.start()
    stops_within(engine, 3.0)


def test_a_service_stops_while_a_connection_hangs(follow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica, "_PATIENCE", 1.0)
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):  # the queue of those that wait is full then, and who comes next gets no answer
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        engine = follow(f"http://127.0.0.1:{full.getsockname()[1]}")
        engine.sync.start()
        stops_within(engine, 3.0)


# -- a store that has lost what it held ---------------------------------------------------------------


def test_the_rules_of_a_server_without_a_store_of_its_own_end_with_it(node: Node, follow: Any) -> None:
    engine = live(follow(node.address, node.token("payments")))
    node.engine.sync.disable("payments:GET:/pay", "fraud")
    eventually(lambda: blocks(engine) == "fraud")
    node.stop()
    assert blocks(engine) == "fraud"
    node.start()
    eventually(lambda: blocks(engine) == "")
    eventually(lambda: {one.path for one in node.engine.sync.list_states()} >= {"payments:GET:/pay"})


def after_a_loss(node: Node, follow: Any, store: Path) -> ShieldEngine:
    """Return a service that follows ``node``, which has come back without what blocks its route."""
    engine = live(follow(node.address, node.token("payments")))
    node.engine.sync.disable("payments:GET:/pay", "fraud")
    eventually(lambda: blocks(engine) == "fraud")
    node.stop()
    store.unlink()
    node.start()
    eventually(lambda: engine.status().state == "store_lost")
    return engine


def test_a_server_whose_store_was_lost_opens_nothing_until_an_operator_accepts_it(
    follow: Any, tmp_path: Path
) -> None:
    with Node(lambda: FileBackend(tmp_path / "state.json")) as node:
        engine = after_a_loss(node, follow, tmp_path / "state.json")
        assert blocks(engine) == "fraud"
        node.engine.sync.reset_all("as it is")
        eventually(lambda: engine.status().state == "live" and blocks(engine) == "")


def test_operators_work_on_an_emptied_store_which_is_followed_and_not_asked_again_and_again(
    follow: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Node(lambda: FileBackend(tmp_path / "state.json")) as node:
        engine = after_a_loss(node, follow, tmp_path / "state.json")
        eventually(lambda: {one.path for one in node.engine.sync.list_states()} >= {"payments:GET:/pay"})
        eventually(lambda: not engine.replica.unregistered)
        loads: list[Snapshot] = []
        ask = engine.backend._ask
        monkeypatch.setattr(engine.backend, "_ask", lambda: loads.append(found := ask()) or found)
        for reason in ("moving", "still moving"):
            node.engine.sync.enable_service_maintenance("payments", reason)
            eventually(lambda reason=reason: blocks(engine) == reason)
        assert engine.status().state == "store_lost"
        assert loads == []
