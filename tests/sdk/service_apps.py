"""A Django project and a FastAPI application as clients of a Shield Server, for processes of the tests.

Who they follow comes from SHIELD_SERVER_URL and the other variables. Each answer names its process in
X-Pid. Where STARTED is set, the engine is started while this module is imported: before a server forks.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from fastapi import FastAPI

from shield_core.engine import ShieldEngine
from shield_fastapi import ShieldSDK, force_active, maintenance, rate_limit

PID = "X-Pid"


def begin(engine: ShieldEngine) -> None:
    """Follow the server from now on, and say so once its rules are here."""
    engine.sync.start()
    print(f"started at revision {engine.status().revision}", file=sys.stderr, flush=True)  # noqa: T201


def make_fastapi() -> FastAPI:
    sdk = ShieldSDK(os.environ.get("SERVER"), "payments-service", reconnect_delay=0.2, current_env="test")
    app = FastAPI()
    sdk.attach(app)

    @app.get("/pay")
    async def pay() -> str:
        return "paid"

    @app.get("/health")
    @force_active
    async def health() -> str:
        return "up"

    @app.get("/moving")
    @maintenance(reason="says the code")
    async def moving() -> str:
        return "moved"

    @app.get("/limited")
    @rate_limit("1000/minute")
    async def limited() -> str:
        return "limited"

    @app.middleware("http")
    async def name_process(request: Any, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers[PID] = str(os.getpid())
        return response

    if os.environ.get("STARTED"):
        begin(sdk.engine)
    return app


def make_wsgi() -> Any:
    from tests.project.wsgi import application

    def named(environ: Any, start_response: Any) -> Any:
        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, [*headers, (PID, str(os.getpid()))], *more)

        return application(environ, start)

    return _django(named)


def make_asgi() -> Any:
    from tests.project.asgi import application

    async def named(scope: Any, receive: Any, send: Any) -> None:
        async def send_named(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (PID.encode(), str(os.getpid()).encode())]
            await send(message)

        await application(scope, receive, send_named)

    return _django(named)


def _django(application: Any) -> Any:
    from shield_django.project import current

    if os.environ.get("STARTED"):
        begin(current().engine)
    return application


def __getattr__(name: str) -> Any:
    made = {"fastapi": make_fastapi, "wsgi": make_wsgi, "asgi": make_asgi}
    if name not in made:
        raise AttributeError(name)
    globals()[name] = found = made[name]()
    return found
