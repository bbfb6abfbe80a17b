"""Requests to a Shield Server: what its answers mean, and to whom a token goes."""

from __future__ import annotations

import logging
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield_core.exceptions import (
    AmbiguousRouteError,
    BackendError,
    ConflictError,
    InvalidInputError,
    NotAllowedError,
    NotAuthenticatedError,
    RefusedError,
    RouteNotFoundException,
    RouteProtectedException,
    ServerError,
    ShieldException,
)
from shield_core.remote import connection as connection_module
from shield_core.remote import stream as stream_module
from shield_core.remote.connection import Connection, retry_after
from shield_core.remote.credentials import FixedToken, Password
from shield_core.remote.reading import Reader
from shield_core.remote.stream import Stream
from shield_core.snapshot import Snapshot
from tests.conftest import eventually
from tests.postgres import free_port
from tests.sdk.site import Site

SECRET = "s3cr3t-t0ken"
PASSWORD = "correct horse"


@pytest.fixture
def make_site() -> Iterator[Callable[[], Site]]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Site())


@pytest.fixture
def site(make_site: Callable[[], Site]) -> Site:
    return make_site()


@pytest.fixture
def connect() -> Iterator[Callable[..., Connection]]:
    with ExitStack() as stack:

        def make(*sites: Site | str, **options: Any) -> Connection:
            addresses = ",".join(one if isinstance(one, str) else one.address for one in sites)
            made = Connection(addresses, options.pop("credentials", FixedToken(SECRET)), **options)
            stack.callback(made.close)
            return made

        yield make


def refusal(connection: Connection) -> ShieldException:
    with pytest.raises(ShieldException) as raised:
        connection.request("GET", "/routes")
    return raised.value


# -- what a request says ----------------------------------------------------------------------


def test_a_request_has_the_token_the_service_and_its_body_as_json(site, connect):
    site.answers(200, {"ok": True}, ETag='"7"')
    connection = connect(site, app_id="payments", agent="shield-sdk/1")
    reply = connection.request("POST", "/sdk/ack", body={"näme": 1}, params={"a": "b c"})
    assert (reply.status, reply.data, reply.etag) == (200, {"ok": True}, '"7"')
    (asked,) = site.asked
    assert (asked.method, asked.path) == ("POST", "/api/sdk/ack?a=b+c")
    assert asked.token == SECRET
    assert asked.headers["x-shield-app-id"] == "payments"
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["user-agent"] == "shield-sdk/1"
    assert asked.body == b'{"n\\u00e4me": 1}'


def test_what_has_not_changed_comes_without_a_body(site, connect):
    site.answers(304, ETag='"7"')
    reply = connect(site).request("GET", "/sdk/snapshot", headers={"If-None-Match": '"7"'})
    assert (reply.status, reply.data, reply.etag) == (304, None, '"7"')


def test_an_address_may_have_a_path_and_a_slash_at_its_end(site, connect):
    connect(f"{site.address}/shield/").request("GET", "/routes")
    assert site.asked[0].path == "/shield/api/routes"


# -- what an answer means ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "kind", "told"),
    [
        (400, {"error": "end: too early"}, InvalidInputError, "end: too early"),
        (401, {"error": "Log in first."}, NotAuthenticatedError, "Log in first."),
        (401, b"", NotAuthenticatedError, "wants a login"),
        (403, {"error": "Only payments."}, NotAllowedError, "Only payments."),
        (403, b"<html>", NotAllowedError, "does not allow"),
        (404, {"error": "No route '/x'."}, RouteNotFoundException, "No route '/x'."),
        (404, b"<h1>Not Found</h1>", ServerError, "answered 404"),
        (409, {"error": "It is so."}, RefusedError, "It is so."),
        (413, {"error": "Too large."}, RefusedError, "Too large."),
        (415, {"error": "No JSON."}, RefusedError, "No JSON."),
        (429, {"error": "Slowly."}, ServerError, "429: Slowly."),
        (500, b"oops", ServerError, "answered 500"),
        (501, {"error": "Needs ASGI."}, RefusedError, "Needs ASGI."),
        (502, b"<html>", ServerError, "answered 502"),
        (503, {"error": "The store."}, ServerError, "503: The store."),
        (418, {"error": ["no", "text"]}, ServerError, "answered 418"),
        (500, [1, 2], ServerError, "answered 500"),
    ],
)
def test_a_refusal_is_an_exception_that_says_why(site, connect, status, body, kind, told):
    site.answers(status, body)
    error = refusal(connect(site))
    assert type(error) is kind
    assert told in str(error)
    if isinstance(error, ServerError | RefusedError):
        assert error.status == status


