# ruff: noqa: T201 - printing is what this launcher is for
"""Start the fleet: a Shield Server, and the Django shop and the FastAPI payments service that follow it.

`make demo-fleet` runs this in the environment that it made. Each of the three is a process of its own, as
they would be on three machines; this one prepares the shop's database, and prints every change.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from demo import Steps, cannot_listen, configure, create_admin, migrate, print_changes, reachable

ROOT = Path(__file__).resolve().parent.parent
SHIELD = Path(sys.executable).with_name("shield")
OPERATOR, PASSWORD = "admin", "secret"
#: Each service with the password by which the server lets it in.
SERVICES = {"shop": "the-shops", "payments-service": "the-payments"}
#: Seconds between two looks at a server that is starting, and for one that is asked to end.
MOMENT, PATIENCE = 0.05, 10.0

ADVICE = """
Panel      {server}/   login {operator} / {password} (this demo only)
Shop       {shop}/   Django, the service "shop"
Payments   {payments}/payments   FastAPI, the service "payments-service"

In a second terminal, ask the services:
  curl -i {payments}/payments
  curl -i {shop}/catalogue/

and operate them, without asking them:
  {alias}
  shield config set-url {server}
  shield login {operator}
  shield services
  shield status --service payments-service
  shield disable GET:/payments --service payments-service --reason "hotfix"
  shield enable GET:/payments --service payments-service
  shield sm enable payments-service --reason "DB migration" --exempt /health
  shield sm disable payments-service
  shield srl set payments-service 5/minute --exempt /health
  shield srl delete payments-service
  shield global enable --reason "Deploying v3" --exempt /health
  shield global disable

Changes appear below; Ctrl-C ends the fleet.
"""


class Problem(Exception):
    """The fleet cannot start, or has not stayed whole; the message says why."""


@dataclass(frozen=True)
class Place:
    """Where one of the three listens."""

    host: str
    port: int

    @property
    def address(self) -> str:
        named = reachable(self.host)
        return f"http://[{named}]:{self.port}" if ":" in named else f"http://{named}:{self.port}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a Shield Server and two services that follow it.")
    parser.add_argument("--host", default="127.0.0.1")
    for name, preferred in (("server", 9000), ("shop", 8000), ("payments", 8001)):
        parser.add_argument(f"--{name}-port", type=int, help=f"else {preferred} or another one that is free")
    options = parser.parse_args()
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)  # a closed terminal ends the fleet too
    try:
        places = {
            "server": place(options.host, options.server_port, 9000),
            "shop": place(options.host, options.shop_port, 8000),
            "payments": place(options.host, options.payments_port, 8001),
        }
        run(options.host, places)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped before the fleet had started; 'make demo-fleet' starts again.")
        return 130
    return 0


def place(host: str, wanted: int | None, preferred: int) -> Place:
    """Return where to listen. Raises Problem when a port that is wanted cannot be had."""
    if wanted is not None:
        if problem := cannot_listen(host, wanted):
            raise Problem(problem)
        return Place(host, wanted)
    if not cannot_listen(host, preferred):
        return Place(host, preferred)
    family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.bind(address)
        return Place(host, probe.getsockname()[1])


def run(host: str, places: Mapping[str, Place]) -> None:
    """Prepare the shop, start all three, and print changes until Ctrl-C. Raises Problem."""
    folder = Path(os.environ.get("DEMO_FLEET", ROOT / ".demo" / "fleet"))
    environments = described(folder, places)
    steps = Steps()
    with steps.step("database") as done:
        os.environ["DEMO_DB"] = environments["shop"]["DEMO_DB"]
        configure(host)
        done(f"{migrate()} migrations applied")
    with steps.step("admin user") as done:
        done(f"{create_admin()} (of the shop)")
    with Fleet() as fleet:
        with steps.step("server") as done:
            fleet.start("server", "shield_django.server:app", places["server"], environments["server"])
            fleet.await_answer("server", places["server"], "/readyz")
            done(f"answers at {places['server'].address}")
        with steps.step("services") as done:
            fleet.start("shop", "config.asgi:application", places["shop"], environments["shop"])
            fleet.start("payments", "services.payments:app", places["payments"], environments["payments"])
            fleet.await_answer("shop", places["shop"], "/health/")
            fleet.await_answer("payments", places["payments"], "/health")
            done("the shop and the payments service answer")
        addresses = {name: one.address for name, one in places.items()}
        alias = alias_of("shield", SHIELD)
        advice = ADVICE.format(operator=OPERATOR, password=PASSWORD, alias=alias, **addresses)
        try:
            with told_of_changes(places["server"].address, advice):
                fleet.wait()
        except KeyboardInterrupt:
            pass  # that is how it ends
    print("\nThe fleet has ended. Its data stays; 'make demo-fleet' goes on from here.")


def alias_of(name: str, program: Path) -> str:
    """Return the shell's alias for a program: its value is read again when it is used, so quoted twice."""
    return f"alias {name}={shlex.quote(shlex.quote(str(program)))}"


