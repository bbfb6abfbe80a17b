"""ShieldSDK: a FastAPI service that a Shield Server controls."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from fastapi.testclient import TestClient

from shield_core.backends.memory import MemoryBackend
from shield_core.backends.redis import RedisBackend
from shield_core.exceptions import BackendError, InvalidInputError, NotAllowedError, RouteProtectedException
from shield_fastapi import ShieldRouter, ShieldSDK, env_only, force_active, maintenance, rate_limit
from tests.conftest import eventually
from tests.redis_server import RedisServer
from tests.sdk.node import Node
from tests.sdk.proxy import Link, unused_port

pytestmark = pytest.mark.servers

_numbers = itertools.count()


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with Node(MemoryBackend, services={"orders-service": "of orders"}) as running:
        yield running


@pytest.fixture(autouse=True)
def tidy(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SHIELD_ENV", "test")
    yield
    if not node.is_running:
        return
    if node.engine.sync.get_global_maintenance().enabled:
        node.engine.sync.disable_global_maintenance()
    if node.engine.sync.get_global_rate_limit() is not None:
        node.engine.sync.delete_global_rate_limit()


@pytest.fixture
def service() -> str:
    """A service's name that no other test has."""
    return f"payments-{next(_numbers)}"


@pytest.fixture
def sdk(node: Node, service: str) -> ShieldSDK:
    return ShieldSDK(node.address, service, token=node.token(service), reconnect_delay=0.2)


def application(sdk: ShieldSDK, **options: Any) -> FastAPI:
    """The service of the seeds' guide, and a little more."""
    app = FastAPI(**options)
    sdk.attach(app)
    router = ShieldRouter(engine=sdk.engine)

    @router.get("/health")
    @force_active
    async def health() -> str:
        return "up"

    @router.get("/api/payments")
    @maintenance(reason="Payment processor upgrade")
    async def get_payments() -> str:
        return "payments"

    @router.get("/pay")
    async def read() -> str:
        return "payments"

    @router.post("/pay")
    async def pay() -> str:
        return "paid"

    @router.get("/limited")
    @rate_limit("1000/minute")
    async def limited() -> str:
        return "limited"

    @router.get("/staging")
    @env_only("staging")
    async def staging() -> str:
        return "staging"

    app.include_router(router)
    return app


@pytest.fixture
def run() -> Iterator[Callable[[FastAPI], TestClient]]:
    """``run(app)`` starts a service, which ends with the test."""
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(TestClient(app, client=("203.0.113.7", 5000)))


@pytest.fixture
def client(sdk: ShieldSDK, run: Callable[[FastAPI], TestClient], node: Node, service: str) -> TestClient:
    """The service, running and registered."""
    made = run(application(sdk))
    eventually(lambda: node.engine.sync.list_states(service))
    return made


def answers(client: TestClient, path: str, status: int, method: str = "GET") -> Any:
    eventually(lambda: client.request(method, path).status_code == status)
    return client.request(method, path)


def test_it_registers_its_routes_under_its_name_and_knows_them_without(
    client: TestClient, sdk: ShieldSDK, node: Node, service: str
) -> None:
    states = {state.path: state for state in node.engine.sync.list_states(service)}
    plain = {"GET:/health", "GET:/api/payments", "GET:/pay", "POST:/pay", "GET:/limited", "GET:/staging"}
    assert set(states) == {f"{service}:{key}" for key in plain}
    assert states[f"{service}:GET:/api/payments"].reason == "Payment processor upgrade"
    assert states[f"{service}:GET:/health"].force_active

    assert {str(key) for key in sdk.engine.replica.declared} >= plain
    blocked = client.get("/api/payments")
    assert blocked.status_code == 503
    assert blocked.json()["error"]["path"] == "GET:/api/payments"
    assert client.get("/health").status_code == 200
    assert client.get("/staging").status_code == 404


