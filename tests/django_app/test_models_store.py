"""The models backend as Django projects use it: transactions, routers, time zones, the thread."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.db import connection, transaction

from shield_core.audit import first_break
from shield_core.models import MaintenanceWindow
from shield_django import engine, project
from shield_django.models import StoredAuditEntry, StoredMaintenance, StoredRoute, StoreRevision
from tests.conftest import eventually
from tests.django_app.callers import Caller

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def rolled_back() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def test_a_change_is_enforced_when_the_call_returns(client: Caller, models_store: Any, operator: Any) -> None:
    assert client.status("/shop/") == 200

    operator.disable("/shop/", reason="now")
    assert client.status("/shop/") == 503
    operator.enable("/shop/")
    assert client.status("/shop/") == 200


@pytest.mark.parametrize("warm", [True, False])
def test_the_very_first_change_of_a_store_is_enforced_when_the_call_returns(
    client: Caller, settings: Any, transactional_db: None, operator: Any, warm: bool
) -> None:
    settings.SHIELD_TESTING = False
    settings.SHIELD_REFRESH_INTERVAL = 60.0
    try:
        if warm:
            client.get("/shop/")
        operator.enable_global_maintenance()
        assert client.status("/shop/") == 503
    finally:
        project.reset()


def test_inside_a_transaction_the_writer_sees_it_and_requests_follow_at_commit(
    client: Caller, models_store: Any, operator: Any
) -> None:
    client.get("/shop/")
    with transaction.atomic():
        assert operator.disable("/shop/").status == "disabled"
        assert operator.get_state("/shop/").status == "disabled"
        assert operator.get_audit_log(limit=1)[0].action == "disable"
        assert models_store.engine.decide("GET", "/shop/").allowed
    assert client.status("/shop/") == 503


def test_a_rollback_changes_nothing(client: Caller, models_store: Any, operator: Any) -> None:
    client.get("/shop/")
    operator.disable("/shop/cart/")
    with rolled_back():
        operator.disable("/shop/")
        operator.enable("/shop/cart/")

    assert (client.status("/shop/"), client.status("/shop/cart/")) == (200, 503)
    assert operator.get_state("/shop/").status == "active"
    assert [entry.action for entry in operator.get_audit_log()] == ["disable"]


def test_a_savepoint_that_is_rolled_back(client: Caller, models_store: Any, operator: Any) -> None:
    client.get("/shop/")
    with transaction.atomic():
        operator.disable("/shop/cart/")
        with rolled_back():
            operator.disable("/shop/")
        assert operator.get_state("/shop/").status == "active"

    assert (client.status("/shop/"), client.status("/shop/cart/")) == (200, 503)


def test_two_changes_of_one_route_in_one_transaction(
    client: Caller, models_store: Any, operator: Any
) -> None:
    client.get("/shop/")
    with transaction.atomic():
        operator.disable("/shop/")
        operator.enable("/shop/")
        operator.set_maintenance("/shop/", reason="last")

    assert client.get("/shop/").json()["error"]["reason"] == "last"
    assert first_break(reversed(operator.get_audit_log(limit=None))) is None


def test_the_async_engine_in_a_transaction(models_store: Any, client: Caller) -> None:
    client.get("/shop/")

    async def change() -> None:
        await engine.disable("/shop/cart/")
        await sync_to_async(change_and_roll_back)()
        assert (await engine.get_state("/shop/")).status == "active"
        assert (await engine.get_state("/shop/cart/")).status == "disabled"

    @rolled_back()
    def change_and_roll_back() -> None:
        engine.sync.disable("/shop/")

    asyncio.run(change())
    assert (client.status("/shop/"), client.status("/shop/cart/")) == (200, 503)


def test_the_rows_are_ordinary_rows(models_store: Any, operator: Any) -> None:
    now = datetime.now(UTC)
    planned = MaintenanceWindow(start=now, end=now + timedelta(hours=1))
    operator.schedule_maintenance("/shop/", planned, actor="ada")
    operator.enable_global_maintenance(reason="all")

    row = StoredRoute.objects.get(path="/shop/")
    assert (row.origin, row.window_end, row.updated_by) == ("operator", planned.end, "ada")
    assert StoredMaintenance.objects.get().enabled
    assert StoredAuditEntry.objects.filter(actor="ada", action="schedule").count() == 1


def test_routes_are_registered_in_one_commit_and_not_again(models_store: Any, client: Caller) -> None:
    client.get("/shop/")
    eventually(lambda: StoredRoute.objects.filter(path="/shop/").exists())
    revision = StoreRevision.objects.get().revision

    for _ in range(3):
        project.reset()
        client.get("/shop/")
        eventually(lambda: not project.current().replica.unregistered)

    assert StoreRevision.objects.get().revision == revision == 1


def test_what_never_changes_is_not_registered(models_store: Any, client: Caller) -> None:
    client.get("/shop/")
    eventually(lambda: StoredRoute.objects.exists())

    assert not StoredRoute.objects.filter(path__startswith="/admin/").exists()


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_times_survive_any_time_zone_setting(
    settings: Any, transactional_db: None, operator: Any, use_tz: bool, zone: str
) -> None:
    settings.USE_TZ, settings.TIME_ZONE, settings.SHIELD_TESTING = use_tz, zone, False
    start = datetime(2030, 6, 1, 12, tzinfo=UTC)
    try:
        operator.schedule_maintenance("/shop/", MaintenanceWindow(start=start, end=start + timedelta(1)))
        before = datetime.now(UTC)
        operator.disable("/shop/cart/")
        project.reset()

        assert operator.get_state("/shop/").window.start == start
        changed = operator.get_state("/shop/cart/").updated_at
        assert abs(changed - before) < timedelta(seconds=30)
        assert first_break(reversed(operator.get_audit_log(limit=None))) is None
        assert [one.path for one in operator.get_audit_log(since=before)] == ["/shop/cart/"]
    finally:
        project.reset()


def test_a_missing_table_is_told_once_and_the_code_decides(
    client: Caller, settings: Any, transactional_db: None, caplog: Any
) -> None:
    settings.SHIELD_TESTING = False
    settings.SHIELD_REFRESH_INTERVAL = 0.02
    settings.SHIELD_INIT_TIMEOUT = 0.2
    call_command("migrate", "shield", "zero", verbosity=0)
    try:
        with caplog.at_level(logging.ERROR, "shield"):
            assert client.status("/disabled/") == 503
            assert client.status("/shop/") == 200
            assert len([one for one in caplog.records if one.name == "shield.replica"]) <= 2
        call_command("migrate", "shield", verbosity=0)
        eventually(lambda: project.current().engine.status().state == "live")
    finally:
        call_command("migrate", "shield", verbosity=0)
        project.reset()


def test_reading_the_state_keeps_the_callers_connection(
    models_store: Any, settings: Any, operator: Any
) -> None:
    """CONN_MAX_AGE is zero by default: what a request has on its connection must live on."""
    operator.disable("/shop/")
    connection.close()
    connection.ensure_connection()
    ours = connection.connection
    operator.get_state("/shop/")
    operator.list_states()

    assert connection.connection is ours


def test_the_thread_starts_with_the_first_request_and_ends(
    client: Caller, settings: Any, transactional_db: None, own_threads: Any
) -> None:
    settings.SHIELD_TESTING = False
    project.current()
    assert own_threads() == []

    client.get("/shop/")
    assert [name for name in own_threads() if name.startswith("shield")] == ["shield-replica"]

    project.reset()

    eventually(lambda: not [name for name in own_threads() if name.startswith("shield")])


def test_a_load_that_a_commit_overtakes_is_whole(models_store: Any, operator: Any) -> None:
    """Between two tables: a store being restored must not look accepted and still empty."""
    operator.disable("/shop/", reason="before")
    backend: Any = models_store.engine.backend
    reading, overtaking = backend._rows, [True]

    def rows(*args: Any) -> list[Any]:
        found = list(reading(*args))
        if overtaking and threading.current_thread() is threading.main_thread():
            overtaking.clear()
            operator.disable("/shop/", reason="meanwhile")
        return found

    backend._rows = rows
    snapshot = backend.load_sync()
    assert snapshot.routes["/shop/"].reason == "meanwhile"
    assert snapshot.revision == snapshot.routes["/shop/"].revision
