"""What people and programs may not put into a text."""

from __future__ import annotations

import re
from collections.abc import Iterable

from shield_core.exceptions import InvalidInputError

#: Line breaks of every kind, what terminals and headers take as commands, and what turns the order of the
#: letters that follow (bidirectional embeddings, overrides and isolates).
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
#: Also halves of surrogate pairs, which JSON can make and no store can keep.
UNPRINTABLE = re.compile(rf"{CONTROL.pattern}|[\ud800-\udfff]")


def printable(text: str) -> str:
    """Return ``text`` with an escape for what cannot be printed, so that it stays one line of a log."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def listed(texts: Iterable[str], name: str) -> tuple[str, ...]:
    """Return ``texts``. Raises InvalidInputError for a lone one, whose letters would be taken for texts."""
    if isinstance(texts, str):
        raise InvalidInputError(f"{name} is a list of texts: write [{texts!r}].")
    return tuple(texts)
