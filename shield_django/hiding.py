"""Closed environment gates disappear from URL resolution.

Raising 404 from a view is not enough to look like an unknown URL: Django would still redirect
the path without its slash, or without its language, to a URL that exists, and would not try a
catch-all pattern further down. So the pattern itself does not match while its gate is closed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest
from django.urls import Resolver404, ResolverMatch, URLPattern, URLResolver, resolve

if TYPE_CHECKING:
    from shield_django.discovery import Catalog
    from shield_django.project import Project


def watch(catalog: Catalog, templates: Iterable[str]) -> None:
    """Let the patterns of ``templates`` ask, at each match, whether their gate is closed."""
    for template in templates:
        shared = False
        for pattern in catalog.patterns.get(template, ()):
            pattern.__dict__.setdefault("resolve", partial(_resolve, pattern))
            shared = shared or len(catalog.templates_of(pattern)) > 1
        # A pattern of a module that is included twice does not know where it is met.
        for include in catalog.includes.get(template, ()) if shared else ():
            include.__dict__.setdefault("resolve", partial(_resolve_below, include))


def _resolve(pattern: URLPattern, path: str) -> ResolverMatch | None:
    match = URLPattern.resolve(pattern, path)
    return None if match is not None and _is_hidden(pattern) else match


def _resolve_below(include: Any, path: str) -> ResolverMatch:
    from shield_django import project

    match = URLResolver.resolve(include, path)
    found = project.current()
    template = found.templates.get(URLResolver._join_route(str(include.pattern), match.route))  # type: ignore[attr-defined]
    if template is not None and _hides(found, template):
        raise Resolver404({"path": path, "tried": []})
    return match


def resolve_all(request: HttpRequest) -> ResolverMatch | None:
    """Resolve a request's URL as if no gate were closed."""
    _lifted.value = True
    try:
        return resolve(request.path_info, getattr(request, "urlconf", None))
    except Resolver404:
        return None
    finally:
        _lifted.value = False


_lifted = threading.local()


def _is_hidden(pattern: Any) -> bool:
    """Whether every route of this pattern (several, when it is included twice) is a closed gate."""
    from shield_django import project

    found = project.current()
    templates = found.catalog.templates_of(pattern)
    return bool(templates) and all(_hides(found, template) for template in templates)


def _hides(found: Project, template: str) -> bool:
    rules = found.replica.ruleset
    if rules is None or getattr(_lifted, "value", False):
        return False
    # A project that answers closed gates in its own way has nothing hidden: its answer must be reached.
    return RESPONSE_KEY not in found.responses and rules.hides(template)


RESPONSE_KEY = "env_gated"
