"""Tokens and cookies that are not what they seem, and what other sites make a browser send."""

from __future__ import annotations

import base64
import json
import zlib

import pytest
from django.core.signing import Signer

from tests.conftest import eventually
from tests.hostile.conftest import Target
from tests.hostile.raw import request
from tests.shield_server.browsing import Person
from tests.stream.listener import Listener

pytestmark = pytest.mark.servers


def b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def said_by(token: str) -> dict[str, object]:
    text = token.rpartition(":")[0]
    packed = text.startswith(".")
    raw = base64.urlsafe_b64decode(text.lstrip(".") + "==")
    return json.loads(zlib.decompress(raw) if packed else raw)


def altered(token: str, **said: object) -> str:
    """Return a token that says more, under the signature that it had."""
    return f"{b64(json.dumps({**said_by(token), **said}).encode())}:{token.rpartition(':')[2]}"


NO_ALGORITHM = b64(b'{"alg": "none"}')
FORGERIES = {
    "another name": lambda token: altered(token, sub="root"),
    "another end": lambda token: altered(token, exp=2**40),
    "another platform": lambda token: altered(token, plt="cli"),
    "another service": lambda token: altered(token, svc="payments"),
    "no signature": lambda token: token.rpartition(":")[0],
    "an empty signature": lambda token: token.rpartition(":")[0] + ":",
    "half a signature": lambda token: token[:-10],
    "another key": lambda token: Signer(key="guess", salt="shield.token").sign_object(said_by(token)),
    "another salt": lambda token: Signer(key="of the tests", salt="x").sign_object(said_by(token)),
    "no key": lambda token: Signer(key="", salt="shield.token").sign_object(said_by(token)),
    "another algorithm": lambda token: Signer(
        key="of the tests", salt="shield.token", algorithm="sha1"
    ).sign_object(said_by(token)),
    "alg none": lambda token: f"{NO_ALGORITHM}.{b64(json.dumps(said_by(token)).encode())}.",
    "a bomb": lambda token: f".{b64(zlib.compress(b' ' * 10_000_000))}:x",
    "a signature in another case": lambda token: (
        token.rpartition(":")[0] + ":" + token.rpartition(":")[2].swapcase()
    ),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_token_that_was_altered_is_none(unchanged, forge):
    for platform in ("cli", "sdk"):
        forged = forge(unchanged.log_in("olga", "secret", platform=platform))
        assert unchanged.call("POST", "global/enable", forged, json={}).status_code == 401
        with Listener(unchanged.server.port, X_Shield_Token=forged) as listener:
            listener.until_end()
            assert listener.status == 401
        cookie = f"Cookie: shield_session={forged}".encode()
        assert unchanged.send(request("GET", "/routes/", cookie)).status == 302


def test_a_stream_ends_with_its_token(target):
    token = target.log_in("olga", "secret")
    with Listener(target.server.port, "proto=2", Authorization=f"Bearer {token}") as listener:
        listener.until_open()
        assert target.call("POST", "auth/logout", token, json={}).status_code == 200
        listener.until_end()
    for path in ("routes", "auth/me", "audit"):
        assert target.call("GET", path, token).status_code == 401
    with Listener(target.server.port, Authorization=f"Bearer {token}") as listener:
        listener.until_end()
        assert listener.status == 401


def test_a_token_that_has_expired_is_none(serve):
    target = Target(serve(options={"token_expiry": 3}))
    eventually(lambda: target.call("GET", "auth/me", target.token).status_code == 401)
    with Listener(target.server.port, Authorization=f"Bearer {target.token}") as listener:
        listener.until_end()
        assert listener.status == 401


def test_logging_in_makes_a_new_session(target, visit):
    anna = visit(target.address)
    anna.client.cookies.set("shield_session", "fixed")
    anna.client.cookies.set("shield_form", "A" * 32)
    form = anna.get("/login")
    assert form.status_code == 200
    anna.client.cookies.delete("shield_session")
    assert anna.log_in().status_code == 302
    first = anna.client.cookies["shield_session"]
    anna.log_out()
    assert anna.log_in().status_code == 302
    assert anna.client.cookies["shield_session"] != first
    anna.client.cookies.set("shield_session", first, domain="127.0.0.1", path="/")
    answer = target.send(request("GET", "/routes/", f"Cookie: shield_session={first}".encode()))
    assert answer.status == 302


def test_a_cookie_of_another_server_in_the_process_is_none(serve, visit):
    server = serve(app="tests.shield_server.apps:two")
    olga = visit(server.address, "/a")
    assert olga.log_in("first").status_code == 302
    [session] = [one for one in olga.client.cookies.jar if one.name.endswith("_session")]
    assert session.path == "/a/"
    names = (session.name, "shield_session", "shield2_session", "shield3_session")
    for name in names:
        stolen = f"Cookie: {name}={session.value}".encode()
        other = Target.send(_Port(server), request("GET", "/b/routes/", stolen))
        assert (other.status, other.header("location").partition("?")[0]) == (302, "/b/login")
        api = Target.send(_Port(server), request("GET", "/b/api/routes", stolen))
        assert api.status == 401
    bearer = f"Authorization: Bearer {session.value}".encode()
    assert Target.send(_Port(server), request("GET", "/b/api/routes", bearer)).status == 401


class _Port:
    def __init__(self, server):
        self.server = server


CROSS_SITE = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1.evil.example"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "CROSS-SITE"},
]


