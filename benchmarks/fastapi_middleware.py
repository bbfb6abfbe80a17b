"""What the middleware itself costs, without a framework's noise: ``python benchmarks/fastapi_middleware.py``.

The wrapped application is empty; an application with 300 parameter routes says which route is meant.
CPU time of one call over a direct call of the empty application, medians of 15 interleaved repetitions.
"""

from __future__ import annotations

import asyncio
import random
import time
from statistics import median
from typing import Any

from fastapi import FastAPI

from shield_core.engine import ShieldEngine
from shield_fastapi import ShieldMiddleware

REPETITIONS = 15
REQUESTS = 2000
PARAMETER_ROUTES = 300


def application() -> FastAPI:
    app = FastAPI()
    for number in range(PARAMETER_ROUTES):
        app.get(f"/r{number}/{{item}}")(lambda item: item)
    app.get("/plain")(lambda: 1)
    return app


async def empty(scope: Any, receive: Any, send: Any) -> None:
    """Answer nothing."""


async def cost(middleware: Any, app: FastAPI, paths: list[str]) -> float:
    """Return the microseconds that the middleware adds to a request."""
    base = {"type": "http", "method": "GET", "headers": [], "root_path": "", "app": app}
    scopes = [{**base, "path": path} for path in paths]
    seconds = []
    for called in (middleware, empty):
        started = time.perf_counter()
        for scope in scopes:
            await called(scope, None, None)
        seconds.append(time.perf_counter() - started)
    return (seconds[0] - seconds[1]) / len(paths) * 1e6


async def main() -> None:
    app, engine = application(), ShieldEngine()
    middleware = ShieldMiddleware(empty, engine=engine)
    found: dict[str, list[float]] = {
        "a plain route": [],
        f"the last of {PARAMETER_ROUTES} parameter routes": [],
    }
    for _ in range(REPETITIONS):
        paths = (["/plain"] * REQUESTS, [f"/r299/{random.random()}" for _ in range(REQUESTS)])
        for name, asked in zip(found, paths, strict=True):
            found[name].append(await cost(middleware, app, asked))
    for name, figures in found.items():
        print(f"{name:40} {median(figures):5.2f} µs")
    await engine.stop()


if __name__ == "__main__":
    asyncio.run(main())
