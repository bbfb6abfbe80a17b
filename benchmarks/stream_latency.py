"""How soon followers hear of a change: ``python benchmarks/stream_latency.py [connections …]``.

From before the commit in the server's process (uvicorn, memory backend) to the moment at which a client
process has received the event, for each connection and each change.
"""

from __future__ import annotations

import asyncio
import os
import re
import resource
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

CHANGES = 60
ROUTE = "GET:/changed"
_BEGAN = re.compile(rb'"reason":"(\d+)"')


class Application:
    """An open control plane; ``POST /change`` commits, and tells in the reason when it began."""

    def __init__(self) -> None:
        from tests.stream.control_app import Application as Control

        self._control = Control()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != "/change":
            await self._control(scope, receive, send)
            return
        engine = self._control.control.engine
        await asyncio.sleep(0.02)
        await engine.disable(ROUTE, reason=str(time.monotonic_ns()))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class Clients:
    """Connections that only note when something came."""

    def __init__(self, port: int, count: int) -> None:
        self._selector = selectors.DefaultSelector()
        for _ in range(count):
            made = socket.create_connection(("127.0.0.1", port))
            made.sendall(b"GET /api/sdk/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            made.setblocking(False)
            self._selector.register(made, selectors.EVENT_READ)
        self._read(lambda data: b"\n\n" in data)

    def hear(self, after: int) -> list[float]:
        """Read until all have heard of a change not older than ``after``; return milliseconds."""
        times: list[float] = []

        def is_it(data: bytes) -> bool:
            at = time.monotonic_ns()
            found = _BEGAN.search(data)
            if found is None or int(found[1]) < after:
                return False
            times.append((at - int(found[1])) / 1e6)
            return True

        self._read(is_it)
        return times

    def _read(self, is_it: Callable[[bytes], bool]) -> None:
        """Read until each connection has brought what is waited for, in one piece."""
        waiting = set(self._selector.get_map())
        while waiting:
            for key, _ in self._selector.select():
                if is_it(key.fileobj.recv(1 << 16)):  # type: ignore[union-attr]
                    waiting.discard(key.fd)

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()


def post(port: int, path: str, body: bytes = b"") -> None:
    """Send a request on a connection of its own, and do not wait for the answer's end."""
    with socket.create_connection(("127.0.0.1", port)) as made:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        made.sendall(head.encode() + body)
        made.recv(100)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def begin(port: int, path: str) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port))
    made.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode())
    return made


def measured(port: int, count: int) -> list[float]:
    clients = Clients(port, count)
    found: list[float] = []
    for turn in range(CHANGES):
        began = time.monotonic_ns()
        asking = begin(port, "/change")
        heard = clients.hear(began)
        asking.recv(100)
        asking.close()
        if turn >= CHANGES // 6:
            found += heard
    clients.close()
    return found


def main() -> None:
    counts = [int(one) for one in sys.argv[1:]] or [1, 100, 1000]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    from tests.postgres import free_port

    port = free_port()
    place = ["--app-dir", str(ROOT / "benchmarks"), "--port", str(port)]
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "stream_latency:application", *place, "--log-level", "error"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "STREAM_OPEN": "1"},
    )
    try:
        while not listens(port):
            time.sleep(0.1)
        post(port, "/do", f'[["register_states", [["{ROUTE}"]], {{}}]]'.encode())
        print(f"{'connections':12}{'p50 ms':>10}{'p99 ms':>10}{'worst':>10}")
        for count in counts:
            found = measured(port, count)
            p99 = quantiles(found, n=100)[98]
            print(
                f"{count:<12}{median(found):>10.2f}{min(p99, max(found)):>10.2f}{max(found):>10.2f}",
                flush=True,
            )
    finally:
        server.terminate()
        server.wait()


def __getattr__(name: str) -> Any:
    if name == "application":
        return Application()
    raise AttributeError(name)


if __name__ == "__main__":
    main()
