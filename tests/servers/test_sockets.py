"""The WebSocket guard behind real servers: no closed socket is ever accepted."""

from __future__ import annotations

import base64
import os
import socket
from typing import Any

import pytest

from tests.conftest import eventually
from tests.servers.processes import Server

pytestmark = [pytest.mark.servers, pytest.mark.parametrize("database", ["sqlite"], indirect=True)]


def handshake(server: Server, path: str) -> tuple[int, str]:
    """Ask for a WebSocket; return the HTTP status, 101 when it is accepted, and what follows."""
    key = base64.b64encode(os.urandom(16)).decode()
    request = (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Origin: http://localhost\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(request.encode())
        answer = b""
        while b"\r\n\r\n" not in answer and (more := connection.recv(4096)):
            answer += more
        if not answer.startswith(b"HTTP/1.1 101"):
            while more := connection.recv(4096):
                answer += more
    return int(answer.split(b" ", 2)[1]), answer.decode(errors="replace")


@pytest.mark.parametrize("kind", ["uvicorn", "daphne"])
def test_closed_sockets_are_refused_before_they_are_accepted(serve: Any, operator: Any, kind: str) -> None:
    server = serve(kind, app="tests.project.sockets:application")
    # uvicorn offers an answer over HTTP; daphne closes, which callers see as 403.
    closed = 503 if kind == "uvicorn" else 403

    assert handshake(server, "/ws/closed/")[0] == closed
    assert handshake(server, "/ws/nested/closed/")[0] == closed
    assert handshake(server, "/ws/open/")[0] == 101

    operator.enable_global_maintenance(reason="no sockets today")
    status, answer = eventually(lambda: handshake(server, "/ws/open/") if changed(server) else None)
    assert status == closed
    if kind == "uvicorn":
        assert "no sockets today" in answer
    assert handshake(server, "/ws/always/")[0] == 101

    operator.disable_global_maintenance()
    eventually(lambda: handshake(server, "/ws/open/")[0] == 101)


def changed(server: Server) -> bool:
    return server.status("/shop/") == 503
