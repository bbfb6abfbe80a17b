"""The example's payments service runs under uvicorn, and follows a change made by another process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from shield_core.backends.file import FileBackend
from shield_core.engine import ShieldEngine

ROOT = Path(__file__).parents[2]
APP = "example_project.services.payments:app"

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return tmp_path_factory.mktemp("payments") / "state.json"


@pytest.fixture(scope="module")
def service(state):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", APP, "--port", str(port), "--log-level", "warning"]
    environment = {**os.environ, "PAYMENTS_STATE": str(state), "SHIELD_ENV": "production"}
    with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        base = f"http://127.0.0.1:{port}"
        eventually(lambda: answer(f"{base}/health")[0] == 200)
        yield base
        process.terminate()


def answer(url, method="GET", body=None):
    data = json.dumps(body).encode() if body is not None else None
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())
    except urllib.error.URLError:
        return 0, None


def eventually(condition, timeout=20.0):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def test_a_payment_is_made_and_found(service):
    status, made = answer(f"{service}/payments", "POST", {"order": "A-1", "amount": "12.50"})
    assert status == 201
    assert answer(f"{service}/payments/{made['number']}") == (200, {"order": "A-1", "amount": "12.50"})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/payments/1/refund", 503),
        ("GET", "/export", 503),
        ("GET", "/debug/ledger", 404),
        ("GET", "/transactions", 200),
        ("GET", "/health", 200),
        ("GET", "/docs-of-nothing", 404),
    ],
)
def test_every_stamp_is_in_use(service, method, path, status):
    assert answer(f"{service}{path}", method)[0] == status


def test_another_process_takes_a_route_out_and_puts_it_back(service, state):
    operator = ShieldEngine(FileBackend(state)).sync
    operator.set_maintenance("GET:/payments", "New provider", actor="ann")
    eventually(lambda: answer(f"{service}/payments")[0] == 503)
    assert answer(f"{service}/payments")[1]["error"]["reason"] == "New provider"
    assert answer(f"{service}/payments", "POST", {"order": "A-2", "amount": "1"})[0] == 201
    operator.enable("GET:/payments", actor="ann")
    eventually(lambda: answer(f"{service}/payments")[0] == 200)
