"""A project's own tests pass unchanged once Shield is installed, and its commands start nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HOST = Path(__file__).parents[1] / "host_project"
ROOT = HOST.parents[1]
TESTS = 16


def run(*arguments: str, shield: bool = True, check: bool = True, **environment: str) -> str:
    """Run Python in the host project; return what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SHIELD_", "PYTEST_"))}
    kept.pop("DJANGO_SETTINGS_MODULE", None)
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", *arguments],
        cwd=HOST,
        env={
            **kept,
            "PYTHONPATH": f"{HOST}:{ROOT}",
            **({"HOST_SHIELD": "1"} if shield else {}),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


RUNNERS = {
    "manage.py test": ["manage.py", "test"],
    "manage.py test --parallel": ["manage.py", "test", "--parallel", "2"],
    "manage.py test --reverse": ["manage.py", "test", "--reverse"],
    "manage.py test --shuffle": ["manage.py", "test", "--shuffle", "7"],
    "pytest": ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio"],
    "pytest -n 2": ["-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "-p", "no:asyncio"],
}


@pytest.mark.parametrize("runner", RUNNERS)
def test_the_projects_tests_pass(runner: str) -> None:
    if "--parallel" in runner:
        # Django's parallel runner leaves a pipe open that only -W error cares about.
        printed = run(*RUNNERS[runner], PYTHONWARNINGS="default")
    else:
        printed = run(*RUNNERS[runner])

    ran = re.search(r"Ran (\d+) tests|(\d+) passed", printed)
    assert ran is not None, printed
    assert int(ran[1] or ran[2]) == TESTS, printed
    assert "skipped" not in printed


def test_they_are_the_tests_of_before() -> None:
    assert f"Ran {TESTS} tests" in run("manage.py", "test", shield=False)


WATCHED = """
import sys, threading
from django.db.backends.utils import CursorWrapper
from django.core.management import execute_from_command_line

before, execute, touched = set(threading.enumerate()), CursorWrapper.execute, []
def watch(self, sql, params=None):
    touched.append(sql)
    return execute(self, sql, params)
CursorWrapper.execute = watch
started = []
start = threading.Thread.start
threading.Thread.start = lambda self: (started.append(self.name), start(self))[1]
try:
    execute_from_command_line(["manage.py", *sys.argv[1:]])
finally:
    shield = [sql for sql in touched if "shield_" in sql and sys.argv[1] != "migrate"]
    print("THREADS", started, "QUERIES", shield)
"""


@pytest.mark.parametrize(
    "command",
    [
        ("check",),
        ("check", "--deploy"),
        ("makemigrations", "--check"),
        ("showmigrations",),
        ("diffsettings",),
        ("shell", "-c", "import host_urls"),
        ("collectstatic", "--dry-run", "--noinput"),
        ("migrate",),
    ],
    ids=" ".join,
)
def test_commands_on_an_empty_database_start_nothing(command: tuple[str, ...], tmp_path: Path) -> None:
    printed = run(
        "-c",
        WATCHED,
        *command,
        DJANGO_SETTINGS_MODULE="host_settings",
        HOST_DATABASE=str(tmp_path / "empty.sqlite3"),
        PYTHONWARNINGS="default",
    )

    assert "THREADS [] QUERIES []" in printed, printed


def test_migrate_reports_no_trouble_and_makes_the_tables(tmp_path: Path) -> None:
    database = str(tmp_path / "db.sqlite3")

    printed = run("manage.py", "migrate", HOST_DATABASE=database)
    assert "Applying shield.0001_initial... OK" in printed

    printed = run("manage.py", "migrate", "--check", HOST_DATABASE=database)
    assert "shield" not in printed
    assert "0 unapplied" not in printed


def test_the_migrations_are_current() -> None:
    assert "No changes detected in app 'shield'" in run(
        "manage.py", "makemigrations", "shield", "--check", "--dry-run"
    )
