"""The HTTP client does what the engine does: the same answers and refusals, the same state afterwards."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shield_core.backends.memory import MemoryBackend
from shield_core.client import HTTPClient
from shield_core.engine import ShieldEngine
from shield_core.exceptions import (
    AmbiguousRouteError,
    BackendError,
    ConflictError,
    InvalidInputError,
    RouteNotFoundException,
    RouteProtectedException,
    ServerError,
    ShieldException,
)
from shield_core.keys import EVERYTHING, Scope
from shield_core.models import MaintenanceWindow
from shield_core.remote.connection import Connection
from shield_core.remote.credentials import Password
from tests.clients.conftest import Operator
from tests.console.conftest import ORDERS, PAYMENTS, ROUTES
from tests.shield_server.conftest import ServerProcess

pytestmark = pytest.mark.servers

PAY, ORDER = f"{PAYMENTS}:GET:/api/payments", f"{ORDERS}:POST:/api/orders"
OF_PAYMENTS = Scope.service(PAYMENTS)
START = datetime(2090, 3, 1, 22, tzinfo=UTC)
WINDOW = MaintenanceWindow(start=START, end=START + timedelta(hours=1), reason="nightly")
CLOSED = WINDOW.replace(status="disabled", read_only=True)
MOVING = WINDOW.replace(reason="moving")
#: What differs from run to run, and who it was, which the server knows by itself.
VOLATILE = {"revision", "updated_at", "updated_by", "id", "timestamp", "hash", "prev_hash", "release"}
VOLATILE |= {"actor", "platform", "client_ip"}
NOW = re.compile(f"{datetime.now(UTC).year}-.*T.*")


@pytest.fixture(scope="module")
def connection(server: ServerProcess) -> Iterator[Connection]:
    with closing(
        Connection(server.address, Password("admin", "secret"), platform="cli", agent="tests")
    ) as found:
        yield found


@pytest.fixture
def client(connection: Connection, operator: Operator) -> HTTPClient:
    return HTTPClient(connection)


@pytest.fixture
def sync() -> Iterator[Any]:
    """The same services in a store of this process."""
    backend = MemoryBackend()
    for service, states in ROUTES.items():
        engine = ShieldEngine(backend, service=service, threads=False)
        engine.sync.register_batch([(one["path"], one) for one in states])
    engine = ShieldEngine(backend, "staging", threads=False)
    yield engine.sync
    engine.sync.stop()


def plain(value: Any) -> Any:
    """Return what two runs have in common."""
    match value:
        case list() | tuple():
            return [plain(one) for one in value]
        case dict():
            return {name: plain(one) for name, one in value.items() if name not in VOLATILE}
        case str() if NOW.fullmatch(value):
            return "now"
        case None | str() | bool() | int():
            return value
    return plain(value.model_dump(mode="json"))


def outcome(action: Callable[[Any], Any], client: Any) -> Any:
    try:
        return plain(action(client))
    except ShieldException as error:
        return type(error), str(error)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "enable": lambda one: one.enable("/api/payments", "done", note="at last"),
    "disable": lambda one: one.disable(PAY, "broken"),
    "disable until": lambda one: one.disable(ORDER, "broken", START),
    "maintenance": lambda one: one.set_maintenance(ORDER, "moving", read_only=True),
    "maintenance until": lambda one: one.set_maintenance(ORDER, "moving", until=START),
    "maintenance in a window": lambda one: one.set_maintenance(ORDER, "nightly", window=WINDOW),
    "schedule": lambda one: one.schedule_maintenance(ORDER, WINDOW, "nightly"),
    "schedule disabled": lambda one: one.schedule_maintenance(ORDER, CLOSED, "nightly"),
    "cancel": lambda one: (one.schedule_maintenance(ORDER, WINDOW), one.cancel_schedule(ORDER, "no")),
    "env": lambda one: one.set_env_only(ORDER, ["dev", "staging"], "beta"),
    "env clear": lambda one: (one.set_env_only(ORDER, ["dev"]), one.set_env_only(ORDER, [])),
    "override": lambda one: (one.disable(PAY), one.clear_override(PAY, "back")),
    "global on": lambda one: one.enable_maintenance(EVERYTHING, "moving", ["/health"], True, True, MOVING),
    "global off": lambda one: (one.enable_maintenance(EVERYTHING), one.disable_maintenance(EVERYTHING, "x")),
    "schedule of everything": lambda one: (
        one.enable_maintenance(EVERYTHING, "moving", window=MOVING),
        one.cancel_maintenance_schedule(EVERYTHING, "postponed"),
    ),
    "service on": lambda one: one.enable_maintenance(OF_PAYMENTS, "moving"),
    "exempt": lambda one: one.set_exempt_paths(OF_PAYMENTS, ["/health", "GET:/metrics"], "probes"),
    "exempt nothing": lambda one: (
        one.set_exempt_paths(EVERYTHING, ["/health"]),
        one.set_exempt_paths(EVERYTHING, []),
    ),
    "limit": lambda one: one.set_rate_limit_policy(
        PAY,
        limit="5/minute",
        algorithm="token_bucket",
        key_strategy="api_key",
        on_missing_key="block",
        burst=2,
        tiers=[{"name": "pro", "limit": "50/minute"}],
        tier_resolver="plan",
        exempt_ips=["10.0.0.0/8"],
        exempt_roles=["staff"],
        shadow=True,
        reason="flood",
    ),
    "limit of a path": lambda one: one.set_rate_limit_policy("/api/payments", limit="5/minute"),
    "limit of a method": lambda one: one.set_rate_limit_policy(f"{ORDERS}:/api/orders", "POST", "5/minute"),
    "limit changed": lambda one: (
        one.set_rate_limit_policy(PAY, limit="5/minute"),
        one.set_rate_limit_policy(PAY, burst=3),
        one.get_rate_limit_policy("/api/payments"),
        one.get_rate_limit_policy(f"{ORDERS}:/api/orders", "POST"),
    ),
    "limit without a key": lambda one: (
        one.set_rate_limit_policy(PAY, limit="5/minute", on_missing_key="block"),
        one.set_rate_limit_policy(PAY, burst=3),
        one.set_rate_limit_policy(PAY, on_missing_key=None),
        one.set_limit(EVERYTHING, {"limit": "9/hour", "on_missing_key": "block"}),
        one.set_limit(EVERYTHING, {"on_missing_key": None}),
    ),
    "limit deleted": lambda one: (
        one.set_rate_limit_policy(PAY, limit="5/minute"),
        one.delete_rate_limit_policy("/api/payments", "GET", "enough"),
        one.list_limits(),
    ),
    "limit reset": lambda one: (
        one.set_rate_limit_policy(PAY, limit="5/minute"),
        one.reset_rate_limit(PAY, None, "again"),
    ),
    "wide limit": lambda one: one.set_limit(
        EVERYTHING, {"limit": "9/hour", "exempt_routes": ("/health",), "burst": None}, "flood"
    ),
    "wide limit paused": lambda one: (
        one.set_limit(OF_PAYMENTS, {"limit": "9/hour"}),
        one.switch_limit(OF_PAYMENTS, False, "test"),
        one.switch_limit(OF_PAYMENTS, True),
        one.get_limit(OF_PAYMENTS),
    ),
    "wide limit deleted": lambda one: (
        one.set_limit(EVERYTHING, {"limit": "9/hour"}),
        one.reset_limit(EVERYTHING, "again"),
        one.delete_limit(EVERYTHING, "enough"),
        one.get_limit(EVERYTHING),
    ),
    "reset all": lambda one: (one.disable(PAY), one.reset_all(), one.get_state(PAY)),
    "several": lambda one: one.change_routes([PAY, ORDER], "disable", "both"),
    "all methods": lambda one: one.change_routes(
        [f"{ORDERS}:/api/orders"], "maintenance", "both", all_methods=True, until=START
    ),
    "several in a window": lambda one: one.change_routes([PAY, ORDER], "schedule", "nightly", window=CLOSED),
    "note": lambda one: one.note("enforced", "", None, None, "active", {"instances": 2}, "told"),
}
REFUSALS: dict[str, tuple[type[ShieldException], Callable[[Any], Any]]] = {
    "unknown": (RouteNotFoundException, lambda one: one.disable("/api/pay")),
    "unknown limit": (RouteNotFoundException, lambda one: one.set_rate_limit_policy("/no", limit="1/s")),
    "ambiguous": (AmbiguousRouteError, lambda one: one.disable("/health")),
    "protected": (RouteProtectedException, lambda one: one.disable(f"{PAYMENTS}:GET:/health")),
    "changed meanwhile": (ConflictError, lambda one: one.disable(PAY, expected_revision=999_999)),
    "exempt changed": (
        ConflictError,
        lambda one: one.set_exempt_paths(EVERYTHING, ["/x"], expected_revision=999_999),
    ),
    "no limit": (InvalidInputError, lambda one: one.set_limit(EVERYTHING, {"limit": "many"})),
    "no limit yet": (InvalidInputError, lambda one: one.set_limit(EVERYTHING, {"burst": 3})),
    "no exempt path": (InvalidInputError, lambda one: one.set_exempt_paths(EVERYTHING, ["health"])),
    "other method": (
        InvalidInputError,
        lambda one: one.set_rate_limit_policy("GET:/api/payments", "POST", "1/s"),
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_what_it_is_in_process(client: HTTPClient, sync: Any, name: str) -> None:
    action = CHANGES[name]

    assert outcome(action, client) == outcome(action, sync)
    for look in (
        lambda one: one.list_states(),
        lambda one: one.list_limits(),
        lambda one: [one.get_maintenance(scope) for scope in (EVERYTHING, OF_PAYMENTS)],
        lambda one: one.get_audit_log(limit=1),
    ):
        assert outcome(look, client) == outcome(look, sync)


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_the_same_exception(client: HTTPClient, sync: Any, name: str) -> None:
    kind, action = REFUSALS[name]

    with pytest.raises(kind) as here:
        action(sync)
    with pytest.raises(kind) as there:
        action(client)

    told = str(here.value).partition(": you saw")[0]
    assert str(there.value).startswith(told)
    assert getattr(there.value, "matches", None) == getattr(here.value, "matches", None)


@pytest.mark.parametrize("name", ["get_rate_limit_hits", "get_audit_log"])
def test_fewer_than_none_are_refused(client: HTTPClient, sync: Any, name: str) -> None:
    for one in (client, sync):
        assert getattr(one, name)(limit=0) == []
        with pytest.raises(InvalidInputError, match="limit"):
            getattr(one, name)(limit=-5)


def test_what_is_read(client: HTTPClient, sync: Any) -> None:
    for look in (
        lambda one: one.list_services(),
        lambda one: one.list_states(PAYMENTS),
        lambda one: one.get_state("/api/payments"),
        lambda one: sorted(one.current().routes),
        lambda one: one.get_rate_limit_hits(),
        lambda one: one.get_rate_limit_hits(PAY, None),
    ):
        assert outcome(look, client) == outcome(look, sync)
    assert client.environment == "staging"


def test_an_audit_log_of_several_pages_is_read_whole(
    client: HTTPClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        client.disable(PAY, str(number), note="paged")
    whole = client.get_audit_log(limit=None)
    monkeypatch.setattr("shield_core.remote.paging._PAGE", 2)

    assert client.get_audit_log(limit=None) == whole
    assert [entry.reason for entry in client.get_audit_log(PAY, limit=3)] == ["4", "3", "2"]
    assert client.get_audit_log(limit=0) == []
    assert client.get_audit_log(PAY, limit=10, since=START) == []
    assert {entry.note for entry in whole[:5]} == {"paged"}


def test_tokens_are_issued_listed_and_revoked(client: HTTPClient, server: ServerProcess) -> None:
    record, token = client.issue_token(PAYMENTS, timedelta(days=90), "deployment")

    assert abs(record.expires_at - datetime.now(UTC) - timedelta(days=90)) < timedelta(minutes=1)
    assert record.id in [one.id for one in client.list_tokens(PAYMENTS)]
    assert client.list_tokens(ORDERS) == []
    assert server.status("/api/routes", X_Shield_Token=token) == 200
    assert client.revoke_token(record.id, reason="leaked").revoked_at is not None
    assert server.status("/api/routes", X_Shield_Token=token) == 401
    for unknown in ("none", "../routes", "é?#"):
        with pytest.raises(RouteNotFoundException):
            client.revoke_token(unknown)


def test_instances_of_services_are_told(client: HTTPClient, operator: Operator) -> None:
    operator("POST", "sdk/ack", app_id=PAYMENTS, instance="pod-1", host="node-a", pid=7, revision=3)

    [found] = [one for one in client.instances() if one.service == PAYMENTS]
    assert (found.host, found.pid, found.revision) == ("node-a", 7, 3)


def test_nothing_can_be_restored_where_nothing_was_lost(client: HTTPClient) -> None:
    with pytest.raises(BackendError, match="No running process holds rules"):
        client.restore("just in case", timeout=0)


def test_what_is_no_shield_server_is_said(client: HTTPClient, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = client.connection.request("GET", "/services")
    monkeypatch.setattr(client.connection, "request", lambda *_, **__: reply)

    with pytest.raises(ServerError, match="what this version of shield cannot read"):
        client.list_states()
