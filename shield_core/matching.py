"""Which templates the path of a URL may belong to, where no framework is there to resolve it."""

from __future__ import annotations

import re
from collections.abc import Iterable

_PARAMETER = re.compile(r"\{[^{}]*\}")
#: A parameter takes one segment; only where nothing matches so, several, as a path converter's does.
_ONE_SEGMENT, _ANY = "[^/]+", ".+"


def matching(templates: Iterable[str], path: str) -> list[str]:
    """Return the templates that ``path`` matches, the most specific first; with either last slash."""
    known = list(dict.fromkeys(templates))
    other = path[:-1] if path.endswith("/") and path != "/" else path + "/"
    for parameter in (_ONE_SEGMENT, _ANY):
        for asked in (path, other):
            found = [template for template in known if _matches(template, asked, parameter)]
            if found:
                return sorted(found, key=lambda template: (specificity(template), template))
    return []


def specificity(template: str) -> tuple[int, ...]:
    """Return an order in which fixed segments come before those with a parameter, from left to right."""
    return tuple(_generality(segment) for segment in template.split("/"))


def _generality(segment: str) -> int:
    if not _PARAMETER.search(segment):
        return 0
    return 2 if _PARAMETER.fullmatch(segment) else 1


def _matches(template: str, path: str, parameter: str) -> bool:
    fixed, brace, _ = template.partition("{")
    if template == path or not brace or not path.startswith(fixed):
        return template == path
    expression = parameter.join(map(re.escape, _PARAMETER.split(template)))
    return re.fullmatch(expression, path) is not None
