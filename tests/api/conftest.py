"""Control planes over each store, and those who use them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.test.client import ClientHandler

from shield_core.backends.base import ShieldBackend
from shield_core.backends.file import FileBackend
from shield_core.backends.memory import MemoryBackend
from shield_core.backends.redis import RedisBackend
from shield_core.engine import ShieldEngine
from shield_django.auth.authorities import Authority, authority_from
from shield_django.auth.tokens import Token
from shield_django.control import SCOPE_KEY, ControlPlane

PASSWORD = "correct horse"
USERS = [("olga", PASSWORD), ("viktor", "battery staple")]
SECRET = "only for tests"
ROOT = "/shield/api"


class _Handler(ClientHandler):
    """Gives requests the ASGI scope in which a server's own control plane travels."""

    def __init__(self, control: ControlPlane | None, **options: Any) -> None:
        super().__init__(**options)
        self._control = control

    def get_response(self, request):
        if self._control is not None:
            request.scope = {SCOPE_KEY: self._control}
        return super().get_response(request)


class Caller(Client):
    """Somebody who uses the API: addresses are relative to it, bodies are JSON."""

    def __init__(self, control: ControlPlane | None = None, token: str = "", **options: Any) -> None:
        super().__init__(enforce_csrf_checks=True, **options)
        self.handler = _Handler(control, enforce_csrf_checks=True)
        self.token = token
        self.control = control

    def __call__(self, method: str, address: str, body: Any = None, **options: Any):
        headers = {**({"Authorization": f"Bearer {self.token}"} if self.token else {})}
        headers |= options.pop("headers", {})
        if method not in ("GET", "HEAD"):
            data = b"" if body is None else body
            options = {"data": data, "content_type": "application/json", **options}
        return getattr(self, method.lower())(f"{ROOT}/{address}", headers=headers, **options)


@dataclass
class Plane:
    """One control plane, and how to call it."""

    control: ControlPlane
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def sync(self):
        return self.control.engine.sync

    @property
    def revision(self) -> int:
        """How often the store has been changed."""
        return self.sync.current().revision

    def caller(self, token: str = "", **options: Any) -> Caller:
        return Caller(self.control, token, **options)

    def operator(self, name: str = "olga", platform: str = "cli") -> Caller:
        token = self.control.tokens.make(name, platform, fingerprint=self.control.authority.fingerprint(name))
        return self.caller(self.signed(token))

    def sdk(self, service: str | None) -> Caller:
        token = self.control.operator_token(None, "olga", PASSWORD, "sdk", service)
        return self.caller(self.signed(token))

    def signed(self, token: Token) -> str:
        return self.control.tokens.sign(token)


def plane_on(backend: ShieldBackend, auth: Any = USERS, **options: Any) -> Plane:
    engine = ShieldEngine(backend, refresh_interval=0.05)
    authority = auth if isinstance(auth, Authority) else authority_from(auth)
    return Plane(ControlPlane(engine, authority, [SECRET], **options))


@pytest.fixture(autouse=True)
def project_with_the_api(settings) -> Iterator[None]:
    settings.ROOT_URLCONF = "tests.api.urls"
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def started() -> Iterator[Callable[..., Plane]]:
    """Start control planes, and stop them after the test."""
    with ExitStack() as stack:

        def start(backend: ShieldBackend | None = None, *args: Any, **options: Any) -> Plane:
            plane = plane_on(backend or MemoryBackend(), *args, **options)
            plane.sync.start()
            stack.callback(plane.sync.stop)
            return plane

        yield start


@contextmanager
def _made(kind: str, request, tmp_path) -> Iterator[Callable[[], ShieldBackend]]:
    match kind:
        case "memory":
            shared = MemoryBackend()
            yield lambda: shared
        case "file":
            yield lambda: FileBackend(str(tmp_path / "state.json"))
        case "redis":
            url = request.getfixturevalue("redis_server").url
            yield lambda: RedisBackend(url)


@pytest.fixture(params=["memory", "file", "redis"])
def store(request, tmp_path) -> Iterator[Callable[[], ShieldBackend]]:
    """Make backends of one store, one for each node."""
    with _made(request.param, request, tmp_path) as make:
        yield make


@pytest.fixture
def plane(started, store) -> Plane:
    """A control plane with two users and two services, on each store."""
    return furnished(started(store()))


@pytest.fixture
def memory_plane(started) -> Plane:
    """The same in memory, where the store does not matter."""
    return furnished(started())


def furnished(plane: Plane) -> Plane:
    """Let two services have routes."""
    for service in ("payments", "orders"):
        answer = plane.operator()(
            "POST",
            "sdk/register",
            {
                "app_id": service,
                "states": [
                    {"path": "GET:/health", "force_active": True},
                    {"path": f"GET:/{service}"},
                    {"path": f"POST:/{service}"},
                    {"path": "GET:/items/{id}"},
                ],
            },
        )
        assert answer.status_code == 200, answer.content
    return plane


@pytest.fixture
def olga(plane) -> Caller:
    """An operator."""
    return plane.operator()
