"""The way of an operator through the pages: a real browser, a real server, a real database."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests import databases
from tests.admin.conftest import HAS_DATABASE
from tests.conftest import missing_service
from tests.servers.processes import ROOT, Server, environment

_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(not HAS_DATABASE, reason="logs in with a user of the database"),
]


@pytest.fixture
def database(sqlite_database, django_db_blocker) -> Iterator[dict[str, Any]]:
    """A migrated database with the superuser olga."""
    from django.contrib.auth.models import User

    with django_db_blocker.unblock():
        with databases.attached(sqlite_database) as alias:
            User.objects.db_manager(alias).create_superuser("olga", password="secret")
        yield sqlite_database


def on_the_command_line(database: dict[str, Any], *words: str) -> None:
    """Run ``manage.py shield …`` in a process of its own."""
    command = [sys.executable, "-m", "django", "shield", *words]
    subprocess.run(command, cwd=ROOT, env=environment(database), check=True, capture_output=True)


@pytest.fixture
def server(database) -> Iterator[Server]:
    with Server("uvicorn", database, app="tests.admin.asgi:application") as server:
        yield server


@pytest.fixture
def in_browser(server) -> Iterator[Callable[[str, Callable[[Any], None]], None]]:
    """``in_browser(path, story)`` logs in, opens a page and hands it to ``story``.

    Playwright runs in a thread of its own: Django's database code refuses the thread of its loop.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        missing_service("Chromium", "neither chromium nor chromium-browser is on PATH")
    from playwright.sync_api import sync_playwright

    def visit(path: str, story: Callable[[Any], None]) -> None:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
            page = browser.new_page(base_url=f"http://127.0.0.1:{server.port}")
            errors: list[str] = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto(path)
            page.get_by_label("Username:").fill("olga")
            page.get_by_label("Password:").fill("secret")
            page.get_by_role("button", name="Log in").click()
            story(page)
            browser.close()
            assert errors == []

    with ThreadPoolExecutor(1) as thread:
        yield lambda path, story: thread.submit(visit, path, story).result(timeout=120)


def test_an_operator_puts_a_route_into_maintenance_and_reads_its_history(in_browser, server):
    def story(page) -> None:
        row = page.get_by_role("row", name="/shop/cart/")
        row.get_by_role("checkbox").check()
        page.get_by_label("Action:").select_option(label="Maintenance")
        page.locator("button[name=index]").click()
        page.get_by_label("Reason:").fill("stock-taking")
        page.get_by_label("For:").select_option(label="30 minutes")
        page.get_by_role("button", name="Put into maintenance").click()

        told = page.locator(".messagelist").inner_text()
        assert "/shop/cart/ is now in maintenance, until" in told
        row = page.get_by_role("row", name="/shop/cart/")
        for said in ("maintenance", "stock-taking", "olga", "minutes"):
            assert said in row.inner_text()
        assert server.status("/shop/cart/") == 503

        row.get_by_role("link").click()
        page.get_by_role("link", name="History", exact=True).click()
        history = page.locator(".shield-log").inner_text()
        for said in ("maintenance", "olga", "admin", "stock-taking"):
            assert said in history

    in_browser("/admin/shield/route/", story)


def test_the_form_has_calendars_and_tells_of_a_conflict(in_browser, database):
    def story(page) -> None:
        page.locator(".field-window_start").get_by_text("Today", exact=True).click()
        assert page.locator("#id_window_start_0").input_value() != ""
        page.locator("#id_window_start_0").fill("")
        page.locator("#id_status").get_by_label("disabled").check()

        on_the_command_line(database, "maintenance", "/shop/cart/", "--reason", "theirs", "--actor", "bob")
        page.get_by_role("button", name="Save", exact=True).click()
        conflict = page.get_by_role("alert").inner_text()
        assert "by bob" in conflict
        assert "theirs" in conflict
        assert page.locator("#id_status").get_by_label("disabled").is_checked()

        page.get_by_role("button", name="Save", exact=True).click()
        assert "/shop/cart/ is now disabled" in page.locator(".messagelist").inner_text()

    in_browser("/admin/shield/route/_2Fshop_2Fcart_2F/change/", story)
