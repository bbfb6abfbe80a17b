"""Which route the framework will choose, without asking every route in turn.

Starlette tries its routes in order, the first full match wins. ``RouteTable`` keeps that order
and finds the few candidates for a path in a tree of segments; each candidate is then asked by
its own regular expression. Mounts and hosts lead to tables of their own and, as in the framework,
keep what they match.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette import routing
from starlette.endpoints import HTTPEndpoint
from starlette.routing import Match

from shield_core.keys import WEBSOCKET
from shield_core.texts import UNPRINTABLE
from shield_fastapi.sources import Scope, Source, inner_application, route_lists, route_path, sources

_HANDLERS = ("get", "head", "post", "put", "patch", "delete", "options")


@dataclass(slots=True, eq=False)
class Route:
    """One route in the order of its table.

    ``template`` is empty for a route of an unknown kind. ``shape`` is the whole path with its
    convertors: of two routes of one shape the first is met. ``methods`` are those that it takes
    (None: all), ``verbs`` those that have a key (None: the key without a method). ``table`` is set
    for mounts and hosts with routes inside, ``mount`` for what is inside of one. What routes
    further behind one that ``is_opaque`` is unseen. A dependency ``takes_limits`` where it knows more
    of the caller than the middleware.
    """

    position: int
    source: Source
    template: str
    shape: str
    kind: str
    endpoint: Any
    methods: frozenset[str] | None
    verbs: tuple[str | None, ...]
    expression: re.Pattern[str] | None
    is_told_by_segments: bool = False
    host: str = ""
    mount: Route | None = None
    table: RouteTable | None = None
    is_opaque: bool = False
    takes_limits: bool = False

    def takes(self, scope: Scope) -> bool:
        """Whether the method fits; otherwise the framework answers 405."""
        return self.methods is None or scope["method"] in self.methods


class _Node:
    __slots__ = ("children", "ends", "is_plain", "parameter", "sole", "tails")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.ends: list[Route] = []
        self.tails: list[Route] = []
        #: Whether one segment leads to one place from here: the walk needs no list of candidates.
        self.is_plain = True
        #: The only route that ends here, where its segments tell all.
        self.sole: Route | None = None

    def settle(self) -> None:
        self.is_plain = not self.tails and not (self.children and self.parameter)
        if len(self.ends) == 1 and self.is_plain and self.ends[0].is_told_by_segments:
            self.sole = self.ends[0]
        for node in (*self.children.values(), *([self.parameter] if self.parameter else ())):
            node.settle()


class RouteTable:
    """The routes of an application, or of what is mounted in it as ``mount``."""

    def __init__(self, app: Any, mount: Route | None = None) -> None:
        self.app = app
        self.routes: list[Route] = []
        self.mount = mount
        self._root = _Node()
        self._literals: set[str] = set()
        self._by_literal: dict[str, list[Route]] = {}
        for source in sources(app.routes):
            route = self._route(source)
            self.routes.append(route)
            self._place(route)
        self._root.settle()
        #: All lists of routes, here and further inside, and how many routes they had.
        self._lists = list(route_lists(app.routes))
        for route in self.routes:
            if route.table is not None:
                self._lists += route.table._lists
        self._size = sum(map(len, self._lists))

    def is_current(self) -> bool:
        """Whether no route was added anywhere; asked at every request."""
        return sum(map(len, self._lists)) == self._size

    def is_replaced(self) -> bool:
        """Whether the application has another list of routes by now, which no request would notice."""
        return self.app.routes is not self._lists[0]

    def all_routes(self) -> Iterator[Route]:
        for route in self.routes:
            if route.table is None:
                yield route
            else:
                yield from route.table.all_routes()

    def all_tables(self) -> Iterator[RouteTable]:
        yield self
        for route in self.routes:
            if route.table is not None:
                yield from route.table.all_tables()

    def find(self, scope: Scope, hidden: Sequence[Route] = ()) -> Route | None:
        """Return the route for ``scope``, passing over ``hidden`` ones.

        It may be one that does not take the method, where no other does.
        """
        kind = scope["type"]
        path: str = scope["path"] if not scope.get("root_path") else route_path(scope)
        if not hidden:
            segments = path.split("/")
            del segments[0]
            node = self._root
            for segment in segments:
                if not node.is_plain:
                    break
                following = node.children.get(segment) or (node.parameter if segment else None)
                if following is None:
                    break
                node = following
            else:
                sole = node.sole
                if sole is not None and sole.kind == kind:
                    return sole
        partial: Route | None = None
        for route in self._by_literal.get(path) or self._candidates(path):
            if (route.kind != kind and route.kind != "any") or (hidden and route in hidden):
                continue
            if route.expression is None:
                match, child = route.source.match(scope)
                if match is Match.FULL:
                    inside = route.table
                    return route if inside is None else inside.find(inside.inner_scope(scope, child), hidden)
                if match is Match.NONE:
                    continue
            elif route.methods is None or scope["method"] in route.methods:
                return route
            partial = partial or route
        return partial

    def keeper(self, scope: Scope) -> tuple[RouteTable, Scope]:
        """Return the table of the innermost mount or host that keeps an unknown path, and its scope there."""
        for route in self._candidates(route_path(scope)):
            if route.table is not None:
                match, child = route.source.match(scope)
                if match is Match.FULL:
                    return route.table.keeper(route.table.inner_scope(scope, child))
        return self, scope

    def inner_scope(self, scope: Scope, child: Mapping[str, Any]) -> Scope:
        """Return the scope that routes meet inside a mount or host, which took it with ``child``."""
        inner = {**scope, **child}
        # An application sets a root_path of its own over the one that its mount has set.
        inner["root_path"] = getattr(self.app, "root_path", "") or inner.get("root_path", "")
        return inner

    def _candidates(self, path: str) -> list[Route]:
        """Return the routes whose path this is, in their order."""
        found: list[Route] = []
        if "\n" in path:
            # "$" in a route's expression matches before a last line feed, so "/x%0A" is "/x".
            return [
                route for route in self.routes if route.expression is None or route.expression.match(path)
            ]
        _collect(self._root, path.split("/"), 1, found)
        if len(found) != 1 or not found[0].is_told_by_segments:
            found.sort(key=_position)
            found = [
                route
                for route in found
                if route.is_told_by_segments or route.expression is None or route.expression.match(path)
            ]
        if path in self._literals:
            self._by_literal[path] = found
        return found

    def _place(self, route: Route) -> None:
        """Put a route where its segments lead, up to one that may span several."""
        node = self._root
        source = route.source
        if not source.is_placed:
            node.tails.append(route)
            return
        wide = [f"{{{name}}}" for name in source.wide_parameters]
        whole = [f"{{{name}}}" for name in source.text_parameters]
        route.is_told_by_segments = source.expression is not None
        for segment in source.template.split("/")[1:]:
            if any(parameter in segment for parameter in wide):
                route.is_told_by_segments = False
                node.tails.append(route)
                return
            if "{" in segment:
                route.is_told_by_segments &= segment in whole
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.children.setdefault(segment, _Node())
        (node.tails if source.is_mount else node.ends).append(route)
        if "{" not in source.template:
            self._literals.add(source.template)

    def _route(self, source: Source) -> Route:
        mount = self.mount
        known = source.path is not None
        template = _printable((mount.template if mount else "") + source.template) if known else ""
        inside = inner_application(source) if source.is_mount or source.is_host else None
        opaque = (source.is_mount or source.is_host) and inside is None
        host = source.seen.host_format if source.is_host else ""
        kind = _kind(source)
        methods = getattr(source.seen, "methods", None) if kind == "http" else None
        route = Route(
            position=len(self.routes),
            source=source,
            template=f"{template}/{{path}}" if opaque else template or "/" if known else "",
            shape=(mount.shape if mount else "") + (f"//{host}" if host else source.path or ""),
            kind=kind,
            endpoint=source.seen.app if opaque else getattr(source.seen, "endpoint", None),
            methods=frozenset(methods) if methods else None,
            verbs=(),
            expression=source.expression,
            host=host or (mount.host if mount else ""),
            mount=mount,
            is_opaque=opaque,
        )
        route.verbs = _verbs(route) if known else ()
        if inside is not None:
            route.template = template
            route.table = RouteTable(inside, route)
        return route


def _kind(source: Source) -> str:
    if isinstance(source.original, routing.Route):
        return "http"
    return "websocket" if isinstance(source.original, routing.WebSocketRoute) else "any"


def _verbs(route: Route) -> tuple[str | None, ...]:
    if route.kind == "websocket":
        return (WEBSOCKET,)
    if is_http_endpoint(route.endpoint):
        handled = [name.upper() for name in _HANDLERS if hasattr(route.endpoint, name)]
        return tuple(name for name in handled if route.methods is None or name in route.methods)
    if route.methods is None:
        return (None,)
    return tuple(sorted(route.methods - {"HEAD"} if "GET" in route.methods else route.methods))


def is_http_endpoint(endpoint: Any) -> bool:
    """Whether ``endpoint`` is a class with a handler per method."""
    return isinstance(endpoint, type) and issubclass(endpoint, HTTPEndpoint)


def _printable(template: str) -> str:
    """Return a template as a key may have it: without white space, and what cannot be printed."""
    return "".join(
        f"%{ord(char):02X}" if char.isspace() or UNPRINTABLE.match(char) else char for char in template
    )


def _position(route: Route) -> int:
    return route.position


def _collect(node: _Node | None, segments: list[str], position: int, found: list[Route]) -> None:
    """Add the routes at and below ``node`` that ``segments`` may lead to, from ``position`` on."""
    while node is not None:
        if node.tails:
            found += node.tails
        if position == len(segments):
            found += node.ends
            return
        segment = segments[position]
        child = node.children.get(segment)
        parameter = node.parameter if segment else None
        position += 1
        if child is not None and parameter is not None:
            _collect(parameter, segments, position, found)
        node = child or parameter
