"""The console script in processes of its own, with a home of its own, against a running Shield Server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from shield_core.cli.app import app
from shield_core.cli.console import Console
from shield_core.cli.home import Home
from tests.clients.conftest import Operator
from tests.shield_server.conftest import ServerProcess

PROGRAM = Path(sys.executable).with_name("shield")
SECRET = "of the tests"
PAYMENTS, ORDERS = "payments-service", "orders-service"
ROUTES: dict[str, list[dict[str, Any]]] = {
    PAYMENTS: [
        {"path": "GET:/api/payments", "status": "maintenance", "reason": "Payment processor upgrade"},
        {"path": "GET:/health", "force_active": True},
    ],
    ORDERS: [{"path": "GET:/api/orders"}, {"path": "POST:/api/orders"}, {"path": "GET:/health"}],
}


class Script:
    """The program ``shield`` of somebody whose home is ``home``, run in ``cwd``."""

    def __init__(self, home: Path, cwd: Path) -> None:
        self.home = home
        self.cwd = cwd

    @property
    def environment(self) -> dict[str, str]:
        ours = ("SHIELD_", "DJANGO_", "PYTHON", "NO_COLOR")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return {**kept, "HOME": str(self.home), "COLUMNS": "200"}

    def __call__(self, *args: str, typed: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(PROGRAM), *args],
            input=typed,
            env={**self.environment, **env},
            cwd=self.cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


def register(operator: Operator) -> None:
    """Let the services have routes, as they would when they start."""
    for service, states in ROUTES.items():
        operator("POST", "sdk/register", app_id=service, states=states)


@pytest.fixture(scope="package")
def server() -> Iterator[ServerProcess]:
    """A Shield Server with two services, in the environment staging."""
    options = {"auth": ["admin", "secret"], "secret_key": SECRET, "env": "staging"}
    with (
        ServerProcess(options=options, app="tests.shield_server.apps:unstocked") as running,
        Operator(running.address, "admin") as operator,
    ):
        register(operator)
        yield running


@pytest.fixture(scope="package")
def admin(server: ServerProcess) -> Iterator[Operator]:
    """The operator who is logged in, over REST."""
    with Operator(server.address, "admin") as operator:
        yield operator


@pytest.fixture
def operator(admin: Operator) -> Operator:
    """The same, on a server where nothing was done yet."""
    admin("POST", "store/reset")
    return admin


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """The program of somebody who has never used it."""
    home, cwd = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    cwd.mkdir()
    return Script(home, cwd)


@pytest.fixture(scope="package")
def kept_login(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder ``.shield`` of the operator who is logged in."""
    home = Home(tmp_path_factory.mktemp("admin") / ".shield")
    console = Console(home, {})
    console.point_at(server.address)
    console.log_in("admin", "secret")
    return home.folder


@pytest.fixture
def logged_in(script: Script, kept_login: Path, operator: Operator) -> Script:
    """The program of the operator who is logged in."""
    shutil.copytree(kept_login, script.home / ".shield")
    return script


@pytest.fixture
def run(logged_in: Script, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """``run("status", …)`` as the operator, in this process; keywords are the environment."""
    for name in [*os.environ]:
        if name.startswith("SHIELD_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(logged_in.cwd)

    def run(*args: str, **env: str) -> Result:
        console = Console(Home(logged_in.home / ".shield"), {**logged_in.environment, **env})
        try:
            return CliRunner().invoke(app, args, prog_name="shield", obj=console, env=env)
        finally:
            console.close()

    return run