def described(folder: Path, places: Mapping[str, Place]) -> dict[str, dict[str, str]]:
    """Return the environment of each process: this is all that makes them a fleet."""
    host = places["server"].host
    ours = ("SHIELD_", "DJANGO_")
    common = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    follows = {
        **common,
        "SHIELD_BACKEND": "server",
        "SHIELD_SERVER_URL": places["server"].address,
        "SHIELD_ENV": "production",
    }
    if host not in ("127.0.0.1", "localhost", "::1"):
        follows.setdefault("DEMO_ALLOWED_HOSTS", "*")
    return {
        "server": {
            **common,
            "SHIELD_BACKEND": "file",
            "SHIELD_FILE_PATH": str(folder / "server.json"),
            "SHIELD_USERNAME": OPERATOR,
            "SHIELD_PASSWORD": PASSWORD,
            "SHIELD_SERVICES": " ".join(f"{name}:{password}" for name, password in SERVICES.items()),
            "SHIELD_SECRET_KEY": "only for trying",
        },
        "shop": {
            **follows,
            **service("shop", folder),
            "DEMO_DB": str(folder / "shop.sqlite3"),
        },
        "payments": {**follows, **service("payments-service", folder)},
    }


def service(name: str, folder: Path) -> dict[str, str]:
    """Return what a service says of itself to the server."""
    return {
        "SHIELD_APP_ID": name,
        "SHIELD_USERNAME": name,
        "SHIELD_PASSWORD": SERVICES[name],
        "SHIELD_SNAPSHOT_PATH": str(folder / f"{name}-last-known.json"),
    }


class Fleet:
    """Processes that live together: when one ends, all do."""

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ended = threading.Event()

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *exc: object) -> None:
        """End the services first, so that none of them misses its server."""
        for process in reversed(self._processes.values()):
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start(self, name: str, app: str, where: Place, environment: Mapping[str, str]) -> None:
        arguments: Sequence[str] = ("--host", where.host, "--port", str(where.port), "--log-level", "warning")
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", *arguments, app],
            cwd=ROOT / "example_project",
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for this process, which ends the others in order
        )
        self._processes[name] = process
        threading.Thread(target=self._watch, args=(process,), daemon=True).start()

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        self._ended.set()

    def await_answer(self, name: str, where: Place, path: str) -> None:
        """Return when it answers 200. Raises Problem when one has ended instead."""
        while not answers(where, path):
            if self._ended.wait(MOMENT):
                self._refuse_an_end()

    def wait(self) -> None:
        """Wait until one ends by itself, which is a Problem."""
        self._ended.wait()
        self._refuse_an_end()

    def _refuse_an_end(self) -> None:
        ended = {name: one.returncode for name, one in self._processes.items() if one.poll() is not None}
        told = " and ".join(f"the {name} with {code}" for name, code in ended.items())
        raise Problem(f"The fleet has ended, because of {told}: see above.")


def answers(where: Place, path: str) -> bool:
    connection = HTTPConnection(reachable(where.host), where.port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


@contextmanager
def told_of_changes(server: str, advice: str) -> Iterator[None]:
    """Print ``advice``, and changes meanwhile: this process follows too, with an operator's token."""
    from shield_core.backends.server import ShieldServerBackend
    from shield_core.engine import ShieldEngine
    from shield_core.remote.connection import Connection

    token = Connection(server, platform="cli").log_in(OPERATOR, PASSWORD)["token"]
    engine = ShieldEngine(ShieldServerBackend(server, token=token, snapshot_path=""))
    engine.sync.start()
    telling = (engine, lambda: print(advice, flush=True))
    threading.Thread(target=print_changes, args=telling, name="demo", daemon=True).start()
    try:
        yield
    finally:
        engine.sync.stop()


if __name__ == "__main__":
    sys.exit(main())
