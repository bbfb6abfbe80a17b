"""HTTP as nobody should write it: bytes on a socket, and what comes back."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import NamedTuple

import h11


class Answer(NamedTuple):
    """``status`` 0 is a connection that was closed without an answer."""

    status: int
    headers: list[tuple[str, str]]
    body: str

    def header(self, name: str) -> str:
        return ", ".join(value for one, value in self.headers if one == name)


def exchange(port: int, request: bytes) -> Answer:
    """Send ``request`` as it is, and read until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        with suppress(OSError):  # a server may refuse it before its end
            connection.sendall(request)
        received = bytearray()
        with suppress(ConnectionError):
            while more := connection.recv(65536):
                received += more
    return _parsed(bytes(received))


def _parsed(received: bytes) -> Answer:
    if not received:
        return Answer(0, [], "")
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(received)
    reader.receive_data(b"")
    head = reader.next_event()
    assert isinstance(head, h11.Response), received[:300]
    body = bytearray()
    while isinstance(event := reader.next_event(), h11.Data):
        body += event.data
    headers = [(name.decode(), value.decode()) for name, value in head.headers]
    return Answer(head.status_code, headers, body.decode())


def request(
    method: str,
    target: str | bytes,
    *lines: bytes,
    body: bytes = b"",
    length: bool = True,
    host: bytes = b"x",
) -> bytes:
    """Write a request; ``lines`` are headers as they are."""
    target = target.encode() if isinstance(target, str) else target
    head = [method.encode() + b" " + target + b" HTTP/1.1", b"Host: " + host, b"Connection: close", *lines]
    if length and (body or method not in ("GET", "HEAD")):
        head.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*head, b"", body])


def chunked(body: bytes, size: int = 2**16) -> bytes:
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in [*chunks, b""])
