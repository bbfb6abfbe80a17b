"""Shield in the request path: no query, no thread hop, no error log, no mail; fast."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import django
import pytest
from django.core import mail
from django.db import connection
from django.http import HttpResponse, JsonResponse
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext
from django.urls import path

from shield_django import project
from shield_django.signals import request_blocked, state_changed
from tests.django_app.callers import Caller
from tests.django_app.conftest import ASYNC_ONLY, HTML

MAILING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"mail": {"level": "ERROR", "class": "django.utils.log.AdminEmailHandler"}},
    "loggers": {"django": {"handlers": ["mail"], "level": "INFO"}},
}


@pytest.fixture
def mailing(settings: Any) -> Any:
    root = "root@example.com"
    settings.ADMINS = [root if django.VERSION >= (6, 0) else ("Root", root)]
    logger = logging.getLogger("django")
    handlers = list(logger.handlers)
    logging.config.dictConfig(MAILING)
    yield
    logger.handlers = handlers


BLOCKED = ["/maintenance/", "/disabled/", "/gated/", "/shop/", "/nowhere/"]


@pytest.mark.usefixtures("mailing")
@pytest.mark.parametrize("accept", ["application/json", HTML])
@pytest.mark.parametrize("url", BLOCKED)
def test_a_blocked_answer_mails_nobody_and_logs_no_error(
    client: Caller, operator: Any, caplog: Any, url: str, accept: str
) -> None:
    operator.set_maintenance("/shop/", reason="planned")
    if url == "/nowhere/":
        operator.enable_global_maintenance()
    with caplog.at_level(logging.INFO):
        status = client.status(url, accept=accept)

    assert status == (404 if url == "/gated/" else 503)
    assert mail.outbox == []
    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []


@pytest.mark.usefixtures("mailing")
def test_a_real_error_still_mails(client: Caller, urls: Any) -> None:
    def broken(request: Any) -> None:
        raise RuntimeError("broken")

    urls(path("broken/", broken))
    client.client.raise_request_exception = False

    assert client.status("/broken/") == 500
    assert len(mail.outbox) == 1


def test_it_is_told_on_a_logger_of_its_own(client: Caller, caplog: Any) -> None:
    with caplog.at_level(logging.INFO, "shield.blocked"):
        client.get("/disabled/")

    (record,) = [one for one in caplog.records if one.name == "shield.blocked"]
    assert record.levelno == logging.INFO
    assert (record.route, record.cause, record.reason) == ("/disabled/", "disabled", "gone for good")


def test_signals(client: Caller, operator: Any) -> None:
    heard: list[Any] = []

    def on_blocked(sender: Any, request: Any, decision: Any, **_: Any) -> None:
        heard.append((request.path, decision.key, str(decision.cause)))

    def on_change(sender: Any, snapshot: Any, changes: Any, **_: Any) -> None:
        heard.extend((one.action, one.actor) for one in changes.audit)

    request_blocked.connect(on_blocked)
    state_changed.connect(on_change)
    try:
        operator.disable("/shop/", actor="ada")
        client.get("/shop/")
        client.get("/shop/cart/")
    finally:
        request_blocked.disconnect(on_blocked)
        state_changed.disconnect(on_change)

    assert heard == [("disable", "ada"), ("/shop/", "/shop/", "disabled")]


def test_a_broken_receiver_changes_nothing(client: Caller, operator: Any, caplog: Any) -> None:
    def broken(**_: Any) -> None:
        raise RuntimeError("broken receiver")

    state_changed.connect(broken)
    try:
        operator.disable("/shop/")
    finally:
        state_changed.disconnect(broken)

    assert client.status("/shop/") == 503


URLS = [
    "/shop/",
    "/shop/items/7/",
    "/maintenance/",
    "/disabled/",
    "/gated/",
    "/nowhere/",
    "/old/",
    "/payments/",
]


@pytest.mark.parametrize("scope", ["none", "everything"])
@pytest.mark.django_db(transaction=True)
def test_no_request_queries_the_store(client: Caller, models_store: Any, operator: Any, scope: str) -> None:
    operator.disable("/shop/cart/")
    if scope == "everything":
        operator.enable_global_maintenance()
    client.get("/shop/")

    with CaptureQueriesContext(connection) as queries:
        statuses = [client.status(url) for url in URLS * 5]

    assert {200, 404, 503} >= set(statuses)
    assert len(queries) == 0


@pytest.mark.django_db(transaction=True)
def test_async_requests_never_leave_the_loops_thread(models_store: Any, settings: Any, urls: Any) -> None:
    urls(path("here/<int:pk>/", where_am_i), path("closed/", unavailable))
    requests = ["/here/1/", "/closed/", "/nowhere/"]

    async def ask() -> tuple[list[Any], list[Any]]:
        client = AsyncClient()
        await client.get("/here/1/")
        with submissions() as submitted:
            return [await client.get(url) for url in requests], submitted

    settings.MIDDLEWARE = []
    _, without_shield = asyncio.run(ask())
    settings.MIDDLEWARE = ASYNC_ONLY
    project.engine.sync.disable("/closed/")
    answers, with_shield = asyncio.run(ask())

    assert [answer.status_code for answer in answers] == [200, 503, 404]
    assert answers[0].json() == {"thread": threading.get_ident()}
    # Django itself leaves the thread for synchronous signal receivers and to log an error's status.
    assert len(with_shield) == len(without_shield), (with_shield, without_shield)


async def unavailable(request: Any) -> HttpResponse:
    return HttpResponse(status=503)


@contextmanager
def submissions() -> Iterator[list[Any]]:
    """What is handed to any thread pool meanwhile."""
    submitted: list[Any] = []
    submit = ThreadPoolExecutor.submit

    def watched(self: ThreadPoolExecutor, function: Any, *args: Any, **kwargs: Any) -> Any:
        submitted.append((function, args))
        return submit(self, function, *args, **kwargs)

    ThreadPoolExecutor.submit = watched  # type: ignore[method-assign]
    try:
        yield submitted
    finally:
        ThreadPoolExecutor.submit = submit  # type: ignore[method-assign]


async def where_am_i(request: Any, **kwargs: Any) -> JsonResponse:
    return JsonResponse({"thread": threading.get_ident()})


@pytest.mark.django_db(transaction=True)
def test_a_cold_async_request_leaves_the_loop_running(settings: Any, transactional_db: None) -> None:
    """The first load is awaited: other requests of the loop go on meanwhile."""
    settings.MIDDLEWARE = ASYNC_ONLY
    settings.SHIELD_TESTING = False

    async def ask() -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        assert (await AsyncClient().get("/disabled/")).status_code == 503
        ticking.cancel()
        return ticks

    try:
        assert asyncio.run(ask()) > 10
    finally:
        project.reset()


def test_the_test_environment_starts_no_thread(client: Caller, operator: Any, own_threads: Any) -> None:
    operator.disable("/shop/")
    client.get("/shop/")

    assert not [name for name in own_threads() if name.startswith("shield")]
