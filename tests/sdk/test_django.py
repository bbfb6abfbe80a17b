"""A Django project that a Shield Server controls."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.core.management import call_command
from django.test import Client

from shield_core.backends.memory import MemoryBackend
from shield_core.backends.server import ShieldServerBackend
from shield_core.remote.credentials import NoCredentials
from shield_django import project
from tests.admin.conftest import form_of, text_of
from tests.clients.conftest import SERVICE, ControlPlane, Operator
from tests.conftest import eventually
from tests.sdk.fleet import ServiceProcess, register
from tests.sdk.node import Node
from tests.sdk.proxy import Link
from tests.servers.processes import ROOT, environment

pytestmark = pytest.mark.servers

#: Each kind of server, with the application that it serves.
KINDS = [
    ("gunicorn gthread", "wsgi"),
    ("uvicorn", "asgi"),
    ("uvicorn without lifespan", "asgi"),
    ("daphne", "asgi"),
]

_numbers = itertools.count()


# -- processes ----------------------------------------------------------------------------------


@pytest.fixture
def operator(control: ControlPlane) -> Iterator[Operator]:
    with Operator(control.address) as somebody:
        yield somebody


@pytest.mark.parametrize("kind, application", KINDS, ids=map("-".join, KINDS))
def test_a_project_follows_under(
    control: ControlPlane, operator: Operator, tmp_path: Path, kind: str, application: str
) -> None:
    operator("POST", f"services/{SERVICE}/maintenance/enable", reason="migration")
    operator("POST", f"services/{SERVICE}/rate-limit", limit="1000/minute")
    with ServiceProcess(kind, application, control.address, tmp_path) as service:
        first = service.ask("/shop/cart/")
        assert (first.status, first.error["reason"]) == (503, "migration")
        assert service.status("/health/") == 200

        operator("POST", f"services/{SERVICE}/maintenance/disable")
        service.answers("/shop/cart/", 200)
        assert service.ask("/shop/cart/").headers["X-RateLimit-Limit"] == "1000"
        assert service.ask("/maintenance/").status == 503

        keys = {one["path"] for one in operator("GET", f"routes?service={SERVICE}")}
        assert f"{SERVICE}:/shop/cart/" in keys
        operator.change("disable", "/shop/cart/", reason="hotfix")
        service.answers("/shop/cart/", 503)
        assert service.ask("/shop/cart/").error["path"] == "/shop/cart/"
        operator.change("enable", "/shop/cart/")
        service.answers("/shop/cart/", 200)
        operator("POST", "global/enable", reason="all")
        service.answers("/shop/cart/", 503)
        operator("POST", "global/disable")
        operator("DELETE", f"services/{SERVICE}/rate-limit")


def run_manage(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "django", *arguments],
        cwd=ROOT,
        env=environment({"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}, **env),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_command_line_of_the_service_operates_the_server(
    control: ControlPlane, operator: Operator, tmp_path: Path
) -> None:
    register(operator, "/shop/cart/", "/shop/")
    env = {
        "SHIELD_BACKEND": "server",
        "SHIELD_SERVER_URL": control.address,
        "SHIELD_APP_ID": SERVICE,
        "SHIELD_TOKEN": operator("POST", "tokens", service=SERVICE)["token"],
        "XDG_CACHE_HOME": str(tmp_path),
    }
    done = run_manage("shield", "disable", "/shop/cart/", "--reason", "by hand", **env)
    assert done.returncode == 0, done.stderr
    found = {one["path"]: one for one in operator("GET", f"routes?service={SERVICE}")}
    assert found[f"{SERVICE}:/shop/cart/"]["status"] == "disabled"

    shown = run_manage("shield", "status", **env)
    assert shown.returncode == 0, shown.stderr
    assert "/shop/cart/" in shown.stdout
    assert "by hand" in shown.stdout

    assert run_manage("shield", "enable", "/shop/cart/", **env).returncode == 0
    found = {one["path"]: one for one in operator("GET", f"routes?service={SERVICE}")}
    assert found[f"{SERVICE}:/shop/cart/"]["status"] == "active"

    refused = run_manage("shield", "global", "enable", "--reason", "all", **env)
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert len(refused.stderr.strip()) > 20

    audit = run_manage("shield", "audit", **env)
    assert audit.returncode == 1
    assert "Traceback" not in audit.stderr

    assert run_manage("check", **env).returncode == 0


@pytest.mark.parametrize(
    "wrong, sentence",
    [
        ({"SHIELD_SERVER_URL": "nowhere"}, "http://host:port"),
        ({"SHIELD_SERVER_URL": ""}, "SHIELD_SERVER_URL"),
        ({"SHIELD_APP_ID": ""}, "SHIELD_SERVICE"),
        ({"SHIELD_USERNAME": "olga"}, "SHIELD_PASSWORD"),
    ],
)
def test_a_wrong_configuration_is_told_by_the_checks(wrong: dict[str, str], sentence: str) -> None:
    env = {
        "SHIELD_BACKEND": "server",
        "SHIELD_SERVER_URL": "http://localhost:9",
        "SHIELD_APP_ID": SERVICE,
        "SHIELD_SNAPSHOT_PATH": os.devnull,
        **wrong,
    }
    done = run_manage("check", **env)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "shield.E0" in done.stderr


# -- in this process ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with Node(MemoryBackend) as running:
        yield running


@pytest.fixture
def service(node: Node, settings: Any) -> Iterator[str]:
    """This project as a service of the server, by settings; a name that no other test has."""
    name = f"shop-{next(_numbers)}"
    settings.SHIELD_TESTING = False
    settings.SHIELD_SERVER_URL = node.address
    settings.SHIELD_SERVICE = name
    settings.SHIELD_TOKEN = node.token(name)
    settings.SHIELD_SNAPSHOT_PATH = ""
    settings.SHIELD_BACKEND = "server"
    yield name
    project.reset()


def test_settings_make_it_a_client(node: Node, service: str, client: Client) -> None:
    node.engine.sync.enable_service_maintenance(service, reason="from the start")
    assert client.get("/shop/cart/").status_code == 503
    engine = project.current().engine
    assert isinstance(engine.backend, ShieldServerBackend)
    node.engine.sync.disable_service_maintenance(service)
    eventually(lambda: client.get("/shop/cart/").status_code == 200)
    eventually(lambda: engine.status().acknowledged == node.engine.status().revision)


def test_options_of_the_backend(node: Node, service: str, settings: Any, client: Client) -> None:
    settings.SHIELD_SERVER_URL = settings.SHIELD_TOKEN = None
    settings.SHIELD_BACKEND = {
        "BACKEND": "server",
        "OPTIONS": {"url": node.address, "username": "olga", "password": "secret", "reconnect_delay": 0.5},
    }
    assert client.get("/shop/cart/").status_code == 200
    backend = project.current().engine.backend
    assert isinstance(backend, ShieldServerBackend)
    assert backend.reconnect_delay == 0.5
    eventually(lambda: node.engine.sync.list_states(service))


def test_offline_it_runs_on_its_decorators(node: Node, service: str, settings: Any, client: Client) -> None:
    with Link(node.port) as link:
        settings.SHIELD_SERVER_URL = link.address
        settings.SHIELD_OFFLINE = True
        assert client.get("/shop/cart/").status_code == 200
        assert client.get("/maintenance/").status_code == 503
        assert isinstance(project.current().engine.backend, MemoryBackend)
        assert not link.accepted


def test_a_setting_undoes_the_environment(
    service: str, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".shield").write_text("SHIELD_OFFLINE=1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHIELD_OFFLINE", "1")
    monkeypatch.setenv("SHIELD_TOKEN", "of the environment")
    settings.SHIELD_OFFLINE = False
    settings.SHIELD_TOKEN = ""
    backend = project.current().engine.backend
    assert isinstance(backend, ShieldServerBackend)
    assert isinstance(backend.connection.credentials, NoCredentials)


def test_inside_a_test_environment_no_server_is_asked(
    node: Node, service: str, settings: Any, client: Client
) -> None:
    with Link(node.port) as link:
        settings.SHIELD_SERVER_URL = link.address
        settings.SHIELD_TESTING = None
        assert client.get("/shop/cart/").status_code == 200
        assert isinstance(project.current().engine.backend, MemoryBackend)
        assert not link.accepted


@pytest.fixture
def admin(service: str, node: Node, admin_client: Client) -> Client:
    """A superuser of the service's own admin, after its routes have been registered."""
    assert admin_client.get("/shop/cart/").status_code == 200
    eventually(lambda: node.engine.sync.list_states(service))
    eventually(lambda: project.current().engine.sync.list_states())
    return admin_client


