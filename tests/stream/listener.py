"""A client of the event stream over a raw socket, which reads when it is told to."""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Self

import h11


class Frame(NamedTuple):
    """One event; ``content`` None is a comment."""

    id: str
    content: dict[str, Any] | None

    @property
    def type(self) -> str:
        return self.content["type"] if self.content else "comment"


class Listener:
    """Asks for the stream on a connection of its own; ``buffer`` bounds what the kernel takes for it."""

    def __init__(
        self, port: int, query: str = "", *, path: str = "/api/sdk/events", buffer: int = 0, **headers: str
    ) -> None:
        self.socket = socket.socket()
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.connect(("127.0.0.1", port))
        self._http = h11.Connection(h11.CLIENT)
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        target = f"{path}?{query}" if query else path
        request = h11.Request(method="GET", target=target, headers=[("Host", "localhost"), *named])
        self.socket.sendall(self._http.send(request) + self._http.send(h11.EndOfMessage()))
        self.status = 0
        self.headers: dict[str, str] = {}
        #: Everything that was said, in order.
        self.frames: list[Frame] = []
        self.ended = False
        self._text = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        told = [f"{frame.type} {frame.id}" for frame in self.frames[-5:]]
        return f"<Listener status={self.status} ended={self.ended} {told} {self._text[:200]!r}>"

    def close(self) -> None:
        self.socket.close()

    def read(self) -> None:
        """Take what has come, or wait for it."""
        try:
            self._http.receive_data(self.socket.recv(1 << 20))
        except ConnectionError:
            self.ended = True
            return
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError:
                self.ended = True  # cut off in the middle
                return
            match event:
                case h11.Response():
                    self.status = event.status_code
                    self.headers = {name.decode(): value.decode() for name, value in event.headers}
                case h11.Data():
                    self._take(bytes(event.data))
                case h11.EndOfMessage() | h11.ConnectionClosed():
                    self.ended = True
                    return
                case h11.NEED_DATA | h11.PAUSED:
                    return

    def _take(self, data: bytes) -> None:
        *whole, self._text = (self._text + data).split(b"\n\n")
        for text in whole:
            assert text.startswith((b"id: ", b": ")), text[:300]
            lines = dict(line.split(": ", 1) for line in text.decode().split("\n"))
            content = json.loads(lines["data"]) if "data" in lines else None
            self.frames.append(Frame(lines.get("id", ""), content))

    def until(self, condition: Callable[[Self], Any], *, within: float = 20.0) -> Self:
        """Read until ``condition`` holds; fail when it does not, ``within`` seconds."""
        end = time.monotonic() + within
        while not condition(self):
            left = end - time.monotonic()
            assert left > 0, self
            assert not self.ended, self
            self.socket.settimeout(left)
            try:
                self.read()
            except TimeoutError:
                continue
        return self

    def until_open(self) -> Self:
        """Read until the opening has been told: a commit point, or with proto 1 the first frame."""
        return self.until(lambda one: any(frame.type in ("sync", "state", "comment") for frame in one.frames))

    def until_end(self) -> Self:
        return self.until(lambda one: one.ended)

    @property
    def error(self) -> Any:
        """What a refusal says."""
        self.until(lambda one: one.ended)
        return json.loads(self._text)["error"]

    @property
    def id(self) -> str:
        return next((frame.id for frame in reversed(self.frames) if frame.id), "")

    @property
    def states(self) -> dict[str, dict[str, Any]]:
        """What a client makes of it: the state of each route."""
        found: dict[str, dict[str, Any]] = {}
        for frame in self.frames:
            match frame.content:
                case {"type": "snapshot", "payload": {"routes": routes}}:
                    found = {state["path"]: state for state in routes}
                case {"type": "state", "payload": state}:
                    found[state["path"]] = state
                case {"type": "state_delete", "key": key}:
                    found.pop(key, None)
        return found

    def status_of(self, path: str) -> str | None:
        found = self.states.get(path)
        return found["status"] if found else None


def all_until(
    listeners: Iterable[Listener], condition: Callable[[Listener], Any], *, within: float = 30.0
) -> None:
    """Read from all of them at once until ``condition`` holds for each."""
    end = time.monotonic() + within
    with selectors.DefaultSelector() as selector:
        waiting = {one for one in listeners if not condition(one)}
        for one in waiting:
            selector.register(one.socket, selectors.EVENT_READ, one)
        while waiting:
            assert time.monotonic() < end, f"{len(waiting)} still wait, one is {next(iter(waiting))}"
            for key, _ in selector.select(timeout=1.0):
                one = key.data
                one.read()
                if condition(one):
                    waiting.discard(one)
                    selector.unregister(one.socket)
                else:
                    assert not one.ended, one
