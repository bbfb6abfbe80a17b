"""Server memory of an idle event stream: ``python benchmarks/stream_memory.py [connections]``.

The growth of the resident memory of uvicorn over so many idle connections, in the same run for

* an ASGI application that only sends two lines and waits (what uvicorn itself takes),
* this package's stream, with proto 2,
* the server of `api-shield` 0.8.3, in a virtual environment of its own that is made here.
"""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
PEER = "api-shield[all]==0.8.3"
WARM = 100
#: That of tests.stream.control_app.
SECRET = "the key of the stream's tests"

BARE = """
async def application(scope, receive, send):
    if scope["type"] != "http":
        raise ValueError(scope["type"])
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b": open\\n\\n", "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass
"""
THEIRS = """
from shield.core.backends.memory import MemoryBackend
from shield.server import ShieldServer

application = ShieldServer(backend=MemoryBackend())
"""


class Measured:
    """A server whose memory is watched while clients open streams and keep quiet."""

    def __init__(self, python: Path, module: str, directory: Path, query: str, token: str) -> None:
        self._query = query
        self._token = token
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        place = ["--port", str(self._port), "--log-level", "error", "--http", "h11", "--loop", "asyncio"]
        self._process = subprocess.Popen(
            [str(python), "-m", "uvicorn", f"{module}:application", *place],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(directory)},
        )
        while not self._listens():
            if self._process.poll() is not None:
                raise SystemExit(f"{module} did not start")
            time.sleep(0.1)

    def growth(self, count: int) -> float:
        """Return the KiB of each of ``count`` connections."""
        try:
            held = [self._open() for _ in range(WARM)]
            before = self._resident()
            held += [self._open() for _ in range(count)]
            time.sleep(1)
            grown = self._resident() - before
            for one in held:
                one.close()
            return grown / count
        finally:
            self._process.kill()
            self._process.wait()

    def _open(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self._port))
        head = f"Host: localhost\r\nAuthorization: Bearer {self._token}\r\n\r\n"
        made.sendall(f"GET /api/sdk/events{self._query} HTTP/1.1\r\n{head}".encode())
        answer = b""
        made.settimeout(2)
        # The other server may send nothing but headers before there is something to tell.
        while b"\r\n\r\n" not in answer:
            answer += made.recv(65536)
        assert b" 200 " in answer.split(b"\r\n", 1)[0], answer[:200]
        return made

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def _resident(self) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def peer(directory: Path) -> Path:
    """Return the Python of an environment in which the other server is installed."""
    venv.create(directory, with_pip=True)
    python = directory / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-qqq", PEER, "uvicorn"], check=True)
    return python


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(f"KiB per connection, of {count} idle ones on uvicorn (h11, asyncio)")
    from shield_django.auth.tokens import Tokens

    tokens = Tokens([SECRET])
    token = tokens.sign(tokens.make("shop", "sdk", service="shop"))
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        (directory / "bare.py").write_text(BARE)
        (directory / "theirs.py").write_text(THEIRS)
        own = Path(sys.executable)
        measured = {
            "uvicorn alone": (own, "bare", directory, ""),
            "this package, proto 2": (own, "tests.stream.control_app", ROOT, "?proto=2"),
            "this package, proto 1": (own, "tests.stream.control_app", ROOT, ""),
            "api-shield 0.8.3": (peer(directory / "venv"), "theirs", directory, ""),
        }
        for name, (python, module, where, query) in measured.items():
            print(f"{name:30}{Measured(python, module, where, query, token).growth(count):>8.1f}", flush=True)


if __name__ == "__main__":
    main()