def test_registering_again_changes_nothing(
    client: TestClient, node: Node, service: str, run: Callable[[FastAPI], TestClient]
) -> None:
    revision = node.engine.status().revision
    again = ShieldSDK(node.address, service, token=node.token(service))
    run(application(again))
    eventually(lambda: not again.engine.replica.unregistered)
    assert node.engine.status().revision == revision


def test_what_an_operator_closes_is_closed_for_its_method_alone(
    client: TestClient, node: Node, service: str
) -> None:
    node.engine.sync.disable(f"{service}:GET:/pay", reason="hotfix")
    error = answers(client, "/pay", 503).json()["error"]
    assert (error["code"], error["reason"], error["path"]) == ("ROUTE_DISABLED", "hotfix", "GET:/pay")
    assert client.post("/pay").status_code == 200
    node.engine.sync.enable(f"{service}:GET:/pay")
    answers(client, "/pay", 200)
    node.engine.sync.enable(f"{service}:GET:/api/payments")
    answers(client, "/api/payments", 200)


SCOPES = {
    "everything": lambda engine, service: (
        engine.sync.enable_global_maintenance(reason="all"),
        engine.sync.disable_global_maintenance,
    ),
    "the service": lambda engine, service: (
        engine.sync.enable_service_maintenance(service, reason="all"),
        lambda: engine.sync.disable_service_maintenance(service),
    ),
}


@pytest.mark.parametrize("scope", SCOPES)
def test_a_service_that_starts_during_maintenance_blocks_from_its_first_answer(
    sdk: ShieldSDK, node: Node, service: str, run: Callable[[FastAPI], TestClient], scope: str
) -> None:
    _, lift = SCOPES[scope](node.engine, service)
    client = run(application(sdk))
    blocked = client.get("/pay")
    assert (blocked.status_code, blocked.json()["error"]["reason"]) == (503, "all")
    assert client.get("/health").status_code == 200
    lift()
    answers(client, "/pay", 200)
    SCOPES[scope](node.engine, service)
    answers(client, "/pay", 503)
    lift()


@pytest.mark.parametrize("scope", SCOPES)
def test_without_a_lifespan_too_the_first_answer_is_blocked(
    sdk: ShieldSDK, node: Node, service: str, scope: str
) -> None:
    _, lift = SCOPES[scope](node.engine, service)
    try:
        assert TestClient(application(sdk)).get("/pay").status_code == 503
    finally:
        lift()
        sdk.engine.sync.stop()


def test_maintenance_of_another_service_is_its_own(client: TestClient, node: Node, service: str) -> None:
    node.engine.sync.enable_service_maintenance("orders-service", reason="theirs")
    node.engine.sync.disable(f"{service}:POST:/pay")
    answers(client, "/pay", 503, "POST")  # which comes after it
    assert client.get("/pay").status_code == 200
    node.engine.sync.disable_service_maintenance("orders-service")


def limit_route(node: Node, service: str, limit: str) -> None:
    node.engine.sync.set_rate_limit_policy(f"{service}:/pay", "GET", limit)


LIMITS: dict[str, Callable[[Node, str, str], Any]] = {
    "everything": lambda node, service, limit: node.engine.sync.set_global_rate_limit(limit),
    "the service": lambda node, service, limit: node.engine.sync.set_service_rate_limit(service, limit),
    "the route": limit_route,
}


@pytest.mark.parametrize("scope", LIMITS)
def test_a_limit_reaches_it_live(client: TestClient, node: Node, service: str, scope: str) -> None:
    LIMITS[scope](node, service, "1000/minute")
    eventually(lambda: client.get("/pay").headers.get("X-RateLimit-Limit") == "1000")
    LIMITS[scope](node, service, "2/minute")
    eventually(lambda: client.get("/pay").status_code == 429)
    assert client.get("/pay").json()["error"]["limit"] == "2/minute"
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize("scope", LIMITS)
def test_a_limit_is_there_at_the_start(
    client: TestClient, node: Node, service: str, scope: str, run: Callable[[FastAPI], TestClient]
) -> None:
    LIMITS[scope](node, service, "1/minute")
    late = run(application(ShieldSDK(node.address, service, token=node.token(service))))
    assert [late.get("/pay").status_code for _ in range(3)] == [200, 429, 429]


