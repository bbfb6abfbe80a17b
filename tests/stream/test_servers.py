"""Many open streams on real servers: what they cost, how they end, and who reads too slowly."""

from __future__ import annotations

import re
import resource
import signal
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import eventually
from tests.stream.listener import Listener, all_until

pytestmark = pytest.mark.servers

MANY = 200


@pytest.fixture(autouse=True)
def enough_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8192), most))


def is_open(listener: Listener) -> bool:
    return any(frame.type == "sync" for frame in listener.frames)


def threads_of(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"Threads:\s+(\d+)", status)
    assert found
    return int(found[1])


def resident(pid: int) -> int:
    """Bytes of memory."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def test_many_streams_add_no_thread(stream_server: Any, kind: str) -> None:
    server = stream_server(kind)
    server.listen().until_open()
    before = threads_of(server.process.pid)

    listeners = [server.listen() for _ in range(MANY)]
    all_until(listeners, is_open)

    assert server.state["followers"] == MANY + 1
    assert threads_of(server.process.pid) == before


def test_clients_that_leave_a_quiet_stream_are_forgotten(stream_server: Any, kind: str) -> None:
    server = stream_server(kind)
    listeners = [server.listen() for _ in range(MANY)]
    all_until(listeners, is_open)
    assert server.state["followers"] == MANY

    for one in listeners:
        one.close()

    eventually(lambda: server.state["followers"] == 0, within=20)


@pytest.mark.parametrize("ends_by", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_stops_says_goodbye_and_ends(stream_server: Any, kind: str, ends_by: int) -> None:
    server = stream_server(kind)
    listeners = [server.listen("proto=2" if number % 2 else "") for number in range(MANY)]
    all_until(listeners, lambda one: one.frames)

    server.process.send_signal(ends_by)

    all_until(listeners, lambda one: one.ended, within=20)
    server.process.wait(20)
    told = [one.frames[-1].content for one in listeners if one.frames[-1].type == "goodbye"]
    assert len(told) == MANY // 2
    assert {(one["reason"], one["retry"]) for one in told} == {("stopping", 1000)}
    assert "Traceback" not in server.log


def test_a_server_stops_although_a_client_comes_again_at_once(stream_server: Any, kind: str) -> None:
    server = stream_server(kind)
    client = HTTPConnection("127.0.0.1", server.port, timeout=10)
    client.request("GET", "/api/sdk/events")
    stream = client.getresponse()
    assert stream.readline()

    server.process.send_signal(signal.SIGTERM)
    with suppress(HTTPException, OSError):  # when its connection is closed at last
        while True:
            stream.read()
            client.request("GET", "/api/sdk/events")
            stream = client.getresponse()
    client.close()

    assert eventually(lambda: server.process.poll() is not None, within=20)


def test_everybody_hears_a_change(stream_server: Any, kind: str) -> None:
    server = stream_server(kind)
    server.call("register_states", ["GET:/a"])
    listeners = [server.listen("proto=2" if number % 2 else "") for number in range(MANY)]
    all_until(listeners, lambda one: one.frames)

    position = server.call("disable", "GET:/a")

    all_until(listeners, lambda one: one.id == position)
    assert {one.status_of("GET:/a") for one in listeners} == {"disabled"}


def test_a_slow_reader_is_cut_off_and_resumes(stream_server: Any, kind: str) -> None:
    """Bytes that a client does not read are kept for it up to a limit, and nobody else waits for it."""
    server = stream_server(kind)
    routes = [f"GET:/{number}" for number in range(100)]
    server.call("register_states", routes)
    slow = [server.listen(buffer=4096).until_open() for _ in range(20)]
    reader = server.listen().until_open()
    before = resident(server.process.pid)

    position = ""
    for turn, first in product(range(5), range(0, len(routes), 10)):
        changed = routes[first : first + 10]
        position = server.do(*(("disable", [one], {"reason": f"{turn}" * 10_000}) for one in changed))
        reader.until(lambda one, position=position: one.id == position)
    assert server.state["followers"] == 1
    # Each was sent 5 MB, of which it may have kept 256 KiB and a piece in the server's buffer.
    assert resident(server.process.pid) - before < len(slow) * 700_000 + 30_000_000

    for one in slow:
        one.until_end()
        resumed = server.listen(f"proto=2&since={one.id}").until(lambda one: one.id == position)
        merged = {**one.states, **resumed.states}
        assert {state["reason"] for state in merged.values()} == {"4" * 10_000}


def test_a_server_stops_although_a_client_does_not_read(stream_server: Any, kind: str) -> None:
    server = stream_server(kind)
    routes = [f"GET:/{number}" for number in range(50)]
    server.call("register_states", routes)
    # It has too much unsent for the kernel's buffers, and too little to be cut off.
    server.do(*(("disable", [route], {"reason": "x" * 200_000}) for route in routes))
    stuck = server.listen(buffer=4096)
    eventually(lambda: server.state["followers"] == 1)

    server.process.send_signal(signal.SIGTERM)

    server.process.wait(20)
    assert not stuck.frames


def test_a_quiet_stream_gives_signs_of_life(stream_server: Any, kind: str) -> None:
    server = stream_server(kind)
    plain, full = server.listen("").until_open(), server.listen().until_open()
    said = len(full.frames)

    plain.until(lambda one: one.frames[-1].type == "comment", within=20)
    full.until(lambda one: len(one.frames) > said, within=20)
    assert (full.frames[-1].type, full.frames[-1].id) == ("sync", full.frames[said - 1].id)
