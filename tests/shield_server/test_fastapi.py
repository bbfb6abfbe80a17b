"""``ShieldAdmin``: the control plane mounted in a FastAPI application."""

from __future__ import annotations

import subprocess
import sys
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount
from starlette.testclient import TestClient

from shield_core.backends.memory import MemoryBackend
from shield_core.engine import ShieldEngine
from shield_fastapi import ShieldAdmin, ShieldMiddleware, ShieldSDK
from tests.admin.browser_form import BrowserForm
from tests.conftest import eventually
from tests.servers.processes import ROOT

HERE = {"Origin": "http://testserver"}


def make(path="/shield", **options):
    engine = ShieldEngine(MemoryBackend())
    app = FastAPI()
    app.add_middleware(ShieldMiddleware, engine=engine)

    @app.get("/items")
    def items():
        return "items"

    options = {"auth": ("olga", "secret"), "secret_key": "k", **options}
    app.mount(path, ShieldAdmin(engine=engine, **options))
    return engine, app


@pytest.fixture
def client():
    engine, app = make()
    with TestClient(app, follow_redirects=False, client=("192.0.2.1", 7)) as client:
        client.engine = engine
        yield client


def log_in(client, mount="/shield"):
    form = {**BrowserForm(client.get(f"{mount}/login").text).data, "username": "olga", "password": "secret"}
    return client.post(f"{mount}/login", data=form, headers=HERE)


def test_an_operator_ends_a_global_maintenance_from_within(client):
    assert log_in(client).headers["Location"] == "/shield/"
    page = client.get("/shield/routes/maintenance/")
    form = {**BrowserForm(page.text).data, "status": "maintenance", "include_force_active": "on"}
    assert client.post("/shield/routes/maintenance/", data=form, headers=HERE).status_code == 302
    assert client.get("/items").status_code == 503

    assert client.get("/shield").headers["Location"] == "http://testserver/shield/"
    for path in ("/shield/", "/shield/routes/", "/shield/static/shield/admin.css", "/shield/readyz"):
        assert client.get(path).status_code == 200, path
    form = BrowserForm(client.get("/shield/routes/maintenance/").text).data | {"_end": "1"}
    assert client.post("/shield/routes/maintenance/", data=form, headers=HERE).status_code == 302
    assert client.get("/items").status_code == 200


def test_its_api_works_on_the_engine_of_the_application(client):
    said = {"username": "olga", "password": "secret"}
    token = client.post("/shield/api/auth/login", json=said).json()["token"]
    bearer = {"Authorization": f"Bearer {token}"}
    paths = [route["path"] for route in client.get("/shield/api/routes", headers=bearer).json()]
    assert "GET:/items" in paths
    assert not any("shield" in path for path in paths)
    assert client.post("/shield/api/global/enable", json={}, headers=bearer).status_code == 200
    assert client.get("/items").status_code == 503
    assert client.get("/shield/api/auth/me", headers=bearer).json()["username"] == "olga"


def test_no_limit_of_everything_stops_the_operator(client):
    client.engine.sync.set_global_rate_limit("1/hour")
    assert [client.get("/items").status_code for _ in range(2)] == [200, 429]
    assert log_in(client).status_code == 302
    assert client.get("/shield/routes/").status_code == 200


@pytest.mark.parametrize("path", ["/ops/shield", "/", "/api", "/routes", "/of a team/schön"])
def test_any_path_will_do(path):
    _, app = make(path)
    mount = quote(path.rstrip("/"))
    with TestClient(app, follow_redirects=False) as client:
        assert log_in(client, mount).headers["Location"] == f"{mount}/"
        assert f'href="{mount}/routes/"' in client.get(f"{mount}/").text
        assert client.get(f"{mount}/api/auth/me").json()["username"] == "olga"


@pytest.mark.parametrize("strips", [True, False])
def test_a_proxy_before_the_application_may_take_its_path_away(strips):
    _, app = make()
    with TestClient(app, follow_redirects=False, root_path="/v1") as client:
        at = "/shield" if strips else "/v1/shield"
        page = client.get(f"{at}/login")
        assert page.status_code == 200
        assert "Path=/v1/shield/" in page.headers["Set-Cookie"]
        assert client.get(f"{at}/routes/").headers["Location"] == "/v1/shield/login?next=/v1/shield/routes/"
        assert client.get(f"{at}/api/schema").json()["servers"] == [{"url": "/v1/shield/api"}]


def test_a_page_elsewhere_that_the_application_lets_in_uses_the_api_with_a_token():
    engine, app = make()
    front = {"Origin": "https://front.example"}
    app.add_middleware(CORSMiddleware, allow_origins=[front["Origin"]], allow_headers=["Authorization"])
    with TestClient(app, follow_redirects=False) as client:
        log_in(client)
        assert client.post("/shield/api/global/enable", json={}, headers=front).status_code == 403
        client.cookies.clear()
        said = {"username": "olga", "password": "secret"}
        token = client.post("/shield/api/auth/login", json=said).json()["token"]
        wrong = {**front, "Authorization": "Bearer x"}
        assert client.post("/shield/api/global/enable", json={}, headers=wrong).status_code == 401
        assert client.post("/shield/routes/maintenance/", headers=wrong).status_code == 403
        assert not engine.sync.get_global_maintenance().enabled
        bearer = {**front, "Authorization": f"Bearer {token}"}
        answer = client.post("/shield/api/global/enable", json={}, headers=bearer)
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, front["Origin"])


