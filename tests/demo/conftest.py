"""The demo as a real process on a free port, with its own data."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from tests.conftest import eventually

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = ROOT / "example_project"


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str


class Shop:
    """A server of the shop, however it was started; ``lines`` is what it has printed."""

    def __init__(self, command: list[str], port: int, data: Path) -> None:
        self.port = port
        self.environment = environment(data)
        self.process = subprocess.Popen(
            command,
            cwd=PROJECT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @classmethod
    def demo(cls, data: Path) -> Shop:
        """Start the demo and wait until it says that changes follow."""
        port = free_port()
        shop = cls([sys.executable, "demo.py", "--port", str(port)], port, data)
        eventually(lambda: any("Changes appear" in line for line in shop.lines) or not shop.runs, within=60)
        assert shop.runs, "".join(shop.lines)
        return shop

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    def get(self, path: str, **headers: str) -> Response:
        return ask(Request(f"http://127.0.0.1:{self.port}{path}", headers=headers))

    def post(self, path: str, **form: str) -> Response:
        return ask(Request(f"http://127.0.0.1:{self.port}{path}", data=urlencode(form).encode()))

    def shield(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``manage.py shield`` on the shop's data, in a process of its own."""
        command = [sys.executable, str(PROJECT / "manage.py"), "shield", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True)

    def changes(self) -> list[str]:
        """Return the printed changes, without their times."""
        return [line[9:].rstrip() for line in self.lines if re.match(r"\d\d:\d\d:\d\d ", line)]

    def interrupt(self) -> int:
        """Press Ctrl-C and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(20)
        self._reader.join(5)
        return code

    def close(self) -> None:
        if self.runs:
            self.process.terminate()
            self.process.wait(20)
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)


def ask(request: Request) -> Response:
    try:
        with urlopen(request, timeout=20) as response:
            return Response(response.status, dict(response.headers), response.read().decode())
    except HTTPError as error:
        with error:
            return Response(error.code, dict(error.headers), error.read().decode())


def environment(data: Path) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("SHIELD_", "DJANGO_"))}
    places = {"DEMO_DB": str(data / "shop.sqlite3"), "DEMO_FLEET": str(data)}
    return {**ours, **places, "PYTHONWARNINGS": "default"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def demo(data: Path) -> Iterator[Shop]:
    """The demo, running; tests leave its routes as they found them."""
    shop = Shop.demo(data)
    yield shop
    shop.close()
