"""Requests that no client would write: a clear answer below 500, and nothing is changed."""

from __future__ import annotations

import json

import pytest

from shield_django.api.formats import BODY_LIMIT
from shield_django.server.bodies import LIMIT
from tests.hostile.raw import chunked, request

pytestmark = pytest.mark.servers

JSON = b"Content-Type: application/json"
CHUNKED = b"Transfer-Encoding: chunked"
FORM = b"Content-Type: application/x-www-form-urlencoded"
#: Refused by the server before the application hears of it, with 400 or by closing.
BY_SERVER = {0, 400, 413, 431}


def enable(*lines: bytes, body: bytes = b"", length: bool = True) -> bytes:
    return request("POST", "/api/global/enable", b"%(bearer)s", *lines, body=body, length=length)


def get(path: str | bytes, *lines: bytes, host: bytes = b"x") -> bytes:
    return request("GET", path, b"%(bearer)s", *lines, host=host)


BODIES = {
    "chunked nonsense": (enable(JSON, CHUNKED, body=chunked(b'{"x": 1}'), length=False), {400}),
    "chunked XML": (
        enable(b"Content-Type: text/xml", CHUNKED, body=chunked(b"<x/>"), length=False),
        {415},
    ),
    "chunked form": (enable(FORM, CHUNKED, body=chunked(b"reason=x"), length=False), {415}),
    "chunked, no type": (enable(CHUNKED, body=chunked(b"{}"), length=False), {415}),
    "chunked, above a view's limit": (
        enable(JSON, CHUNKED, body=chunked(b'"' + b"x" * BODY_LIMIT + b'"'), length=False),
        {413},
    ),
    "chunked, above all limits": (
        enable(JSON, CHUNKED, body=chunked(b" " * (LIMIT + 1)), length=False),
        {413},
    ),
    "above a view's limit": (enable(JSON, body=b" " * (BODY_LIMIT + 1)), {413}),
    "above all limits": (enable(JSON, body=b" " * (LIMIT + 1)), {413}),
    "a broken chunk": (enable(JSON, CHUNKED, body=b"zz\r\n{}\r\n", length=False), BY_SERVER),
    "length and chunks": (
        enable(JSON, CHUNKED, b"Content-Length: 3", body=chunked(b'{"x": 1}'), length=False),
        {400},
    ),
    "negative length": (enable(JSON, b"Content-Length: -1", length=False), BY_SERVER),
    "two lengths": (
        enable(JSON, b"Content-Length: 2", b"Content-Length: 20", body=b"{}", length=False),
        BY_SERVER,
    ),
    "a length of thousands of digits": (
        enable(JSON, b"Content-Length: " + b"9" * 5000, length=False),
        BY_SERVER,
    ),
    "deep": (enable(JSON, body=b'{"reason": ' + b"[" * 200_000), {400}),
    "deep objects": (enable(JSON, body=b'{"a":' * 100_000), {400}),
    "NaN": (enable(JSON, body=b'{"read_only": NaN}'), {400}),
    "Infinity": (enable(JSON, body=b'{"read_only": -Infinity}'), {400}),
    "compressed": (enable(JSON, b"Content-Encoding: gzip", body=b"\x1f\x8b\x08\x00"), {400}),
    "a byte order mark": (enable(JSON, body=b"\xef\xbb\xbf{}"), {400}),
    "another charset": (enable(JSON + b"; charset=utf-16", body="{}".encode("utf-16")), {400, 415}),
    "a codec that is none for texts": (enable(JSON + b"; charset=hex", body=b"7b7d"), {400, 415}),
    "a form in such a codec": (
        request(
            "POST",
            "/login",
            b"Content-Type: multipart/form-data; boundary=b; charset=hex",
            body=b'--b\r\nContent-Disposition: form-data; name="username"\r\n\r\nx\r\n--b--\r\n',
        ),
        {400},
    ),
    "a form without a boundary": (
        request("POST", "/login", b"Content-Type: multipart/form-data", body=b"x"),
        {400},
    ),
    "a form of many fields": (request("POST", "/login", FORM, body=b"a=1&" * 5000), {400}),
    "a form of many files": (
        request(
            "POST",
            "/login",
            b"Content-Type: multipart/form-data; boundary=b",
            body=b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\nx\r\n' * 500
            + b"--b--",
        ),
        {400},
    ),
}

REASONED = b'{"reason": "x"}'
HEADERS = {
    "NUL": (enable(b"X-Request-ID: a\x00b"), BY_SERVER),
    "CR": (enable(b"X-Request-ID: a\rX-Shield-Token: b"), BY_SERVER),
    "a continued line": (enable(b"X-Request-ID: a\r\n b", b"X-Shield-Token: x"), BY_SERVER | {401}),
    "LF": (enable(b"X-Request-ID: a\nX-Shield-Token: b"), BY_SERVER | {401}),
    "huge": (enable(b"X-Long: " + b"x" * 300_000), BY_SERVER),
    "a space before the colon": (enable(b"X-Shield-Token : x"), BY_SERVER),
    "two hosts": (enable(b"Host: evil.example"), BY_SERVER),
    "no name for a host": (request("POST", "/api/global/enable", b"%(bearer)s", host=b"a b/c"), {400}),
    "a user in the host": (request("POST", "/api/global/enable", b"%(bearer)s", host=b"x@y"), {400}),
    "two tokens": (enable(b"X-Shield-Token: x", b"X-Shield-Token: y"), {401}),
    "two credentials": (enable(b"Authorization: Bearer x"), {401}),
    "a token beside the right one": (enable(b"X-Shield-Token: x"), {401}),
    "a token in Latin-1": (request("POST", "/api/global/enable", b"X-Shield-Token: \xff\xfe"), {401}),
    "basic credentials": (request("POST", "/api/global/enable", b"Authorization: Basic b2xnYTpzZWM="), {401}),
    "a revision that is none": (enable(JSON, b'If-Match: "1", "2"', body=REASONED), {400}),
    "another method in a header": (
        request("GET", "/api/tokens/x", b"%(bearer)s", b"X-HTTP-Method-Override: DELETE"),
        {405},
    ),
    "another method in a form": (
        request("POST", "/api/tokens", b"%(bearer)s", FORM, body=b"_method=DELETE"),
        {415},
    ),
    "a method of one's own": (request("DESTROY", "/api/global", b"%(bearer)s"), {400, 405}),
    "a page by a method of one's own": (request("DESTROY", "/routes/"), {400, 403}),
    "CONNECT": (request("CONNECT", "evil.example:443"), {400, 403, 404, 405}),
    "TRACE": (request("TRACE", "/api/routes", b"%(bearer)s"), {405}),
}

