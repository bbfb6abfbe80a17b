"""What happened to an object while somebody was editing it."""

from __future__ import annotations

from django.forms import Form

from shield_core.exceptions import NotAllowedError
from shield_core.sync import SyncEngine
from shield_django.admin.wording import Line, is_of_limit

_LINES = 20


def changes_since(
    sync: SyncEngine, store_key: str, revision: int, of_limit: bool = False
) -> list[Line] | None:
    """Return the changes after ``revision``, the newest first; none when a release changed the code.

    Rate limits (``of_limit``) are objects of their own, which no form of a status overwrites. None where the
    audit log is on a Shield Server that does not show it to this service.
    """
    try:
        entries = sync.get_audit_log(store_key, limit=_LINES)
    except NotAllowedError:
        return None
    return [
        Line.of(entry)
        for entry in entries
        if entry.revision > revision and is_of_limit(entry.action) is of_limit
    ]


def take_over(form: Form, revision: int) -> None:
    """Let the form, with what was entered, be sent again by somebody who has seen ``revision``."""
    form.data = {**form.data.dict(), form.add_prefix("revision"): str(revision)}  # type: ignore[attr-defined]