def test_a_limit_of_the_code_can_be_changed_and_put_back(
    client: TestClient, node: Node, service: str
) -> None:
    assert client.get("/limited").headers["X-RateLimit-Limit"] == "1000"
    node.engine.sync.set_rate_limit_policy(f"{service}:/limited", "GET", "3/minute")
    eventually(lambda: client.get("/limited").headers["X-RateLimit-Limit"] == "3")
    node.engine.sync.delete_rate_limit_policy(f"{service}:/limited", "GET")
    eventually(lambda: client.get("/limited").headers["X-RateLimit-Limit"] == "1000")


@pytest.fixture(scope="module")
def counters() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


def test_replicas_count_together_in_a_redis(
    node: Node, service: str, counters: RedisServer, run: Callable[[FastAPI], TestClient]
) -> None:
    replicas = [
        ShieldSDK(
            node.address,
            service,
            token=node.token(service),
            rate_limit_backend=RedisBackend(url=counters.url),
        )
        for _ in range(2)
    ]
    clients = [run(application(one)) for one in replicas]
    eventually(lambda: node.engine.sync.list_states(service))
    limit_route(node, service, "4/minute")
    for one in clients:
        eventually(lambda one=one: one.get("/pay").headers.get("X-RateLimit-Limit") == "4")
    said = [client.get("/pay").status_code for client in clients * 4]
    assert said.count(200) <= 2
    assert said[-1] == 429


def test_replicas_without_one_count_each_alone(
    node: Node, service: str, run: Callable[[FastAPI], TestClient]
) -> None:
    clients = [
        run(application(ShieldSDK(node.address, service, token=node.token(service)))) for _ in range(2)
    ]
    eventually(lambda: node.engine.sync.list_states(service))
    node.engine.sync.set_rate_limit_policy(f"{service}:/pay", "POST", "3/minute")
    for client in clients:
        eventually(lambda client=client: client.post("/pay").status_code == 429)


# -- credentials ------------------------------------------------------------------------------


CREDENTIALS: dict[str, Callable[[Node, Path], dict[str, Any]]] = {
    "a token": lambda node, folder: {"token": node.token("orders-service")},
    "a function": lambda node, folder: {"token": lambda: node.token("orders-service")},
    "a file": lambda node, folder: {"token_file": written(folder / "token", node.token("orders-service"))},
    "an operator": lambda node, folder: {"username": "olga", "password": "secret"},
    "the service": lambda node, folder: {"username": "orders-service", "password": "of orders"},
}
#: Those that an environment can hold.
TEXTS = [kind for kind in CREDENTIALS if kind != "a function"]


def written(path: Path, text: str) -> Path:
    path.write_text(f"{text}\n")
    return path


@pytest.mark.parametrize(
    "kind, place",
    [*((kind, "arguments") for kind in CREDENTIALS), *((kind, "environment") for kind in TEXTS)],
)
def test_credentials(
    node: Node,
    tmp_path: Path,
    run: Callable[[FastAPI], TestClient],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    place: str,
) -> None:
    given = CREDENTIALS[kind](node, tmp_path)
    if place == "environment":
        for name, value in given.items():
            monkeypatch.setenv(f"SHIELD_{name.upper()}", str(value))
        given = {}
    sdk = ShieldSDK(node.address, "orders-service", reconnect_delay=0.2, **given)
    client = run(application(sdk))
    eventually(lambda: sdk.engine.status().state == "live" and not sdk.engine.replica.unregistered)
    node.engine.sync.disable("orders-service:GET:/pay")
    answers(client, "/pay", 503)
    node.engine.sync.enable("orders-service:GET:/pay")
    answers(client, "/pay", 200)