@pytest.mark.parametrize(
    "mount",
    [
        lambda admin: Mount("/shield", GZipMiddleware(admin)),
        lambda admin: Mount("/shield", admin, middleware=[Middleware(GZipMiddleware)]),
        lambda admin: Mount("/shield", routes=[Mount("", GZipMiddleware(GZipMiddleware(admin)))]),
    ],
    ids=["wrapped", "middleware of the mount", "wrapped twice, in a mount"],
)
def test_a_middleware_of_its_own_closes_it_to_nobody(mount):
    engine = ShieldEngine(MemoryBackend())
    app = FastAPI(routes=[mount(ShieldAdmin(engine=engine, auth=("olga", "secret"), secret_key="k"))])
    app.add_middleware(ShieldMiddleware, engine=engine)
    with TestClient(app, follow_redirects=False) as client:
        engine.sync.enable_global_maintenance("moving", include_force_active=True)
        engine.sync.set_global_rate_limit("1/hour")
        assert client.get("/elsewhere").status_code == 503
        assert log_in(client).headers["Location"] == "/shield/"
        for _ in range(3):
            assert client.get("/shield").status_code < 400
            assert client.get("/shield/routes/").status_code == 200


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_middleware_around_it_may_change_answers(is_streamed):
    _, app = make()
    if is_streamed:

        @app.middleware("http")
        async def pass_on(request, call_next):
            return await call_next(request)

    app.add_middleware(GZipMiddleware)
    with TestClient(app, follow_redirects=False) as client:
        log_in(client)
        for path in ("/shield/routes/", "/shield/api/schema", "/shield/static/shield/admin.css"):
            answer = client.get(path)
            assert answer.status_code == 200
            assert answer.headers["Content-Encoding"] == "gzip"
            length = answer.headers.get_list("Content-Length")
            assert length in ([], [str(answer.num_bytes_downloaded)])


@pytest.mark.servers
def test_beside_an_sdk_it_says_what_the_server_keeps_for_operators(serve):
    server = serve(options={"services": {"payments": "pw"}})
    sdk = ShieldSDK(server.address, "payments", username="payments", password="pw", current_env="prod")
    app = FastAPI()
    sdk.attach(app)
    app.mount("/shield", ShieldAdmin(engine=sdk.engine, auth=("olga", "secret"), secret_key="k"))
    said = {"username": "olga", "password": "secret"}
    with TestClient(app, follow_redirects=False) as client:
        assert eventually(lambda: sdk.engine.status().state == "live")
        wrong = client.post("/shield/api/auth/login", json={**said, "password": "wrong"})
        assert wrong.status_code == 401
        token = client.post("/shield/api/auth/login", json=said).json()["token"]
        log_in(client)
        assert "payments:GET:/pay" in client.get("/shield/routes/").text
        refused = client.get("/shield/audit/")
        assert refused.status_code == 403
        assert "for operators" in refused.text
        headers = {"X-Shield-Token": token}
        answer = client.post("/shield/api/global/enable", json={}, headers=headers)
        assert (answer.status_code, "for operators" in answer.json()["error"]) == (403, True)
        form = BrowserForm(client.get("/shield/routes/maintenance/").text).data
        left = {"csrfmiddlewaretoken": form["csrfmiddlewaretoken"]}
        assert client.post("/shield/logout", data=left, headers=HERE).headers["Location"] == "/shield/login"
        assert client.get("/shield/").status_code == 302


@pytest.mark.parametrize("engine", [None, "memory", MemoryBackend()])
def test_it_wants_the_applications_own_engine(engine):
    with pytest.raises(TypeError, match="own ShieldEngine"):
        ShieldAdmin(engine=engine)


def test_two_in_one_application_stay_apart():
    engine, app = make("/one")
    other = ShieldEngine(MemoryBackend())
    app.mount("/two", ShieldAdmin(engine=other, auth=("olga", "other"), secret_key="k"))
    with TestClient(app, follow_redirects=False) as client:
        assert log_in(client, "/one").status_code == 302
        assert log_in(client, "/two").status_code == 401
        form = BrowserForm(client.get("/one/routes/maintenance/").text).data | {"status": "maintenance"}
        client.post("/one/routes/maintenance/", data=form, headers=HERE)
    assert engine.sync.get_global_maintenance().enabled
    assert not other.sync.get_global_maintenance().enabled


def test_django_is_imported_only_when_one_is_made():
    code = (
        "import sys\nfrom shield_fastapi import ShieldAdmin, ShieldMiddleware\n"
        "assert not any(name.partition('.')[0] == 'django' for name in sys.modules)\n"
        "from shield_core.engine import ShieldEngine\n"
        "ShieldAdmin(ShieldEngine(threads=False), ('olga', 'secret'), secret_key='k')\n"
        "assert 'django.contrib.admin' in sys.modules\n"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert (run.returncode, run.stderr) == (0, "")