def test_what_the_server_has_raised_is_raised_here(site, connect):
    connection = connect(site)
    site.answers(409, {"error": "…", "conflict": {"path": "GET:/x", "expected": 3, "actual": 5}})
    conflict = refusal(connection)
    assert isinstance(conflict, ConflictError)
    assert (conflict.path, conflict.expected, conflict.actual) == ("GET:/x", 3, 5)
    site.answers(409, {"error": "…", "protected": "GET:/health"})
    protected = refusal(connection)
    assert isinstance(protected, RouteProtectedException)
    assert protected.path == "GET:/health"
    site.answers(409, {"error": "Which one?", "ambiguous_matches": ["a:/x", "b:/x"]})
    ambiguous = refusal(connection)
    assert isinstance(ambiguous, AmbiguousRouteError)
    assert (ambiguous.matches, str(ambiguous)) == (["a:/x", "b:/x"], "Which one?")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 500, 503])
def test_a_long_sentence_is_cut(site, connect, status):
    site.answers(status, {"error": "x" * 100_000})
    assert len(str(refusal(connect(site)))) < 700


@pytest.mark.parametrize(
    "body", [b"<!DOCTYPE html><p>Log in to the guest network", b"", b"{", b"\xff\xfe", b"[" * 100_000]
)
def test_a_page_is_no_answer(site, connect, body):
    site.answers(200, body, Content_Type="text/html")
    error = refusal(connect(site))
    assert type(error) is ServerError
    assert "is it a Shield Server?" in str(error)


def test_a_stream_that_is_none_is_refused(site, connect):
    site.answers(200, b"<p>Welcome", Content_Type="text/html; charset=utf-8")
    connection = connect(site)
    with (
        pytest.raises(ServerError, match="answers with text/html"),
        connection.stream("/sdk/events", params={}, silence=1.0),
    ):
        raise AssertionError("it was taken for one")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("\u0661\u0662".encode().decode("latin-1"), None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_seconds_or_a_date(site, connect, status, header, seconds):
    site.answers(status, {"error": "Later."}, Retry_After=header)
    error = refusal(connect(site))
    assert isinstance(error, ServerError)
    assert error.retry_after == seconds


def test_retry_after_may_be_a_date_that_is_to_come(site, connect):
    moment = datetime.now(UTC) + timedelta(seconds=90)
    for text in (format_datetime(moment, usegmt=True), format_datetime(moment.replace(tzinfo=None))):
        site.answers(503, {"error": "Later."}, Retry_After=text)
        error = refusal(connect(site))
        assert isinstance(error, ServerError)
        assert error.retry_after == pytest.approx(90, abs=5)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)) | st.integers(0).map(str))
def test_any_retry_after_is_a_number_of_seconds_or_none(text):
    found = retry_after(text)
    assert found is None or (found >= 0 and math.isfinite(found))


@pytest.mark.parametrize(
    "text", ["9" * 400, "Sun, 06 Nov 99999 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 +99999999"]
)
def test_an_absurd_retry_after_is_passed_over(text):
    assert retry_after(text) is None