@pytest.mark.parametrize("headers", CROSS_SITE, ids=str)
def test_what_another_site_makes_a_browser_send_is_refused(unchanged, headers):
    olga = Person(unchanged.address)
    olga.log_in()
    for path, options in (
        ("/routes/maintenance/", {"data": {"status": "maintenance", "reason": "evil"}}),
        ("/login", {"data": {"username": "olga", "password": "secret"}}),
        ("/logout", {"data": {}}),
        ("/api/global/enable", {"data": {"reason": "evil"}}),
        ("/api/global/enable", {"content": "{}", "headers": {"Content-Type": "text/plain"}}),
        ("/api/global/enable", {"json": {}}),
        ("/api/global/enable", {"json": {}, "headers": {"X-CSRFToken": "A" * 32}}),
        ("/api/auth/login", {"json": {"username": "olga", "password": "secret"}}),
        ("/api/auth/logout", {"json": {}}),
    ):
        told = {**options.pop("headers", {}), **headers}
        answer = olga.client.post(path, headers=told, **options)
        assert answer.status_code == 403, path
        assert "Set-Cookie" not in answer.headers or "session" not in answer.headers["Set-Cookie"]
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert olga.is_in
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    asked = olga.client.options("/api/global/enable", headers={**headers, **preflight})
    assert not [name for name in asked.headers if name.lower().startswith("access-control")]
    olga.close()


@pytest.mark.parametrize(
    "asked",
    [
        "https://evil.example/",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "http:evil.example",
        "https:///evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        " //evil.example",
        "\t//evil.example",
        "http://127.0.0.1@evil.example/",
        "http://[evil",
        "//evil.example%2f..",
    ],
)
def test_a_login_leads_nowhere_else(target, visit, asked):
    anna = visit(target.address)
    assert anna.fill("/login", username="olga", password="secret", next=asked).headers["Location"] == "/"
    again = anna.client.get("/login", params={"next": asked})
    assert (again.status_code, again.headers["Location"]) == (302, "/")


@pytest.mark.parametrize(
    "path", ["//evil.example", "//evil.example/", "/%2fevil.example", "/%5cevil.example", "/\\evil.example"]
)
def test_no_slash_that_is_added_leads_elsewhere(target, visit, path):
    olga = visit(target.address)
    olga.log_in()
    session = f"Cookie: shield_session={olga.client.cookies['shield_session']}".encode()
    for lines in ((), (session,)):
        answer = target.send(request("GET", path, *lines))
        place = answer.header("location")
        assert not place.startswith(("//", "/\\", "http")), answer
