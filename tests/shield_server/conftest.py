"""Shield Servers in processes of their own, and persons who visit them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from tests.servers.processes import Server
from tests.shield_server.browsing import Person

APPS = "tests.shield_server.apps"


class ServerProcess(Server):
    """A process without Django settings, whose app is made from ``options``."""

    def __init__(
        self,
        kind: str = "uvicorn",
        options: dict[str, Any] | None = None,
        *,
        app: str = f"{APPS}:server",
        env: dict[str, str] | None = None,
        args: tuple[str, ...] = (),
        port: int | None = None,
    ) -> None:
        super().__init__(kind, {}, app=app, args=args)
        if port is not None:
            self.command = [part.replace(str(self.port), str(port)) for part in self.command]
            self.port = port
        self._environment.pop("DJANGO_SETTINGS_MODULE")
        self._environment["PYTHONDEVMODE"] = "1"
        self._environment["SERVER_OPTIONS"] = json.dumps(options or {})
        self._environment.update(env or {})

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def serve() -> Iterator[Any]:
    """``serve("daphne", {"auth": …})`` starts a server; all end with the test."""
    with ExitStack() as stack:

        def start(kind: str = "uvicorn", options: dict[str, Any] | None = None, **more: Any) -> ServerProcess:
            return stack.enter_context(ServerProcess(kind, options, **more))

        yield start


@pytest.fixture
def visit() -> Iterator[Any]:
    """``visit(address)`` returns somebody with a browser of his own."""
    with ExitStack() as stack:

        def open_browser(address: str, path: str = "", **options: Any) -> Person:
            return stack.enter_context(closing(Person(address, path, **options)))

        yield open_browser