# -- a token goes to the server and nowhere else ---------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(make_site, connect, status):
    site, elsewhere = make_site(), make_site()
    site.answers(status, b"", Location=f"{elsewhere.address}/api/routes")
    for credentials in (FixedToken(SECRET), Password("olga", PASSWORD)):
        error = refusal(connect(site, credentials=credentials))
        assert isinstance(error, ServerError)
        assert elsewhere.address in str(error)
    assert elsewhere.asked == []


@pytest.mark.parametrize("status", [301, 307])
def test_a_redirected_stream_is_not_followed(make_site, connect, status):
    site, elsewhere = make_site(), make_site()
    site.answers(status, b"", Location=elsewhere.address)
    connection = connect(site)
    with (
        pytest.raises(ServerError, match="redirects"),
        connection.stream("/sdk/events", params={}, silence=1.0),
    ):
        raise AssertionError("it was followed")
    assert elsewhere.asked == []


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 429, 500, 501, 503])
def test_neither_token_nor_password_is_told_to_anybody(site, connect, caplog, status):
    caplog.set_level(logging.DEBUG)
    site.answers(status, b"<html>", Location="http://192.0.2.1/")
    for credentials in (FixedToken(SECRET), FixedToken(lambda: SECRET), Password("olga", PASSWORD)):
        connection = connect(site, credentials=credentials)
        error = refusal(connection)
        said = [str(error), repr(error), repr(error.__cause__), repr(error.__context__)]
        said += [repr(connection), repr(credentials), str(vars(error)), caplog.text]
        assert not any(SECRET in one or PASSWORD in one for one in said)


def test_neither_is_told_where_the_server_is_absent(connect, caplog):
    caplog.set_level(logging.DEBUG)
    for credentials in (FixedToken(SECRET), Password("olga", PASSWORD)):
        error = refusal(connect(f"http://127.0.0.1:{free_port()}", credentials=credentials))
        assert "cannot be reached" in str(error)
        said = [str(error), repr(error.__cause__), repr(vars(error.__cause__)), caplog.text]
        assert not any(SECRET in one or PASSWORD in one for one in said)


def test_a_login_sends_no_token_and_what_it_gets_is_used(site, connect):
    site.answers(200, {"token": "new", "username": "olga"}, at="/api/auth/login")
    connection = connect(site, credentials=Password("olga", PASSWORD), app_id="payments")
    for _ in range(2):
        connection.request("GET", "/routes")
    login, *others = site.asked
    assert (login.path, login.token) == ("/api/auth/login", None)
    assert b'"platform": "sdk"' in login.body
    assert b'"app_id": "payments"' in login.body
    assert [one.token for one in others] == ["new", "new"]


def test_after_a_401_a_new_login_is_made(site, connect):
    site.answers(200, {"token": "old"}, at="/api/auth/login")
    connection = connect(site, credentials=Password("olga", PASSWORD))
    connection.request("GET", "/routes")
    site.answers(401, {"error": "It has expired."}, at="/api/routes")
    assert isinstance(refusal(connection), NotAuthenticatedError)
    site.answers(200, {"token": "new"}, at="/api/auth/login")
    site.answers(200, [], at="/api/routes")
    connection.request("GET", "/routes")
    assert site.asked[-1].token == "new"


def test_a_server_without_users_is_asked_without_a_token(site, connect):
    site.answers(501, {"error": "It is open."}, at="/api/auth/login")
    connection = connect(site, credentials=Password("olga", PASSWORD))
    connection.request("GET", "/routes")
    assert "authorization" not in site.asked[-1].headers


@pytest.mark.parametrize("answer", [{}, [], {"token": 7}, {"token": None}, "token"])
def test_a_login_that_gives_no_token_is_none(site, connect, answer):
    site.answers(200, answer, at="/api/auth/login")
    error = refusal(connect(site, credentials=Password("olga", PASSWORD)))
    assert isinstance(error, ServerError)
    assert "lets nobody in" in str(error)


