"""A link between a client and a server with faults in it: a TCP proxy that does what networks do."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

_PIECE = 16 * 1024
#: Bytes that are passed on at once over a slow link.
_TRICKLE = 100
#: Closing a socket with this resets the connection.
_AT_ONCE = struct.pack("ii", 1, 0)


class Link:
    """Listens on ``port`` and passes on to ``target``, a port of this machine; each connection has a thread.

    Attributes are faults that last until they are taken back; methods happen once.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        #: Seconds before each piece of an answer is passed on, or each 100 bytes over a slow link.
        self.delay = 0.0
        self.slow = False
        #: Bytes of a new connection's answers after which it ends, wherever that is; None: never.
        self.allowance: int | None = None
        #: Accept, and pass nothing on; not even the end.
        self.silent = False
        #: Keep event streams until they end, as a proxy that buffers does.
        self.buffers = False
        #: While it does so, pass on how they begin.
        self.passes_heads = False
        #: Answers in place of the server what it returns for a request's first line; b"" resets the
        #: connection, and None lets the server answer.
        self.answers: Callable[[str], bytes | None] | None = None
        #: How many connections were accepted, and what was asked for when, by the monotonic clock.
        self.accepted = 0
        self.requests: list[tuple[float, str]] = []
        #: The status of each answer of the server that has begun.
        self.statuses: list[int] = []
        self._pairs: set[_Pair] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._listen(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Link {self.port} to {self.target}, {len(self._pairs)} open>"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _listen(self, port: int) -> None:
        self._listener = listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self.port = listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with listener:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                self.accepted += 1
                pair = _Pair(self, client)
                with self._lock:
                    self._pairs.add(pair)
                pair.start()

    # -- what happens to it -----------------------------------------------------------------

    def cut(self, *, within: int = 0) -> None:
        """End all connections, after so many bytes more of each answer."""
        for pair in self._open():
            if within:
                pair.allowance = within
            else:
                pair.end()

    def reset(self) -> None:
        """End all connections as a machine does that has forgotten them."""
        for pair in self._open():
            pair.end(reset=True)

    def stall(self) -> None:
        """Leave all connections half-open, for ever."""
        for pair in self._open():
            pair.stalled = True

    def refuse(self) -> None:
        """Refuse new connections, and end those that are open."""
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener = None
        self.cut()

    def mend(self) -> None:
        """Take all faults back; what is half-open stays so."""
        self.delay, self.slow, self.allowance = 0.0, False, None
        self.silent = self.buffers = self.passes_heads = False
        self.answers = None
        if self._listener is None:
            self._listen(self.port)

    def close(self) -> None:
        self.refuse()
        for pair in self._open():
            pair.join(5)

    @property
    def open(self) -> int:
        """How many connections there are."""
        return len(self._open())

    @property
    def streams(self) -> frozenset[threading.Thread]:
        """The connections that event streams come over."""
        return frozenset(pair for pair in self._open() if pair.is_stream)

    def _open(self) -> list[_Pair]:
        with self._lock:
            return list(self._pairs)

    def forget(self, pair: _Pair) -> None:
        with self._lock:
            self._pairs.discard(pair)


class _Pair(threading.Thread):
    """One connection of a client, and the one to the server that belongs to it."""

    def __init__(self, link: Link, client: socket.socket) -> None:
        super().__init__(name="link", daemon=True)
        self.stalled = False
        self.allowance = link.allowance
        self._link = link
        self._client = client
        self._server: socket.socket | None = None
        self._ended = threading.Event()
        self._resets = False
        #: What is kept of an event stream.
        self.is_stream = False
        self._kept = b""
        self._wake, self._woken = socket.socketpair()

    def end(self, *, reset: bool = False) -> None:
        self._resets = reset
        self._ended.set()
        with suppress(OSError):
            self._wake.send(b"!")

    def run(self) -> None:
        try:
            if self._is_half_open():
                self._ended.wait()
            else:
                self._server = socket.create_connection(("127.0.0.1", self._link.target), timeout=5)
                self._server.settimeout(None)
                self._pass_on(self._server)
        except OSError:
            pass  # either side has gone, of which the other is told now
        finally:
            self._close()
            self._link.forget(self)

    def _pass_on(self, server: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            for one in (self._client, server, self._woken):
                selector.register(one, selectors.EVENT_READ)
            while not self._ended.is_set():
                for key, _ in selector.select():
                    if key.fileobj is not self._woken and not self._take(key.fileobj, server):
                        return

    def _take(self, source: object, server: socket.socket) -> bool:
        """Pass on one piece; return whether it goes on."""
        assert isinstance(source, socket.socket)
        if self._is_half_open():
            self._ended.wait()
            return False
        data = source.recv(_TRICKLE if self._link.slow else _PIECE)
        if source is self._client:
            return self._ask(data, server)
        if data.startswith(b"HTTP/1.1 "):
            self._link.statuses.append(int(data[9:12]))
        if self.is_stream and self._link.buffers and data:
            self._kept += data
            return not self._link.passes_heads or self._pass_head()
        return self._answer(self._kept + data) and bool(data)

    def _ask(self, data: bytes, server: socket.socket) -> bool:
        """Pass on a piece of what the client says; one that begins a request may be answered here."""
        if data.startswith((b"GET /", b"POST /")):
            first = data.partition(b"\r\n")[0].decode()
            self._link.requests.append((time.monotonic(), first))
            self.is_stream = self.is_stream or first.startswith("GET /api/sdk/events")
            if self._link.answers is not None and (said := self._link.answers(first)) is not None:
                self._say(said)
                return False
        server.sendall(data)
        return bool(data)

    def _say(self, said: bytes) -> None:
        """Answer and end, without losing the answer to what the client may still be saying."""
        self._resets = not said
        self._client.sendall(said)
        if said:
            self._client.shutdown(socket.SHUT_WR)
            self._client.settimeout(2)
            while self._client.recv(_PIECE):
                pass

    def _pass_head(self) -> bool:
        head, end, rest = self._kept.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/") or not end:
            return True
        goes_on = self._answer(head + end)
        self._kept = rest
        return goes_on

    def _answer(self, data: bytes) -> bool:
        self._kept = b""
        if self._link.delay:
            self._ended.wait(self._link.delay)
        if self.allowance is not None:
            data = data[: self.allowance]
            self.allowance -= len(data)
        self._client.sendall(data)
        return self.allowance is None or self.allowance > 0

    def _is_half_open(self) -> bool:
        self.stalled = self.stalled or self._link.silent
        return self.stalled

    def _close(self) -> None:
        if self._resets:
            with suppress(OSError):
                self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        for one in (self._client, self._server, self._wake, self._woken):
            if one is not None:
                one.close()


def unused_port() -> int:
    """Return a port where nobody listens: connections are refused."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port


def wait_for_port(port: int, within: float = 10.0) -> None:
    end = time.monotonic() + within
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < end, f"nobody listens on {port}"
        time.sleep(0.01)
