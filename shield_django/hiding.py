"""Closed environment gates disappear from URL resolution.

Raising 404 from a view is not enough to look like an unknown URL: Django would still redirect
the path without its slash, or without its language, to a URL that exists, and would not try a
catch-all pattern further down. So the pattern itself does not match while its gate is closed.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from django.urls import ResolverMatch, URLPattern

if TYPE_CHECKING:
    from shield_django.discovery import Catalog


def watch(catalog: Catalog, templates: Iterable[str]) -> None:
    """Let the patterns of ``templates`` ask, at each match, whether their gate is closed."""
    for template in templates:
        for pattern in catalog.patterns.get(template, ()):
            pattern.__dict__.setdefault("resolve", partial(_resolve, pattern))


def _resolve(pattern: URLPattern, path: str) -> ResolverMatch | None:
    match = URLPattern.resolve(pattern, path)
    return None if match is not None and _is_hidden(pattern) else match


def _is_hidden(pattern: Any) -> bool:
    """Whether every route of this pattern (several, when it is included twice) is a closed gate."""
    from shield_django import project

    found = project.current()
    rules = found.replica.ruleset
    templates = found.catalog.templates_of(pattern)
    if rules is None or not templates or RESPONSE_KEY in found.responses:
        return False
    return all(rules.hides(template) for template in templates)


#: A project that answers closed gates in its own way has nothing hidden: its answer must be reached.
RESPONSE_KEY = "env_gated"
