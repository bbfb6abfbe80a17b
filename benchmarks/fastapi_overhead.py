"""What ShieldMiddleware adds to a FastAPI request, over the same application without it.

``python benchmarks/fastapi_overhead.py``: in process, no network, on the memory backend (the
request path is the same on all of them). With and without differ in one reference: where an
application lies in memory matters more than what is measured. Requests alternate one by one, so
that a busy machine slows both alike, and each round is a process of its own, with other hash seeds.

``--peer`` makes a temporary environment with api-shield 0.8.3, FastAPI 0.135.2 and Starlette 1.0.0
beside this package, and measures both in one run there.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.responses import Response

ROUNDS = 9
REQUESTS = 2000
WARM_UP = 200
PARAMETER_ROUTES = 300
#: jinja2 is what api-shield's package imports besides.
PEER = ["api-shield==0.8.3", "fastapi==0.135.2", "starlette==1.0.0", "jinja2", "python-multipart"]
AIMS = {0: 3.0, PARAMETER_ROUTES: 5.0}


async def endpoint() -> Response:
    return Response(b"ok")


async def endpoint_of_item(item: str) -> Response:
    return Response(b"ok")


def routed(router: APIRouter, routes: int) -> APIRouter:
    for number in range(routes):
        router.get(f"/r{number}/{{item}}")(endpoint_of_item)
    router.get("/plain")(endpoint)
    return router


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


class Switch:
    """The whole stack of an application whose Shield middleware can be bypassed."""

    def __init__(self, app: FastAPI) -> None:
        self._outer: Any = app.middleware_stack
        while type(self._outer.app).__name__ != "ShieldMiddleware":
            self._outer = self._outer.app
        self._shield = self._outer.app

    def turn(self, on: bool) -> None:
        self._outer.app = self._shield if on else self._shield.app


async def measure(app: FastAPI, routes: int) -> tuple[float, float]:
    """Return µs per request without the middleware, and what it adds."""
    times: dict[bool, list[int]] = {True: [], False: []}
    clock, send = time.perf_counter_ns, Statuses()
    async with lifespan(app):
        switch = Switch(app)
        gc.collect()
        gc.disable()
        for number in range(REQUESTS):
            path = f"/r{routes - 1}/{number}" if routes else "/plain"
            for on in random.sample((True, False), 2):
                switch.turn(on)
                asked = scope(path)
                started = clock()
                await app(asked, receive, send)
                times[on].append(clock() - started)
        gc.enable()
    without, with_it = (median(times[on][WARM_UP:]) / 1000 for on in (False, True))
    return without, with_it - without


async def one_round(names: list[str]) -> list[tuple[str, int, float, float]]:
    """Measure each product in each scenario once: (product, routes, without, added)."""
    makers: dict[str, Callable[[int], FastAPI]] = {"shield-django": ours, "api-shield": peer}
    return [(name, routes, *await measure(makers[name](routes), routes)) for routes in AIMS for name in names]


def run(names: list[str]) -> None:
    print(f"Python {sys.version.split()[0]}, FastAPI {version('fastapi')}, Starlette {version('starlette')}")
    found: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for _ in range(ROUNDS):
        command = [sys.executable, __file__, "--round", *names]
        # What api-shield complains of at its end is not for this table.
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        for name, routes, without, added in json.loads(output):
            found.setdefault((routes, name), []).append((without, added))
    for routes, aim in AIMS.items():
        name = f"the last of {routes} parameter routes" if routes else "a plain route"
        base = median(without for without, _ in found[routes, "shield-django"])
        print(f"\n{name}: {base:.1f} µs without Shield; Shield aims at +{aim:.0f} µs")
        middle = {}
        for product in names:
            added = sorted(cost for _, cost in found[routes, product])
            middle[product] = median(added)
            print(f"  {product:16} +{middle[product]:.1f} µs  ({added[0]:.1f} to {added[-1]:.1f})")
        if "api-shield" in middle:
            print(f"  ratio {middle['api-shield'] / middle['shield-django']:.0f}")


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
    if "--round" in sys.argv:
        print(json.dumps(asyncio.run(one_round(sys.argv[2:]))))
    else:
        run(["shield-django", "api-shield"] if "--both" in sys.argv else ["shield-django"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
