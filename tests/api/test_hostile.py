"""Whatever is sent: a clear answer, and nothing is changed."""

from __future__ import annotations

import base64
import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shield_django.api.formats import BODY_LIMIT
from shield_django.api.keys import decode_key, encode_key

ROUTE = f"routes/{encode_key('payments:GET:/payments')}"
DEEP = "[" * 100_000

BODIES = {
    "no JSON": b"{",
    "no object": b"[1]",
    "a number": b"7",
    "null": b"null",
    "a text": b'"x"',
    "deep": b'{"reason": ' + DEEP.encode(),
    "deep and whole": b'{"reason": ' + b"[" * 500 + b"]" * 500 + b"}",
    "oversized": b'{"reason": "' + b"x" * BODY_LIMIT + b'"}',
    "long reason": b'{"reason": "' + b"x" * 1001 + b'"}',
    "NaN": b'{"reason": NaN}',
    "infinite": b'{"reason": 1e999}',
    "endless number": b'{"reason": ' + b"9" * 10_000 + b"}",
    "latin-1": '{"reason": "ä"}'.encode("latin-1"),
    "utf-16": '{"reason": "x"}'.encode("utf-16"),
    "NUL": b'{"reason": "\\u0000"}',
    "NUL in a name": b'{"\\u0000": 1}',
    "surrogate": b'{"reason": "\\ud800"}',
    "surrogate in a name": b'{"\\udfff": 1}',
    "wrong type": b'{"reason": 7}',
    "truth for text": b'{"reason": true}',
    "list for text": b'{"reason": ["x"]}',
    "null for text": b'{"reason": null}',
    "line break": b'{"reason": "a\\nb"}',
    "header": b'{"reason": "a\\r\\nSet-Cookie: b=c"}',
    "event": b'{"note": "a\\n\\ndata: {}"}',
    "escape": b'{"reason": "\\u001b[2J"}',
    "line separator": b'{"reason": "a\\u2028b"}',
    "twice": b'{"reason": "x", "reason": "y"}',
    "twice, deeper": b'{"reason": "x", "x": {"y": 1, "y": 1}}',
    "misspelt": b'{"untill": "2100-01-01T00:00:00Z"}',
    "two ends": b'{"for": "2h", "until": "2100-01-01T00:00:00Z"}',
    "no zone": b'{"until": "2100-01-01T00:00:00"}',
    "past": b'{"until": "2000-01-01T00:00:00Z"}',
    "end before start": b'{"start": "2100-01-02T00:00:00Z", "end": "2100-01-01T00:00:00Z"}',
    "start alone": b'{"start": "2100-01-02T00:00:00Z"}',
    "no span": b'{"for": "soon"}',
    "number for a span": b'{"for": 30}',
    "too long a span": b'{"for": "999999999w"}',
    "far away": b'{"start": "9999-12-31T23:59:59Z", "for": "9w"}',
    "before time": b'{"until": "0001-01-01T00:00:00+23:59"}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("action", ["disable", "maintenance"])
def test_a_body_that_makes_no_sense_changes_nothing(memory_plane, body, action):
    before = memory_plane.revision
    answer = memory_plane.operator()("POST", f"{ROUTE}/{action}", body)
    assert 400 <= answer.status_code < 500
    assert set(answer.json()) == {"error"}
    assert len(answer.content) < 2000
    assert memory_plane.revision == before


def test_a_body_that_says_to_be_short_is_read_no_further(memory_plane):
    answer = memory_plane.operator()("POST", f"{ROUTE}/disable", BODIES["oversized"])
    assert answer.status_code == 413


def test_a_body_that_wsgi_does_not_hand_on_is_not_taken_for_none(memory_plane):
    before = memory_plane.revision
    headers = {"Transfer-Encoding": "chunked"}
    answer = memory_plane.operator()("POST", "global/enable", b"", headers=headers)
    assert (answer.status_code, set(answer.json())) == (411, {"error"})
    assert memory_plane.revision == before


@pytest.mark.parametrize("charset", ["utf-16", "latin-1"])
def test_what_is_said_not_to_be_utf_8_is_refused(memory_plane, charset):
    headers = {"Content-Type": f"application/json; charset={charset}"}
    assert memory_plane.operator()("GET", "routes?x=%41", headers=headers).status_code == 415


@pytest.mark.parametrize("content_type", ["application/JSON", "Application/Json; Charset=UTF-8"])
def test_the_type_of_a_body_is_known_in_any_letters(memory_plane, content_type):
    answer = memory_plane.operator()("POST", f"{ROUTE}/disable", b"{}", content_type=content_type)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain",
        "Text/Plain",
        "text/plain; x=application/json",
    ],
)
@pytest.mark.parametrize("body", [b"", b'{"reason": "x"}'])
def test_what_a_form_of_any_site_can_send_is_refused(started, content_type, body):
    plane = started(auth=None)
    options = {"content_type": content_type, "CONTENT_TYPE": content_type}
    assert plane.caller()("POST", "global/enable", body, **options).status_code == 415
    assert not plane.sync.get_global_maintenance().enabled


