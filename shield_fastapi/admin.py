"""The control plane inside a FastAPI application: ``app.mount("/shield", ShieldAdmin(engine=engine))``."""

from __future__ import annotations

from typing import Any

from shield_core.asgi import Receive, Scope, Send
from shield_core.engine import ShieldEngine


class ShieldAdmin:
    """Pages, REST API and event stream over the application's own engine, at any path.

    ``auth`` and ``options`` are those of ``shield_django.server.ShieldServer``. Django is imported when
    one is made, not before. No maintenance and no gate closes it; the application, or its
    ``ShieldMiddleware``, starts and stops the engine.
    """

    #: What the middleware never blocks.
    always_open = True

    def __init__(self, engine: ShieldEngine, auth: Any = None, **options: Any) -> None:
        if not isinstance(engine, ShieldEngine):
            raise TypeError(f"ShieldAdmin takes the application's own ShieldEngine, not {engine!r}.")

        from shield_django.server import ShieldServer

        # Under a name that no router has: the middleware must not look for routes inside.
        self._server = ShieldServer(engine=engine, auth=auth, **options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._server(scope, receive, send)
