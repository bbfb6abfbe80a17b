"""The audit log of a server, which tells so many entries at once."""

from __future__ import annotations

from collections.abc import Callable

from shield_core.models import AuditEntry

#: Entries that are asked for at once.
_PAGE = 1000


def read_pages(
    read: Callable[[dict[str, str]], list[AuditEntry]], limit: int | None, cursor: str | None
) -> list[AuditEntry]:
    """Return up to ``limit`` entries (None: all) that are older than that of ``cursor``.

    ``read`` asks for one page, with the parameters that it is given besides its own.
    """
    found: list[AuditEntry] = []
    while True:
        wanted = _PAGE if limit is None else min(limit - len(found), _PAGE)
        page = read({"limit": str(wanted), **({"cursor": cursor} if cursor else {})})
        found += page
        if len(page) < wanted or len(found) == limit:
            return found
        cursor = page[-1].id
