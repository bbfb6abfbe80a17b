"""What tricks a browser or a server into something: other sites' forms, hosts, addresses, sizes."""

from __future__ import annotations

import asyncio
import re

import httpx2
import pytest

from shield_core.backends.memory import MemoryBackend
from shield_django.server import ShieldServer
from shield_django.server.bodies import LIMIT
from tests.admin.browser_form import BrowserForm
from tests.shield_server.apps import stock

HERE = "http://shield.test"
MAINTENANCE = "/routes/maintenance/"
ROUTE = "/routes/payments_3AGET_3A_2Fpay/change/"
EVERYWHERE = ["/", "/login", "/api/routes", "/static/shield/admin.css", "/api/sdk/events"]
BAD_HOSTS = ["evil.example", "shield.test.evil.example", "a b", "shield.test:x", "[::1", ""]


class Visitor:
    """Asks the server in this process; cookies are kept."""

    def __init__(self, server, base_url=HERE):
        self.server, self.base_url, self.cookies = server, base_url, httpx2.Cookies()

    def ask(self, method, path, headers=None, **options):
        async def send():
            transport = httpx2.ASGITransport(self.server, client=("192.0.2.7", 4711))
            async with httpx2.AsyncClient(
                transport=transport, base_url=self.base_url, cookies=self.cookies
            ) as client:
                answer = await client.request(method, path, headers=headers, **options)
                self.cookies = client.cookies
                return answer

        return asyncio.run(send())

    def get(self, path, headers=None):
        return self.ask("GET", path, headers)

    def form(self, path, **entries):
        return {**BrowserForm(self.get(path).text).data, **entries}

    def post(self, path, data, **headers):
        return self.ask("POST", path, {"Origin": self.base_url, **headers}, data=data)

    def log_in(self):
        answer = self.post("/login", self.form("/login", username="olga", password="secret"))
        assert answer.status_code == 302, answer.text
        return self


@pytest.fixture
def make():
    made = []

    def server(**options):
        backend = MemoryBackend()
        stock(backend)
        options = {"auth": ("olga", "secret"), "secret_key": "k", "public_url": HERE, **options}
        found = ShieldServer(backend, **options)
        made.append(found)
        return found

    yield server
    for one in made:
        one.engine.sync.stop()


@pytest.fixture
def server(make):
    return make()


@pytest.fixture
def olga(server):
    return Visitor(server).log_in()


def is_untouched(server) -> bool:
    engine = server.engine.sync
    return not engine.get_global_maintenance().enabled and not engine.get_audit_log(action="disable")


