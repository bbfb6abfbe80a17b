from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner, Result

from shield_core.backends.memory import MemoryBackend
from shield_core.cli.app import app
from shield_core.cli.session import Session
from shield_core.engine import ShieldEngine
from shield_core.keys import RouteKey

Shield: TypeAlias = Callable[..., Result]

ROUTES: list[tuple[str, dict[str, Any]]] = [
    ("GET:/payments/", {}),
    ("POST:/payments/", {}),
    ("GET:/orders/{id}/", {}),
    ("/health", {"force_active": True}),
    ("GET:/beta", {"status": "env_gated", "allowed_envs": ["staging"]}),
    ("GET:/old", {"sunset_date": "2030-01-01T00:00:00Z", "successor_path": "/new"}),
    ("GET:/" + "long/" * 40, {}),
    ("billing:GET:/invoices", {}),
    ("shop:GET:/cart", {}),
    ("archive:GET:/cart", {}),
]


@pytest.fixture(autouse=True)
def no_context(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SHIELD_SERVICE", "SHIELD_ACTOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def engine() -> ShieldEngine:
    engine = ShieldEngine(MemoryBackend(), "dev")
    for service in (None, "billing", "shop", "archive"):
        of_service = [(key, meta) for key, meta in ROUTES if RouteKey.parse(key).service == service]
        ShieldEngine(engine.backend, service=service).sync.register_batch(of_service)
    return engine


@pytest.fixture
def session(engine: ShieldEngine) -> Session:
    return Session(
        client=engine.sync,
        target="the test store",
        environment="dev",
        actor="ann@desk",
        zone=ZoneInfo("Europe/Berlin"),
    )


@pytest.fixture
def shield(session: Session) -> Shield:
    """Run a command line; keywords replace fields of the session."""

    def run(line: str, env: dict[str, str] | None = None, **changes: Any) -> Result:
        return CliRunner().invoke(
            app, shlex.split(line), prog_name="shield", obj=replace(session, **changes), env=env
        )

    return run