PAGES = [
    "/admin/",
    "/admin/shield/",
    "/admin/shield/route/",
    "/admin/shield/route/?q=cart",
    "/admin/shield/route/maintenance/",
    "/admin/shield/route/maintenance/{service}/",
    "/admin/shield/route/{key}/change/",
]
#: What only operators may read on the server.
REFUSED = ["/admin/shield/route/{key}/history/", "/admin/shield/auditlogentry/"]


@pytest.fixture
def visit(admin: Client, service: str) -> Callable[..., Any]:
    """``visit(page)`` returns a page, ``visit(page, {…})`` what becomes of its form."""

    def see(page: str, changed: dict[str, str] | None = None) -> Any:
        path = page.format(service=service, key=quote(f"{service}:/shop/cart/"))
        shown = admin.get(path)
        return shown if changed is None else admin.post(path, {**form_of(shown), **changed})

    return see


@pytest.mark.django_db
@pytest.mark.parametrize("page", PAGES)
def test_its_admin_shows_what_its_credentials_let_it(visit: Callable[..., Any], page: str) -> None:
    assert visit(page).status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("page", REFUSED)
def test_its_admin_says_what_its_credentials_do_not_let_it(visit: Callable[..., Any], page: str) -> None:
    answer = visit(page)
    assert answer.status_code == 403
    assert "The Shield Server does not allow this" in text_of(answer)


