"""The server as a process of its own, on each kind of server and backend."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack

import pytest

from tests.conftest import eventually
from tests.databases import sqlite
from tests.redis_server import RedisServer
from tests.servers.processes import ROOT

pytestmark = pytest.mark.servers

ODD_HOST = {"Host": "10.1.2.3:7"}


@pytest.fixture(params=["memory", "file", "redis", "models on SQLite", "models on PostgreSQL"])
def options(request, tmp_path):
    """Arguments of a server on each backend."""
    match request.param:
        case "file":
            path = str(tmp_path / "state.json")
            return {"backend": {"BACKEND": "file", "OPTIONS": {"path": path}}}
        case "redis":
            url = request.getfixturevalue("redis_server").url
            return {"backend": {"BACKEND": "redis", "OPTIONS": {"url": url}}}
        case "models on SQLite":
            return {"backend": "models", "database": f"sqlite:///{tmp_path / 'shield.sqlite3'}"}
        case "models on PostgreSQL":
            return {"backend": "models", "database": request.getfixturevalue("postgres").database()}
    return {"backend": "memory"}


@pytest.mark.parametrize("kind", ["uvicorn", "daphne"])
def test_an_operator_logs_in_changes_something_and_logs_out(serve, visit, kind, options):
    server = serve(kind, options)
    olga = visit(server.address)
    assert olga.get("/routes/").headers["Location"] == "/login?next=/routes/"
    assert olga.log_in("wrong").status_code == 401
    assert not olga.is_in
    assert olga.log_in().headers["Location"] == "/"
    assert olga.is_in

    changed = olga.fill("/routes/maintenance/", status="maintenance", reason="stock-taking")
    assert changed.status_code == 302, changed.text
    assert "Everything is in maintenance" in olga.reads("/routes/")
    said = olga.reads("/audit/")
    for words in ("stock-taking", "olga dashboard, 127.0.0.1", "login failed"):
        assert words in said

    kept = dict(olga.client.cookies)
    assert olga.log_out().headers["Location"] == "/login"
    assert not olga.is_in
    thief = visit(server.address, cookies=kept)
    assert not thief.is_in
    assert "Traceback" not in server.log
    assert "Warning" not in server.log


@pytest.mark.parametrize("kind", ["uvicorn", "daphne"])
def test_health_is_told_to_whoever_asks_by_whatever_name(serve, kind):
    server = serve(kind, {"public_url": "https://ops.example.com/shield/"})
    for path, body in (("/healthz", '{"status": "ok"}'), ("/shield/healthz", '{"status": "ok"}')):
        answer = server.ask(path, **ODD_HOST)
        assert (answer.status, answer.body) == (200, body)
    assert server.status("/readyz", **ODD_HOST) == 200
    assert server.status("/readyz", "HEAD", **ODD_HOST) == 200
    assert server.status("/healthz", "POST", **ODD_HOST) == 405
    assert server.status("/", **ODD_HOST) == 400


def test_a_server_without_its_store_is_alive_but_not_ready(serve, redis_server):
    options = {"backend": {"BACKEND": "redis", "OPTIONS": {"url": redis_server.url}}}
    redis_server.hang()
    try:
        server = serve(options=options, app="tests.shield_server.apps:unstocked")
        assert server.status("/healthz") == 200
        assert server.status("/readyz") == 503
    finally:
        redis_server.resume()
    assert eventually(lambda: server.status("/readyz") == 200)


def test_a_server_without_lifespan_waits_for_its_database(serve, visit, postgres):
    options = {"backend": "models", "database": postgres.database()}
    postgres.pause()
    try:
        server = serve("daphne", options)
        assert server.status("/healthz") == 200
        assert server.status("/readyz") == 503
        for path in ("/login", "/api/routes", "/api/sdk/events"):
            answer = server.ask(path)
            assert (answer.status, "The store has not answered yet" in answer.body) == (503, True)
        assert "Traceback" not in server.log
    finally:
        postgres.resume()
    assert visit(server.address).log_in().status_code == 302
    assert server.status("/readyz") == 200


@pytest.fixture(params=["redis", "postgresql"])
def ending_store(request):
    """Arguments of a server, and what ends its store."""
    with ExitStack() as stack:
        if request.param == "redis":
            store = stack.enter_context(RedisServer())
            yield {"backend": {"BACKEND": "redis", "OPTIONS": {"url": store.url}}}, store.stop
        else:
            store = request.getfixturevalue("postgres")
            stack.callback(store.resume)
            yield {"backend": "models", "database": store.database()}, store.pause


def test_a_store_that_fails_meanwhile_is_told_as_that(serve, visit, ending_store):
    options, end_store = ending_store
    server = serve(options=options)
    olga = visit(server.address)
    olga.log_in()
    end_store()
    for answer in (olga.get("/routes/"), olga.log_out()):
        assert answer.status_code == 503
        assert "The store does not answer. Nothing was changed" in answer.text
    assert olga.is_in
    assert server.status("/readyz") == 200


def test_static_files_need_no_collecting(serve):
    server = serve()
    for path, kind in (
        ("/static/admin/css/base.css", "text/css; charset=utf-8"),
        ("/static/shield/admin.css", "text/css; charset=utf-8"),
        ("/static/admin/js/core.js", "text/javascript; charset=utf-8"),
        ("/favicon.ico", "image/svg+xml; charset=utf-8"),
    ):
        answer = server.ask(path)
        assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
        assert answer.headers["Cache-Control"] == "public, max-age=3600"
        assert server.status(path, If_None_Match=answer.headers["ETag"]) == 304
        assert server.ask(f"{path}?v=1").headers["Cache-Control"] == "public, max-age=31536000"
    for path in (
        "/static/",
        "/static/no.css",
        "/static/../pyproject.toml",
        "/static/%2e%2e/x",
        "/static/%00",
    ):
        assert server.status(path) == 404, path


def test_logins_survive_a_restart_with_a_key_and_end_without(serve, visit, tmp_path):
    backend = {"BACKEND": "file", "OPTIONS": {"path": str(tmp_path / "state.json")}}
    for key, survives in ((["new", "old"], True), ("other", False), (None, False)):
        server = serve(options={"backend": backend, "secret_key": "old"})
        olga = visit(server.address)
        olga.log_in()
        server.stop()
        serve(options={"backend": backend, "secret_key": key}, port=server.port)
        assert olga.is_in is survives, key


def test_two_nodes_on_one_redis_are_one(serve, visit, redis_server):
    options = {"backend": {"BACKEND": "redis", "OPTIONS": {"url": redis_server.url}}}
    first, second = serve(options=options), serve("daphne", options)
    olga = visit(first.address)
    olga.log_in()
    cookies = dict(olga.client.cookies)
    elsewhere = visit(second.address, cookies=cookies)
    assert elsewhere.is_in
    elsewhere.fill("/routes/maintenance/payments/", status="maintenance", reason="here too")
    assert eventually(lambda: "here too" in olga.reads("/routes/"))
    olga.log_out()
    assert eventually(lambda: not elsewhere.is_in)

    stranger = visit(first.address)
    for _ in range(5):
        assert stranger.log_in("guess", "eve").status_code == 401
    assert visit(second.address).log_in("guess", "eve").status_code == 429


def test_two_servers_in_one_process_stay_apart(serve, visit):
    server = serve(app="tests.shield_server.apps:two")
    first, second = visit(server.address, "/a"), visit(server.address, "/b")
    assert first.log_in("second").status_code == 401
    assert first.log_in("first").headers["Location"] == "/a/"
    assert second.log_in("second").headers["Location"] == "/b/"
    for person, name, other in ((first, "a", "b"), (second, "b", "a")):
        said = person.reads("/routes/")
        assert f"of-{name}:GET:/here" in said
        assert f"of-{other}" not in said
        assert f'"/{name}/static/admin/css/base.css' in person.get("/").text
        assert {cookie.path for cookie in person.client.cookies.jar} == {f"/{name}/"}

    both = visit(server.address, "/a")
    both.log_in("first")
    both.path = "/b"
    assert not both.is_in
    both.log_in("second")
    both.path = "/a"
    assert both.is_in
    both.log_out()
    both.path = "/b"
    assert both.is_in
    stolen = {cookie.name.replace("shield2", "shield"): cookie.value for cookie in second.client.cookies.jar}
    assert not visit(server.address, "/a", cookies=stolen).is_in


def test_it_configures_itself_from_the_environment(serve, visit, tmp_path):
    path = tmp_path / "state.json"
    env = {
        "SHIELD_BACKEND": "file",
        "SHIELD_FILE_PATH": str(path),
        "SHIELD_USERNAME": "olga",
        "SHIELD_PASSWORD": "secret",
        "SHIELD_AUTH": "bob:builder eve:with:colon",
        "SHIELD_SECRET_KEY": "first second",
        "SHIELD_TOKEN_EXPIRY": "600",
    }
    server = serve(app="shield_django.server:app", env=env)
    for username, password in (("olga", "secret"), ("bob", "builder"), ("eve", "with:colon")):
        person = visit(server.address)
        answer = person.log_in(password, username)
        assert person.is_in
        assert "Max-Age=599" in answer.headers["Set-Cookie"] or "Max-Age=600" in answer.headers["Set-Cookie"]
    person.fill("/routes/maintenance/", status="maintenance", reason="kept")
    assert "kept" in path.read_text()
    assert "secret_key" not in server.log
    assert "open" not in server.log


@pytest.mark.parametrize(
    "env, said",
    [
        (
            {"SHIELD_BACKEND": "cloud"},
            "SHIELD_BACKEND is 'cloud': a server's is one of memory, file, redis, models",
        ),
        ({"SHIELD_BACKEND": "file", "SHIELD_FILE_PATH": "/"}, "The state file / cannot be read"),
        ({"SHIELD_TOKEN_EXPIRY": "0"}, "token_expiry is 0"),
        ({"SHIELD_NAME": "a;b"}, "name is 'a;b'"),
        ({"SHIELD_USERNAME": "olga"}, "SHIELD_USERNAME and SHIELD_PASSWORD belong together"),
        ({"SHIELD_AUTH": "olga"}, "SHIELD_AUTH has something that is no name:password"),
        ({"SHIELD_TRUSTED_PROXIES": "all"}, "SHIELD_TRUSTED_PROXIES is 'all'"),
        ({"SHIELD_PUBLIC_URL": "ops.example.com"}, "public_url is 'ops.example.com'"),
        (
            {"SHIELD_PUBLIC_URL": "https://ops.example.com/api/"},
            "public_url ends in '/api/', which is a path",
        ),
        ({"SHIELD_BACKEND": "models"}, "The models backend needs a database"),
    ],
)
def test_a_wrong_variable_is_named_at_the_start(env, said, clean_environment):
    run = _python("from shield_django.server import app", {**clean_environment, **env})
    assert run.returncode == 3
    [line] = run.stderr.splitlines()
    assert line.startswith(f"The Shield Server cannot start: {said}")


def test_importing_the_class_makes_no_server(clean_environment):
    run = _python(
        "import sys\nfrom shield_django.server import ShieldServer\nfrom django.conf import settings\n"
        "assert not settings.configured\nassert 'django.contrib.admin' not in sys.modules",
        {**clean_environment, "SHIELD_BACKEND": "cloud"},
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_an_open_server_and_a_random_key_warn_once(clean_environment):
    code = "from shield_django.server import ShieldServer\nShieldServer()\n"
    told = _python(code, clean_environment).stderr.splitlines()
    assert [line.split(":")[0] for line in told] == [
        "secret_key= (SHIELD_SECRET_KEY) is missing",
        "The Shield Server is open",
    ]
    silent = "ShieldServer(auth=('olga', 'secret'), secret_key='stable')"
    assert _python(code.replace("ShieldServer()", silent), clean_environment).stderr == ""


@pytest.mark.parametrize("backend, is_told", [("memory", True), ("file", False)])
def test_workers_that_share_no_state_are_told_so(serve, backend, is_told, tmp_path):
    env = {"SHIELD_BACKEND": backend, "SHIELD_FILE_PATH": str(tmp_path / "state.json")}
    server = serve(app="shield_django.server:app", env=env, args=("--workers", "2"))
    assert eventually(lambda: server.log.count("Application startup complete") == 2, within=40)
    assert ("Where several workers are started, each has its own" in server.log) is is_told


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request, tmp_path):
    if request.param == "sqlite":
        return sqlite(tmp_path / "shield.sqlite3")
    return request.getfixturevalue("postgres").database()


def test_processes_that_start_together_make_the_tables_once(empty_database, clean_environment, tmp_path):
    code = (
        "import json, os, sys\nfrom shield_django.server import configuration\n"
        f"configuration.configure('key', json.loads({json.dumps(empty_database)!r}))\n"
        "from shield_django.server import tables\ntables._PATIENCE = 100\n"
        f"print(flush=True)\nwhile not os.path.exists({str(tmp_path / 'go')!r}): pass\n"
        "tables.migrate()\ntables.migrate()"
    )
    command = [sys.executable, "-c", code]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, cwd=ROOT, env=clean_environment, **pipes) for _ in range(4)]
    for one in processes:
        one.stdout.readline()
    (tmp_path / "go").touch()
    for one in processes:
        _, said = one.communicate(timeout=120)
        assert (one.returncode, said) == (0, "")


def test_a_database_that_cannot_be_reached_is_told_at_once(clean_environment):
    code = (
        "from shield_django.server import configuration\n"
        "configuration.configure('key', 'postgresql://shield@127.0.0.1:1/ops')\n"
        "from shield_django.server import tables\ntables._PATIENCE = 600\ntables.migrate()"
    )
    told = _python(code, clean_environment).stderr.splitlines()
    assert "BackendError: The database cannot be used: connection failed" in told[-2]


def test_its_own_settings_pass_the_system_checks(clean_environment):
    code = (
        "from shield_django.server import ShieldServer\nShieldServer(secret_key='k', auth=('a', 'b'))\n"
        "from django.core.management import call_command\n"
        "call_command('check', fail_level='INFO')\ncall_command('check', deploy=True, fail_level='INFO')\n"
    )
    run = _python(code, clean_environment)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    "changed, said",
    [
        (
            {"INSTALLED_APPS": ["django.contrib.contenttypes", "django.contrib.auth"]},
            "their INSTALLED_APPS lack django.contrib.admin, django.contrib.staticfiles, rest_framework",
        ),
        ({"ROOT_URLCONF": None}, "they have no ROOT_URLCONF"),
        ({"STATIC_URL": None}, "they have no STATIC_URL"),
        ({"TEMPLATES": []}, "their TEMPLATES find no templates of apps"),
        ({"FORCE_SCRIPT_NAME": "/app"}, "their FORCE_SCRIPT_NAME would lead its pages elsewhere"),
    ],
)
def test_settings_of_a_project_that_will_not_do_are_named(changed, said, clean_environment):
    code = (
        "from shield_django.server.configuration import own_settings\nfrom django.conf import settings\n"
        f"settings.configure(**(own_settings('key') | {changed}))\n"
        "from shield_django.server import ShieldServer\nShieldServer()"
    )
    run = _python(code, clean_environment)
    assert run.returncode == 1
    assert f"ShieldServer uses this process's Django settings, and {said}" in run.stderr.splitlines()[-1]


def test_a_database_for_a_later_server_is_refused(clean_environment):
    code = (
        "from shield_django.server import ShieldServer\nShieldServer()\n"
        "ShieldServer('models', database='sqlite:///x.sqlite3')"
    )
    assert "database= comes too late" in _python(code, clean_environment).stderr.splitlines()[-1]


@pytest.fixture
def clean_environment():
    from tests.servers.processes import environment

    found = environment({})
    del found["DJANGO_SETTINGS_MODULE"], found["SHIELD_REFRESH_INTERVAL"]
    return found


def _python(code: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
