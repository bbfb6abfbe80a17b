"""The framework's route objects, read alike in every supported version.

Since FastAPI 0.137 ``include_router`` keeps routers apart instead of copying their routes into the
application; an included router then yields each route as it is met there, as a context. (The
public ``iter_route_contexts`` is younger, and hides the objects that FastAPI asks for a match.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import routing as fastapi_routing
from starlette import routing
from starlette.convertors import FloatConvertor, IntegerConvertor, StringConvertor, UUIDConvertor
from starlette.routing import Host, Match, Mount

Scope = MutableMapping[str, Any]

#: Classes whose ``matches`` is the path's regular expression, the scope's type and the method.
_BY_EXPRESSION = {
    one.matches
    for one in (
        routing.Route,
        routing.WebSocketRoute,
        fastapi_routing.APIRoute,
        fastapi_routing.APIWebSocketRoute,
    )
}
#: Convertors whose values hold no slash.
_ONE_SEGMENT = (StringConvertor, IntegerConvertor, FloatConvertor, UUIDConvertor)


@dataclass(frozen=True, slots=True)
class Source:
    """One route of the framework, as it is met in an application.

    ``seen`` has the effective path, ``original`` is what the developer declared. ``matchers``
    are the objects whose ``matches`` the framework calls.
    """

    original: Any
    seen: Any
    matchers: tuple[Any, ...]
    context: Any = None

    @property
    def is_mount(self) -> bool:
        return isinstance(self.original, Mount)

    @property
    def is_host(self) -> bool:
        return isinstance(self.original, Host)

    @property
    def path(self) -> str | None:
        """The path with its convertors; None for a route of an unknown kind, empty for a host."""
        if self.is_host:
            return ""
        path = getattr(self.seen, "path", None)
        return path if getattr(self.seen, "path_regex", None) is not None else None

    @property
    def template(self) -> str:
        """The path without convertors."""
        if self.is_host:
            return ""
        template: str = self.seen.path_format
        return template.removesuffix("/{path}") if self.is_mount else template

    @property
    def expression(self) -> re.Pattern[str] | None:
        """What alone decides on the path; None where ``match`` has to be asked."""
        if type(self.original).matches not in _BY_EXPRESSION:
            return None
        found: re.Pattern[str] | None = getattr(self.seen, "path_regex", None)
        return found

    @property
    def is_placed(self) -> bool:
        """Whether the segments of the template say which paths can match."""
        return self.expression is not None or type(self.original).matches is Mount.matches

    @property
    def _convertors(self) -> Mapping[str, Any]:
        return getattr(self.seen, "param_convertors", None) or {}

    @property
    def wide_parameters(self) -> set[str]:
        """Names of the parameters that may hold several segments."""
        return {name for name, one in self._convertors.items() if type(one) not in _ONE_SEGMENT}

    @property
    def text_parameters(self) -> set[str]:
        """Names of the parameters that take any text without a slash."""
        return {name for name, one in self._convertors.items() if type(one) is StringConvertor}

    def match(self, scope: Scope) -> tuple[Match, Mapping[str, Any]]:
        """Ask the framework's own object, as the framework does."""
        if self.context is not None and isinstance(self.original, fastapi_routing.APIRoute):
            known = {**scope.get("fastapi", {}), "effective_route_context": self.context}
            scope = {**scope, "fastapi": known}
            return self.original.matches(scope)
        found: tuple[Match, Mapping[str, Any]] = self.seen.matches(scope)
        return found


def sources(routes: Iterable[Any]) -> Iterator[Source]:
    """Yield the routes in the order in which the framework asks them."""
    for route in routes:
        included = getattr(route, "effective_route_contexts", None)
        if included is None:
            yield Source(route, route, (route,))
            continue
        for context in included():
            seen = context.starlette_route or context
            yield Source(context.original_route, seen, (context, seen), context)


def route_lists(routes: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Yield the lists that grow when a route is added: the given one and those of included routers."""
    yield routes
    for route in routes:
        router = getattr(route, "original_router", None)
        if router is not None:
            yield from route_lists(router.routes)


def inner_application(source: Source) -> Any:
    """Return the application or router behind a mount or host, also inside wrappers, or None."""
    app = getattr(source.seen, "_base_app", None) or source.seen.app
    return application_of(app)


def application_of(app: Any) -> Any:
    """Return the first of ``app`` and what it wraps that has routes, or None."""
    return next((one for one in with_wrapped(app) if hasattr(one, "routes")), None)


def with_wrapped(app: Any) -> Iterator[Any]:
    """Yield ``app`` and what it wraps, as a middleware does, from outside in."""
    for _ in range(50):
        if app is None:
            return
        yield app
        # The middleware of a Starlette router wraps a method of it.
        app = getattr(app, "app", None) or getattr(app, "__self__", None)


def route_path(scope: Scope) -> str:
    """Return the path that the framework matches: without ``root_path``."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if not root or not path.startswith(root):
        return path
    return path[len(root) :] if path == root or path[len(root)] == "/" else path
