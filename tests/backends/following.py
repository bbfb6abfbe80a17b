"""Engines that follow a store, as the suites of single backends use them."""

from __future__ import annotations

from typing import Any

from tests.conftest import eventually


def blocking_x(engine: Any) -> Any:
    """Let the engine follow its store, in which an operator has disabled one of two routes."""
    engine.sync.register_batch([("GET:/x", {}), ("GET:/y", {})])
    engine.sync.disable("GET:/x", "fraud")
    assert not is_open(engine)
    eventually(lambda: engine.status().state == "live")
    return engine


def is_open(engine: Any, path: str = "/x") -> bool:
    return bool(engine.decide("GET", path).allowed)
