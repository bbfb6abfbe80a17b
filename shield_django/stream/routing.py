"""The event stream in front of Django, at the paths at which the project includes Shield's URLs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.urls import URLPattern, URLResolver, get_resolver, re_path
from django.urls.resolvers import RegexPattern, RoutePattern

from shield_core.asgi import Application
from shield_django.stream.app import ENDPOINT, stream_application

try:
    from channels.routing import URLRouter
except ImportError:  # without the extra "asgi": Django answers that there is no stream
    URLRouter = None


def with_stream(app: Application) -> Application:
    """Return ``app`` behind the event stream; ``app`` itself where there is none to route."""
    if URLRouter is None:
        return app
    routes = [_route(chain) for chain in _chains(get_resolver(settings.ROOT_URLCONF))]
    return URLRouter([*routes, re_path("", app)]) if routes else app  # type: ignore[arg-type]


def _chains(resolver: URLResolver, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the patterns that lead to the stream, from the root to the leaf."""
    for one in resolver.url_patterns:
        chain = (*before, one.pattern)
        if isinstance(one, URLResolver):
            yield from _chains(one, chain)
        elif one.name == ENDPOINT and all(isinstance(part, RoutePattern | RegexPattern) for part in chain):
            yield chain


def _route(chain: tuple[Any, ...]) -> URLPattern:
    """Return the route of a chain: Channels has a router within a router for each ``include()``."""
    first, *rest = chain
    inner = URLRouter([_route(tuple(rest))]) if rest else stream_application
    return URLPattern(first, inner)
