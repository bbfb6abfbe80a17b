"""Which route the framework will choose, without asking every route in turn.

Starlette tries its routes in order, the first full match wins. ``RouteTable`` keeps that order
and finds the few candidates for a path in a tree of segments; each candidate is then asked by
its own regular expression. Mounts and hosts lead to tables of their own and, as in the framework,
keep what they match.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import routing as fastapi_routing
from starlette.routing import Host, Mount

Scope = MutableMapping[str, Any]

_CACHED_PATHS = 2048


@dataclass(slots=True, eq=False)
class Route:
    """One route in the order of its table. ``table`` is set for mounts and hosts with routes inside."""

    position: int
    template: str
    source: Any
    endpoint: Any
    kind: str
    methods: frozenset[str] | None
    dependencies: tuple[Any, ...] = ()
    table: RouteTable | None = None

    @property
    def is_mount(self) -> bool:
        return isinstance(self.source, Mount)

    @property
    def originals(self) -> Iterator[Any]:
        """The framework's objects that match for this route."""
        yield getattr(self.source, "original_route", self.source)
        effective = getattr(getattr(self.source, "matches", None), "__self__", None)
        if effective is not None:
            yield effective


@dataclass(slots=True)
class Found:
    """The route that will be chosen. ``full`` is False when only its method does not fit (405)."""

    route: Route
    full: bool


class _Node:
    __slots__ = ("children", "ends", "parameter", "tails")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.ends: list[Route] = []
        self.tails: list[Route] = []


class RouteTable:
    """The routes of an application, or of what is mounted in it."""

    def __init__(self, routes: Iterable[Any], prefix: str = "") -> None:
        self.routes: list[Route] = []
        self._sources: Sequence[Any] = routes if isinstance(routes, Sequence) else list(routes)
        self._root = _Node()
        self._cache: dict[str, tuple[Route, ...]] = {}
        for source in _flattened(self._sources):
            route = _route(len(self.routes), source, prefix)
            if route is not None:
                self.routes.append(route)
                self._place(route, prefix)
        self._version = self._count()

    def is_current(self) -> bool:
        """Whether no route has been added since; asked when a path is not found."""
        return self._version == self._count() and all(
            route.table.is_current() for route in self.routes if route.table is not None
        )

    def all_routes(self) -> Iterator[Route]:
        for route in self.routes:
            if route.table is None:
                yield route
            else:
                yield from route.table.all_routes()

    def find(self, scope: Scope, path: str, hidden: Sequence[Route] = ()) -> Found | None:
        """Return the route for ``scope``, passing over ``hidden`` ones."""
        partial: Found | None = None
        kind = scope["type"]
        for route in self._candidates(path):
            if route.kind not in (kind, "any") or route in hidden:
                continue
            if route.table is not None:
                rest = _inside(route.source, scope, path)
                if rest is not None:
                    return route.table.find(scope, rest, hidden)
            elif route.source.path_regex.match(path):
                if route.methods is None or kind != "http" or scope["method"] in route.methods:
                    return Found(route, full=True)
                partial = partial or Found(route, full=False)
        return partial

    def _count(self) -> int:
        return sum(1 for _ in _flattened(self._sources))

    def _candidates(self, path: str) -> tuple[Route, ...]:
        found = self._cache.get(path)
        if found is None:
            if "\n" in path:
                # "$" in a route's expression matches before a last line feed, so "/x%0A" is "/x".
                return tuple(self.routes)
            routes: list[Route] = []
            _collect(self._root, path.split("/")[1:], 0, routes)
            found = tuple(sorted(routes, key=lambda route: route.position))
            if len(self._cache) >= _CACHED_PATHS:
                self._cache.clear()
            self._cache[path] = found
        return found

    def _place(self, route: Route, prefix: str) -> None:
        """Put a route where its segments lead, up to one that may span several."""
        node = self._root
        convertors = getattr(route.source, "param_convertors", {}) or {}
        many = {f"{{{name}}}" for name, one in convertors.items() if "/" in one.regex or "." in one.regex}
        if isinstance(route.source, Host):
            node.tails.append(route)
            return
        for segment in route.template[len(prefix) :].split("/")[1:]:
            if any(parameter in segment for parameter in many) or (route.is_mount and segment == ""):
                break
            if "{" in segment:
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.children.setdefault(segment, _Node())
        else:
            (node.tails if route.is_mount else node.ends).append(route)
            return
        node.tails.append(route)


def _collect(node: _Node, segments: list[str], position: int, found: list[Route]) -> None:
    found += node.tails
    if position == len(segments):
        found += node.ends
        return
    child = node.children.get(segments[position])
    if child is not None:
        _collect(child, segments, position + 1, found)
    if node.parameter is not None:
        _collect(node.parameter, segments, position + 1, found)


def route_path(scope: Scope) -> str:
    """Return the path that the framework matches: without ``root_path``."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if not root or not path.startswith(root):
        return path
    return path[len(root) :] if path == root or path[len(root)] == "/" else path


def _flattened(routes: Iterable[Any]) -> Iterator[Any]:
    """Yield routes with included routers resolved, as newer versions of FastAPI keep them apart."""
    iterate = getattr(fastapi_routing, "iter_route_contexts", None)
    return iter(routes) if iterate is None else iterate(list(routes))


def _route(position: int, source: Any, prefix: str) -> Route | None:
    original = getattr(source, "original_route", source)
    if isinstance(original, Mount | Host):
        effective = next(iter(_effective(source)))
        path = "" if isinstance(original, Host) else effective.path
        inner = getattr(effective, "routes", None) or ()
        template = prefix + path
        if inner:
            return Route(position, template, effective, None, "any", None, table=RouteTable(inner, template))
        if isinstance(original, Host):
            return None
        return Route(position, f"{template}/{{path}}", effective, effective.app, "any", None)
    if getattr(source, "path_regex", None) is None:
        return None
    methods = getattr(source, "methods", None)
    return Route(
        position,
        prefix + source.path_format,
        source,
        source.endpoint,
        "http" if hasattr(original, "methods") else "websocket",
        frozenset(methods) if methods else None,
        tuple(one.dependency for one in getattr(source, "dependencies", None) or () if one.dependency),
    )


def _effective(source: Any) -> Iterator[Any]:
    matches = getattr(source, "matches", None)
    yield getattr(matches, "__self__", source)


def _inside(source: Any, scope: Scope, path: str) -> str | None:
    """Return the rest of the path inside a mount or host that takes the request, else None."""
    if isinstance(source, Host):
        match, _ = source.matches(scope)
        return path if match.value else None
    found = source.path_regex.match(path)
    return "/" + found["path"] if found else None
