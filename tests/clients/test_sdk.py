"""A service with the SDK of `api-shield` follows our server as it followed its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shield_core.backends.redis import RedisBackend
from shield_core.engine import ShieldEngine
from tests.clients.conftest import SERVICE, ControlPlane, Operator, Service, control_plane
from tests.conftest import eventually

pytestmark = pytest.mark.servers

PASSWORD = {"SERVER_USERNAME": "olga", "SERVER_PASSWORD": "secret"}
ROUTES = {"GET:/health", "GET:/limited", "GET:/moving", "GET:/pay", "GET:/refunds/{number}", "POST:/pay"}


@pytest.fixture(scope="module")
def service(
    server: ControlPlane, published: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service that has registered its routes."""
    home = tmp_path_factory.mktemp("home")
    with (
        Service(published, home, server.address, **PASSWORD) as running,
        Operator(server.address) as operator,
    ):
        eventually(lambda: len(keys_of(operator)) == len(ROUTES))
        running.answers("/pay", 200)
        yield running


@pytest.fixture
def start(published: Path, tmp_path: Path) -> Iterator[Any]:
    """``start(server)`` starts a further service, which ends with the test."""
    with ExitStack() as stack:

        def one_more(server: ControlPlane, **credentials: str) -> Service:
            made = Service(published, tmp_path, server.address, **(credentials or PASSWORD))
            return stack.enter_context(made)

        yield one_more


def keys_of(operator: Operator) -> set[str]:
    found = operator("GET", f"routes?service={SERVICE}")
    return {one["path"].removeprefix(f"{SERVICE}:") for one in found}


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_it_registers_the_routes_of_the_service(service: Service, operator: Operator) -> None:
    assert keys_of(operator) == ROUTES
    assert operator("GET", "services") == [SERVICE]
    found = {one["path"]: one for one in operator("GET", "routes")}
    moving = found[f"{SERVICE}:GET:/moving"]
    assert (moving["status"], moving["reason"], moving["service"]) == (
        "maintenance",
        "says the code",
        SERVICE,
    )
    assert found[f"{SERVICE}:GET:/health"]["force_active"] is True


@pytest.mark.parametrize(
    "action, code",
    [
        ("disable", "ROUTE_DISABLED"),
        ("maintenance", "MAINTENANCE_MODE"),
    ],
)
def test_what_an_operator_closes_is_closed_at_once(
    service: Service, operator: Operator, action: str, code: str
) -> None:
    operator.change(action, "GET:/pay", reason="stock-taking")
    service.answers("/pay", 503)
    told = service.ask("/pay").error
    assert (told["code"], told["reason"]) == (code, "stock-taking")
    assert service.status("/pay", "POST") == 200
    operator.change("enable", "GET:/pay")
    service.answers("/pay", 200)


def test_a_route_with_a_parameter_is_closed_under_its_template(service: Service, operator: Operator) -> None:
    operator.change("disable", "GET:/refunds/{number}")
    service.answers("/refunds/7", 503)
    operator.change("enable", "GET:/refunds/{number}")
    service.answers("/refunds/7", 200)


def test_what_the_code_closes_can_be_opened_and_given_back(service: Service, operator: Operator) -> None:
    service.answers("/moving", 503)
    operator.change("enable", "GET:/moving")
    service.answers("/moving", 200)
    operator("DELETE", "routes/" + f"{SERVICE}:GET:%2Fmoving" + "/override")
    service.answers("/moving", 503)


def test_a_gate_closes_it_for_other_environments(service: Service, operator: Operator) -> None:
    operator.change("env", "GET:/pay", envs=["a place of its own"])
    service.answers("/pay", 403)  # it is this SDK that answers 403 instead of 404
    operator.change("env", "GET:/pay", envs=[])
    service.answers("/pay", 200)


def test_a_window_opens_and_closes_by_itself(service: Service, operator: Operator) -> None:
    operator.change("schedule", "GET:/pay", start=soon(1), end=soon(2.5), reason="nightly")
    assert service.status("/pay") == 200
    service.answers("/pay", 503)
    assert service.ask("/pay").error["reason"] == "nightly"
    service.answers("/pay", 200)


def test_what_is_disabled_for_a_time_opens_again(service: Service, operator: Operator) -> None:
    operator.change("disable", "GET:/pay", until=soon(1.5))
    service.answers("/pay", 503)
    assert service.ask("/pay").error["code"] == "ROUTE_DISABLED"
    service.answers("/pay", 200)


@pytest.mark.parametrize("scope", ["global", f"services/{SERVICE}/maintenance"])
def test_maintenance_of_everything_and_of_the_service(
    service: Service, operator: Operator, scope: str
) -> None:
    operator("POST", f"{scope}/enable", reason="moving house", exempt_paths=["/refunds/{number}"])
    service.answers("/pay", 503)
    assert service.ask("/pay").error["reason"] == "moving house"
    assert service.status("/refunds/7") == 200
    assert service.status("/health") == 200
    operator("POST", f"{scope}/enable", reason="moving house", include_force_active=True)
    service.answers("/health", 503)
    operator("POST", f"{scope}/disable")
    service.answers("/pay", 200)
    service.answers("/health", 200)


