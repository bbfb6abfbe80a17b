"""A cold process opens nothing: its first answer already obeys the store."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from tests.heavy import HEAVY
from tests.servers.processes import Server

pytestmark = pytest.mark.servers

PROCESSES = 5 if HEAVY else 2
#: Closed by an operator, by the code, by a gate; each by its status.
CLOSED = {"/shop/cart/": 503, "/disabled/": 503, "/gated/": 404, "/shop/items/7/": 503}


def statuses(servers: list[Server], each: int) -> Counter[tuple[str, int]]:
    """Send ``each`` requests to every server at once, and count what came back."""
    work = [(server, path) for server in servers for path in CLOSED for _ in range(each)]
    with ThreadPoolExecutor(40) as pool:
        return Counter(pool.map(lambda one: (one[1], one[0].status(one[1])), work))


def expected(count: int) -> dict[tuple[str, int], int]:
    return dict.fromkeys(CLOSED.items(), count)


@pytest.mark.parametrize("kind", ["gunicorn sync", "gunicorn gthread"])
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_twenty_cold_workers(serve: Any, operator: Any, kind: str) -> None:
    """The code is imported before the fork, which is cheap; the store has been seen by nobody."""
    operator.disable("/shop/cart/")
    operator.set_maintenance("/shop/items/{pk}/")
    server = serve(kind, args=("--preload", "--workers", "20"))

    assert statuses([server], each=40) == expected(40)


@pytest.mark.parametrize("kind", ["gunicorn gthread", "uvicorn", "uvicorn without lifespan", "daphne"])
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_cold_processes(database: Any, operator: Any, kind: str) -> None:
    operator.disable("/shop/cart/")
    operator.set_maintenance("/shop/items/{pk}/")

    with ExitStack() as stack:
        servers = [stack.enter_context(Server(kind, database)) for _ in range(PROCESSES)]
        assert statuses(servers, each=5) == expected(5 * PROCESSES)


@pytest.mark.parametrize("kind", ["gunicorn gthread", "uvicorn", "daphne"])
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    "no_store, statuses",
    [("decorators", (503, 200)), ("maintenance", (503, 503)), ("refuse", (500, 500))],
)
def test_without_a_store(database: Any, kind: str, no_store: str, statuses: tuple[int, int]) -> None:
    away = {**database, "PORT": "1", "OPTIONS": {"connect_timeout": 1}}
    env = {"SHIELD_NO_STORE": no_store, "SHIELD_INIT_TIMEOUT": "0.3"}

    with Server(kind, away, env=env) as server:
        assert (server.status("/disabled/"), server.status("/shop/")) == statuses
        assert server.status("/gated/") in (404, 503, 500)
