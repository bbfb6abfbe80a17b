"""A server that is attacked, and what its store looks like before and after."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.heavy import HEAVY
from tests.hostile.raw import Answer, exchange
from tests.shield_server.conftest import ServerProcess, serve, visit

__all__ = ["serve", "visit"]


class Target:
    """A server in a process of its own; ``token`` is an operator's."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.address = server.address
        self.token = self.log_in("olga", "secret")
        self.bearer = f"Authorization: Bearer {self.token}".encode()

    def log_in(self, username: str, password: str, **more: str) -> str:
        said = {"username": username, "password": password, **more}
        answer = self.call("POST", "auth/login", json=said)
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["token"]
        return token

    def call(self, method: str, path: str, token: str = "", **options: Any) -> Any:
        """Ask the API as a well-behaved client does."""
        headers = options.pop("headers", {})
        if token:
            headers = {"Authorization": f"Bearer {token}", **headers}
        return httpx2.request(method, f"{self.address}/api/{path}", headers=headers, timeout=30, **options)

    def send(self, request: bytes) -> Answer:
        return exchange(self.server.port, request)

    def dump(self) -> Any:
        """Everything that an attacker could have changed."""
        asked = ("sdk/snapshot", "audit?limit=1000", "tokens", "services?detail=1")
        return [self.call("GET", path, self.token).json() for path in asked]


def started(kind: str, **options: Any) -> Iterator[Target]:
    # uvicorn by itself believes whatever proxy is on this machine.
    args = ("--no-proxy-headers",) if kind == "uvicorn" else ()
    with ServerProcess(kind, options, args=args) as server:
        yield Target(server)


@pytest.fixture(scope="module", params=["uvicorn", "daphne"] if HEAVY else ["uvicorn"])
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    yield from started(request.param)


@pytest.fixture
def unchanged(target: Target) -> Iterator[Target]:
    """The target, whose store must be the same after the test."""
    before = target.dump()
    yield target
    assert target.dump() == before
