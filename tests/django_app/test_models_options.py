"""Which database the models backend uses, and what its options change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from shield_core.audit import first_break
from shield_django import project
from shield_django.models import StoredAuditEntry, StoredRoute
from tests.databases import attached
from tests.django_app.callers import Caller


@pytest.fixture
def other(settings: Any, sqlite_database: dict[str, Any], django_db_blocker: Any) -> Iterator[None]:
    """A migrated database ``other``, and the models backend; the default database cannot be reached."""
    with django_db_blocker.unblock(), attached(sqlite_database):
        settings.SHIELD_TESTING = False
        yield
        project.reset()


class ToOther:
    """A router that keeps Shield's tables in a database of their own."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "no such replica" if model._meta.app_label == "shield" else None

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "other" if model._meta.app_label == "shield" else None


def test_routers_say_which_database(client: Caller, settings: Any, operator: Any, other: None) -> None:
    """What is read and what is written is the same database, never a replica that lags behind."""
    settings.DATABASE_ROUTERS = [f"{__name__}.ToOther"]

    operator.disable("/shop/")

    assert client.status("/shop/") == 503
    assert StoredRoute.objects.using("other").filter(origin="operator").count() == 1


def test_options_name_the_database_and_bound_the_audit_log(settings: Any, operator: Any, other: None) -> None:
    settings.SHIELD_BACKEND = {"BACKEND": "models", "OPTIONS": {"using": "other", "audit_limit": 3}}

    for number in range(5):
        operator.disable("/shop/", reason=str(number))

    kept = operator.get_audit_log()
    assert [entry.reason for entry in kept] == ["4", "3", "2"]
    assert first_break(reversed(kept)) is None
    assert StoredAuditEntry.objects.using("other").count() == 3
