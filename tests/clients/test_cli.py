"""The CLI of `api-shield` operates our server as it operated its own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shield_django.api.keys import encode_key
from tests.clients.conftest import Cli, ControlPlane, Operator, control_plane
from tests.heavy import HEAVY

pytestmark = pytest.mark.servers

PAYMENTS = {"SHIELD_SERVICE": "payments"}
GET_PAY = "payments:GET:/pay"


@pytest.fixture(
    scope="module",
    params=[("uvicorn", "memory"), ("daphne", "redis")] if HEAVY else [("uvicorn", "memory")],
    ids="-".join,
)
def server(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """A server that knows the routes of payments, orders and others."""
    with ExitStack() as stack:
        yield control_plane(stack, *request.param, app="server")


@pytest.fixture
def shield(server: ControlPlane, published: Path, tmp_path: Path) -> Cli:
    """The CLI of somebody who is logged in."""
    cli = Cli(published, tmp_path)
    cli("config", "set-url", server.address)
    assert "Logged in as olga" in cli("login", "olga", "-p", "secret")
    return cli


def state(operator: Operator, key: str = GET_PAY) -> Any:
    return operator("GET", f"routes/{encode_key(key)}?detail=1")


def rows(said: str) -> dict[str, list[str]]:
    """Return the rows of a table by their first cell."""
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.splitlines() if "│" in line]
    return {first: rest for first, *rest in cells}


def test_nobody_gets_in_without_the_right_password(cli: Cli, server: ControlPlane) -> None:
    cli("config", "set-url", server.address)
    assert "Authentication required" in cli("status", fails=True)
    cli("login", "olga", "-p", "wrong", fails=True)
    cli("status", fails=True)


def test_a_login_lasts_until_the_logout(shield: Cli, tmp_path: Path, server: ControlPlane) -> None:
    kept = json.loads((tmp_path / ".shield" / "config.json").read_text())
    assert server.address in shield("config", "show")
    shield("status")
    assert "Logged out" in shield("logout")
    shield("status", fails=True)
    (tmp_path / ".shield" / "config.json").write_text(json.dumps(kept))
    assert "Authentication required" in shield("status", fails=True)


def test_services_and_their_routes_are_listed(shield: Cli) -> None:
    assert {"payments", "orders"} <= set(rows(shield("services")))
    everything = rows(shield("status"))
    assert {"GET:/pay", "POST:/pay", "GET:/orders"} <= set(everything)
    assert everything["GET:/orders"][:2] == ["orders", "ACTIVE"]
    for narrowed in (shield("status", "--service", "payments"), shield("status", **PAYMENTS)):
        assert set(rows(narrowed)) == {"Route", "GET:/pay", "POST:/pay"}
    assert rows(shield("status", "GET:/pay"))["GET:/pay"][:2] == ["payments", "ACTIVE"]
    assert "payments" in shield("current-service", **PAYMENTS)


@pytest.mark.parametrize("context", [{}, PAYMENTS], ids=["everywhere", "in a service"])
def test_a_route_is_closed_and_opened(shield: Cli, operator: Operator, context: dict[str, str]) -> None:
    for action, status in (("disable", "DISABLED"), ("maintenance", "MAINTENANCE")):
        said = shield(action, "GET:/pay", "--reason", "stock-taking", **context)
        assert f"GET:/pay → {status}" in said
        assert (state(operator)["status"], state(operator)["reason"]) == (status.lower(), "stock-taking")
        assert status in rows(shield("status", "GET:/pay", **context))["GET:/pay"]
        assert "GET:/pay → ACTIVE" in shield("enable", "GET:/pay", **context)
        assert state(operator)["status"] == "active"


def test_a_path_that_several_routes_have_is_asked_about(shield: Cli, operator: Operator) -> None:
    said = shield("disable", "/pay", answer="n\n", fails=True)
    assert "payments:GET:/pay" in said
    assert "payments:POST:/pay" in said
    assert state(operator)["status"] == "active"
    shield("disable", "/pay", answer="y\n")
    assert state(operator)["status"] == state(operator, "payments:POST:/pay")["status"] == "disabled"
    shield("enable", "/pay", answer="y\n")
    assert state(operator)["status"] == state(operator, "payments:POST:/pay")["status"] == "active"


def test_what_is_not_there_is_said(shield: Cli) -> None:
    assert "No route 'GET:/nowhere' is registered" in shield("disable", "GET:/nowhere", fails=True)
    assert "No route" in shield("disable", "GET:/orders", fails=True, **PAYMENTS)


@pytest.mark.parametrize("command", ["schedule", "maintenance"])
def test_a_window_is_scheduled(shield: Cli, operator: Operator, command: str) -> None:
    moments = ("--start", "2040-01-01T00:00:00Z", "--end", "2040-01-01T02:00:00Z")
    shield(command, "GET:/pay", *moments, "--reason", "nightly")
    found = state(operator)
    assert found["status"] == "active"
    assert (found["window"]["start"], found["window"]["reason"]) == ("2040-01-01T00:00:00Z", "nightly")
    operator("DELETE", f"routes/{encode_key(GET_PAY)}/schedule")


def test_disable_until_keeps_its_promise(shield: Cli, operator: Operator) -> None:
    said = shield("disable", "GET:/pay", "--until", "2h", "--reason", "gone")
    assert "Auto-re-enable scheduled" in said
    found = state(operator)
    assert (found["status"], found["window"]["status"], found["window"]["reason"]) == (
        "active",
        "disabled",
        "gone",
    )
    end = datetime.fromisoformat(found["window"]["end"])
    assert timedelta(minutes=119) < end - datetime.now(UTC) <= timedelta(hours=2)
    assert rows(shield("status", "GET:/pay"))["GET:/pay"][1:3] == ["DISABLED", "gone"]
    log = operator("GET", f"audit?route={GET_PAY}&limit=2")
    assert [(one["action"], one["reason"]) for one in log] == [("schedule", "gone"), ("disable", "gone")]
    shield("enable", "GET:/pay")


@pytest.mark.parametrize("action", ["disable", "maintenance"])
def test_disable_until_opens_nothing_that_was_closed_before(
    shield: Cli, operator: Operator, action: str
) -> None:
    operator("POST", f"routes/{encode_key(GET_PAY)}/{action}", reason="fraud")
    shield("disable", "GET:/pay", "--until", "2h")
    assert state(operator)["status"] == "disabled"
    shield("enable", "GET:/pay")


def test_a_gate_is_set(shield: Cli, operator: Operator) -> None:
    assert "ENV_GATED" in shield("env", "set", "GET:/pay", "dev", "staging")
    assert state(operator)["allowed_envs"] == ["dev", "staging"]
    # What it sends is the same as for `enable`, which opens no gate here; it says what it was told.
    assert "ENV_GATED" in shield("env", "clear", "GET:/pay")
    assert state(operator)["status"] == "env_gated"
    operator("POST", f"routes/{encode_key(GET_PAY)}/env", envs=[])


def test_maintenance_of_everything(shield: Cli, operator: Operator) -> None:
    shield("global", "enable", "--reason", "moving", "--exempt", "/health", "--exempt", "GET:/pay")
    said = shield("global", "status")
    for words in ("ON", "moving", "/health", "GET:/pay"):
        assert words in said
    shield("global", "exempt-add", "/pay")
    assert operator("GET", "global")["exempt_paths"] == ["/health", "GET:/pay", "/pay"]
    shield("global", "exempt-remove", "/pay")
    shield("global", "disable")
    assert "OFF" in shield("global", "status")
    assert operator("GET", "global")["enabled"] is False


def test_maintenance_of_a_service(shield: Cli, operator: Operator) -> None:
    shield("sm", "enable", "payments", "--reason", "moving", "--exempt", "/health", "--include-force-active")
    found = operator("GET", "services/payments/maintenance")
    assert (found["enabled"], found["reason"], found["include_force_active"]) == (True, "moving", True)
    said = shield("sm", "status", "payments")
    for words in ("ON", "moving", "/health"):
        assert words in said
    shield("sm", "disable", "payments")
    assert "OFF" in shield("service-maintenance", "status", "payments")


def test_limits_of_routes(shield: Cli, operator: Operator) -> None:
    assert "No rate limit policies" in shield("rl", "list")
    shield("rl", "set", "GET:/pay", "5/minute", "-a", "sliding_window", "-k", "api_key", "-b", "2")
    found = {(one["path"], one["method"]): one for one in operator("GET", "rate-limits")}
    policy = found["payments:/pay", "GET"]
    assert [policy[name] for name in ("limit", "algorithm", "key_strategy", "burst")] == [
        "5/minute",
        "sliding_window",
        "api_key",
        2,
    ]
    assert rows(shield("rl", "list"))["payments:/pay"][:3] == ["GET", "5/minute", "sliding_window"]
    shield("rl", "reset", "GET:/pay")
    shield("rl", "reset", "/pay")
    assert "No rate limit hits" in shield("rl", "hits")
    shield("rl", "delete", "GET:/pay")
    assert operator("GET", "rate-limits") == []
    shield("rl", "delete", "GET:/pay", fails=True)
    assert "is no limit" in shield("rl", "set", "GET:/pay", "nonsense", fails=True)


@pytest.mark.parametrize(
    "group, scope, address",
    [("grl", (), "global-rate-limit"), ("srl", ("payments",), "services/payments/rate-limit")],
)
def test_limits_of_everything_and_of_a_service(
    shield: Cli, operator: Operator, group: str, scope: tuple[str, ...], address: str
) -> None:
    def run(verb: str, *args: str) -> str:
        return shield(group, verb, *scope, *args)

    run("set", "500/minute", "--key", "ip", "--burst", "3", "--exempt", "/health", "--exempt", "GET:/pay")
    policy = operator("GET", address)["policy"]
    assert (policy["limit"], policy["burst"]) == ("500/minute", 3)
    assert policy["exempt_routes"] == ["/health", "GET:/pay"]
    assert rows(run("get"))["Limit"] == ["500/minute"]
    run("disable")
    assert rows(run("get"))["Enabled"] == ["no"]
    run("enable")
    run("reset")
    assert rows(run("get"))["Enabled"] == ["yes"]
    run("delete")
    assert operator("GET", address)["policy"] is None
    assert re.search("No .*rate limit policy configured", run("get"))


def test_the_audit_log_tells_who_did_what_with_what(shield: Cli, operator: Operator) -> None:
    shield("disable", "GET:/orders", "--reason", "stock-taking")
    shield("enable", "GET:/orders")
    said = shield("log", "--route", "GET:/orders", "--per-page", "2")
    lines = [line for line in said.splitlines() if "orders:GET:/orders" in line]
    assert ["enable" in lines[0], "disable" in lines[1], "stock-taking" in lines[1]] == [True, True, True]
    assert all("olga" in line and "cli" in line for line in lines)
