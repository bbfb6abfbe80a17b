"""The OpenAPI schema follows the rules in force.

Disabled routes and closed gates are left out, deprecated ones are flagged, maintenance is shown, and
limits document their 429.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from shield_core.engine import ShieldEngine
from shield_core.keys import RouteKey
from shield_core.models import LimitCause, RouteStatus
from shield_core.rate_limit.layers import Layer
from shield_core.responses import MESSAGES

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_COMPONENTS = "#/components/"
_TOO_MANY = {
    "description": MESSAGES[LimitCause.RATE_LIMITED],
    "headers": {
        name: {"schema": {"type": "integer"}}
        for name in ("Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
    },
}

#: Templates by method and path, as the application itself names its routes.
Templates = Mapping[tuple[str | None, str], str]


class _View(NamedTuple):
    """What the schema says of one operation."""

    path: str
    method: str
    hidden: bool = False
    deprecated: bool = False
    maintenance: str | None = None
    limited: bool = False


def follow_rules(app: Any, engine: ShieldEngine, templates: Templates) -> None:
    """Let ``app.openapi()`` say what callers meet now; what it costs is paid when something changed."""
    if not isinstance(app.openapi, _Schema):
        app.openapi = _Schema(app.openapi)
    app.openapi.follow(engine, templates)


class _Schema:
    """Stands for ``app.openapi``. An application may be mounted twice, or belong to several engines."""

    def __init__(self, original: Callable[[], dict[str, Any]]) -> None:
        self._original = original
        self._engines: MutableMapping[ShieldEngine, dict[tuple[str | None, str], set[str]]]
        self._engines = WeakKeyDictionary()
        self._seen: tuple[Any, list[_View]] | None = None
        self._schema: dict[str, Any] = {}

    def follow(self, engine: ShieldEngine, templates: Templates) -> None:
        known = self._engines.setdefault(engine, {})
        for operation, template in templates.items():
            known.setdefault(operation, set()).add(template)

    def __call__(self) -> dict[str, Any]:
        whole = self._original()
        views = [self._view(path, method) for path, method in _operations(whole)]
        seen = self._seen
        if seen is None or seen[0] is not whole or seen[1] != views:
            self._seen, self._schema = (whole, views), _filtered(whole, views)
        return self._schema

    def _view(self, path: str, method: str) -> _View:
        view = _View(path, method)
        verb = method.upper()
        for engine, known in self._engines.items():
            rules = engine.ruleset
            for template in known.get((verb, path)) or known.get((None, path)) or ():
                decision = rules.decide(verb, template)
                if decision.cause is RouteStatus.DISABLED or rules.gate_closed(verb, template):
                    view = view._replace(hidden=True)
                elif decision.cause is RouteStatus.MAINTENANCE:
                    view = view._replace(maintenance=decision.reason)
                elif any(map(_may_deny, rules.limits(verb, template))):
                    view = view._replace(limited=True)
                if _is_deprecated(engine, verb, template):
                    view = view._replace(deprecated=True)
        return view


def _may_deny(layer: Layer) -> bool:
    counts = layer.counter is not None or any(layer.tiers.values())
    return counts and not layer.policy.shadow


def _is_deprecated(engine: ShieldEngine, verb: str, template: str) -> bool:
    declared = engine.replica.declared
    found = declared.get(RouteKey(None, verb, template)) or declared.get(RouteKey(None, None, template))
    return found is not None and found.baseline.sunset_date is not None


def _operations(schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for path, item in schema.get("paths", {}).items():
        yield from ((path, method) for method in _METHODS if method in item)


def _filtered(whole: dict[str, Any], views: list[_View]) -> dict[str, Any]:
    schema = copy.deepcopy(whole)
    paths = schema.get("paths", {})
    removed = []
    for view in views:
        operation = paths[view.path][view.method]
        if view.hidden:
            removed.append(paths[view.path].pop(view.method))
            continue
        if view.deprecated:
            operation["deprecated"] = True
        if view.maintenance is not None:
            operation["x-shield-status"] = RouteStatus.MAINTENANCE.value
            told = f"In maintenance: {view.maintenance}" if view.maintenance else "In maintenance."
            operation["description"] = "\n\n".join(filter(None, (told, operation.get("description"))))
        if view.limited:
            operation.setdefault("responses", {}).setdefault("429", _TOO_MANY)
    schema["paths"] = {path: item for path, item in paths.items() if any(name in item for name in _METHODS)}
    _drop_components(schema, removed)
    return schema


def _drop_components(schema: dict[str, Any], removed: list[Any]) -> None:
    """Drop the components that only ``removed`` operations needed: their names tell of them."""
    components = schema.get("components", {})
    used = _reached([part for name, part in schema.items() if name != "components"], components)
    for kind, name in _reached(removed, components) - used:
        del components[kind][name]
        if not components[kind]:
            del components[kind]
    if "components" in schema and not components:
        del schema["components"]


def _reached(start: list[Any], components: dict[str, Any]) -> set[tuple[str, str]]:
    """Return the components to which ``start`` refers, directly or through others."""
    reached: set[tuple[str, str]] = set()
    waiting = start
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            reference = one.get("$ref")
            if isinstance(reference, str) and reference.startswith(_COMPONENTS):
                kind, _, name = reference.removeprefix(_COMPONENTS).partition("/")
                if (kind, name) not in reached and name in components.get(kind, ()):
                    reached.add((kind, name))
                    waiting.append(components[kind][name])
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return reached
