"""Django's URL patterns as route templates: parameters are ``{name}``, unnamed groups ``{0}``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import Any

from django.urls.resolvers import LocalePrefixPattern, RoutePattern

from shield_core.texts import UNPRINTABLE

_CONVERTER = re.compile(r"<(?:[^<>:]+:)?([^<>]+)>")
_NAMED_GROUP = re.compile(r"\?P<(\w+)>")
_QUANTIFIER = re.compile(r"\{\d*,?\d*\}")
#: What DRF's format_suffix_patterns appends, in a regular expression and in a path().
_FORMAT_SUFFIXES = (
    re.compile(r"\\\.\(\?P<format>.*?\)(?:/\?)?(?=\$|$)"),
    re.compile(r"<drf_format_suffix\w*:format>"),
)
_UNNAMED = "<>"
#: As an expression that is written over several lines has it.
_NOT_IN_A_KEY = re.compile(rf"\s|{UNPRINTABLE.pattern}")


def template_of(chain: Iterable[Any]) -> str:
    """Return the template of a chain of patterns, from the root to the leaf."""
    path = "".join(_part(pattern) for pattern in chain if not isinstance(pattern, LocalePrefixPattern))
    number = itertools.count()
    path = re.sub(_UNNAMED, lambda _: f"<{next(number)}>", path)
    return "/" + _NOT_IN_A_KEY.sub("", path.replace("<", "{").replace(">", "}"))


def has_format_suffix(chain: Iterable[Any]) -> bool:
    return any(suffix.search(str(pattern)) for pattern in chain for suffix in _FORMAT_SUFFIXES)


def _part(pattern: Any) -> str:
    text = str(pattern)
    for suffix in _FORMAT_SUFFIXES:
        text = suffix.sub("", text)
    return _CONVERTER.sub(r"<\1>", text) if isinstance(pattern, RoutePattern) else _reduced(text)


def _reduced(expression: str) -> str:
    """Reduce the groups of a regular expression to their names and drop what only matches."""
    out = []
    position = 0
    while position < len(expression):
        char = expression[position]
        end = position + 1
        if char == "\\":
            end += 1
            escaped = expression[position + 1 : end]
            out.append(escaped if not escaped.isalnum() else "" if escaped in "AZbB" else "\\" + escaped)
        elif char == "[":
            end = _end_of_class(expression, position)
            out.append(expression[position:end])
        elif char == "(":
            end = _end_of_group(expression, position)
            out.append(_group(expression[position + 1 : end - 1]))
        elif found := _QUANTIFIER.match(expression, position):
            end = found.end()
        elif char not in "^$?*+":
            out.append(char)
        position = end
    return "".join(out)


def _group(content: str) -> str:
    if named := _NAMED_GROUP.match(content):
        return f"<{named[1]}>"
    if content.startswith("?:"):
        return _reduced(content[2:])
    return "" if content.startswith("?") else _UNNAMED


def _end_of_group(expression: str, start: int) -> int:
    depth, position = 0, start
    while position < len(expression):
        char = expression[position]
        if char == "\\":
            position += 1
        elif char == "[":
            position = _end_of_class(expression, position) - 1
        elif char in "()":
            depth += 1 if char == "(" else -1
            if depth == 0:
                return position + 1
        position += 1
    return len(expression)


def _end_of_class(expression: str, start: int) -> int:
    """Return the end of a character class; a ``]`` that comes first in it belongs to it."""
    position = start + 2 if expression[start + 1 : start + 2] in ("^", "]") else start + 1
    while position < len(expression) and expression[position] != "]":
        position += 2 if expression[position] == "\\" else 1
    return position + 1