@pytest.mark.parametrize(
    "key",
    [
        "!!!",
        "a",
        "abcde",
        base64.urlsafe_b64encode(b"\xff\xfe").decode().rstrip("="),
        encode_key("GET:/a\x00b"),
        encode_key("GET:/a\nb"),
        encode_key("a:b:c:/x"),
        encode_key("http://evil.example/x"),
        encode_key("G" * 40 + ":/payments"),
        encode_key("s" * 300 + ":GET:/payments"),
        encode_key("GET:/" + "x" * 600),
        encode_key("__shield:x:/y"),
        "GET:%00/x",
        "%2F%0d%0a",
        "%ff%fe/%ff",
    ],
)
def test_a_key_that_is_none_is_refused(memory_plane, key):
    before = memory_plane.revision
    olga = memory_plane.operator()
    for answer in (olga("GET", f"routes/{key}"), olga("POST", f"routes/{key}/disable", {})):
        assert answer.status_code in (400, 404)
        assert set(answer.json()) == {"error"}
    assert memory_plane.revision == before


@pytest.mark.parametrize("value", ["x", '"x"', '"1", "2"', "-1", '"9999999999999999999"', "1.5", "١"])
def test_a_revision_that_is_none_is_refused(memory_plane, value):
    answer = memory_plane.operator()("POST", f"{ROUTE}/disable", {}, headers={"If-Match": value})
    assert answer.status_code == 400


@pytest.mark.parametrize("header", ["X-Shield-Service", "X-Shield-App-Id"])
@pytest.mark.parametrize("value", ["No Service", "../x", "x" * 500, "a:b"])
def test_a_header_that_names_no_service_is_refused(memory_plane, header, value):
    answer = memory_plane.operator()("GET", "routes", headers={header: value})
    assert answer.status_code == 400


@pytest.mark.parametrize("token", ["x", "x:y:z", "é", ":" * 1000, "a" * 100_000, "eyJhbGciOiJub25lIn0.e30."])
def test_a_token_that_is_none_is_refused(memory_plane, token):
    for headers in ({"Authorization": f"Bearer {token}"}, {"X-Shield-Token": token}):
        answer = memory_plane.caller()("GET", "routes", headers=headers)
        assert answer.status_code == 401


def test_no_forged_line_gets_into_a_log(memory_plane, caplog):
    with caplog.at_level(logging.DEBUG):
        memory_plane.caller()("POST", "auth/login", {"username": "x\u2028FORGED", "password": "x"})
        memory_plane.caller()("POST", "auth/login", {"username": "x", "password": "x\nFORGED"})
        body = {"instance": "a", "revision": 1, "errors": ["x\nFORGED"]}
        memory_plane.sdk("payments")("POST", "sdk/ack", body)
    lines = "\n".join(record.getMessage() for record in caplog.records).splitlines()
    assert not [line for line in lines if line.startswith("FORGED")]


def test_what_nobody_expected_is_told_in_json_and_reported(memory_plane, monkeypatch, caplog):
    def fail(self, *args, **options):
        raise RuntimeError("a bug")

    monkeypatch.setattr("shield_core.sync.SyncEngine.list_states", fail)
    caller = memory_plane.operator()
    caller.raise_request_exception = False
    answer = caller("GET", "routes", headers={"Accept": "text/html"})
    assert (answer.status_code, answer["Content-Type"]) == (500, "application/json")
    assert "a bug" not in answer.content.decode()
    assert "a bug" in caplog.text


def test_a_store_that_cannot_be_reached_is_no_error_of_the_caller(started, redis_server):
    from shield_core.backends.redis import RedisBackend

    plane = started(RedisBackend(redis_server.url))
    olga = plane.operator()
    assert olga("GET", "routes").status_code == 200
    redis_server.stop()
    try:
        answer = olga("POST", "global/enable", {})
    finally:
        redis_server.start()
    assert (answer.status_code, set(answer.json())) == (503, {"error"})


@given(key=st.text(min_size=1))
def test_every_text_survives_its_way_through_a_url(key):
    try:
        key.encode()
    except UnicodeEncodeError:
        return
    assert decode_key(encode_key(key)) == key


@pytest.mark.heavy
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    ["reason", "for", "until", "start", "end", "path", "limit", "states", "envs", "x"]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=10,
    ),
    address=st.sampled_from(
        [
            f"{ROUTE}/disable",
            f"{ROUTE}/env",
            f"{ROUTE}/schedule",
            "global/enable",
            "global/exempt",
            "rate-limits",
            "global-rate-limit",
            "tokens",
            "sdk/register",
            "sdk/ack",
            "sdk/audit",
            "auth/login",
        ]
    ),
)
def test_no_body_is_an_error_of_the_server(memory_plane, body, address):
    answer = memory_plane.operator()("POST", address, body)
    assert answer.status_code < 500
    assert answer["Content-Type"] == "application/json"
