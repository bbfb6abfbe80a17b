"""The proof: a route is closed from a terminal, opened in the admin, and the audit log tells of both."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import eventually
from tests.servers.browser import Browser
from tests.servers.processes import ROOT, environment

pytestmark = [
    pytest.mark.servers,
    pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True),
]


def manage(database: dict[str, Any], *arguments: str, **env: str) -> str:
    """Run ``manage.py …`` in a process of its own; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "django", *arguments],
        cwd=ROOT,
        env=environment(database, **env),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_from_the_terminal_to_the_admin(serve: Any, database: dict[str, Any]) -> None:
    password = {"DJANGO_SUPERUSER_PASSWORD": "pw"}
    manage(database, "createsuperuser", "--noinput", "--username=olga", "--email=o@example.com", **password)
    server = serve("daphne")
    assert server.ask("/payments/").status == 200

    manage(
        database,
        "shield",
        "maintenance",
        "GET:/payments/",
        "--reason",
        "Ledger migration",
        "--actor",
        "ada@ops",
    )

    blocked = eventually(lambda: found if (found := server.ask("/payments/")).status == 503 else None)
    assert blocked.error["reason"] == "Ledger migration"
    assert blocked.error["path"] == "GET:/payments/"
    assert server.ask("/payments/", "POST").status in (200, 403)

    browser = Browser(f"http://127.0.0.1:{server.port}/admin/")
    browser.open("/admin/shield/route/")
    browser.submit("login-form", username="olga", password="pw")
    assert "GET:/payments/" in browser.text
    assert "Ledger migration" in browser.text
    browser.submit("changelist-form", action="enable", _selected_action="GET:/payments/")
    browser.submit("route_form", reason="Ledger is done")
    assert "GET:/payments/ is now active." in words(browser.text)

    # The change is in force in the process that made it when the answer arrives.
    assert server.ask("/payments/").status == 200

    told = words(browser.open("/admin/shield/auditlogentry/?path__exact=GET%3A%2Fpayments%2F"))
    assert "maintenance → active GET:/payments/ olga admin, 127.0.0.1 Ledger is done" in told
    assert "active → maintenance GET:/payments/ ada@ops command line Ledger migration" in told


def words(page: str) -> str:
    """What a page says, without its tags."""
    return " ".join(html.unescape(re.sub(r"<script.*?</script>|<[^>]+>", " ", page, flags=re.S)).split())
