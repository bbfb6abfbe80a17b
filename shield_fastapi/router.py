"""``ShieldRouter``: an ``APIRouter`` that tells an engine of its routes before the first request."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute

from shield_core.declarations import Declaration
from shield_core.decorators import meta_of
from shield_core.engine import ShieldEngine
from shield_core.keys import RouteKey


class ShieldRouter(APIRouter):
    """A router whose routes can be named to ``engine`` at once.

    The middleware declares routes under their final paths; until it has seen the application, the
    router's own paths stand for them, without being listed.
    """

    def __init__(self, *args: Any, engine: ShieldEngine, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.engine = engine
        engine.discover_with(self._declare)

    def _declare(self) -> None:
        known = {(key.method, key.path) for key in self.engine.replica.declared}
        for route in self.routes:
            if isinstance(route, APIRoute):
                for method in (route.methods or set()) - {"HEAD"}:
                    if not any(method == one and path.endswith(route.path_format) for one, path in known):
                        key = RouteKey(None, method, route.path_format)
                        meta = meta_of(route.endpoint)
                        self.engine.declare([Declaration.from_meta(key, meta, unlisted=True)])
