# ruff: noqa: T201 - a command line tool: printing is its purpose
"""Start the demo as a user does, see 200, 503 and 200 again, stop it with Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parent.parent
ROUTE = "GET:/payments/"
REASON = "demo-check was here"
PATIENCE = 120  # seconds until the demo is up


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="shield-demo-") as folder:
        return check({**os.environ, "DEMO_DB": str(Path(folder) / "shop.sqlite3")})


def check(environment: dict[str, str]) -> int:
    port = free_port()
    demo = subprocess.Popen(
        ["make", "--no-print-directory", "demo", "HOST=127.0.0.1", f"PORT={port}"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    lines: list[str] = []
    up = threading.Event()
    reader = threading.Thread(target=read, args=(demo, lines, up))
    reader.start()
    try:
        if not up.wait(PATIENCE) or demo.poll() is not None:
            raise Failure("the demo did not start")
        expect(port, 200)
        shield(environment, "maintenance", ROUTE, "--reason", REASON)
        body = expect(port, 503)
        if json.loads(body)["error"]["reason"] != REASON:
            raise Failure(f"the 503 gives another reason: {body}")
        shield(environment, "enable", ROUTE)
        expect(port, 200)
        os.killpg(demo.pid, signal.SIGINT)
        if demo.wait(15) not in (0, -signal.SIGINT):  # make dies of the signal itself
            raise Failure(f"Ctrl-C ended the demo with {demo.returncode}")
        reader.join(5)
        changes = [line for line in lines if f" {ROUTE} by " in line]
        if [line.split()[1] for line in changes] != ["maintenance", "enable"]:
            raise Failure(f"the demo printed other changes: {changes}")
        if any("Traceback" in line for line in lines):
            raise Failure("the demo printed a traceback")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                raise Failure("something still listens on the demo's port")
    except (Failure, subprocess.TimeoutExpired) as failure:
        print("".join(lines), file=sys.stderr)
        print(f"demo-check FAILED: {failure}", file=sys.stderr)
        return 1
    finally:
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGKILL)
    print(f"demo-check: {ROUTE} answered 200, 503 with the reason, 200; Ctrl-C ended the demo.")
    return 0


class Failure(Exception):
    """The demo did something else."""


def read(demo: subprocess.Popen[str], lines: list[str], up: threading.Event) -> None:
    assert demo.stdout is not None
    for line in demo.stdout:
        lines.append(line)
        if line.startswith("Changes appear below"):
            up.set()
    up.set()


def expect(port: int, status: int, within: float = 5.0) -> str:
    """Ask until the route answers ``status``; another process's change takes up to a second."""
    deadline = threading.Event()
    timer = threading.Timer(within, deadline.set)
    timer.start()
    try:
        while True:
            found, body = get(port)
            if found == status:
                return body
            if deadline.is_set():
                raise Failure(f"{ROUTE} answered {found}, not {status}: {body[:300]}")
    finally:
        timer.cancel()


def get(port: int) -> tuple[int, str]:
    request = Request(f"http://127.0.0.1:{port}/payments/", headers={"Accept": "application/json"})
    try:
        with urlopen(request, timeout=10) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def shield(environment: dict[str, str], *arguments: str) -> None:
    ran = subprocess.run(
        [str(ROOT / "shield"), *arguments], env=environment, capture_output=True, text=True, cwd="/"
    )
    if ran.returncode:
        raise Failure(f"./shield {' '.join(arguments)} ended with {ran.returncode}: {ran.stderr}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
