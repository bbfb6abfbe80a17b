"""The OpenAPI schema follows the rules in force.

Disabled routes and closed gates are left out, deprecated ones are flagged, maintenance is shown.
"""

from __future__ import annotations

import copy
from typing import Any

from shield_core.engine import ShieldEngine
from shield_core.models import RouteStatus
from shield_core.ruleset import Decision

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_HIDING = (RouteStatus.DISABLED, RouteStatus.ENV_GATED)


def follow_rules(app: Any, engine: ShieldEngine) -> None:
    """Let ``app.openapi()`` say what callers meet now; what it costs is paid when something changed."""
    original = app.openapi
    if getattr(original, "follows_shield", False):
        return
    seen: tuple[int, list[Decision]] | None = None
    schema: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        nonlocal seen, schema
        whole: dict[str, Any] = original()
        rules = engine.ruleset
        operations = [
            (path, method)
            for path, item in whole.get("paths", {}).items()
            for method in _METHODS
            if method in item
        ]
        decisions = [rules.decide(method.upper(), path) for path, method in operations]
        if seen != (id(whole), decisions):
            seen, schema = (id(whole), decisions), _filtered(whole, operations, decisions)
        return schema

    openapi.follows_shield = True  # type: ignore[attr-defined]
    app.openapi = openapi


def _filtered(
    whole: dict[str, Any], operations: list[tuple[str, str]], decisions: list[Decision]
) -> dict[str, Any]:
    schema = copy.deepcopy(whole)
    paths = schema.get("paths", {})
    for (path, method), decision in zip(operations, decisions, strict=True):
        operation = paths[path][method]
        if decision.cause in _HIDING:
            del paths[path][method]
        elif decision.cause is RouteStatus.MAINTENANCE:
            operation["x-shield-status"] = RouteStatus.MAINTENANCE.value
            told = f"In maintenance: {decision.reason}" if decision.reason else "In maintenance."
            operation["description"] = "\n\n".join(filter(None, (told, operation.get("description"))))
        if any(name == "Deprecation" for name, _ in decision.headers):
            operation["deprecated"] = True
    schema["paths"] = {path: item for path, item in paths.items() if any(name in item for name in _METHODS)}
    return schema