@pytest.mark.django_db
@pytest.mark.parametrize("page", [*PAGES, *REFUSED])
def test_with_an_operator_s_token_its_admin_shows_all(
    settings: Any, node: Node, visit: Callable[..., Any], page: str
) -> None:
    tokens, fingerprint = node.control.tokens, node.control.authority.fingerprint("olga")
    settings.SHIELD_TOKEN = tokens.sign(tokens.make("olga", "cli", fingerprint=fingerprint))
    assert visit(page).status_code == 200


@pytest.mark.django_db
def test_with_an_operator_s_token_its_admin_searches_the_servers_log(
    settings: Any, node: Node, admin: Client, service: str
) -> None:
    tokens, fingerprint = node.control.tokens, node.control.authority.fingerprint("olga")
    settings.SHIELD_TOKEN = tokens.sign(tokens.make("olga", "cli", fingerprint=fingerprint))
    for reason in ("the needle", "the hay"):
        node.engine.sync.disable(f"{service}:/shop/cart/", reason)
    found = text_of(admin.get("/admin/shield/auditlogentry/?q=needle"))
    assert "the needle" in found
    assert "the hay" not in found
    (entry,) = node.engine.sync.get_audit_log(search="needle")
    assert "the needle" in text_of(admin.get(f"/admin/shield/auditlogentry/{entry.id}/change/"))


@pytest.mark.django_db
def test_its_admin_closes_a_route_on_the_server(visit: Callable[..., Any], node: Node, service: str) -> None:
    saved = visit("/admin/shield/route/{key}/change/", {"status": "disabled", "reason": "in the admin"})
    assert saved.status_code == 302, text_of(saved)
    state = node.engine.sync.get_state(f"{service}:/shop/cart/")
    assert (state.status.value, state.reason) == ("disabled", "in the admin")
    assert "in the admin" in text_of(visit("/admin/shield/route/"))


@pytest.mark.django_db
def test_its_admin_keeps_a_form_that_somebody_on_the_server_has_overtaken(
    admin: Client, visit: Callable[..., Any], node: Node, service: str
) -> None:
    page = "/admin/shield/route/{key}/change/"
    path = page.format(key=quote(f"{service}:/shop/cart/"))
    opened = form_of(visit(page))
    node.engine.sync.disable(f"{service}:/shop/cart/", reason="first")
    said = admin.post(path, {**opened, "status": "maintenance", "reason": "second"})
    assert said.status_code == 409
    assert "somebody else changed this" in text_of(said)
    assert "A release changed" not in text_of(said)
    assert node.engine.sync.get_state(f"{service}:/shop/cart/").reason == "first"


@pytest.mark.django_db
def test_its_admin_may_not_stop_everything(visit: Callable[..., Any], node: Node) -> None:
    said = visit("/admin/shield/route/maintenance/", {"status": "maintenance", "reason": "all"})
    assert said.status_code == 200
    assert "This token reaches only the service" in text_of(said)
    assert not node.engine.sync.get_global_maintenance().enabled


def test_its_api_says_what_the_server_refuses(admin: Client, node: Node, settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.stream.urls"
    kept = admin.post("/shield/api/global/enable", {}, content_type="application/json")
    assert kept.status_code == 403
    assert "This is for operators" in kept.json()["error"]
    assert not node.engine.sync.get_global_maintenance().enabled
    guess = {"username": "admin", "password": "a guess"}
    login = admin.post("/shield/api/auth/login", guess, content_type="application/json")
    assert (login.status_code, login.json()) == (401, {"error": "Invalid credentials"})


@pytest.mark.django_db
def test_its_admin_says_that_the_server_is_away(
    node: Node, settings: Any, service: str, admin_client: Client
) -> None:
    with Link(node.port) as link:
        settings.SHIELD_SERVER_URL = link.address
        assert admin_client.get("/shop/cart/").status_code == 200
        link.refuse()
        said = admin_client.get("/admin/shield/route/")
        assert said.status_code == 503
        assert "The store does not answer" in text_of(said)
        assert admin_client.get("/shop/cart/").status_code == 200


def test_the_command_in_process(node: Node, service: str, capsys: pytest.CaptureFixture[str]) -> None:
    project.current().engine.sync.start()
    call_command("shield", "status")
    assert "/shop/cart/" in capsys.readouterr().out
    call_command("shield", "disable", "/shop/cart/", "--reason", "by hand")
    assert node.engine.sync.get_state(f"{service}:/shop/cart/").status.value == "disabled"
