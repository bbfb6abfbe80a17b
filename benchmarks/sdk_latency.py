"""How soon services enforce a change: ``python benchmarks/sdk_latency.py [connections …] [--ours]``.

From before the commit in the server's process (uvicorn, memory backend) to the moment at which the engine
of a service decides by it, in another process; at random moments 50 to 100 ms apart. Of so many
connections three are services with the real SDK (the first, the middle, the last to connect; one of one),
the others only read the stream, with a lower priority, as they would be on other machines. In the same run
the server of `api-shield` 0.8.3 with its own SDK, in an environment of its own. Its engine tells nobody of a
change, so it is looked at every half millisecond.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import selectors
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

SERVICE = "payments"
WARM, SAMPLES = 20, 300
APART = (0.05, 0.1)
MEASURED = 3

#: The application around either server: ``POST /change`` commits, and the reason tells when it began.
CHANGE = """
import time


class Changing:
    def __init__(self, app, engine):
        self.app, self.engine = app, engine

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or scope["path"] != "/change":
            await self.app(scope, receive, send)
            return
        await self.engine.disable("payments:GET:/changed", reason=str(time.monotonic_ns()))
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
"""
OURS = """
from changing import Changing
from shield_django.server import ShieldServer

server = ShieldServer()
application = Changing(server, server.engine)
"""
THEIRS = """
from changing import Changing
from shield.core.backends.memory import MemoryBackend
from shield.core.engine import ShieldEngine
from shield.server import ShieldServer

backend = MemoryBackend()
application = Changing(ShieldServer(backend=backend), ShieldEngine(backend=backend))
"""
OUR_SERVICE = """
import sys
import time

from fastapi import FastAPI
from starlette.testclient import TestClient
from shield_fastapi import ShieldSDK

sdk = ShieldSDK(sys.argv[1], "payments", current_env="production", snapshot_path="")
app = FastAPI()
sdk.attach(app)


@app.get("/changed")
async def changed():
    return ""


def look(snapshot, changes):
    decision = sdk.engine.decide("GET", "/changed")
    if decision.reason.isdigit():
        print(decision.reason, time.monotonic_ns(), flush=True)


with TestClient(app):
    sdk.engine.replica.subscribe(look)
    while sdk.engine.status().acknowledged is None or sdk.engine.replica.unregistered:
        time.sleep(0.05)
    print("ready", flush=True)
    sys.stdin.read()
"""
THEIR_SERVICE = """
import asyncio
import sys
import time

from fastapi import FastAPI
from shield.core.exceptions import ShieldException
from shield.fastapi import ShieldRouter
from shield.sdk import ShieldSDK

sdk = ShieldSDK(server_url=sys.argv[1], app_id="payments", reconnect_delay=1.0)
app = FastAPI()
sdk.attach(app)
router = ShieldRouter(engine=sdk.engine)


@router.get("/changed")
async def changed():
    return ""


app.include_router(router)


async def main():
    async with app.router.lifespan_context(app):
        await asyncio.sleep(1)
        print("ready", flush=True)
        known = ""
        while True:
            try:
                await sdk.engine.check("/changed", "GET")
            except ShieldException as error:
                reason = getattr(error, "reason", "")
                if reason != known and reason.isdigit():
                    known = reason
                    print(reason, time.monotonic_ns(), flush=True)
            await asyncio.sleep(0.0005)


