"""Whatever a server answers, it is asked at most 12 times a minute, and followed again once it is well."""

from __future__ import annotations

import itertools
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from shield_core import reporting
from shield_core.backends.memory import MemoryBackend
from shield_core.backends.server import ShieldServerBackend
from shield_core.engine import ShieldEngine
from shield_core.exceptions import InvalidInputError
from shield_core.remote import fallback
from tests.conftest import eventually
from tests.sdk.node import Node
from tests.sdk.proxy import Link

#: Seconds that stand for the 5 seconds of ``reconnect_delay``, and for a minute.
DELAY = 0.3
MINUTE = 12 * DELAY
#: Seconds that a busy machine may let an attempt wait, so that those after it come closer to it.
LATE = 2 * DELAY
#: Seconds that a server is not well.
TROUBLE = 2 * MINUTE
RETRY_AFTER = 1

Answer = Callable[[str], bytes | None]


def said(
    status: int, body: str = '{"error": "No."}', kind: str = "application/json", **headers: Any
) -> Answer:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Type: {kind}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "Connection: close", "", body]
    return lambda _: "\r\n".join(lines).encode()


def streaming(*events: Any) -> Answer:
    """Let the server answer all but streams: they begin with ``events``, and end."""

    def answer(first: str) -> bytes | None:
        url = urlsplit(first.split(" ")[1])
        if url.path != "/api/sdk/events":
            return None
        since = parse_qs(url.query)["since"][0]
        epoch, _, revision = since.rpartition(":")
        position = {"type": "sync", "epoch": epoch, "revision": int(revision)}
        told = [position if event == SYNC else event for event in events]
        text = "".join(f"id: {since}\ndata: {json.dumps(event)}\n\n" for event in told)
        return said(200, text, "text/event-stream")(first)

    return answer


HELLO, SYNC = {"type": "hello", "proto": 2, "minor": 0}, {"type": "sync"}
TROUBLES: dict[str, Answer] = {
    "refused": lambda _: None,
    "reset": lambda _: b"",
    "ended without an answer": lambda _: b"HTTP/1.1 ",
    **{str(status): said(status) for status in (401, 403, 404, 500, 503)},
    "429 with Retry-After": said(429, Retry_After=RETRY_AFTER),
    "503 with Retry-After": said(503, Retry_After=RETRY_AFTER),
    "200 in HTML": said(200, "<h1>Welcome</h1>", "text/html"),
    "200 in another JSON": said(200, '{"routes": null}'),
    "redirected": said(302, Location="/login"),
    "stream ends at once": streaming(),
    "stream ends after a good start": streaming(HELLO, SYNC),
    "stream ends after a good while": streaming(HELLO, SYNC, SYNC, SYNC),
    "stream says goodbye": streaming(HELLO, SYNC, {"type": "goodbye", "reason": "full", "retry": 50}),
    "stream of a later major version": streaming({"type": "hello", "proto": 3}, SYNC),
    "stream of nonsense": streaming([1, 2], {"type": "sync", "epoch": None}),
    "nothing may be written": lambda first: said(403)(first) if first.startswith("POST") else None,
}


class Follower:
    """A service that follows a server over a link, and what it asked for while that was not well."""

    def __init__(self, node: Node) -> None:
        self.link = Link(node.port)
        self.refused: list[float] = []
        self._begun = self._mended = 0.0
        token = node.token("payments")
        backend = ShieldServerBackend(
            self.link.address, "payments", token=token, reconnect_delay=DELAY, snapshot_path=""
        )
        self.engine = ShieldEngine(backend, service="payments", refresh_interval=0.1)
        self.engine.sync.start()

    def close(self) -> None:
        self.engine.sync.stop()
        self.link.close()

    def begin(self, trouble: str) -> None:
        self.link.answers = TROUBLES[trouble]
        self._begun = time.monotonic()
        self.link.refuse()
        if trouble != "refused":
            answers = self.link.answers
            self.link.mend()
            self.link.answers = answers

    def mend(self) -> None:
        self._mended = time.monotonic()
        self.link.mend()

    def asked(self, *paths: str) -> list[float]:
        """When it asked for one of ``paths``, in the time of trouble; also when it could not connect."""
        found = [moment for moment, first in self.link.requests if first.split(" ")[1].startswith(paths)]
        return [moment for moment in (*self.refused, *found) if self._begun < moment < self._mended]


@pytest.fixture(scope="module")
def followers() -> Iterator[dict[str, Follower]]:
    """One for each trouble, all at the same time; the troubles are over now."""
    with ExitStack() as stack:
        monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
        monkeypatch.setattr(fallback, "_WITHOUT_STREAM", (TROUBLE, TROUBLE))
        monkeypatch.setattr(reporting, "WRITE_AGAIN", (1.1 * DELAY, 1.6 * DELAY))
        node = stack.enter_context(Node(MemoryBackend))
        found = {trouble: Follower(node) for trouble in TROUBLES}
        by_port = {one.link.port: one for one in found.values()}
        connect = socket.create_connection

        def counting(address: Any, *args: Any, **options: Any) -> socket.socket:
            try:
                return connect(address, *args, **options)
            except ConnectionRefusedError:
                by_port[address[1]].refused.append(time.monotonic())
                raise

        monkeypatch.setattr(socket, "create_connection", counting)
        for one in found.values():
            stack.callback(one.close)
            eventually(lambda one=one: one.engine.status().state == "live")
        for trouble, one in found.items():
            one.begin(trouble)
        time.sleep(TROUBLE)  # what is measured is what happens in it
        for one in found.values():
            one.mend()
        yield found


def most(moments: list[float], span: float) -> int:
    """Return the most that lie within any ``span`` seconds."""
    return max((sum(first <= one < first + span for one in moments) for first in moments), default=0)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_server_is_asked_at_most_twelve_times_a_minute(followers, trouble):
    moments = followers[trouble].asked("/api/sdk/snapshot", "/api/sdk/events", "/api/auth/login")
    assert most(moments, MINUTE - LATE) <= 12


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_server_is_told_something_at_most_twelve_times_a_minute(followers, trouble):
    moments = followers[trouble].asked("/api/sdk/register", "/api/sdk/ack")
    assert most(moments, MINUTE - LATE) <= 12


@pytest.mark.parametrize("trouble", [one for one in TROUBLES if one != "nothing may be written"])
def test_it_is_never_given_up(followers, trouble):
    moments = followers[trouble].asked("/api/sdk/snapshot", "/api/sdk/events")
    pauses = [later - one for one, later in itertools.pairwise(moments)]
    assert len(moments) >= 3
    assert max(pauses) < 4 * DELAY + RETRY_AFTER


@pytest.mark.parametrize("trouble", [one for one in TROUBLES if "Retry-After" in one])
def test_the_servers_wish_to_be_left_alone_is_granted(followers, trouble):
    moments = followers[trouble].asked("/api/sdk/snapshot", "/api/sdk/events")
    assert min(later - one for one, later in itertools.pairwise(moments)) >= RETRY_AFTER


@pytest.mark.parametrize("trouble", TROUBLES)
def test_it_is_followed_soon_after_it_is_well(followers, trouble):
    one = followers[trouble]
    eventually(lambda: one.engine.status().state == "live", within=10)
    eventually(lambda: one.engine.backend.streams, within=10)


@pytest.mark.parametrize("delay", [0, -1, float("nan"), float("inf")])
def test_a_pause_that_is_none_is_refused(delay: float) -> None:
    with pytest.raises(InvalidInputError, match="reconnect_delay"):
        ShieldServerBackend("http://localhost", "payments", reconnect_delay=delay, snapshot_path="")
