"""Real server processes on free ports, and a client that sends raw HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any, Self

from tests.conftest import eventually
from tests.postgres import free_port

ROOT = Path(__file__).parents[2]

GUNICORN = ["gunicorn", "--bind", "127.0.0.1:{port}", "--worker-tmp-dir", "/tmp", "--no-control-socket"]
UVICORN = ["uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--ws", "wsproto"]
WSGI = "tests.project.wsgi:application"
ASGI = "tests.project.asgi:application"

KINDS = {
    "gunicorn sync": [*GUNICORN, "-k", "sync", WSGI],
    "gunicorn gthread": [*GUNICORN, "-k", "gthread", "--threads", "4", WSGI],
    "gunicorn uvicorn": [*GUNICORN, "-k", "uvicorn_worker.UvicornWorker", ASGI],
    "uvicorn": [*UVICORN, ASGI],
    "uvicorn without lifespan": [*UVICORN, "--lifespan", "off", ASGI],
    "daphne": ["daphne", "-b", "127.0.0.1", "-p", "{port}", ASGI],
}


def environment(database: dict[str, Any], **more: str) -> dict[str, str]:
    """The environment of a process of the test project on a database."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SHIELD_", "DJANGO_"))}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "TEST_DATABASE": json.dumps(database),
        "SHIELD_REFRESH_INTERVAL": "0.2",
        **more,
    }


class Server:
    """One server process; ``options`` are appended to its command line."""

    def __init__(
        self,
        kind: str,
        database: dict[str, Any],
        *options: str,
        app: str | None = None,
        args: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
    ) -> None:
        self.port = free_port()
        module, *rest = (part.format(port=self.port) for part in KINDS[kind])
        if app is not None:
            rest[-1] = app
        self.command = [sys.executable, "-m", module, *rest[:-1], *args, rest[-1]]
        self._environment = environment(database, **(env or {}))
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self.command,
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        try:
            eventually(self._listens, within=40)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._log.close()

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.log
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def log(self) -> str:
        """What the process has written so far."""
        self._log.flush()
        return os.pread(self._log.fileno(), 1_000_000, 0).decode()

    def ask(self, path: str, method: str = "GET", body: str = "", **headers: str) -> Response:
        """Send one request on a connection of its own; the path goes as it is."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body or None, named)
            return Response(connection.getresponse())
        finally:
            connection.close()

    def status(self, path: str, method: str = "GET", **headers: str) -> int:
        return self.ask(path, method, **headers).status


class Response:
    def __init__(self, answer: HTTPResponse) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.body = answer.read().decode()

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = json.loads(self.body)["error"]
        return error