def test_an_open_server_needs_none(service: str, run: Callable[[FastAPI], TestClient]) -> None:
    with Node(MemoryBackend, auth=None) as open_node:
        plain = ShieldSDK(open_node.address, service)
        named = ShieldSDK(open_node.address, f"{service}-too", username="x", password="y")
        for sdk, name in ((plain, service), (named, f"{service}-too")):
            client = run(application(sdk))
            eventually(lambda name=name: open_node.engine.sync.list_states(name))
            open_node.engine.sync.disable(f"{name}:GET:/pay")
            answers(client, "/pay", 503)


def test_with_wrong_credentials_it_runs_on_its_decorators_and_says_why(
    node: Node, service: str, run: Callable[[FastAPI], TestClient], caplog: pytest.LogCaptureFixture
) -> None:
    sdk = ShieldSDK(node.address, service, username=service, password="wrong", init_timeout=0.5)
    client = run(application(sdk))
    assert client.get("/pay").status_code == 200
    assert client.get("/api/payments").status_code == 503
    assert "Invalid credentials" in sdk.engine.status().error
    assert "Invalid credentials" in caplog.text
    assert "wrong" not in caplog.text


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"server_url": "localhost:9000"}, "http://host:port"),
        ({"server_url": ""}, "SHIELD_SERVER_URL"),
        ({"app_id": "Not a name"}, "Not a name"),
        ({"app_id": ""}, "SHIELD_APP_ID"),
        ({"username": "olga"}, "password"),
        ({"password": "secret"}, "username"),
    ],
)
def test_a_wrong_configuration_is_one_clear_error_at_once(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        ShieldSDK(**{"server_url": "http://localhost:9000", "app_id": "payments", **given})


# -- without a server ---------------------------------------------------------------------------


def test_without_an_address_the_decorators_alone_decide(
    service: str, run: Callable[[FastAPI], TestClient], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "shield"):
        sdk = ShieldSDK(None, service)
    assert sdk.is_offline
    assert "runs on its decorators alone" in caplog.text
    check_offline(sdk, run)


def test_offline_by_the_environment_nothing_is_asked(
    node: Node, service: str, run: Callable[[FastAPI], TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHIELD_OFFLINE", "1")
    with Link(node.port) as link:
        sdk = ShieldSDK(link.address, service, token="unused")
        check_offline(sdk, run)
        assert not link.accepted


def check_offline(sdk: ShieldSDK, run: Callable[[FastAPI], TestClient]) -> None:
    client = run(application(sdk))
    assert client.get("/pay").status_code == 200
    assert client.get("/api/payments").status_code == 503
    sdk.engine.sync.disable("GET:/pay", reason="here alone")
    assert client.get("/pay").status_code == 503
    assert sdk.engine.status().acknowledged is None


def test_registration_waits_for_a_server_that_is_not_there_yet(
    node: Node, service: str, run: Callable[[FastAPI], TestClient]
) -> None:
    with Link(node.port) as link:
        link.refuse()
        sdk = ShieldSDK(
            link.address, service, token=node.token(service), reconnect_delay=0.2, init_timeout=0.3
        )
        client = run(application(sdk))
        assert client.get("/pay").status_code == 200
        assert client.get("/api/payments").status_code == 503
        assert not node.engine.sync.list_states(service)
        link.mend()
        eventually(lambda: len(node.engine.sync.list_states(service)) == 6)
        node.engine.sync.disable(f"{service}:GET:/pay")
        answers(client, "/pay", 503)


# -- how it is attached ---------------------------------------------------------------------------


def test_attached_to_an_application_with_a_lifespan_of_its_own(
    sdk: ShieldSDK, node: Node, service: str, run: Callable[[FastAPI], TestClient]
) -> None:
    told = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, int]]:
        told.append(("begins", sdk.engine.status().state))
        yield {"number": 7}
        told.append(("ends", sdk.engine.status().state))

    node.engine.sync.enable_service_maintenance(service)
    with TestClient(application(sdk, lifespan=lifespan)) as client:
        assert client.get("/pay").status_code == 503
    assert told == [("begins", "live"), ("ends", "live")]
    node.engine.sync.disable_service_maintenance(service)


def test_the_end_of_one_application_leaves_the_other_one_of_the_process_following(node, sdk, service):
    """As a public and an internal application of one service."""
    internal = FastAPI()
    sdk.attach(internal)
    with TestClient(application(sdk)) as client:
        with TestClient(internal) as other:
            assert other.get("/nothing").status_code == 404
        assert client.get("/pay").status_code == 200
        node.engine.sync.enable_service_maintenance(service)
        eventually(lambda: client.get("/pay").status_code == 503)
        node.engine.sync.disable_service_maintenance(service)
    eventually(lambda: not any(one.name == "shield-stream" for one in threading.enumerate()))


def test_an_application_to_which_it_is_attached_twice_is_counted_once(sdk):
    app = FastAPI()
    sdk.attach(app)
    sdk.attach(app)

    @app.get("/limited")
    @rate_limit("3/minute")
    async def limited() -> str:
        return "limited"

    with TestClient(app, client=("203.0.113.5", 1)) as client:
        assert [client.get("/limited").status_code for _ in range(4)] == [200, 200, 200, 429]
    eventually(lambda: not any(one.name == "shield-stream" for one in threading.enumerate()))


def test_routes_of_mounted_applications_and_websockets(
    sdk: ShieldSDK, node: Node, service: str, run: Callable[[FastAPI], TestClient]
) -> None:
    app, mounted = application(sdk), FastAPI()

    @mounted.get("/items/{number}")
    async def item(number: int) -> int:
        return number

    @app.websocket("/live")
    async def live(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    app.mount("/v2", mounted)
    client = run(app)
    key = f"{service}:GET:/v2/items/{{number}}"
    eventually(lambda: key in {one.path for one in node.engine.sync.list_states(service)})
    with client.websocket_connect("/live") as socket:
        assert socket.receive_text() == "hello"
    assert client.get("/v2/items/5").json() == 5
    node.engine.sync.disable(key, reason="mounted")
    assert answers(client, "/v2/items/5", 503).json()["error"]["path"] == "GET:/v2/items/{number}"


def test_answers_and_exemptions_of_the_service_itself(
    sdk: ShieldSDK, node: Node, service: str, run: Callable[[FastAPI], TestClient]
) -> None:
    from starlette.responses import PlainTextResponse

    app = FastAPI()
    sdk.attach(
        app,
        responses={"maintenance": lambda request, exc: PlainTextResponse(exc.reason, 503)},
        exempt=["/ping"],
    )
    app.add_api_route("/ping", lambda: "pong")
    app.add_api_route("/pay", lambda: "paid")
    node.engine.sync.enable_service_maintenance(service, reason="ours")
    client = run(app)
    assert client.get("/pay").text == "ours"
    assert client.get("/ping").json() == "pong"


# -- changes by the service ---------------------------------------------------------------------


def test_a_service_changes_its_own_routes(
    client: TestClient, sdk: ShieldSDK, node: Node, service: str
) -> None:
    state = sdk.engine.sync.disable("GET:/pay", reason="by itself")
    assert state.status.value == "disabled"
    assert client.get("/pay").status_code == 503
    found = node.engine.sync.get_state(f"{service}:GET:/pay")
    assert (found.status.value, found.reason) == ("disabled", "by itself")
    entry = node.engine.sync.get_audit_log(f"{service}:GET:/pay")[0]
    assert (entry.action, entry.platform, entry.service) == ("disable", "sdk", service)
    sdk.engine.sync.enable("GET:/pay")
    assert client.get("/pay").status_code == 200


def test_what_a_service_may_not_do_is_refused_with_a_reason(
    client: TestClient, sdk: ShieldSDK, node: Node, service: str
) -> None:
    for attempt in (
        lambda: sdk.engine.sync.enable_global_maintenance(reason="all"),
        lambda: sdk.engine.sync.set_global_rate_limit("1/minute"),
        lambda: sdk.engine.sync.set_rate_limit_policy("/pay", "POST", "2/minute"),
        lambda: sdk.engine.sync.enable_service_maintenance("orders-service"),
        sdk.engine.sync.get_audit_log,
    ):
        with pytest.raises(NotAllowedError) as refused:
            attempt()
        assert len(str(refused.value)) > 20
    with pytest.raises(RouteProtectedException):
        sdk.engine.sync.disable("GET:/health")
    assert not node.engine.sync.get_global_maintenance().enabled
    assert client.get("/pay").status_code == 200


def test_without_the_server_a_service_cannot_change_anything_and_says_so(
    node: Node, service: str, run: Callable[[FastAPI], TestClient]
) -> None:
    with Link(node.port) as link:
        sdk = ShieldSDK(link.address, service, token=node.token(service), reconnect_delay=0.2)
        client = run(application(sdk))
        eventually(lambda: not sdk.engine.replica.unregistered)
        link.refuse()
        with pytest.raises(BackendError, match="cannot be reached"):
            sdk.engine.sync.disable("GET:/pay")
        assert client.get("/pay").status_code == 200


async def test_mutations_in_the_service_s_own_loop(sdk: ShieldSDK, node: Node, service: str) -> None:
    async with sdk.engine:
        await sdk.engine.register("GET:/pay", {})
        await sdk.engine.disable("GET:/pay", reason="awaited")
        assert not sdk.engine.decide("GET", "/pay").allowed
        states = await sdk.engine.list_states()
        assert [state.path for state in states] == [f"{service}:GET:/pay"]


# -- convergence -----------------------------------------------------------------------------------


def test_what_it_has_applied_is_known_to_the_server_and_to_itself(
    client: TestClient, sdk: ShieldSDK, node: Node, service: str
) -> None:
    import httpx2

    operator = httpx2.Client(base_url=f"{node.address}/api/", trust_env=False, timeout=30)
    said = operator.post("auth/login", json={"username": "olga", "password": "secret"}).json()
    operator.headers["Authorization"] = f"Bearer {said['token']}"

    def instances() -> list[dict[str, Any]]:
        found = operator.get("services?detail=1").json()
        return next((one["instances"] for one in found if one["service"] == service), [])

    node.engine.sync.disable(f"{service}:GET:/pay")
    revision = node.engine.status().revision
    answers(client, "/pay", 503)
    eventually(lambda: sdk.engine.status().acknowledged == revision)
    (one,) = instances()
    assert (one["revision"], one["lag"]) == (revision, 0)
    operator.close()


def test_it_reports_to_a_server_that_is_back(
    node: Node, service: str, run: Callable[[FastAPI], TestClient]
) -> None:
    with Link(node.port) as link:
        sdk = ShieldSDK(link.address, service, token=node.token(service), reconnect_delay=0.2)
        run(application(sdk))
        eventually(lambda: sdk.engine.status().acknowledged == node.engine.status().revision)
        link.refuse()
        node.engine.sync.disable(f"{service}:GET:/pay")
        revision = node.engine.status().revision
        assert sdk.engine.status().acknowledged != revision
        link.mend()
        eventually(lambda: sdk.engine.status().acknowledged == revision)


def test_nobody_listens_and_nothing_hangs(service: str, run: Callable[[FastAPI], TestClient]) -> None:
    sdk = ShieldSDK(f"http://127.0.0.1:{unused_port()}", service, token="t", init_timeout=0.3)
    assert run(application(sdk)).get("/pay").status_code == 200