# -- other sites' forms ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://shield.test.evil.example"},
        {"Origin": "https://shield.test"},
        {"Origin": "http://shield.test:8080"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize("is_open", [False, True], ids=["logged in", "open"])
def test_a_form_of_another_site_changes_nothing(make, headers, is_open):
    server = make(auth=None) if is_open else make()
    visitor = Visitor(server) if is_open else Visitor(server).log_in()
    form = visitor.form(MAINTENANCE, status="maintenance", reason="evil")
    for path, options in (
        (MAINTENANCE, {"data": form}),
        ("/api/global/enable", {"data": {"reason": "evil"}}),
        ("/api/global/enable", {"content": '{"reason": "evil"}', "headers": {"Content-Type": "text/plain"}}),
        ("/api/global/enable", {"json": {"reason": "evil"}}),
    ):
        told = {"Origin": HERE, **headers, **options.pop("headers", {})}
        assert visitor.ask("POST", path, told, **options).status_code == 403, path
    assert is_untouched(server)


def test_a_form_needs_the_value_of_its_own_page(olga, server):
    form = olga.form(MAINTENANCE, status="maintenance")
    other = Visitor(server).log_in().form(MAINTENANCE)["csrfmiddlewaretoken"]
    before_login = Visitor(server).form("/login")["csrfmiddlewaretoken"]
    for wrong in ("", "x", "x" * 64, other, before_login):
        assert olga.post(MAINTENANCE, {**form, "csrfmiddlewaretoken": wrong}).status_code == 403
    assert is_untouched(server)
    assert olga.post(MAINTENANCE, form).status_code == 302


def test_a_login_form_needs_it_too(server):
    visitor = Visitor(server)
    form = visitor.form("/login", username="olga", password="secret")
    assert Visitor(server).post("/login", form).status_code == 403
    assert visitor.post("/login", form).status_code == 302


def test_the_cookie_alone_changes_nothing_over_the_api(olga, server):
    said = {"json": {"reason": "x"}}
    refused = olga.ask("POST", "/api/global/enable", {"Origin": HERE}, **said)
    assert refused.status_code == 403
    assert refused.json()["error"].startswith("This was not sent by a page of this server")
    assert is_untouched(server)
    token = olga.form(MAINTENANCE)["csrfmiddlewaretoken"]
    assert olga.ask("POST", "/api/global/enable", {"X-CSRFToken": token}, **said).status_code == 200
    [entry] = server.engine.sync.get_audit_log(limit=1)
    assert (entry.actor, entry.platform, entry.client_ip) == ("olga", "dashboard", "192.0.2.7")


def test_a_token_in_a_header_needs_no_form(server):
    visitor = Visitor(server)
    told = visitor.ask("POST", "/api/auth/login", json={"username": "olga", "password": "secret"})
    bearer = {"Authorization": f"Bearer {told.json()['token']}"}
    assert visitor.ask("POST", "/api/global/enable", bearer, json={}).status_code == 200


def test_tokens_of_other_platforms_are_no_browser_session(server):
    visitor = Visitor(server)
    for platform in ("cli", "sdk"):
        said = {"username": "olga", "password": "secret", "platform": platform, "app_id": "payments"}
        token = visitor.ask("POST", "/api/auth/login", json=said).json()["token"]
        visitor.cookies.set(server.control.session_cookie, token)
        assert visitor.get("/").status_code == 302


def test_an_sdk_cannot_make_a_browser_session_of_itself(make):
    server = make(services={"payments": "machine"})
    visitor = Visitor(server)
    form = visitor.form("/login", username="payments", password="machine")
    assert visitor.post("/login", form).status_code == 401


# -- hosts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("host", BAD_HOSTS)
@pytest.mark.parametrize("path", EVERYWHERE)
def test_another_host_name_is_refused(server, host, path):
    assert Visitor(server).get(path, {"Host": host}).status_code == 400


@pytest.mark.parametrize("host", ["shield.test", "SHIELD.test", "localhost:90", "127.0.0.1:1", "[::1]:90"])
def test_its_own_names_are_accepted(server, host):
    assert Visitor(server).get("/login", {"Host": host}).status_code == 200


def test_further_names_may_be_allowed(make):
    server = make(public_url="", allowed_hosts=["shield", "ops.example.com:8443"])
    for host, status in (("shield:9000", 200), ("ops.example.com:8443", 200), ("ops.example.com", 400)):
        assert Visitor(server, f"http://{host}").get("/login").status_code == status


def test_without_a_public_address_any_name_is_right_but_must_be_one(make):
    server = make(public_url="")
    assert Visitor(server, "http://whatever:9000").log_in().get("/").status_code == 200
    for host in ("a b", "x/y", "user@host", "host:port"):
        assert Visitor(server).get("/login", {"Host": host}).status_code == 400


def test_a_page_that_took_the_servers_address_changes_nothing_on_an_open_one(make):
    server = make(auth=None, public_url="")
    thief = Visitor(server, "http://evil.example:9000")
    form = thief.form(MAINTENANCE, status="maintenance", reason="evil")
    page = thief.post(MAINTENANCE, form)
    assert (page.status_code, page.headers["Content-Type"]) == (400, "text/plain; charset=utf-8")
    told = thief.ask("POST", "/api/global/enable", {"Origin": thief.base_url}, json={})
    assert (told.status_code, "allowed_hosts" in told.json()["error"]) == (400, True)
    assert is_untouched(server)
    # A program, which no page can pretend to be, may call it what it likes.
    assert thief.ask("POST", "/api/global/enable", json={}).status_code == 200
    assert Visitor(server, "http://shield:9000").post(MAINTENANCE, form).status_code == 403  # no cookie


# -- where a login leads, and who is let in --------------------------------------------------


@pytest.mark.parametrize(
    "asked, leads_to",
    [
        ("/routes/?q=x", "/routes/?q=x"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
    ],
)
def test_a_login_leads_to_a_page_of_this_server(server, asked, leads_to):
    visitor = Visitor(server)
    form = visitor.form("/login", username="olga", password="secret", next=asked)
    assert visitor.post("/login", form).headers["Location"] == leads_to


def test_guessing_is_slowed_down_without_locking_the_operator_out(server, make):
    server = make(public_url="", trusted_proxies=1)

    def attempt(source, password):
        visitor = Visitor(server)
        form = visitor.form("/login", username="olga", password=password)
        return visitor.post("/login", form, **{"X-Forwarded-For": f"203.0.113.9, {source}"})

    assert [attempt("198.51.100.1", "guess").status_code for _ in range(6)] == [401] * 5 + [429]
    refused = attempt("198.51.100.1", "secret")
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert "Too many failed logins" in refused.text
    assert attempt("198.51.100.2", "secret").status_code == 302
    noted = server.engine.sync.get_audit_log(action="login_failed")
    assert {(one.actor, one.platform, one.client_ip) for one in noted} == {
        ("olga", "dashboard", "198.51.100.1")
    }


def test_a_changed_password_ends_the_session(make, olga):
    other = make(auth=("olga", "another"))
    olga.server = other
    olga.cookies.set(other.control.session_cookie, next(iter(olga.cookies.jar)).value)
    assert olga.get("/").status_code == 302


def test_an_open_server_asks_for_no_login(make):
    visitor = Visitor(make(auth=None))
    assert visitor.get("/").status_code == 200
    assert visitor.get("/login").headers["Location"] == "/"
    form = visitor.form(MAINTENANCE, status="maintenance", reason="open")
    assert visitor.post(MAINTENANCE, form).status_code == 302
    [entry] = visitor.server.engine.sync.get_audit_log(limit=1)
    assert (entry.actor, entry.platform) == ("anonymous", "dashboard")


def test_names_separate_servers_that_share_a_key_and_a_host(make):
    first, second = (make(name=name) for name in ("red", "blue"))
    olga = Visitor(first).log_in()
    [session] = [one for one in olga.cookies.jar if one.name == "red_session"]
    olga.cookies.set("blue_session", session.value)
    olga.server = second
    assert olga.get("/").status_code == 302


@pytest.mark.parametrize("platform", ["cli", "sdk"])
def test_tokens_are_of_one_server_of_a_process_also_where_two_have_the_same_key_and_users(make, platform):
    first, second = make(), make()
    said = {"username": "olga", "password": "secret", "platform": platform, "app_id": "payments"}
    token = Visitor(first).ask("POST", "/api/auth/login", json=said).json()["token"]
    bearer = {"Authorization": f"Bearer {token}"}
    assert Visitor(first).get("/api/auth/me", bearer).status_code == 200
    assert Visitor(second).get("/api/auth/me", bearer).status_code == 401


# -- what pages say of themselves -------------------------------------------------------------


@pytest.mark.parametrize("path", [*EVERYWHERE[:-1], "/routes/", "/audit/", "/nothing/", "/static/x"])
def test_every_answer_keeps_strangers_out(olga, path):
    headers = olga.get(path).headers
    policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "form-action")} == {"'self'"}
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Frame-Options"] == "DENY"


