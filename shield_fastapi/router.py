"""``ShieldRouter``: an ``APIRouter`` that tells an engine of its routes before the first request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi import APIRouter

from shield_core.engine import ShieldEngine
from shield_fastapi.routes import RouteTable
from shield_fastapi.stamps import declarations


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
        known = [(key.method, key.path) for key in self.engine.replica.declared]
        self.engine.declare(
            replace(one, unlisted=True)
            for one in declarations(RouteTable(self))
            if not any(one.key.method == method and path.endswith(one.key.path) for method, path in known)
        )