def test_a_wrong_password_is_told(site, connect):
    site.answers(401, {"error": "Invalid credentials"}, at="/api/auth/login")
    error = refusal(connect(site, credentials=Password("olga", PASSWORD)))
    assert isinstance(error, NotAuthenticatedError)
    assert str(error) == "Invalid credentials"


# -- where the server is --------------------------------------------------------------------------


def test_after_a_failure_the_next_node_is_asked(make_site, connect):
    one, other = make_site(), make_site()
    connection = connect(f" {one.address} ,", f"{other.address}/, ")
    assert connection.nodes == (one.address, other.address)
    for site in (one, other, one):
        assert connection.address == site.address
        connection.request("GET", "/routes")
        connection.next_node()
    assert (len(one.asked), len(other.asked)) == (2, 1)


def test_one_node_is_always_the_next(site, connect):
    connection = connect(site)
    connection.next_node()
    assert connection.address == site.address


@pytest.mark.parametrize(
    "address",
    [
        "",
        " , ",
        "localhost:8000",
        "ftp://shield",
        "http://",
        "http:///api",
        "//shield",
        "shield",
        "http://olga:secret@shield",
        "http://shield?token=x",
        "http://shield#x",
        "http://shield:port",
        "http://shield:99999",
        "http://[::1",
        "http://ok,ftp://bad",
        "http://sh ield",
        "file:///etc/passwd",
    ],
)
def test_what_is_no_address_is_refused_at_once(address):
    with pytest.raises(InvalidInputError) as raised:
        Connection(address)
    assert "secret" not in str(raised.value)


def test_a_server_that_does_not_answer_in_time_is_given_up(connect):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connection = connect(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(BackendError, match="does not answer in time"):
            connection.request("GET", "/routes", timeout=0.1)


def test_an_answer_that_breaks_off_is_an_error_of_the_store(connect):
    with socket.create_server(("127.0.0.1", 0)) as rude:
        connection = connect(f"http://127.0.0.1:{rude.getsockname()[1]}")
        with ExitStack() as stack:

            def answer() -> None:
                client, _ = rude.accept()
                client.recv(65536)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
                client.close()

            thread = threading.Thread(target=answer)
            thread.start()
            stack.callback(thread.join)
            with pytest.raises(BackendError, match="cannot be reached"):
                connection.request("GET", "/routes")


def test_an_answer_that_never_ends_is_given_up(connect, monkeypatch):
    monkeypatch.setattr(connection_module, "WHOLE_ANSWER", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as slow, ExitStack() as stack:

        def answer() -> None:
            client, _ = slow.accept()
            with client, suppress(OSError):
                client.recv(65536)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while True:
                    client.sendall(b" ")
                    time.sleep(0.01)

        thread = threading.Thread(target=answer)
        thread.start()
        stack.callback(thread.join)
        connection = connect(f"http://127.0.0.1:{slow.getsockname()[1]}")
        stack.callback(connection.close)
        with pytest.raises(ServerError, match="does not end its answer"):
            connection.request("GET", "/routes")


def test_an_answer_without_measure_is_given_up(site, connect, monkeypatch):
    monkeypatch.setattr(connection_module, "LARGEST", 1000)
    site.answers(200, ["x" * 1000])
    with pytest.raises(ServerError, match="more than 1000 bytes"):
        connect(site).request("GET", "/routes")


def test_an_event_without_measure_ends_the_stream(site, connect, monkeypatch):
    monkeypatch.setattr(stream_module, "LARGEST", 1000)
    site.answers(200, b"data: " + b"x" * 2000, Content_Type="text/event-stream")
    stream = Stream(connect(site), Reader("payments"), Snapshot(), "payments")
    error = eventually(lambda: stream.error)
    assert "1000 byte limit" in str(error)


def test_a_closed_connection_opens_again(site, connect):
    connection = connect(site)
    for _ in range(2):
        assert connection.request("GET", "/routes").status == 200
        connection.close()