def test_cookies_are_kept_from_scripts_and_other_sites(make):
    for url, path, secure in ((HERE, "/", False), ("https://shield.test/ops/", "/ops/", True)):
        visitor = Visitor(make(public_url=url), url.removesuffix("/ops/"))
        answer = visitor.get(f"{path}login")
        form = {**BrowserForm(answer.text).data, "username": "olga", "password": "secret"}
        logged_in = visitor.post(f"{path}login", form)
        for said in (answer.headers["Set-Cookie"], logged_in.headers["Set-Cookie"]):
            assert "HttpOnly" in said
            assert "SameSite=Lax" in said
            assert f"Path={path}" in said
            assert ("Secure" in said) is secure


def test_pages_have_nothing_inline_and_nothing_from_elsewhere(olga):
    for path in (
        "/",
        "/login",
        "/routes/",
        "/routes/payments_3AGET_3A_2Fpay/change/",
        MAINTENANCE,
        "/audit/",
    ):
        page = olga.get(path).text
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|javascript:", page), path
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', page), path


def test_services_may_be_called_as_pages_are(olga):
    listed = olga.get("/routes/").text
    for service in ("static", "login"):
        assert f'href="{MAINTENANCE}{service}/"' in listed
        form = olga.form(f"{MAINTENANCE}{service}/", status="maintenance", reason=f"of {service}")
        assert olga.post(f"{MAINTENANCE}{service}/", form).status_code == 302
        assert olga.get(f"/api/services/{service}/maintenance").json()["reason"] == f"of {service}"
    assert olga.get("/static/shield/admin.css").headers["Content-Type"].startswith("text/css")
    assert olga.get("/login").headers["Location"] == "/"


# -- sizes, methods, addresses ----------------------------------------------------------------


def test_a_body_that_is_too_large_is_refused(olga, server):
    answer = olga.ask("POST", "/api/global/enable", content=b"x" * (LIMIT + 1))
    assert answer.status_code == 413

    async def endless():
        for _ in range(LIMIT // 2**16 + 2):
            yield b"x" * 2**16

    assert olga.ask("POST", "/login", {"Origin": HERE}, content=endless()).status_code == 413
    assert is_untouched(server)


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/nothing", "/api/nothing/at/all"])
def test_unknown_addresses_of_the_api_are_told_in_json(olga, path):
    answer = olga.get(path)
    assert answer.status_code == 404
    assert "error" in answer.json()


@pytest.mark.parametrize(
    "method, path, status",
    [("GET", "/logout", 405), ("PUT", "/login", 405), ("POST", "/static/shield/admin.css", 405)],
)
def test_methods_that_a_page_does_not_take(olga, method, path, status):
    token = olga.form(MAINTENANCE)["csrfmiddlewaretoken"]
    assert olga.ask(method, path, {"X-CSRFToken": token, "Origin": HERE}).status_code == status


def test_pages_of_djangos_own_admin_that_need_a_database_are_not_there(olga):
    for path in ("/password_change/", "/autocomplete/", "/r/1/1/"):
        assert olga.get(path).status_code == 404


def test_a_socket_is_refused(server):
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    asyncio.run(server({"type": "websocket", "path": "/"}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
