"""``manage.py shield`` in processes of its own, and ``call_command``."""

from __future__ import annotations

import getpass
import io
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from shield_core.models import RouteStatus
from shield_django import engine
from shield_django.auth.tokens import InvalidToken
from shield_django.control import of_project
from tests.conftest import eventually
from tests.databases import sqlite
from tests.servers.processes import Server

ROOT = Path(__file__).parents[2]
MANAGE = """
import sys
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
THREADS = """
import threading, django
django.setup()
from django.core.management import call_command
call_command("shield", "disable", "shop:cart")
call_command("shield", "status")
print([thread.name for thread in threading.enumerate()])
"""
Manage: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def manage(tmp_path: Path) -> Manage:
    """Run ``manage.py`` on an empty SQLite database."""
    script = tmp_path / "manage.py"
    script.write_text(MANAGE)

    def run(*args: str, code: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "shop.sqlite3")}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SHIELD_")}
        return subprocess.run(
            [sys.executable, "-X", "dev", *(["-c", code] if code else [str(script), *args])],
            env=kept
            | {"DJANGO_SETTINGS_MODULE": "tests.settings", "TEST_DATABASE": json.dumps(database)}
            | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
            | env,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


@pytest.fixture(scope="module")
def tables() -> list[Path]:
    """One migrated database, to be copied; an empty list until the first test has made it."""
    return []


@pytest.fixture
def migrated(manage: Manage, tables: list[Path], tmp_path: Path) -> Manage:
    database = tmp_path / "shop.sqlite3"
    if not tables:
        assert manage("migrate", "-v0").returncode == 0
        tables.append(database.with_suffix(".migrated"))
        shutil.copy(database, tables[0])
    shutil.copy(tables[0], database)
    return manage


def at_last_revision(run: Manage) -> list[dict[str, Any]]:
    """Return the live instances once none lags, else nothing."""
    found = json.loads(run("shield", "instances", "--format", "json").stdout)
    return [] if any(one["lag"] for one in found) else found


def test_a_change_is_seen_by_the_next_process(migrated: Manage) -> None:
    change = migrated("shield", "maintenance", "shop:cart", "--for", "30m", "-r", "new prices")
    status = migrated("shield", "status", "--format", "json")
    audit = migrated("shield", "audit", "--format", "json")

    assert (change.returncode, change.stdout) == (0, "")
    assert change.stderr.startswith("/shop/cart/ is now maintenance, until ")
    assert 'reason "new prices" [database ' in change.stderr
    assert change.stderr.endswith("shop.sqlite3, environment test]\n")
    assert status.stderr == ""
    [cart] = [state for state in json.loads(status.stdout) if state["path"] == "/shop/cart/"]
    assert (cart["status"], cart["effective"], cart["origin"]) == ("active", "maintenance", "operator")
    [entry] = json.loads(audit.stdout)
    person = f"{getpass.getuser()}@{socket.gethostname()}"
    assert (entry["actor"], entry["platform"], entry["action"]) == (person, "cli", "maintenance_on")


def test_the_actor_can_be_named(migrated: Manage) -> None:
    migrated("shield", "disable", "shop:cart", SHIELD_ACTOR="deploy@ci")
    migrated("shield", "enable", "shop:cart", "--actor", "ann")

    entries = json.loads(migrated("shield", "log", "--format", "json").stdout)
    assert [entry["actor"] for entry in entries] == ["ann", "deploy@ci"]


def test_a_refusal_is_one_sentence_and_exit_1(migrated: Manage) -> None:
    result = migrated("shield", "disable", "/health/")

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: /health/ is protected by @force_active")
    assert result.stderr.count("\n") == 1


def test_tokens_are_signed_with_the_key_of_the_project() -> None:
    out, err = io.StringIO(), io.StringIO()

    call_command("shield", "token", "create", "-s", "payments", "--expires", "2h", stdout=out, stderr=err)

    who = of_project().principal_of(out.getvalue().strip())
    assert (who.service, who.platform) == ("payments", "sdk")
    [record] = engine.sync.list_tokens("payments")
    assert record.id in err.getvalue()
    call_command("shield", "token", "revoke", record.id, stdout=out, stderr=err)
    with pytest.raises(InvalidToken):
        of_project().principal_of(out.getvalue().strip())


def test_a_login_is_for_the_console_script() -> None:
    with pytest.raises(CommandError, match="run the console script 'shield'"):
        call_command("shield", "login", "admin")


def test_options_of_every_management_command_are_accepted(migrated: Manage) -> None:
    result = migrated("shield", "status", "--settings=tests.settings", "--traceback", "--no-color")

    assert result.returncode == 0
    assert "/shop/cart/" in result.stdout


@pytest.mark.parametrize("words", [("shield", "--help"), ("shield", "-h"), ("help", "shield")])
def test_help_is_of_the_command_line_and_needs_no_database(manage: Manage, words: tuple[str, ...]) -> None:
    result = manage(*words)

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("Usage: manage.py shield [OPTIONS] COMMAND")


def test_wrong_usage_is_exit_2(manage: Manage) -> None:
    assert manage("shield", "maintenance").returncode == 2
    assert manage("shield", "bogus").returncode == 2


@pytest.mark.parametrize("words", [("status",), ("disable", "shop:cart"), ("audit",), ("global", "enable")])
def test_without_tables_it_says_migrate(manage: Manage, words: tuple[str, ...]) -> None:
    result = manage("shield", *words)

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: Shield's tables are not in the database 'default' yet: run 'manage.py migrate'.\n"
    )


def test_a_database_that_cannot_be_opened_is_one_sentence(manage: Manage, tmp_path: Path) -> None:
    nowhere = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "missing" / "db")}

    result = manage("shield", "status", TEST_DATABASE=json.dumps(nowhere))

    assert result.returncode == 1
    assert result.stderr == "Error: The database 'default' cannot be used: unable to open database file.\n"


def test_a_wrong_setting_is_one_sentence(manage: Manage) -> None:
    result = manage("shield", "status", SHIELD_BACKEND="nope")

    assert result.returncode == 1
    assert result.stderr.startswith("Error: SHIELD_BACKEND 'nope' cannot be used")
    assert result.stderr.count("\n") == 1


def test_a_memory_backend_refuses_changes_and_shows_with_a_note(manage: Manage) -> None:
    change = manage("shield", "disable", "shop:cart", SHIELD_BACKEND="memory")
    status = manage("shield", "status", SHIELD_BACKEND="memory")

    assert (change.returncode, change.stdout) == (1, "")
    assert "it would reach nobody: the state lives in the server's memory" in change.stderr
    assert "Set SHIELD_BACKEND to 'models'" in change.stderr
    assert status.returncode == 0
    assert "/shop/cart/" in status.stdout
    assert status.stderr.startswith("Note: ")


def test_it_starts_no_thread(migrated: Manage) -> None:
    result = migrated(code=THREADS)

    assert result.stdout.splitlines()[-1] == "['MainThread']"


def test_call_command_writes_where_it_is_told() -> None:
    out, err = io.StringIO(), io.StringIO()

    call_command("shield", "maintenance", "shop:cart", "--for", "30m", "-r", "x", stdout=out, stderr=err)
    call_command("shield", "status", "--format", "json", stdout=out, stderr=err)

    states = {state["path"]: state for state in json.loads(out.getvalue())}
    assert states["/shop/cart/"]["effective"] == "maintenance"
    assert err.getvalue().startswith("/shop/cart/ is now maintenance")
    assert engine.sync.get_state("shop:cart").effective() is RouteStatus.MAINTENANCE


@pytest.mark.parametrize(
    "words, sentence, code",
    [
        (("disable", "/health/"), "protected by @force_active", 1),
        (("disable", "/nowhere/"), "No route '/nowhere/' is registered", 1),
        (("disable",), "Missing argument 'ROUTE'", 2),
        (("maintenance", "shop:cart", "--for", "soon"), "is not a span of time", 2),
    ],
)
def test_call_command_raises_command_error(words: tuple[str, ...], sentence: str, code: int) -> None:
    with pytest.raises(CommandError, match=sentence) as caught:
        call_command("shield", *words)

    assert caught.value.returncode == code


@override_settings(SHIELD_TESTING=False, SHIELD_BACKEND="memory")
def test_call_command_in_a_process_that_serves_requests_reaches_them() -> None:
    assert engine.decide("GET", "/shop/cart/").allowed

    call_command("shield", "disable", "shop:cart", stderr=io.StringIO())

    assert not engine.decide("GET", "/shop/cart/").allowed


@override_settings(SHIELD_TESTING=False, SHIELD_BACKEND="memory")
def test_call_command_refuses_in_a_process_that_serves_nobody() -> None:
    with pytest.raises(CommandError, match="it would reach nobody"):
        call_command("shield", "disable", "shop:cart")


def test_a_rate_limit_is_seen_by_the_next_process(migrated: Manage) -> None:
    set_ = migrated("shield", "rl", "set", "shop:cart", "10/minute", "--tier", "pro=100/minute", "-r", "load")
    listed = migrated("shield", "rate-limits", "list", "--format", "json")
    reset = migrated("shield", "rl", "reset", "shop:cart")
    deleted = migrated("shield", "rl", "delete", "shop:cart")

    assert (set_.returncode, set_.stdout) == (0, "")
    assert set_.stderr.startswith(
        "/shop/cart/ is now limited to 10/minute per address, fixed_window, tiers pro "
    )
    [policy] = [one for one in json.loads(listed.stdout) if one["path"] == "/shop/cart/"]
    assert (policy["limit"], policy["tiers"], policy["origin"]) == (
        "10/minute",
        [{"name": "pro", "limit": "100/minute"}],
        "operator",
    )
    assert (reset.returncode, deleted.returncode) == (0, 0)


@pytest.mark.parametrize("words", [("grl", "set", "1/s"), ("srl", "set", "shop", "1/s"), ("rl", "hits")])
def test_limits_without_tables_say_migrate(manage: Manage, words: tuple[str, ...]) -> None:
    assert "run 'manage.py migrate'" in manage("shield", *words).stderr


def test_a_memory_backend_refuses_limits(manage: Manage) -> None:
    result = manage("shield", "grl", "set", "1/s", SHIELD_BACKEND="memory")

    assert result.returncode == 1
    assert "it would reach nobody: the state lives in the server's memory" in result.stderr


@pytest.mark.servers
def test_wait_until_a_running_server_has_applied_the_change(migrated: Manage, tmp_path: Path) -> None:
    database = sqlite(tmp_path / "shop.sqlite3")
    with Server("gunicorn gthread", database) as server:
        assert server.status("/shop/cart/") == 200

        change = migrated("shield", "disable", "shop:cart", "--wait", "20s")

        assert change.returncode == 0, change.stderr
        assert server.status("/shop/cart/") == 503
        assert "In force on 1 instance, slowest" in change.stderr
        # The entry "enforced" has moved the revision once more.
        [one] = eventually(lambda: at_last_revision(migrated))
        assert one["pid"] > 0
