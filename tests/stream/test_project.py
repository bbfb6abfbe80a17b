"""The event stream of a Django project, on real servers and a real database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connections

from shield_django.auth.tokens import Token, Tokens
from shield_django.control import PROJECT
from tests.conftest import eventually
from tests.databases import ALIAS
from tests.servers.processes import Server
from tests.settings import SECRET_KEY
from tests.stream.listener import Listener, all_until

pytestmark = pytest.mark.servers

MANY = 200
ENV = {"DJANGO_SETTINGS_MODULE": "tests.stream.settings"}
EVENTS = "/shield/api/sdk/events"
TOKENS = Tokens([f"{PROJECT}:{SECRET_KEY}"])


@pytest.fixture
def listen() -> Iterator[Any]:
    """``listen(server, token)`` listens until the end of the test."""
    with ExitStack() as stack:

        def begin(server: Server, token: Token, query: str = "proto=2", path: str = EVENTS) -> Listener:
            named = {"Authorization": f"Bearer {TOKENS.sign(token)}"}
            return stack.enter_context(Listener(server.port, query, path=path, **named))

        yield begin


@pytest.fixture
def olga(operator: Any) -> Any:
    """A user who may look at routes, in the project's own database."""
    user = get_user_model()(username="olga", is_staff=True)
    user.set_password("pw")
    user.save(using=ALIAS)
    user.user_permissions.add(Permission.objects.using(ALIAS).get(codename="view_route"))
    return user


def token_of(user: Any) -> Token:
    return TOKENS.make(user.username, "cli", fingerprint=user.get_session_auth_hash()[:16])


def connections_of(database: dict[str, Any]) -> int:
    """How many connections others have to the database."""
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
            [database["NAME"]],
        )
        return int(cursor.fetchone()[0])


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_many_streams_add_no_database_connection(
    serve: Any, listen: Any, database: dict[str, Any], olga: Any, kind: str
) -> None:
    server = serve(kind, env=ENV)
    listen(server, token_of(olga)).until_open()
    assert server.status("/shop/") == 200
    # What the replica's thread has, and what the thread that asked for the user may keep.
    before = eventually(lambda: connections_of(database))

    listeners = [listen(server, token_of(olga)) for _ in range(MANY)]
    all_until(listeners, lambda one: any(frame.type == "sync" for frame in one.frames))

    assert connections_of(database) <= before
    for one in listeners:
        one.close()


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_a_change_by_another_process_is_told(
    serve: Any, listen: Any, operator: Any, olga: Any, kind: str
) -> None:
    server = serve(kind, env=ENV)
    told = listen(server, token_of(olga)).until_open()
    plain = listen(server, token_of(olga), "").until_open()

    operator.disable("/shop/cart/", reason="elsewhere")

    for one in (told, plain):
        one.until(lambda one: one.status_of("/shop/cart/") == "disabled")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_stream_is_wherever_the_project_has_it(
    serve: Any, listen: Any, operator: Any, olga: Any, kind: str
) -> None:
    server = serve(kind, env=ENV)
    listen(server, token_of(olga), path="/tenants/blue/shield/api/sdk/events").until_open()
    assert server.status("/elsewhere/api/sdk/events") == 404
    assert server.status("/shield/healthz") == 200


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_stream_is_open_under_maintenance(serve: Any, listen: Any, operator: Any, olga: Any) -> None:
    operator.enable_global_maintenance()
    server = serve("uvicorn", env=ENV)

    assert server.status("/shop/") == 503
    listen(server, token_of(olga)).until_open()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_permissions_of_the_project_decide(serve: Any, listen: Any, operator: Any, olga: Any) -> None:
    nobody = get_user_model()(username="nina", is_staff=True)
    nobody.save(using=ALIAS)
    server = serve("uvicorn", env=ENV)

    assert "may not read" in listen(server, token_of(nobody)).error
    olga.set_password("another")
    olga.save(using=ALIAS)
    stale = TOKENS.make("olga", "cli", fingerprint="0" * 16)
    assert "password has changed" in listen(server, stale).error


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("kind", ["gunicorn sync"])
def test_without_asgi_there_is_no_stream(serve: Any, operator: Any, olga: Any, kind: str) -> None:
    server = serve(kind, env=ENV)
    answer = server.ask(EVENTS, Authorization=f"Bearer {TOKENS.sign(token_of(olga))}")
    assert answer.status == 501
