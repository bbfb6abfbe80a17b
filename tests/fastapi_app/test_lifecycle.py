"""Starting, stopping, threads and loops; stores that are slow, down or bound to a loop."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import textwrap
import threading
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI

from shield_core.backends.file import FileBackend
from shield_core.backends.memory import MemoryBackend
from shield_core.engine import ShieldEngine
from shield_core.exceptions import BackendError, ShieldException
from shield_fastapi import ShieldMiddleware, env_only, maintenance, rate_limit
from tests.conftest import eventually
from tests.core.notebook import NotebookBackend
from tests.fastapi_app.caller import Caller, exchange, lifespan


async def ok() -> Any:
    return {"ok": True}


def application(engine: ShieldEngine, **options: Any) -> FastAPI:
    app = FastAPI(**options)
    app.get("/x")(ok)
    app.get("/gate")(env_only("dev")(lambda: None))
    app.add_middleware(ShieldMiddleware, engine=engine)
    return app


async def until(condition: Any) -> Any:
    """Await a condition without blocking the loop."""
    return await asyncio.to_thread(eventually, condition)


@pytest.mark.parametrize("backend", [MemoryBackend, NotebookBackend])
async def test_lifespan_awaits_the_first_load_and_stops_at_the_end(backend: Any) -> None:
    before = set(threading.enumerate())
    engine = ShieldEngine(backend(), "test", refresh_interval=0.05)

    async with lifespan(application(engine)) as told:
        assert told == [{"type": "lifespan.startup.complete"}]
        assert engine.status().state == "live"
        assert engine.replica.ruleset is not None
        assert {"GET:/x", "GET:/gate"} <= {str(key) for key in engine.replica.declared}

    assert told[1] == {"type": "lifespan.shutdown.complete"}
    left = set(threading.enumerate()) - before
    assert not [one for one in left if one.name.startswith("shield-")]


async def test_a_restart_takes_up_the_counters_in_a_file(tmp_path: Any) -> None:
    left = []
    for _ in range(2):
        engine = ShieldEngine(FileBackend(tmp_path / "state.json"), "test")
        app = FastAPI()
        app.get("/x")(rate_limit("5/hour", algorithm="sliding_window")(ok))
        app.add_middleware(ShieldMiddleware, engine=engine)
        async with lifespan(app):
            left.append((await Caller(app).get("/x")).headers["x-ratelimit-remaining"])

    assert left == ["4", "3"]


async def test_rules_are_in_force_when_the_applications_own_startup_runs() -> None:
    seen = []
    engine = ShieldEngine(current_env="test")

    @asynccontextmanager
    async def own(app: FastAPI) -> Any:
        seen.append((engine.status().state, engine.decide("GET", "/gate").cause))
        yield
        seen.append((engine.status().state, None))

    async with lifespan(application(engine, lifespan=own)):
        pass

    assert seen == [("live", "env_gated"), ("live", None)]


async def test_routes_that_the_applications_own_startup_replaces_are_known() -> None:
    @asynccontextmanager
    async def own(app: FastAPI) -> Any:
        app.router.routes = [route for route in app.routes if getattr(route, "path", "") != "/x"]
        app.get("/x")(maintenance("replaced")(lambda: None))
        yield

    engine = ShieldEngine(current_env="test")
    app = application(engine, lifespan=own)
    async with lifespan(app):
        assert (await Caller(app).get("/x")).error["reason"] == "replaced"


async def test_a_loop_bound_backend_stays_on_the_applications_loop() -> None:
    backend = NotebookBackend()  # it asserts that every call is made on the loop of its startup
    engine = ShieldEngine(backend, "test", refresh_interval=0.02)
    async with lifespan(application(engine)) as _:
        await engine.disable("GET:/x")
        await asyncio.to_thread(engine.sync.enable, "GET:/x")
        calls = backend.calls
        await until(lambda: backend.calls > calls + 3)  # the replica's thread asks there too

    assert backend.events == ["startup", "shutdown"]
    assert backend.loops == [asyncio.get_running_loop()]
    assert backend.threads == {threading.get_ident()}


async def test_without_lifespan_the_first_request_awaits_the_load() -> None:
    backend = NotebookBackend()
    other = ShieldEngine(NotebookBackend(backend.pages), "test")
    async with other:
        await other.register("GET:/x", {})
        await other.disable("GET:/x", reason="by an operator")
    engine = ShieldEngine(backend, "test", refresh_interval=0.02)
    caller = Caller(application(engine))

    answers = await asyncio.gather(*(caller.get("/x") for _ in range(10)))

    assert {answer.error["reason"] for answer in answers} == {"by an operator"}
    assert backend.events == ["startup"]
    await engine.stop()
    assert backend.events == ["startup", "shutdown"]


@pytest.mark.parametrize("through", ["middleware too", "the engine alone"])
async def test_async_with_engine_in_a_lifespan_calls_startup_and_shutdown_once(through: str) -> None:
    backend = NotebookBackend()
    engine = ShieldEngine(backend, "test", refresh_interval=0.05)

    @asynccontextmanager
    async def own(app: FastAPI) -> Any:
        async with engine:
            yield

    app = FastAPI(lifespan=own)
    app.get("/x")(ok)
    if through == "middleware too":
        app.add_middleware(ShieldMiddleware, engine=engine)
    async with lifespan(app):
        assert backend.events == ["startup"]
        assert await Caller(app).status("/x") == 200

    assert backend.events == ["startup", "shutdown"]
    assert backend.loops == [asyncio.get_running_loop()]


@pytest.mark.parametrize("backend", [MemoryBackend, NotebookBackend])
@pytest.mark.parametrize("served", ["lifespan", "no lifespan"])
async def test_engine_sync_in_def_handlers_and_background_threads(backend: Any, served: str) -> None:
    engine = ShieldEngine(backend(), "test", refresh_interval=0.05)
    app = FastAPI()
    app.get("/x")(ok)

    @app.post("/switch")
    def switch() -> Any:
        return engine.sync.disable("GET:/x", reason="from a def handler").status

    app.add_middleware(ShieldMiddleware, engine=engine)
    caller = Caller(app)

    async def use() -> None:
        assert await caller.status("/x") == 200
        assert (await caller.post("/switch")).json == "disabled"
        assert (await caller.get("/x")).error["reason"] == "from a def handler"
        failures: list[BaseException] = []

        def work() -> None:
            try:
                engine.sync.enable("GET:/x")
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        await asyncio.to_thread(thread.join)
        assert not failures
        assert await caller.status("/x") == 200

    if served == "lifespan":
        async with lifespan(app):
            await use()
    else:
        await use()
        await engine.stop()


async def test_engine_sync_on_the_backends_own_loop_is_a_clear_error() -> None:
    engine = ShieldEngine(NotebookBackend(), "test")
    app = FastAPI()

    @app.post("/switch")
    async def switch() -> Any:
        engine.sync.disable("GET:/switch")

    app.add_middleware(ShieldMiddleware, engine=engine)
    async with lifespan(app):
        with pytest.raises(ShieldException, match="Await the engine's own method"):
            await Caller(app).post("/switch")


@pytest.mark.parametrize("backend", ["MemoryBackend()", "NotebookBackend()"])
def test_engine_sync_in_a_script(backend: str) -> None:
    script = f"""
        from fastapi import FastAPI
        from shield_core.backends.memory import MemoryBackend
        from shield_core.engine import ShieldEngine
        from shield_fastapi import ShieldMiddleware, ShieldRouter, maintenance
        from tests.core.notebook import NotebookBackend

        engine = ShieldEngine({backend})
        router = ShieldRouter(engine=engine)

        @router.get("/payments")
        @maintenance("x")
        def payments(): ...

        app = FastAPI()
        app.add_middleware(ShieldMiddleware, engine=engine)
        app.include_router(router)
        print(engine.sync.enable("GET:/payments").status, engine.decide("GET", "/payments").allowed)
        engine.sync.stop()
    """
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    # On a busy machine asyncio's debug mode tells of slow callbacks, which is no warning of ours.
    told = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    assert (done.stdout, told) == ("active True\n", [])


@pytest.mark.parametrize("served", ["lifespan", "no lifespan"])
@pytest.mark.parametrize("fault", ["startup fails", "startup hangs", "loading fails", "hangs"])
async def test_a_store_that_is_down_leaves_the_decorators_in_force(
    served: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    released = threading.Event()

    class Faulty(NotebookBackend):
        async def startup(self) -> None:
            if fault == "startup fails":
                raise ConnectionError("refused")
            while fault == "startup hangs" and not released.is_set():
                await asyncio.sleep(0.01)
            await super().startup()

    backend = Faulty()
    backend.down, backend.stuck = fault == "loading fails", fault == "hangs"
    engine = ShieldEngine(backend, "test", init_timeout=0.2, refresh_interval=0.05)
    app = application(engine)
    caller = Caller(app)

    with caplog.at_level(logging.CRITICAL, "asyncio"):
        if served == "lifespan":
            async with lifespan(app) as told:
                assert told[0] == {"type": "lifespan.startup.complete"}
                statuses = [await caller.status(path) for path in ("/x", "/gate")]
                backend.stuck = False
                released.set()
        else:
            statuses = [await caller.status(path) for path in ("/x", "/gate")]
            backend.stuck = False
            released.set()
            await engine.stop()

    assert statuses == [200, 404]


async def test_a_store_that_goes_down_later_keeps_the_last_rules() -> None:
    backend = NotebookBackend()
    engine = ShieldEngine(backend, "test", refresh_interval=0.02)
    async with lifespan(application(engine)) as _:
        caller = Caller(application(engine))
        await engine.disable("GET:/x", reason="before")
        backend.down = True
        await until(lambda: engine.status().state == "stale")

        assert (await caller.get("/x")).error["reason"] == "before"
        assert await caller.status("/gate") == 404


@pytest.mark.parametrize("policy, status", [("maintenance", 503), ("refuse", None)])
async def test_what_a_cold_process_does_without_its_store_can_be_chosen(
    policy: Any, status: int | None
) -> None:
    backend = NotebookBackend()
    backend.down = True
    engine = ShieldEngine(backend, "test", init_timeout=0.1, no_store=policy)
    caller = Caller(application(engine))

    if status is None:
        with pytest.raises(BackendError, match="refuse"):
            await caller.get("/x")
    else:
        assert await caller.status("/x") == status
    await engine.stop()


async def test_refuse_keeps_the_application_from_starting() -> None:
    backend = NotebookBackend()
    backend.down = True
    engine = ShieldEngine(backend, "test", init_timeout=0.1, no_store="refuse")

    with pytest.raises(BackendError, match="refuse"):
        async with lifespan(application(engine)):
            pass


async def test_one_application_stops_and_another_on_the_same_engine_goes_on() -> None:
    backend = NotebookBackend()
    engine = ShieldEngine(backend, "test", refresh_interval=0.05)
    one, two = application(engine), application(engine)
    async with lifespan(two):
        async with lifespan(one):
            await engine.disable("GET:/x", reason="shared")
        assert (await Caller(two).get("/x")).error["reason"] == "shared"
        await engine.enable("GET:/x")
        assert await Caller(two).status("/x") == 200

    assert backend.events[-1] == "shutdown"


async def test_other_scopes_pass(engine: ShieldEngine) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    await exchange(ShieldMiddleware(app, engine=engine), {"type": "webtransport"}, [])

    assert seen == ["webtransport"]


async def test_an_application_that_refuses_lifespan_still_does(engine: ShieldEngine) -> None:
    app = FastAPI()

    async def only_http(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await app(scope, receive, send)

    only_http.app = app  # type: ignore[attr-defined]
    shielded = ShieldMiddleware(only_http, engine=engine)

    with pytest.raises(AssertionError):
        await exchange(shielded, {"type": "lifespan"}, [{"type": "lifespan.startup"}])
    assert await Caller(shielded).status("/nowhere") == 404


async def test_a_change_is_in_force_when_the_call_returns(engine: ShieldEngine) -> None:
    app = FastAPI()
    app.get("/x")(maintenance("x")(ok_again()))
    app.add_middleware(ShieldMiddleware, engine=engine)
    caller = Caller(app)
    assert await caller.status("/x") == 503

    for _ in range(20):
        await engine.enable("GET:/x")
        assert await caller.status("/x") == 200
        await engine.clear_override("GET:/x")
        assert await caller.status("/x") == 503


def ok_again() -> Any:
    async def endpoint() -> Any:
        return {"ok": True}

    return endpoint
