"""Servers with the event stream in them, and what is needed to listen to them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from shield_django.auth.tokens import Tokens
from tests.databases import sqlite
from tests.servers.conftest import database, operator, serve
from tests.servers.processes import Server
from tests.stream.control_app import OPERATOR, SECRET
from tests.stream.listener import Listener

__all__ = ["database", "operator", "serve"]


class StreamServer(Server):
    """A process of ``tests.stream.control_app``."""

    tokens = Tokens([SECRET])

    def __init__(self, kind: str, **env: str) -> None:
        application = "tests.stream.control_app:application"
        super().__init__(kind, sqlite(Path("unused")), app=application, env=env)
        self._listeners: list[Listener] = []

    def listen(self, query: str = "proto=2", *, token: str | None = None, **options: Any) -> Listener:
        """Listen as the operator, or with another token; "" is none."""
        token = self.operator_token if token is None else token
        named = {"Authorization": f"Bearer {token}"} if token else {}
        made = Listener(self.port, query, **named, **options)
        self._listeners.append(made)
        return made

    def stop(self) -> None:
        super().stop()
        for one in self._listeners:
            one.close()

    @property
    def operator_token(self) -> str:
        from shield_django.auth.authorities import Passwords
        from tests.stream.control_app import PASSWORD

        fingerprint = Passwords([(OPERATOR, PASSWORD)]).fingerprint(OPERATOR)
        return self.tokens.sign(self.tokens.make(OPERATOR, "cli", fingerprint=fingerprint))

    def do(self, *operations: tuple[str, list[Any], dict[str, Any]]) -> str:
        """Operate the server's engine; return its position afterwards."""
        answer = self.ask("/do", "POST", json.dumps(operations))
        assert answer.status == 200, self.log
        position = json.loads(answer.body)
        return f"{position['epoch']}:{position['revision']}"

    def call(self, operation: str, *arguments: Any, **names: Any) -> str:
        return self.do((operation, list(arguments), names))

    @property
    def state(self) -> dict[str, int]:
        found: dict[str, int] = json.loads(self.ask("/status").body)
        return found


@pytest.fixture
def stream_server() -> Iterator[Any]:
    """``stream_server("uvicorn")`` starts a process; all end with the test."""
    with ExitStack() as stack:

        def start(kind: str, **env: str) -> StreamServer:
            return stack.enter_context(StreamServer(kind, **env))

        yield start


@pytest.fixture(params=["uvicorn", "daphne"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)