asyncio.run(main())
"""


class Program:
    """A process of one of the two packages."""

    def __init__(self, python: Path, folder: Path, *arguments: str) -> None:
        environment = {**os.environ, "PYTHONPATH": f"{folder}:{ROOT}" if python == OWN else str(folder)}
        self._process = subprocess.Popen(
            [python, *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line)

    def wait(self, began: Callable[[], object]) -> None:
        """Return when it has begun."""
        while not began():
            if self._process.poll() is not None:
                raise SystemExit("a process did not start; its last words are above")
            time.sleep(0.05)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._reader.join()


class Crowd:
    """Connections that read and do nothing else, in a process of their own."""

    def __init__(self, port: int, query: str, count: int) -> None:
        self._process = subprocess.Popen(
            [OWN, __file__, "--crowd", str(port), query, str(count)], stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


OWN = Path(sys.executable)


def be_a_crowd(port: int, query: str, count: int) -> None:
    os.nice(10)
    selector = selectors.DefaultSelector()
    for _ in range(count):
        made = socket.create_connection(("127.0.0.1", port))
        made.sendall(f"GET /api/sdk/events{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        made.recv(1 << 16)
        selector.register(made, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            if not key.fileobj.recv(1 << 16):  # type: ignore[union-attr]
                raise SystemExit("the server has ended a stream")


@contextmanager
def serving(python: Path, folder: Path, module: str) -> Iterator[int]:
    from tests.postgres import free_port

    port = free_port()
    place = ["--port", str(port), "--log-level", "error", "--http", "h11", "--loop", "asyncio"]
    program = Program(python, folder, "-m", "uvicorn", f"{module}:application", *place)
    try:
        program.wait(lambda: listens(port))
        yield port
    finally:
        program.close()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def delays(python: Path, folder: Path, names: tuple[str, str, str], count: int) -> tuple[list[float], int]:
    """Return the milliseconds of each change at each real service, and how many of them never came."""
    server, service, query = names
    with serving(python, folder, server) as port, ExitStack() as stack:
        programs: list[Program] = []
        real = min(MEASURED, count)
        crowds = [(count - real) // 2, count - real - (count - real) // 2] if real > 1 else []
        for turn in range(real):
            program = Program(python, folder, service, f"http://127.0.0.1:{port}")
            stack.callback(program.close)
            program.wait(lambda program=program: program.lines)
            programs.append(program)
            if turn < len(crowds):
                crowd = Crowd(port, query, crowds[turn])
                stack.callback(crowd.close)
        began = change(port)
        found = [latency for one in programs for latency in latencies(one, began)]
        return found, real * SAMPLES - len(found)


def change(port: int) -> int:
    """Make changes; return when the first one began that counts."""
    began = 0
    with socket.create_connection(("127.0.0.1", port)) as made:
        for turn in range(WARM + SAMPLES):
            time.sleep(random.uniform(*APART))
            began = time.monotonic_ns() if turn == WARM else began
            made.sendall(b"POST /change HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            if b" 200 " not in made.recv(1000):
                raise SystemExit("the server does not change")
    time.sleep(1)
    return began


def latencies(program: Program, began: int) -> list[float]:
    times = [tuple(map(int, line.split())) for line in program.lines if line != "ready\n"]
    return [(seen - made) / 1e6 for made, seen in times if made >= began]


def report(name: str, count: int, found: list[float], missed: int) -> None:
    p99 = quantiles(found, n=100)[98]
    print(
        f"{name:20}{count:>12}{median(found):>10.2f}{min(p99, max(found)):>10.2f}{max(found):>10.2f}"
        f"{len(found):>10}{missed:>8}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("connections", nargs="*", type=int, default=[1, 100, 1000])
    parser.add_argument("--ours", action="store_true", help="without api-shield")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(f"{'ms':20}{'connections':>12}{'p50':>10}{'p99':>10}{'worst':>10}{'samples':>10}{'missed':>8}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = {"changing": CHANGE, "ours": OURS, "theirs": THEIRS}
        files |= {"our_service": OUR_SERVICE, "their_service": THEIR_SERVICE}
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text)
        for count in options.connections:
            query = f"?proto=2&service={SERVICE}"
            report("Shield", count, *delays(OWN, folder, ("ours", "our_service.py", query), count))
            if not options.ours:
                theirs = ("theirs", "their_service.py", "")
                report("api-shield 0.8.3", count, *delays(published(), folder, theirs, count))


def published() -> Path:
    """Return the Python of `api-shield`, which the tests use too."""
    from tests import api_shield

    folder = ROOT / ".pytest_cache" / "d" / "api-shield-0.8.3-all"
    folder.mkdir(parents=True, exist_ok=True)
    return api_shield.install(folder) / "python"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--crowd"]:
        be_a_crowd(int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    else:
        main()
