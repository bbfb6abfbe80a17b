"""Limits and hits in the project's own database: ordinary rows, part of the caller's transaction."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.models import Count

from shield_core.models import RateLimitHit
from shield_core.rate_limit.hits import HitQuery
from shield_django import project
from shield_django.models import StoredRateLimit, StoredRateLimitHit, StoredRateLimitReset

pytestmark = pytest.mark.django_db(transaction=True)
CART = "/shop/cart/"


def test_limits_and_resets_are_ordinary_rows(models_store: Any, operator: Any) -> None:
    operator.set_rate_limit_policy(CART, limit="10/minute", shadow=True, burst=5, actor="ada")
    operator.set_global_rate_limit("1000/minute", exempt_routes=["/health/"])
    operator.set_service_rate_limit("billing", "50/minute")
    operator.disable_service_rate_limit("billing")
    operator.reset_rate_limit(CART, actor="ada")

    row = StoredRateLimit.objects.get(scope="route", path=CART, shadow=True)
    assert (row.limit, row.burst, row.service, row.updated_by) == ("10/minute", 5, None, "ada")
    assert StoredRateLimit.objects.get(scope="global").exempt_routes == ["/health/"]
    assert StoredRateLimit.objects.get(scope="service", service="billing").enabled is False
    assert StoredRateLimitReset.objects.get().updated_by == "ada"


def test_a_rollback_takes_a_limit_back(models_store: Any, operator: Any) -> None:
    operator.set_rate_limit_policy(CART, limit="10/minute")
    with transaction.atomic():
        operator.set_rate_limit_policy(CART, limit="1/minute")
        assert operator.get_rate_limit_policy(CART).limit == "1/minute"
        transaction.set_rollback(True)

    assert operator.get_rate_limit_policy(CART).limit == "10/minute"
    assert [layer.policy.limit for layer in models_store.engine.ruleset.limits("GET", CART)] == ["10/minute"]


@pytest.mark.parametrize("use_tz", [True, False])
def test_hits_are_ordinary_rows_in_any_time_zone_setting(
    settings: Any, transactional_db: None, operator: Any, use_tz: bool
) -> None:
    settings.USE_TZ, settings.TIME_ZONE, settings.SHIELD_TESTING = use_tz, "Europe/Berlin", False
    moment = datetime(2030, 6, 1, 12, tzinfo=UTC)
    hits = [
        RateLimitHit(
            timestamp=moment,
            reset_at=moment + timedelta(minutes=1),
            path=CART,
            method="GET",
            key=key,
            limit="10/minute",
        )
        for key in ("10.0.0.1", "10.0.0.2", "10.0.0.1")
    ]
    try:
        backend = project.current().engine.backend
        backend.write_hits_sync(hits)

        counted = StoredRateLimitHit.objects.filter(path=CART).values("key").annotate(count=Count("number"))
        assert {row["key"]: row["count"] for row in counted} == {"10.0.0.1": 2, "10.0.0.2": 1}
        assert backend.read_hits_sync(HitQuery()) == hits[::-1]
    finally:
        project.reset()