PATHS = {
    "out of the static files": (get("/static/../../etc/passwd"), {400, 404}),
    "encoded": (get("/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd"), {400, 404}),
    "encoded slashes": (get("/static/..%2f..%2f..%2fetc%2fpasswd"), {400, 404}),
    "backslashes": (get("/static/..%5c..%5cetc%5cpasswd"), {400, 404}),
    "absolute": (get("/static//etc/passwd"), {400, 404}),
    "NUL": (get("/static/admin%00.css"), {400, 404}),
    "too long for a file": (get("/static/" + "a" * 5000), {400, 404, 414}),
    "the package's own code": (get("/static/../server/site.py"), {400, 404}),
    "the API through the static files": (request("GET", "/static/../api/routes"), {400, 404}),
    "the API behind two slashes": (request("GET", "//api/routes"), {302, 400, 404}),
    "no UTF-8": (get("/api/routes/%ff%fe"), {400, 404}),
    "bytes that are not encoded": (get(b"/api/\xff\xfe"), BY_SERVER | {404}),
    "a query that is not encoded": (get(b"/api/sdk/events?service=\xff"), BY_SERVER),
    "a line break": (get("/api/routes/%0d%0aSet-Cookie:x=y"), {400, 404}),
    "no address of the API": (get("/api/%2e%2e/login"), {400, 404}),
    "a service that is a path": (get("/api/services/..%2f..%2fglobal/maintenance"), {400, 404}),
    "a service of dots": (get("/api/services/%2e%2e/maintenance"), {400, 404}),
    "an endless query": (get("/api/routes?" + "a=1&" * 3000), {400}),
    "an endless query of the stream": (get("/api/sdk/events?" + "a=1&" * 3000), {400}),
    "a service of the stream": (get("/api/sdk/events?service=%0d%0adata:x"), {400}),
    "a position that is none": (get("/api/sdk/events?since=%0d%0a"), {400}),
    "a version that is none": (get("/api/sdk/events?proto=%0a"), {400}),
    "the stream by POST": (request("POST", "/api/sdk/events", b"%(bearer)s"), {403, 405}),
    **{
        f"limit {value[:8]}": (get(f"/api/audit?limit={value}"), {400})
        for value in ("-1", "1001", "9" * 400, "1e3", "NaN", "0x1", "%D9%A1", "%00")
    },
}


@pytest.mark.parametrize(
    "sent, statuses",
    [*BODIES.values(), *HEADERS.values(), *PATHS.values()],
    ids=[
        *(f"body: {one}" for one in BODIES),
        *(f"header: {one}" for one in HEADERS),
        *(f"path: {one}" for one in PATHS),
    ],
)
def test_it_is_refused_and_changes_nothing(unchanged, sent, statuses):
    answer = unchanged.send(sent.replace(b"%(bearer)s", unchanged.bearer))
    assert answer.status in statuses, answer
    assert len(answer.body) < 5000
    assert not answer.header("set-cookie").startswith("x=y")
    assert "root:" not in answer.body


def test_a_body_in_chunks_is_read(target):
    sent = enable(JSON, CHUNKED, body=chunked(b'{"reason": "in chunks"}', 5), length=False)
    answer = target.send(sent.replace(b"%(bearer)s", target.bearer))
    assert (answer.status, json.loads(answer.body)["reason"]) == (200, "in chunks")


def test_cookies_by_the_thousand_are_no_login(unchanged):
    many = b"; ".join(b"shield_session=%d" % number for number in range(800))
    for cookie in (many, b';;=;shield_session;shield_session="\\303\\000:x:y"', b"shield_session=\xff\xfe"):
        answer = unchanged.send(request("GET", "/routes/", b"Cookie: " + cookie))
        assert (answer.status, answer.header("location")) == (302, "/login?next=/routes/")


@pytest.mark.parametrize(
    "headers",
    [
        (b"X-Forwarded-Host: evil.example", b"X-Forwarded-Proto: https", b"X-Forwarded-For: 198.51.100.1"),
        (b"X_Forwarded_Host: evil.example", b"Forwarded: for=198.51.100.1;host=evil.example;proto=https"),
        (b"X-Original-URL: /api/tokens", b"X-Rewrite-URL: /api/tokens", b"X-Forwarded-Prefix: /evil"),
    ],
)
def test_what_a_proxy_would_say_counts_only_from_a_trusted_one(target, headers):
    page = target.send(request("GET", "/login?next=/routes/", *headers))
    assert page.status == 200
    assert "evil" not in page.body
    assert "Secure" not in page.header("set-cookie")
    failed = b'{"username": "mallory", "password": "x"}'
    assert target.send(request("POST", "/api/auth/login", JSON, *headers, body=failed)).status in (401, 429)
    [entry, *_] = target.call("GET", "audit?action=login_failed", target.token).json()
    assert entry["client_ip"] == "127.0.0.1"
