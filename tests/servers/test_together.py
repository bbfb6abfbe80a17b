"""Several processes on one database, a store that goes away, forks, script names."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import eventually
from tests.postgres import Postgres

pytestmark = pytest.mark.servers

OLD = "The store does not answer; the last known rules stay in force"


def test_a_change_in_one_process_is_enforced_in_all(serve: Any, operator: Any) -> None:
    servers = [serve("gunicorn gthread"), serve("uvicorn")]
    assert [server.status("/shop/cart/") for server in servers] == [200, 200]

    operator.disable("/shop/cart/", reason="elsewhere")
    eventually(lambda: [server.status("/shop/cart/") for server in servers] == [503, 503])
    assert [server.ask("/shop/cart/").error["reason"] for server in servers] == ["elsewhere"] * 2

    operator.enable_global_maintenance(reason="all")
    eventually(lambda: [server.status("/nowhere/") for server in servers] == [503, 503])

    operator.disable_global_maintenance()
    operator.enable("/shop/cart/")
    eventually(lambda: [server.status("/shop/cart/") for server in servers] == [200, 200])


@pytest.mark.parametrize("kind", ["gunicorn gthread", "uvicorn"])
def test_with_the_store_gone_the_last_rules_stay(
    request: Any, serve: Any, operator: Any, database: dict[str, Any], kind: str
) -> None:
    operator.disable("/shop/cart/")
    server = serve(kind)
    assert (server.status("/shop/cart/"), server.status("/shop/")) == (503, 200)
    eventually(lambda: "The store does not answer" not in server.log)

    gone = Gone(database, request)
    gone.leave()
    eventually(lambda: OLD in server.log)
    for _ in range(20):
        assert (server.status("/shop/cart/"), server.status("/shop/")) == (503, 200)
        time.sleep(0.05)
    assert server.log.count(OLD) == 1

    gone.come_back()
    operator.enable("/shop/cart/")
    eventually(lambda: server.status("/shop/cart/") == 200, within=30)


class Gone:
    """Takes the store away: stops PostgreSQL, moves SQLite's file."""

    def __init__(self, database: dict[str, Any], request: Any) -> None:
        self._file = Path(database["NAME"]) if "sqlite" in database["ENGINE"] else None
        self._server: Postgres | None = None if self._file else request.getfixturevalue("postgres")

    def leave(self) -> None:
        from django.db import connections

        connections["other"].close()
        if self._server:
            self._server.pause()
        else:
            assert self._file
            os.rename(self._file, self._file.with_suffix(".away"))

    def come_back(self) -> None:
        if self._server:
            self._server.resume()
        else:
            assert self._file
            os.replace(self._file.with_suffix(".away"), self._file)


@pytest.mark.parametrize("kind", ["gunicorn sync", "gunicorn gthread"])
def test_workers_that_are_forked_after_the_first_request_follow(serve: Any, operator: Any, kind: str) -> None:
    server = serve(kind, app="tests.project.wsgi_warm:application", args=("--preload", "--workers", "3"))
    eventually(lambda: "warmed up" in server.log)
    operator.disable("/shop/cart/")

    assert {server.status("/shop/cart/") for _ in range(12)} == {503}

    operator.enable("/shop/cart/")
    eventually(lambda: {server.status("/shop/cart/") for _ in range(12)} == {200})
    operator.disable("/shop/cart/")
    eventually(lambda: {server.status("/shop/cart/") for _ in range(12)} == {503})


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("kind", ["gunicorn sync", "uvicorn"])
def test_below_a_script_name(serve: Any, operator: Any, kind: str) -> None:
    operator.disable("/shop/cart/", reason="mounted")
    if kind == "uvicorn":
        server = serve(kind, args=("--root-path", "/mounted"))
        prefix = ""
    else:
        server = serve(kind, env={"SCRIPT_NAME": "/mounted"})
        prefix = "/mounted"

    response = server.ask(f"{prefix}/shop/cart/")
    assert response.error["path"] == "/shop/cart/"
    assert server.status(f"{prefix}/shop/") == 200


TRICKS = [
    "//shop/cart/",
    "/shop/cart/",
    "/shop//cart/",
    "/shop/%63art/",
    "/shop/cart/%2e",
    "/shop/%2e%2e/shop/cart/",
    "/shop/cart%2f",
    "/SHOP/cart/",
    "http://evil.example/shop/cart/",
    "/shop/cart/;x=1",
    "/shop/cart/?x=/health/",
]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("kind", ["gunicorn sync", "uvicorn", "daphne"])
def test_no_way_of_writing_a_url_opens_a_route(serve: Any, operator: Any, kind: str) -> None:
    operator.disable("/shop/cart/")
    server = serve(kind)
    forged = [
        {"Host": "evil.example"},
        {"Host": "evil.example", "X_Forwarded_Host": "other.example"},
        {"X_HTTP_Method_Override": "POST"},
        {"X_Original_URL": "/health/", "X_Script_Name": "/shop"},
    ]

    for path in TRICKS:
        assert server.status(path) in (503, 404, 400, 301), path
    for headers in forged:
        assert server.status("/shop/cart/", **headers) == 503
    for method in ("POST", "HEAD", "OPTIONS", "PURGE", "get"):
        assert server.status("/shop/cart/", method) in (503, 400), method
