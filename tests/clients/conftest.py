"""The CLI and the SDK of `api-shield`, unmodified, with a Shield Server."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from shield_django.api.keys import encode_key
from tests.api_shield import environment
from tests.conftest import eventually
from tests.postgres import free_port
from tests.redis_server import RedisServer
from tests.servers.processes import Server
from tests.shield_server.conftest import ServerProcess

SERVICE = "payments-service"


class Operator:
    """Somebody who calls the REST API of a server."""

    def __init__(self, address: str, username: str = "olga", password: str = "secret") -> None:
        self._client = httpx2.Client(base_url=f"{address}/api/", trust_env=False)
        answer = self("POST", "auth/login", username=username, password=password)
        self._client.headers["X-Shield-Token"] = answer["token"]

    def __enter__(self) -> Operator:
        return self

    def __exit__(self, *exc: object) -> None:
        self._client.close()

    def __call__(self, method: str, path: str, /, **body: Any) -> Any:
        answer = self._client.request(method, path, json=body if method != "GET" else None)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def change(self, action: str, key: str, **body: Any) -> Any:
        """Change a route of the service."""
        return self("POST", f"routes/{encode_key(f'{SERVICE}:{key}')}/{action}", **body)

    def limit(self, key: str, limit: str) -> None:
        method, _, path = key.partition(":")
        self("POST", "rate-limits", path=f"{SERVICE}:{path}", method=method, limit=limit)

    def unlimit(self, key: str) -> None:
        self("DELETE", f"rate-limits/{encode_key(f'{SERVICE}:{key}')}")


class Service(Server):
    """A process of ``service.py`` that follows a server."""

    def __init__(self, programs: Path, home: Path, server: str, **credentials: str) -> None:
        super().__init__("uvicorn", {}, app="service:app")
        rest = ["--host", "127.0.0.1", "--port", str(self.port), "--app-dir", str(Path(__file__).parent)]
        self.command = [str(programs / "python"), "-m", "uvicorn", *rest, "service:app"]
        self._environment = environment(home, SERVER_URL=server, **credentials)

    def answers(self, path: str, status: int, method: str = "GET") -> None:
        """Wait until a request is answered so."""
        eventually(lambda: self.status(path, method) == status)


class Cli:
    """The program `shield` of the package, with a home of its own."""

    def __init__(self, programs: Path, home: Path) -> None:
        self._program = str(programs / "shield")
        self._home = home

    def __call__(self, *args: str, answer: str = "", fails: bool = False, **env: str) -> str:
        """Run it, with ``answer`` typed in; return all it says."""
        done = subprocess.run(
            [self._program, *args],
            input=answer,
            env=environment(self._home, COLUMNS="240", **env),
            cwd=self._home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert (done.returncode != 0) is fails, done.stdout
        return done.stdout


class ControlPlane:
    """A server that can be restarted where it is, with what it has stored."""

    def __init__(self, kind: str, options: dict[str, Any], app: str) -> None:
        self._made = (kind, options)
        self._app = f"tests.shield_server.apps:{app}"
        self.options = options
        self.port = free_port()
        self.start()

    def start(self) -> None:
        self.process = ServerProcess(*self._made, app=self._app, port=self.port).__enter__()

    def stop(self) -> None:
        self.process.stop()

    @property
    def address(self) -> str:
        return self.process.address


def control_plane(stack: ExitStack, kind: str, store: str, app: str) -> ControlPlane:
    """Start a server on a store; both end with ``stack``."""
    options: dict[str, Any] = {}
    if store == "redis":
        url = stack.enter_context(RedisServer()).url
        options = {"backend": {"BACKEND": "redis", "OPTIONS": {"url": url}}}
    control = ControlPlane(kind, options, app)
    stack.callback(control.stop)
    return control


@pytest.fixture(scope="module", params=[("uvicorn", "memory"), ("daphne", "redis")], ids="-".join)
def server(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """A Shield Server of these tests, with no routes but those of services that follow it."""
    with ExitStack() as stack:
        yield control_plane(stack, *request.param, app="unstocked")


@pytest.fixture
def operator(server: ControlPlane) -> Iterator[Operator]:
    with Operator(server.address) as somebody:
        yield somebody


@pytest.fixture
def cli(published: Path, tmp_path: Path) -> Cli:
    return Cli(published, tmp_path)
