# ruff: noqa: T201 - printing is what this launcher is for
"""Start the demo: prepare the shop, serve it with daphne, and print every change.

`make demo` runs this in the environment that it made; the steps go on counting from there.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shield_core.engine import ShieldEngine
    from shield_core.models import AuditEntry

#: The zone of the person at the terminal; Django sets the process's own to the project's.
ZONE = datetime.now(UTC).astimezone().tzinfo
USER = PASSWORD = "admin"
WINDOW = timedelta(minutes=3)
FIRST_STEP = 3
COMMANDS = """
In a second terminal:
  ./shield maintenance GET:/payments/ --reason "New payment provider"
  ./shield status GET:/payments/
  ./shield enable GET:/payments/
  ./shield rl set /search/ 3/minute

Changes appear below; Ctrl-C ends the demo.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the example shop.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--only-try-port", action="store_true", help="say whether the port is free, and end")
    options = parser.parse_args()
    if problem := cannot_listen(options.host, options.port):
        print(problem, file=sys.stderr)
        return 1
    if options.only_try_port:
        return 0
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also in the background of a shell
    try:
        return run(options.host, options.port)
    except KeyboardInterrupt:
        print("\nStopped before the demo had started; 'make demo' starts again.")
        return 130


def run(host: str, port: int) -> int:
    """Prepare the shop and serve it until Ctrl-C."""
    steps = Steps()
    with steps.step("database") as done:
        configure(host)
        done(f"{migrate()} migrations applied")
    with steps.step("admin user") as done:
        done(create_admin())
    with steps.step("routes") as done:
        done(f"{register_routes()} registered; /warehouse/ in maintenance for 3 min")
    return serve(host, port, steps)


def cannot_listen(host: str, port: int) -> str:
    """Return why nobody can listen there, empty when one can."""
    if not 0 < port < 2**16:
        return f"Port {port} cannot be used: a port is between 1 and 65535."
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        advice = f": try make demo PORT={port + 1}" if error.errno == errno.EADDRINUSE else ""
        return f"Port {port} on {host} cannot be used ({error.strerror}){advice}"
    return ""


def configure(host: str) -> None:
    """Set Django up, with a folder for the shop's data. Ends the process where that cannot be written to."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    if host not in ("127.0.0.1", "localhost", "::1"):
        os.environ.setdefault("DEMO_ALLOWED_HOSTS", "*")

    import django
    from django.conf import settings

    folder = Path(str(settings.DATABASES["default"]["NAME"])).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        sys.exit(f"Nothing can be written to {folder} ({error.strerror}).")
    django.setup()


class Steps:
    """Prints what was done, and how long it took."""

    def __init__(self) -> None:
        self._number = FIRST_STEP - 1

    @contextmanager
    def step(self, what: str) -> Iterator[Done]:
        started = time.monotonic()
        done = Done()
        yield done
        self._number += 1
        seconds = time.monotonic() - started
        print(f"{self._number}  {what:<12} {done.detail:<44} {seconds:5.1f} s", flush=True)


class Done:
    """What a step has to say at its end."""

    detail = ""

    def __call__(self, detail: str) -> None:
        self.detail = detail


def migrate() -> int:
    """Apply the migrations; return how many there were."""
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if pending:
        call_command("migrate", verbosity=0, interactive=False)
    return len(pending)


def create_admin() -> str:
    from django.contrib.auth.models import User

    if User.objects.filter(username=USER).exists():
        return f"{USER} is there already"
    User.objects.create_superuser(USER, password=PASSWORD)
    return f"{USER} created"


def register_routes() -> int:
    """Register the shop's routes and close the warehouse for a stocktaking; return their number."""
    from shield_core.models import MaintenanceWindow
    from shield_django import engine

    routes = engine.sync.list_states()
    now = datetime.now(UTC)
    engine.sync.schedule_maintenance(
        "/warehouse/",
        MaintenanceWindow(start=now, end=now + WINDOW, reason="Stocktaking, three minutes."),
        actor="make demo",
        platform="cli",
    )
    return len(routes)


def serve(host: str, port: int, steps: Steps) -> int:
    """Serve until Ctrl-C, while a thread prints what changes."""
    from daphne.endpoints import build_endpoint_description_strings
    from daphne.server import Server

    from config.asgi import application
    from shield_django import engine

    told = threading.Event()

    def announced() -> None:
        announce(host, port)
        told.set()

    def tell() -> None:
        with steps.step("daphne") as done:
            await_answer(host, port)
            done("answers")
        print_changes(engine, announced)

    threading.Thread(target=tell, name="demo", daemon=True).start()
    Server(
        application=application,
        endpoints=build_endpoint_description_strings(host=host, port=port),
        server_name="daphne",
        verbosity=0,
    ).run()
    if not told.is_set():
        print(f"daphne could not listen on {host}:{port}.", file=sys.stderr)
        return 1
    print("\nThe demo has ended. Its data stays; 'make demo' goes on from here.")
    return 0


def await_answer(host: str, port: int) -> None:
    """Return when the shop answers over HTTP."""
    while True:
        try:
            connection = HTTPConnection(reachable(host), port, timeout=5)
            connection.request("GET", "/health/")
            if connection.getresponse().status == 200:
                return
        except (OSError, HTTPException):
            time.sleep(0.02)


def announce(host: str, port: int) -> None:
    named = reachable(host)
    address = f"http://[{named}]:{port}/" if ":" in named else f"http://{named}:{port}/"
    print(f"\nShop   {address}\nAdmin  {address}admin/   login {USER} / {PASSWORD} (this demo only)")
    print(COMMANDS, flush=True)


def reachable(host: str) -> str:
    """Return the address to type for a server that listens on ``host``."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)


def print_changes(engine: ShieldEngine, announce: Callable[[], None]) -> None:
    """Print one line for each new entry of the audit log, for ever, once that was announced."""
    from board import words

    changed = threading.Event()
    engine.subscribe(lambda snapshot, changes: changed.set())
    seen = {entry.id for entry in latest(engine)}
    announce()
    while True:
        changed.wait()
        changed.clear()
        for entry in reversed(latest(engine)):
            if entry.id not in seen:
                seen.add(entry.id)
                print(f"{entry.timestamp.astimezone(ZONE):%H:%M:%S} {words.line(entry)}", flush=True)


def latest(engine: ShieldEngine) -> list[AuditEntry]:
    """Return the entries of the last minute, newest first; a change is printed long before that."""
    return engine.sync.get_audit_log(limit=None, since=datetime.now(UTC) - timedelta(minutes=1))


if __name__ == "__main__":
    sys.exit(main())
