"""What ShieldMiddleware adds to a FastAPI request, over the same application without it.

``python benchmarks/fastapi_overhead.py``: in process, no network, on the memory backend (the
request path is the same on all of them). CPU time of the event loop's thread; repetitions are
interleaved, so that a busy machine slows all columns alike.

``--peer`` makes a temporary environment with api-shield 0.8.3, FastAPI 0.135.2 and Starlette 1.0.0
beside this package, and measures both in one run there.
"""

from __future__ import annotations

import asyncio
import gc
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.responses import Response

ROUNDS = 7
REPETITIONS = 15
REQUESTS = 200
PARAMETER_ROUTES = 300
#: jinja2 is what api-shield's package imports besides.
PEER = ["api-shield==0.8.3", "fastapi==0.135.2", "starlette==1.0.0", "jinja2", "python-multipart"]
AIMS = {"a plain route": 3.0, f"the last of {PARAMETER_ROUTES} parameter routes": 5.0}


@dataclass
class Column:
    """One application under measurement; ``times`` are µs per request."""

    name: str
    app: Any = None
    times: list[float] = field(default_factory=list)


async def endpoint() -> Response:
    return Response(b"ok")


async def endpoint_of_item(item: str) -> Response:
    return Response(b"ok")


def routed(router: APIRouter, routes: int) -> APIRouter:
    for number in range(routes):
        router.get(f"/r{number}/{{item}}")(endpoint_of_item)
    router.get("/plain")(endpoint)
    return router


def bare(routes: int) -> FastAPI:
    app = FastAPI()
    app.include_router(routed(APIRouter(), routes))
    return app


def ours(routes: int) -> FastAPI:
    from shield_core.backends.memory import MemoryBackend
    from shield_core.engine import ShieldEngine
    from shield_fastapi.middleware import ShieldMiddleware
    from shield_fastapi.router import ShieldRouter

    engine = ShieldEngine(backend=MemoryBackend())
    app = FastAPI()
    app.add_middleware(ShieldMiddleware, engine=engine)
    app.include_router(routed(ShieldRouter(engine=engine), routes))
    return app


def peer(routes: int) -> FastAPI:
    from shield.core.backends.memory import MemoryBackend  # type: ignore[import-not-found]
    from shield.core.engine import ShieldEngine  # type: ignore[import-not-found]
    from shield.fastapi.middleware import ShieldMiddleware  # type: ignore[import-not-found]
    from shield.fastapi.router import ShieldRouter  # type: ignore[import-not-found]

    engine = ShieldEngine(backend=MemoryBackend())
    app = FastAPI()
    app.add_middleware(ShieldMiddleware, engine=engine)
    app.include_router(routed(ShieldRouter(engine=engine), routes))
    return app


@asynccontextmanager
async def lifespan(app: Any) -> Any:
    """Start and stop an application as a server does."""
    asked: asyncio.Queue[Any] = asyncio.Queue()
    answered: asyncio.Queue[Any] = asyncio.Queue()
    task = asyncio.create_task(app({"type": "lifespan", "state": {}}, asked.get, answered.put))
    for phase in ("startup", "shutdown"):
        await asked.put({"type": f"lifespan.{phase}"})
        assert (await answered.get())["type"] == f"lifespan.{phase}.complete"
        if phase == "startup":
            yield
    await task


def scope(path: str) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"testserver"), (b"accept", b"*/*"), (b"user-agent", b"benchmark")],
        "client": ("127.0.0.1", 5000),
        "server": ("testserver", 80),
        "state": {},
    }


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


class Statuses:
    """Checks that every answer is a 200, so that nothing is measured which failed."""

    async def __call__(self, message: dict[str, Any]) -> None:
        assert message.get("status", 200) == 200, message


async def measure(app: Callable[..., Awaitable[None]], paths: list[str]) -> float:
    """Return µs per request."""
    scopes, send = [scope(path) for path in paths], Statuses()
    gc.collect()
    gc.disable()
    started = time.thread_time()
    for one in scopes:
        await app(one, receive, send)
    taken = time.thread_time() - started
    gc.enable()
    return taken / len(paths) * 1e6


async def run(makers: dict[str, Callable[[int], FastAPI]]) -> None:
    print(f"Python {sys.version.split()[0]}, FastAPI {version('fastapi')}, Starlette {version('starlette')}")
    for scenario, aim in AIMS.items():
        routes = PARAMETER_ROUTES if "parameter" in scenario else 0
        columns = [Column(name) for name in makers]
        # New applications in each round, as their place in memory matters more than what is measured.
        for _ in range(ROUNDS):
            async with AsyncExitStack() as stack:
                for column in columns:
                    column.app = makers[column.name](routes)
                    await stack.enter_async_context(lifespan(column.app))
                await repeat(columns, routes)
            for column in columns:
                column.app = None
        report(scenario, aim, columns)


async def repeat(columns: list[Column], routes: int) -> None:
    for repetition in range(REPETITIONS + 2):
        for column in random.sample(columns, len(columns)):
            first = repetition * REQUESTS
            last_route = [f"/r{routes - 1}/{number}" for number in range(first, first + REQUESTS)]
            taken = await measure(column.app, last_route if routes else ["/plain"] * REQUESTS)
            if repetition >= 2:  # the first ones warm up
                column.times.append(taken)


def report(scenario: str, aim: float, columns: list[Column]) -> None:
    """Show what each column adds: the median of the differences within one repetition."""
    base, *others = (column.times for column in columns)
    print(f"\n{scenario}: {median(base):.1f} µs without Shield; Shield aims at +{aim:.0f} µs")
    added = {
        column.name: median(cost - bare for cost, bare in zip(times, base, strict=True))
        for column, times in zip(columns[1:], others, strict=True)
    }
    for name, cost in added.items():
        print(f"  {name:22} +{cost:.1f} µs")
    if "api-shield" in added:
        print(f"  ratio {added['api-shield'] / added['shield-django']:.0f}")


def run_with_peer() -> int:
    """Run again in an environment that has the peer."""
    root = Path(__file__).resolve().parent.parent
    with tempfile.TemporaryDirectory() as directory:
        python = Path(directory) / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, *PEER, "-e", str(root)], check=True)
        return subprocess.run([str(python), __file__, "--both"], cwd=directory).returncode


def main() -> int:
    if "--peer" in sys.argv:
        return run_with_peer()
    makers = {"without": bare, "shield-django": ours}
    if "--both" in sys.argv:
        makers["api-shield"] = peer
    asyncio.run(run(makers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
