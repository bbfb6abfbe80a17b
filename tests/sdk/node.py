"""A Shield Server in a thread of the tests' process, which can be stopped and started where it was."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Self

import uvicorn

from shield_core.backends.base import ShieldBackend
from shield_core.engine import ShieldEngine
from shield_django.server import ShieldServer
from shield_django.stream import endings
from tests.conftest import eventually
from tests.postgres import free_port
from tests.sdk.proxy import wait_for_port

#: Its name too, so that one that was started again in this process takes the tokens of before.
_SERVER: dict[str, Any] = {"auth": ("olga", "secret"), "secret_key": "of the tests", "name": "node"}


class Node:
    """``make_backend`` opens the store anew at each start; ``options`` are the server's."""

    def __init__(self, make_backend: Callable[[], ShieldBackend], **options: Any) -> None:
        self._make_backend = make_backend
        self._options: dict[str, Any] = {**_SERVER, **options}
        self.port = free_port()
        self._running: tuple[uvicorn.Server, threading.Thread] | None = None
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        return self._running is not None

    @property
    def engine(self) -> ShieldEngine:
        return self.server.engine

    @property
    def control(self) -> Any:
        return self.server.control

    def start(self) -> None:
        if self._running is not None:
            return
        self.server = ShieldServer(self._make_backend(), **self._options)
        config = uvicorn.Config(
            self.server,
            host="127.0.0.1",
            port=self.port,
            log_level="critical",
            ws="none",
            timeout_graceful_shutdown=1,  # a client that went away in the middle of a body is waited for
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, name="node", daemon=True)
        thread.start()
        wait_for_port(self.port)
        self._running = (server, thread)

    def stop(self) -> None:
        """Say goodbye to all streams and end."""
        if self._running is None:
            return
        (server, thread), self._running = self._running, None
        server.should_exit = True

        def ends() -> bool:
            endings.end_all("stopping")  # again, for who has come again before the port was closed
            return not thread.is_alive()

        eventually(ends, every=0.05)

    def token(self, service: str) -> str:
        """Return a token of a service."""
        tokens = self.control.tokens
        return str(tokens.sign(tokens.make(service, "sdk", service=service)))
