"""Visitors are told of maintenance that runs or is planned, without a look at the store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.template import Context, Template
from django.test import RequestFactory

from shield_core.models import MaintenanceWindow
from shield_django import engine
from shield_django.context_processors import shield
from shield_django.project import current

NOW = datetime.now(UTC)


@pytest.fixture
def page():
    current().ready()

    def render(key: str = "") -> str:
        request = RequestFactory().get("/")
        if key:
            method, _, path = key.partition(":")
            request.shield = engine.decide(method, path)
        text = Template("{% load shield %}{% shield_banner %}").render(Context({"request": request}))
        assert bool(shield(request)["shield_notices"]) == bool(text.strip())
        return " ".join(text.split())

    return render


def window(start: timedelta, **more) -> MaintenanceWindow:
    return MaintenanceWindow(start=NOW + start, end=NOW + start + timedelta(hours=1), **more)


def test_there_is_no_banner_without_maintenance(page):
    assert page() == ""


def test_running_global_maintenance_is_told_with_its_reason(page):
    engine.sync.enable_global_maintenance("moving <house>", read_only=True)
    assert "you can read" in page()
    assert "moving &lt;house&gt;" in page()


def test_a_window_of_today_is_announced_and_one_of_next_week_is_not(page):
    engine.sync.enable_global_maintenance("upgrade", window=window(timedelta(hours=2)))
    assert "is planned for" in page()
    assert "It ends" in page()
    engine.sync.enable_global_maintenance("upgrade", window=window(timedelta(days=7)))
    assert page() == ""


def test_the_window_of_the_page_itself_is_announced_on_that_page_only(page):
    engine.sync.schedule_maintenance("GET:/payments/", window(timedelta(hours=2), reason="bank holiday"))
    assert "bank holiday" in page("GET:/payments/")
    assert page("GET:/shop/cart/") == ""
