"""Django sync, Django async and FastAPI answer with the same bytes and the same headers of Shield's."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shield_core.models import MaintenanceWindow
from tests.parity.conftest import SERVICE, Answer, Shop

NO_STORE = {"content-type": "application/json", "cache-control": "no-store"}


def maintenance(path: str, reason: str, until: str | None = None) -> bytes:
    end = f'"{until}"' if until else "null"
    return (
        '{"error":{"code":"MAINTENANCE_MODE","message":"This endpoint is temporarily unavailable",'
        f'"reason":"{reason}","path":"{path}","retry_after":{end}}}}}'
    ).encode()


def disabled(path: str, reason: str) -> bytes:
    error = {
        "code": "ROUTE_DISABLED",
        "message": "This endpoint has been disabled",
        "reason": reason,
        "path": path,
    }
    return json.dumps({"error": error}, separators=(",", ":"), ensure_ascii=False).encode()


def soon(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def test_maintenance(shop: Shop) -> None:
    body = maintenance("GET:/maintenance", "Database migration — back at 04:00 UTC")

    assert shop.ask("GET", "/maintenance") == Answer(503, NO_STORE, body)
    assert shop.ask("POST", "/maintenance").status == 200


def test_no_path_breaks_a_line_of_the_log(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    shop.operator.enable_global_maintenance("moving")
    with caplog.at_level(logging.INFO, "shield.blocked"):
        assert shop.ask("GET", "/no/such%0d%0aFORGED%1b").status == 503
    [record] = [one for one in caplog.records if one.name == "shield.blocked"]
    assert record.getMessage() == r"GET /no/such\r\nFORGED\x1b is blocked: maintenance"


def test_disabled(shop: Shop) -> None:
    body = disabled("GET:/disabled", 'gone "for good" <b>')

    assert shop.ask("GET", "/disabled") == Answer(503, NO_STORE, body)


@pytest.mark.parametrize(
    "change, code",
    [("set_maintenance", "MAINTENANCE_MODE"), ("disable", "ROUTE_DISABLED")],
)
def test_an_operators_change(shop: Shop, change: str, code: str) -> None:
    getattr(shop.operator, change)("GET:/payments", reason="Umzug – bis später")

    answer = shop.ask("GET", "/payments")

    assert (answer.status, answer.headers) == (503, NO_STORE)
    error = json.loads(answer.body)["error"]
    assert (error["code"], error["path"], error["reason"]) == (code, "GET:/payments", "Umzug – bis später")
    assert shop.ask("POST", "/payments").status == 200
    shop.operator.enable("GET:/payments")
    assert shop.ask("GET", "/payments").status == 200


def test_a_window_from_the_code(shop: Shop) -> None:
    answer = shop.ask("GET", "/window")

    assert (answer.status, answer.body) == (
        503,
        maintenance("GET:/window", "planned", "2100-01-01T00:00:00+00:00"),
    )
    assert int(answer.headers["retry-after"]) > 10**9


def test_an_answer_of_the_routes_own_tells_when_it_ends(shop: Shop) -> None:
    answer = shop.ask("GET", "/own-window")

    assert (answer.status, answer.body) == (420, b"planned")
    assert int(answer.headers.pop("retry-after")) > 10**9
    assert answer.headers == {"content-type": "text/x-own", "cache-control": "no-store"}


def test_a_window_of_an_operator(shop: Shop) -> None:
    end = soon(90)
    window = MaintenanceWindow(start=soon(-5), end=end, reason="now")
    shop.operator.schedule_maintenance("GET:/items/{item}", window)

    answer = shop.ask("GET", "/items/42")

    assert answer.body == maintenance("GET:/items/{item}", "now", end.isoformat())
    assert 80 <= int(answer.headers["retry-after"]) <= 90


@pytest.mark.parametrize("scope", ["global", "service"])
def test_maintenance_of_a_scope(shop: Shop, scope: str) -> None:
    arguments: tuple[Any, ...] = () if scope == "global" else (SERVICE,)
    enable = getattr(shop.operator, f"enable_{scope}_maintenance")
    enable(*arguments, reason="all", exempt_paths=["POST:/payments"])

    assert shop.ask("GET", "/payments") == Answer(503, NO_STORE, maintenance("GET:/payments", "all"))
    assert shop.ask("GET", "/items/7") == Answer(503, NO_STORE, maintenance("GET:/items/{item}", "all"))
    assert shop.ask("GET", "/nowhere") == Answer(503, NO_STORE, maintenance("GET:/nowhere", "all"))
    assert shop.ask("GET", "/gate") == Answer(503, NO_STORE, maintenance("GET:/gate", "all"))
    assert shop.ask("POST", "/payments").status == 200
    assert (shop.ask("GET", "/health").status, shop.ask("POST", "/health").status) == (200, 503)


def test_read_only_maintenance(shop: Shop) -> None:
    assert shop.ask("GET", "/read-only").status == 200
    assert shop.ask("POST", "/read-only") == Answer(
        503, NO_STORE, maintenance("POST:/read-only", "no writes")
    )
    shop.operator.enable_global_maintenance(reason="all", read_only=True)
    assert [shop.ask(method, "/payments").status for method in ("GET", "POST")] == [200, 503]


def test_deprecated(shop: Shop) -> None:
    answer = shop.ask("GET", "/old")

    assert answer.status == 200
    assert answer.headers == {
        "content-type": "application/json",
        "deprecation": "@1767225600",
        "sunset": "Tue, 01 Jan 2030 00:00:00 GMT",
        "link": '</v2/old>; rel="successor-version"',
    }


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/gate", "/gate/"])
def test_a_closed_gate_is_an_unknown_url(shop: Shop, method: str, path: str) -> None:
    gate, unknown = shop.ask(method, path), shop.ask(method, path.replace("gate", "nope"))

    assert gate.status == 404
    assert gate._replace(body=gate.body.replace(b"gate", b"nope")) == unknown


@pytest.mark.parametrize("method, status", [("GET", 503), ("HEAD", 503), ("OPTIONS", 503), ("DELETE", 503)])
def test_every_method_under_global_maintenance(shop: Shop, method: str, status: int) -> None:
    shop.operator.enable_global_maintenance()

    assert shop.ask(method, "/payments").status == status


def test_the_same_keys_are_registered(shop: Shop) -> None:
    paths = {state.path for state in shop.operator.list_states()}

    assert {
        f"{SERVICE}:GET:/payments",
        f"{SERVICE}:POST:/payments",
        f"{SERVICE}:GET:/items/{{item}}",
    } <= paths
