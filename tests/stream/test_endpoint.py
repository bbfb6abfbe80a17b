"""Who may listen to what, from where on, and how long: the endpoint on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import eventually
from tests.stream.conftest import StreamServer
from tests.stream.listener import Listener

pytestmark = pytest.mark.servers


ROUTES = ["shop:GET:/a", "other:GET:/b", "GET:/c"]


@pytest.fixture
def server(stream_server: Any) -> Any:
    found = stream_server("uvicorn")
    found.call("register_states", ROUTES)
    return found


@pytest.fixture(scope="module")
def unchanging() -> Iterator[StreamServer]:
    """A server of many tests, which change nothing; its streams give a sign of life every second."""
    with StreamServer("uvicorn", STREAM_KEEPALIVE="1") as found:
        found.call("register_states", ROUTES)
        yield found


def of_service(server: Any, service: str | None = "shop", **options: Any) -> Any:
    return server.tokens.make("shop", "sdk", service=service, **options)


REFUSALS = [
    ("GET", "", {}, 401, "Log in"),
    ("GET", "", {"Authorization": "Bearer nonsense"}, 401, "not valid"),
    ("GET", "", {"Authorization": "Basic b2xnYTpwdw=="}, 401, "Log in"),
    ("GET", "?token=nonsense", {}, 401, "Log in"),
    ("GET", "", {"Host": "a/b"}, 400, "host"),
    ("GET", "?proto=3", {}, 400, "proto"),
    ("GET", "?proto=two", {}, 400, "proto"),
    ("GET", "?since=yesterday", {}, 400, "since"),
    ("GET", "?since=epoch:-1", {}, 400, "since"),
    ("GET", "?service=No%20Service", {}, 400, "service"),
    ("GET", "", {"X_Shield_App_Id": "../x"}, 400, "service"),
    ("POST", "", {}, 405, "GET"),
    ("DELETE", "", {}, 405, "GET"),
]


@pytest.mark.parametrize("method, query, headers, status, said", REFUSALS)
def test_refusals_are_json(
    unchanging: Any, method: str, query: str, headers: dict[str, str], status: int, said: str
) -> None:
    if status == 405 or "X_Shield_App_Id" in headers:
        headers = {**headers, "X_Shield_Token": unchanging.operator_token}
    answer = unchanging.ask(f"/api/sdk/events{query}", method, **headers)

    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert said in str(answer.error)
    assert answer.headers["cache-control"] == "no-store"
    assert ("www-authenticate" in answer.headers) is (status == 401)


def test_head_is_answered_without_a_body(unchanging: Any) -> None:
    answer = unchanging.ask("/api/sdk/events", "HEAD")
    assert (answer.status, answer.body, answer.headers["allow"]) == (405, "", "GET")


def test_the_stream_says_what_it_is(unchanging: Any) -> None:
    told = unchanging.listen().until_open()
    assert told.status == 200
    assert told.headers["content-type"].startswith("text/event-stream")
    assert told.headers["x-accel-buffering"] == "no"
    hello = told.frames[0].content
    assert hello == {"type": "hello", "proto": 2, "minor": 0, "durable": False}


@pytest.mark.parametrize("query", ["", "proto=2"])
def test_a_service_hears_itself_and_what_is_for_everybody(server: Any, query: str) -> None:
    told = server.listen(query, token=server.tokens.sign(of_service(server))).until_open()
    server.call("disable", "other:GET:/b")
    server.call("disable", "GET:/c")
    server.call("enable_service_maintenance", "other")
    server.call("enable_global_maintenance", "all of it")
    position = server.call("disable", "shop:GET:/a")

    told.until(lambda one: one.id == position)
    assert told.status_of("shop:GET:/a") == "disabled"
    said = [frame.content for frame in told.frames]
    assert not any("other" in str(one) or "GET:/c" in str(one) for one in said)
    assert any("all of it" in str(one) for one in said)


def test_a_service_hears_no_other_service(unchanging: Any) -> None:
    token = unchanging.tokens.sign(of_service(unchanging))
    refused = unchanging.listen("service=other", token=token)
    assert "only the service 'shop'" in refused.error
    assert refused.status == 403
    named = Listener(unchanging.port, X_Shield_Token=token, X_Shield_App_Id="other")
    assert "only the service 'shop'" in named.error
    named.close()


def test_an_operator_chooses(unchanging: Any) -> None:
    everything = unchanging.listen().until_open()
    assert set(everything.states) == {"shop:GET:/a", "other:GET:/b", "GET:/c"}
    assert set(unchanging.listen("proto=2&service=other").until_open().states) == {"other:GET:/b"}


def test_a_token_of_no_service_hears_its_service_once_it_has_one(server: Any) -> None:
    from tests.stream.control_app import OPERATOR

    token = server.tokens.make(OPERATOR, "sdk", fingerprint=fingerprint(server))
    told = server.listen(token=server.tokens.sign(token)).until_open()
    assert not told.states
    server.do(("bind_token", [{"token": token.record.model_dump(mode="json")}, "shop"], {}))

    told.until_end()

    again = server.listen(token=server.tokens.sign(token)).until_open()
    assert set(again.states) == {"shop:GET:/a"}


@pytest.mark.parametrize("query", ["", "proto=2"])
def test_a_revoked_token_ends_its_streams_and_no_others(server: Any, query: str) -> None:
    revoked, kept = of_service(server), of_service(server)
    ending, lasting = (server.listen(query, token=server.tokens.sign(one)) for one in (revoked, kept))
    for one in (ending, lasting):
        one.until_open()

    record = {"token": revoked.record.model_dump(mode="json")}
    server.do(("revoke_token", [revoked.id, record], {}))

    ending.until(lambda one: one.ended, within=5)
    assert server.listen(token=server.tokens.sign(revoked)).until_end().status == 401
    position = server.call("disable", "shop:GET:/a")
    lasting.until(lambda one: one.id == position)


def test_an_expired_token_ends_its_streams(unchanging: Any) -> None:
    """Within the time between two signs of life, also when nothing else happens."""
    token = of_service(unchanging, lifetime=timedelta(seconds=2))
    told = unchanging.listen(token=unchanging.tokens.sign(token)).until_open()

    told.until(lambda one: one.ended, within=25)
    assert told.frames[-1].content["reason"] == "revoked"


def test_a_cookie_of_the_server_lets_a_browser_listen(unchanging: Any) -> None:
    token = unchanging.tokens.make("olga", "dashboard", fingerprint=fingerprint(unchanging))
    with Listener(
        unchanging.port, "proto=2", Cookie=f"shield_session={unchanging.tokens.sign(token)}"
    ) as told:
        told.until_open()


def fingerprint(server: Any) -> str:
    from shield_django.auth.authorities import Passwords
    from tests.stream.control_app import OPERATOR, PASSWORD

    return Passwords([(OPERATOR, PASSWORD)]).fingerprint(OPERATOR)


def test_an_open_server_lets_everybody_listen(stream_server: Any) -> None:
    server = stream_server("uvicorn", STREAM_OPEN="1")
    server.listen(token="").until_open()


@pytest.mark.parametrize("named", ["query", "header"])
def test_who_comes_again_hears_what_was_missed(server: Any, named: str) -> None:
    first = server.listen().until_open()
    first.close()
    position = server.do(("disable", ["shop:GET:/a"], {}), ("disable", ["GET:/c"], {}))

    if named == "query":
        again = server.listen(f"proto=2&since={first.id}")
    else:
        header = {"Authorization": f"Bearer {server.operator_token}", "Last_Event_ID": first.id}
        again = Listener(server.port, "proto=2", **header)
    with again:
        again.until_open()
    assert [frame.type for frame in again.frames] == ["hello", "state", "state", "sync"]
    assert [frame.id for frame in again.frames] == [first.id] * 3 + [position]


def test_a_browser_that_comes_again_hears_only_what_it_has_not_heard(server: Any) -> None:
    """It asks at its first address, with a position of then, and names the newer one in the header."""
    first = server.listen().until_open().id
    second = server.call("disable", "shop:GET:/a")
    header = {"Authorization": f"Bearer {server.operator_token}", "Last_Event_ID": second}
    with Listener(server.port, f"proto=2&since={first}", **header) as again:
        again.until_open()
    assert [frame.type for frame in again.frames] == ["hello", "sync"]


@pytest.fixture(params=["memory", "file", "redis"])
def anywhere(request: pytest.FixtureRequest, stream_server: Any, tmp_path: Path) -> Any:
    """A server on each backend."""
    match request.param:
        case "file":
            return stream_server("uvicorn", STREAM_FILE=str(tmp_path / "state.json"))
        case "redis":
            return stream_server("uvicorn", STREAM_REDIS=request.getfixturevalue("redis_server").url)
    return stream_server("uvicorn")


def test_boundaries_of_windows_are_told(anywhere: Any) -> None:
    """To plain clients as effective statuses, and the revision moves at each."""
    anywhere.call("register_states", ["GET:/a"])
    plain, full = anywhere.listen("").until_open(), anywhere.listen().until_open()
    anywhere.call("schedule_maintenance", "GET:/a", window=[1, 2])
    anywhere.call("enable_service_maintenance", "shop", window=[1, 2])

    def told() -> list[str]:
        states = [frame.content["payload"] for frame in plain.frames if frame.type == "state"]
        return [state["status"] for state in states if state["path"] == "GET:/a"]

    plain.until(lambda _: told()[-3:] == ["active", "maintenance", "active"])
    full.until(lambda one: one.id == plain.id)
    assert len({frame.id for frame in full.frames}) >= 4
    sentinels = [
        frame.content["payload"]["reason"] for frame in plain.frames if "svc_global" in str(frame.content)
    ]
    plain.until(lambda _: len(sentinels) >= 1)
    assert '"enabled":true' in "".join(sentinels)


def test_two_nodes_on_one_redis_tell_the_same(stream_server: Any, redis_server: Any) -> None:
    here, there = (stream_server("uvicorn", STREAM_REDIS=redis_server.url) for _ in range(2))
    here.call("register_states", ["GET:/a", "GET:/b"])
    eventually(lambda: there.call("get_state", "GET:/a"))
    listeners = [one.listen().until_open() for one in (here, there)]

    here.call("disable", "GET:/a")
    position = there.call("set_maintenance", "GET:/b")

    for one in listeners:
        one.until(lambda one: one.id == position)
    assert listeners[0].states == listeners[1].states
    # Who comes from one node to the other goes on where it was.
    moved = there.listen(f"proto=2&since={listeners[0].id}").until_open()
    assert [frame.type for frame in moved.frames] == ["hello", "sync"]


def test_a_token_revoked_on_one_node_ends_on_the_other(stream_server: Any, redis_server: Any) -> None:
    here, there = (stream_server("uvicorn", STREAM_REDIS=redis_server.url) for _ in range(2))
    token = of_service(here)
    told = there.listen(token=there.tokens.sign(token)).until_open()

    here.do(("revoke_token", [token.id, {"token": token.record.model_dump(mode="json")}], {}))

    told.until(lambda one: one.ended, within=5)
