"""Behind TLS: a real nginx, at the root of a host or under a path of it."""

from __future__ import annotations

import ssl

import httpx2
import pytest

from tests.conftest import missing_service
from tests.postgres import free_port
from tests.shield_server.nginx import Nginx

pytestmark = pytest.mark.servers

#: How a proxy passes requests on: location, takes the path away, keeps the Host header.
WAYS = {
    "at the root": ("/", False, True),
    "at the root, with another Host": ("/", False, False),
    "under a path": ("/shield/", False, True),
    "under a path that it takes away": ("/shield/", True, True),
    "under a path that it takes away, with another Host": ("/shield/", True, False),
}


@pytest.fixture(params=WAYS)
def way(request):
    return WAYS[request.param]


@pytest.fixture
def behind(serve, request):
    """``behind(kind, location, strips, keeps_host)`` starts an nginx and a server behind it."""
    started = []

    def start(kind="uvicorn", location="/", strips=False, keeps_host=True, **options):
        port = free_port()
        try:
            proxy = Nginx(port, location, strips=strips, keeps_host=keeps_host)
        except FileNotFoundError as error:
            missing_service("nginx", str(error))
            raise
        started.append(proxy.__enter__())
        options = {"public_url": proxy.origin + location, "trusted_proxies": 1, **options}
        return proxy, serve(kind, options, port=port)

    yield start
    for proxy in started:
        proxy.__exit__()


def trusting(proxy: Nginx) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(proxy.directory / "certificate.pem"))


def test_an_operator_works_through_it(behind, visit, way):
    location, *_ = way
    proxy, _ = behind("uvicorn", *way)
    base = location.rstrip("/")
    olga = visit(proxy.origin, base, verify=trusting(proxy))
    assert olga.get("/routes/").headers["Location"] == f"{base}/login?next={base}/routes/"
    entered = olga.log_in()
    assert entered.headers["Location"] == f"{base}/"
    for words in ("Secure", "HttpOnly", "SameSite=Lax", f"Path={location}"):
        assert words in entered.headers["Set-Cookie"]
    changed = olga.fill("/routes/maintenance/payments/", status="maintenance", reason="behind it")
    assert changed.headers["Location"] == f"{base}/routes/"
    assert "behind it" in olga.reads("/routes/")
    assert "olga dashboard, 127.0.0.1" in olga.reads("/audit/")
    assert olga.get("/static/shield/admin.css").status_code == 200
    assert f'href="{base}/static/admin/css/base.css?v=' in olga.get("/").text
    for path in ("/healthz", "/readyz"):
        assert olga.get(path).status_code == 200
    assert olga.client.get(f"{base}/api/nothing").json() == {"error": "There is nothing at this address."}
    assert olga.log_out().headers["Location"] == f"{base}/login"


def test_daphne_behind_it(behind, visit):
    proxy, _ = behind("daphne", "/shield/", strips=True)
    olga = visit(proxy.origin, "/shield", verify=trusting(proxy))
    assert olga.log_in().headers["Location"] == "/shield/"
    assert olga.is_in


def test_what_a_client_says_of_itself_is_not_believed(behind, visit):
    proxy, server = behind("uvicorn")
    olga = visit(proxy.origin, verify=trusting(proxy))
    for headers in ({"Host": "evil.example"}, {"Host": f"evil.example:{proxy.port}"}):
        assert olga.get("/login", headers=headers).status_code == 400
    forged = {
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-For": "203.0.113.1",
    }
    answer = olga.get("/routes/", headers=forged)
    assert answer.headers["Location"] == "/login?next=/routes/"
    for origin in (f"http://localhost:{proxy.port}", "https://localhost", "https://evil.example", "null"):
        form = {"username": "olga", "password": "secret"}
        assert olga.post("/login", form, Origin=origin).status_code == 403
    assert server.status("/login", Host="evil.example") == 400


def test_failed_logins_are_counted_by_the_address_that_the_proxy_saw(behind, visit):
    proxy, _ = behind("uvicorn")

    def person(address, **headers):
        transport = httpx2.HTTPTransport(local_address=address, verify=trusting(proxy))
        return visit(proxy.origin, transport=transport, headers=headers)

    attacker = person("127.0.0.2")
    for number in range(5):
        attacker.client.headers["X-Forwarded-For"] = f"203.0.113.{number}"
        assert attacker.log_in("guess").status_code == 401
    assert attacker.log_in("guess").status_code == 429
    olga = person("127.0.0.3")
    assert olga.log_in().status_code == 302
    said = olga.reads("/audit/")
    assert "127.0.0.2" in said
    assert "203.0.113" not in said


def test_the_stream_comes_through_at_once(behind):
    proxy, _ = behind("uvicorn", "/shield/", strips=True)
    with httpx2.Client(base_url=f"{proxy.origin}/shield", verify=trusting(proxy), timeout=10) as client:
        said = {"username": "olga", "password": "secret"}
        token = client.post("/api/auth/login", json=said).json()["token"]
        client.headers["Authorization"] = f"Bearer {token}"
        with client.stream("GET", "/api/sdk/events") as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("id: ")
            client.post("/api/global/enable", json={"reason": "through nginx"})
            assert any("through nginx" in line for line in lines)
