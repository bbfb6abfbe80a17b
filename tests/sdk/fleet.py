"""Services that follow a Shield Server, each in a process of its own, and what an operator does there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.clients.conftest import SERVICE, Operator
from tests.conftest import eventually
from tests.databases import sqlite
from tests.sdk.service_apps import PID
from tests.servers.processes import Server

#: What the services of ``service_apps`` are called on the server, in the words of each framework.
DJANGO = {"open": "/shop/cart/", "limited": "/shop/", "closed by its code": "/maintenance/"}
FASTAPI = {"open": "/pay", "limited": "/limited", "closed by its code": "/moving"}


class ServiceProcess(Server):
    """``application`` is fastapi, wsgi or asgi of ``service_apps``; ``args`` are those of the server."""

    def __init__(
        self,
        kind: str,
        application: str,
        server_url: str,
        home: Path,
        *,
        args: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
    ) -> None:
        here = {
            "XDG_CACHE_HOME": str(home),
            "SHIELD_BACKEND": "server",
            "SHIELD_SERVER_URL": server_url,
            "SERVER": server_url,
            "SHIELD_APP_ID": SERVICE,
            "SHIELD_USERNAME": "olga",
            "SHIELD_PASSWORD": "secret",
        }
        app = f"tests.sdk.service_apps:{application}"
        super().__init__(kind, sqlite(home / "unused"), app=app, args=args, env={**here, **(env or {})})
        self.paths = FASTAPI if application == "fastapi" else DJANGO

    def answers(self, path: str, status: int, within: float = 15.0) -> None:
        """Wait until a request is answered so."""
        eventually(lambda: self.status(path) == status, within=within)

    def by_process(self, path: str, count: int) -> dict[str, int]:
        """Ask until ``count`` processes have answered; return what each said last."""
        said: dict[str, int] = {}

        def ask() -> bool:
            answer = self.ask(path)
            said[answer.headers[PID]] = answer.status
            return len(said) == count

        eventually(ask, within=30, every=0.0)
        return said


def register(operator: Operator, *keys: str) -> None:
    """Register routes of the service before it has begun."""
    states: list[dict[str, Any]] = [{"path": key} for key in keys]
    operator("POST", "sdk/register", app_id=SERVICE, states=states)