def test_maintenance_of_everything_has_windows_too(service: Service, operator: Operator) -> None:
    operator("POST", "global/enable", exempt_paths=[], start=soon(1), end=soon(2))
    assert service.status("/pay") == 200
    service.answers("/pay", 503)
    service.answers("/pay", 200)


def test_a_path_is_exempted_while_maintenance_is_on(service: Service, operator: Operator) -> None:
    operator("POST", "global/enable", exempt_paths=[])
    service.answers("/pay", 503)
    operator("POST", "global/exempt", path="/pay")
    service.answers("/pay", 200)
    operator("DELETE", "global/exempt", path="/pay")
    service.answers("/pay", 503)
    operator("POST", "global/disable")
    service.answers("/pay", 200)


@pytest.mark.parametrize("key, path", [("GET:/pay", "/pay"), ("GET:/refunds/{number}", "/refunds/7")])
def test_a_limit_is_set_and_deleted(service: Service, operator: Operator, key: str, path: str) -> None:
    operator.limit(key, "1/hour")
    service.answers(path, 429)
    assert service.ask(path).error["code"] == "RATE_LIMIT_EXCEEDED"
    operator.unlimit(key)
    service.answers(path, 200)


def test_a_limit_takes_the_place_of_the_codes(service: Service, operator: Operator) -> None:
    assert service.status("/limited") == 200
    operator.limit("GET:/limited", "1/hour")
    service.answers("/limited", 429)
    operator.limit("GET:/limited", "1000/hour")
    service.answers("/limited", 200)
    operator.unlimit("GET:/limited")


def test_it_follows_our_engine_on_the_same_store(server: ControlPlane, service: Service) -> None:
    if not server.options:
        pytest.skip("A memory store has no second engine.")
    backend = RedisBackend(server.options["backend"]["OPTIONS"]["url"])
    engine = ShieldEngine(backend, threads=False)
    try:
        engine.sync.disable(f"{SERVICE}:GET:/pay")
        service.answers("/pay", 503)
        engine.sync.enable(f"{SERVICE}:GET:/pay")
        service.answers("/pay", 200)
    finally:
        engine.sync.stop()


def test_a_service_that_starts_finds_what_holds(
    server: ControlPlane, service: Service, operator: Operator, start: Any
) -> None:
    operator.change("disable", "POST:/pay")
    operator.limit("GET:/limited", "1/hour")
    operator("POST", "global/enable", reason="since yesterday", exempt_paths=["/limited"])
    late = start(server)
    late.answers("/pay", 503)
    assert late.ask("/pay").error["reason"] == "since yesterday"
    late.answers("/limited", 429)
    operator("POST", "global/disable")
    late.answers("/pay", 200)
    assert late.status("/pay", "POST") == 503
    assert keys_of(operator) == ROUTES
    operator.change("enable", "POST:/pay")
    late.answers("/pay", 200, "POST")
    operator.unlimit("GET:/limited")


def test_a_service_with_a_token_of_its_own(
    server: ControlPlane, service: Service, operator: Operator, start: Any
) -> None:
    issued = operator("POST", "tokens", service=SERVICE)
    other = start(server, SERVER_TOKEN=issued["token"])
    operator.change("disable", "GET:/pay")
    other.answers("/pay", 503)
    operator.change("enable", "GET:/pay")
    other.answers("/pay", 200)
    operator("DELETE", f"tokens/{issued['id']}")


@pytest.mark.parametrize("kind", ["uvicorn", "daphne"])
def test_it_outlives_the_server_and_finds_it_again(kind: str, start: Any) -> None:
    with ExitStack() as stack:
        server = control_plane(stack, kind, "redis", "unstocked")
        service = start(server)
        with Operator(server.address) as operator:
            eventually(lambda: keys_of(operator) == ROUTES)
            operator.change("disable", "GET:/pay")
            operator.limit("POST:/pay", "1/hour")
            service.answers("/pay", 503)
        server.stop()
        assert service.status("/pay") == 503
        engine = ShieldEngine(RedisBackend(server.options["backend"]["OPTIONS"]["url"]), threads=False)
        engine.sync.enable(f"{SERVICE}:GET:/pay")
        engine.sync.enable_service_maintenance(SERVICE, "meanwhile", exempt_paths=["/pay"])
        engine.sync.stop()
        assert service.status("/pay") == 503
        server.start()
        service.answers("/pay", 200)
        service.answers("/refunds/7", 503)
        with Operator(server.address) as operator:
            operator("POST", f"services/{SERVICE}/maintenance/disable")
            service.answers("/refunds/7", 200)
