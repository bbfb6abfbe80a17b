"""Explaining, waiting and changing many routes over HTTP, with a service that follows the server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from click.testing import Result

from shield_core.backends.server import ShieldServerBackend
from shield_core.engine import ShieldEngine
from tests.clients.conftest import Operator
from tests.conftest import eventually
from tests.console.conftest import ORDERS, PAYMENTS, Script
from tests.shield_server.conftest import ServerProcess

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def orders(server: ServerProcess, admin: Operator) -> Iterator[ShieldEngine]:
    """A service that follows the server, as a process of it would."""
    token = admin("POST", "tokens", service=ORDERS)["token"]
    backend = ShieldServerBackend(server.address, ORDERS, token=token, snapshot_path="")
    engine = ShieldEngine(backend, "staging", service=ORDERS, release="v7")
    engine.sync.register_batch([("GET:/api/orders", {}), ("POST:/api/orders", {})])
    assert engine.decide("GET", "/api/orders").allowed
    eventually(lambda: is_alive(admin))
    yield engine
    engine.sync.stop()


def is_alive(admin: Operator) -> bool:
    services = admin("GET", "services?detail=1")
    return any(one["service"] == ORDERS and one["instances"] for one in services)


def explained(run: Run, *words: str) -> dict:
    result = run("explain", *words, "--format", "json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_explain_tells_what_the_service_decides(run: Run, orders: ShieldEngine) -> None:
    assert explained(run, "GET", "/api/orders")["answer"]["status"] is None

    run("sm", "enable", ORDERS, "--reason", "moving", "--for", "2h", "--wait", "20s")

    told = explained(run, "GET", "/api/orders")
    decided = orders.decide("GET", "/api/orders")
    assert (told["answer"]["cause"], told["answer"]["reason"]) == (decided.cause, "moving")
    assert told["decided_by"] == f"maintenance of service {ORDERS}"
    assert (told["environment"], told["layers"][1]["by"]) == ("staging", "admin")
    assert explained(run, "GET", "/api/orders", "--at", "in 3h")["answer"]["status"] is None


def test_explain_knows_what_the_code_of_a_service_has_registered(run: Run) -> None:
    told = explained(run, "GET", "/api/payments")
    health = explained(run, "GET", "/health", "--service", PAYMENTS)

    assert (told["service"], told["answer"]["reason"]) == (PAYMENTS, "Payment processor upgrade")
    assert told["layers"][2]["origin"] == "code"
    assert health["layers"][2]["says"] == "force_active"
    assert run("explain", "GET", "/health").exit_code == 1


def test_wait_for_a_service_that_follows_over_http(
    run: Run, orders: ShieldEngine, operator: Operator
) -> None:
    result = run("disable", "/api/orders", "--all-methods", "-r", "fraud", "--wait", "20s")

    assert result.exit_code == 0, result.output
    assert not orders.decide("POST", "/api/orders").allowed
    assert "In force on 1 instance, slowest" in result.stderr
    enforced, *changes = operator("GET", "audit?limit=3")
    assert (enforced["action"], enforced["actor"], enforced["platform"]) == ("enforced", "admin", "cli")
    assert enforced["note"].startswith("1 instance, slowest")
    assert enforced["details"]["instances"] == 1
    assert {entry["path"] for entry in changes} == {
        f"{ORDERS}:GET:/api/orders",
        f"{ORDERS}:POST:/api/orders",
    }
    assert len({entry["revision"] for entry in changes}) == 1


def test_an_instance_that_lags_is_named(run: Run, operator: Operator) -> None:
    revision = operator("GET", "sdk/snapshot")["revision"]
    operator("POST", "sdk/ack", app_id=PAYMENTS, instance="a", host="web-3", pid=42, revision=revision)

    result = run("disable", f"{PAYMENTS}:GET:/api/payments", "--wait", "1s")

    assert result.exit_code == 1
    assert f"{PAYMENTS} on web-3 (pid 42) is at revision {revision}, last seen" in result.stderr


def test_instances(run: Run, orders: ShieldEngine) -> None:
    heads, *rows = run("instances", "--service", ORDERS).stdout.splitlines()

    assert heads.split()[:6] == ["SERVICE", "HOST", "PID", "RELEASE", "REVISION", "LAG"]
    assert any(row.split()[0] == ORDERS and row.split()[3] == "v7" for row in rows)


def test_a_refused_bulk_change_names_each_route(run: Run, operator: Operator) -> None:
    operator("POST", "sdk/register", app_id=PAYMENTS, states=[{"path": "POST:/health"}])

    result = run("disable", "/health", "--all-methods", "--service", PAYMENTS)

    assert result.exit_code == 1
    assert "Nothing was changed." in result.stderr
    assert f"{PAYMENTS}:GET:/health is protected by @force_active" in result.stderr


def test_global_enable_tells_what_it_blocks(run: Run) -> None:
    result = run("global", "enable", "--reason", "moving")

    assert "This blocks " in result.stderr
    assert f" of {PAYMENTS})" in result.stderr
    assert f"Stays open: {PAYMENTS}:GET:/health (@force_active)" in result.stderr
    assert f"Warning: what probes ask will be blocked: {ORDERS}:GET:/health" in result.stderr


def test_the_chain_of_the_audit_log_holds_over_http(logged_in: Script, run: Run) -> None:
    for _ in range(3):
        assert run("global", "exempt-add", "/health").exit_code == 0
        assert run("global", "exempt-remove", "/health").exit_code == 0

    verified = logged_in("audit", "verify", "--format", "json")

    assert verified.returncode == 0, verified.stderr
    assert json.loads(verified.stdout)["entries"] >= 6
