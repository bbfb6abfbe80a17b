"""What limits cost on FastAPI's middleware: ``python benchmarks/fastapi_limits.py``.

The wrapped application answers an empty response by itself. CPU time of one call over a direct call of
that application, medians of 15 interleaved repetitions, with counters in this process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from fastapi import FastAPI

from shield_core.engine import ShieldEngine
from shield_fastapi import ShieldMiddleware, rate_limit

REPETITIONS = 15
REQUESTS = 2000
PLENTY = "1000000000/hour"


def application(stamp: Callable[[Any], Any] | None = None) -> FastAPI:
    app = FastAPI()

    async def endpoint() -> Any:
        return 1

    app.get("/plain")(lambda: 1)
    app.get("/limited")(stamp(endpoint) if stamp else endpoint)
    return app


async def empty(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def swallow(message: Any) -> None:
    """Send nowhere."""


async def cost(middleware: Any, app: FastAPI, path: str) -> float:
    """Return the microseconds that the middleware adds to a request."""
    base = {"type": "http", "method": "GET", "headers": [], "root_path": "", "app": app, "path": path}
    base["client"] = ("192.0.2.1", 5000)
    seconds = []
    for called in (middleware, empty):
        scopes = [dict(base) for _ in range(REQUESTS)]
        started = time.thread_time()
        for scope in scopes:
            await called(scope, None, swallow)
        seconds.append(time.thread_time() - started)
    return (seconds[0] - seconds[1]) / REQUESTS * 1e6


async def main() -> None:
    one, three = ShieldEngine(), ShieldEngine(service="shop")
    await three.set_global_rate_limit(PLENTY)
    await three.set_service_rate_limit("shop", PLENTY)
    by_function = rate_limit(PLENTY, key=lambda request: "ann")
    cases = {
        "no limit anywhere": (ShieldEngine(), application(), "/plain"),
        "another route has a limit": (one, application(rate_limit(PLENTY)), "/plain"),
        "one limit": (one, application(rate_limit(PLENTY)), "/limited"),
        "three limits": (three, application(rate_limit(PLENTY)), "/limited"),
        "one limit by a function": (ShieldEngine(), application(by_function), "/limited"),
        "denied": (ShieldEngine(), application(rate_limit("1/day")), "/limited"),
    }
    made = {name: ShieldMiddleware(empty, engine=engine) for name, (engine, _, _) in cases.items()}
    found: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(REPETITIONS):
        for name, (_, app, path) in cases.items():
            found[name].append(await cost(made[name], app, path))
    for name, figures in found.items():
        print(f"{name:30} {median(figures):6.2f} µs")
    for engine in {engine for engine, _, _ in cases.values()}:
        await engine.stop()


if __name__ == "__main__":
    asyncio.run(main())
