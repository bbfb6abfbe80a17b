"""``--wait``: until every live instance that a change concerns has applied it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta, tzinfo

import click

from shield_core.cli import output
from shield_core.cli.client import Client
from shield_core.cli.session import Session
from shield_core.cli.times import shown
from shield_core.exceptions import BackendError, RefusedError
from shield_core.keys import Facet, Scope, parse_store_key
from shield_core.models import Instance
from shield_core.plan import Authorship
from shield_core.snapshot import Cursor, Snapshot

#: Seconds between two looks at what instances tell; they tell at most once a second.
_MOMENT = 0.1
#: How many of those that lag are named.
_NAMED = 20


@dataclass
class _Waiting:
    """Who has applied ``position``: seconds until it was known, by instance, and who has not."""

    position: Cursor
    #: The services that are concerned, None in it for processes without one; None itself for all.
    services: frozenset[str | None] | None
    arrived: dict[str, float] = field(default_factory=dict)
    laggards: list[Instance] = field(default_factory=list)

    def look(self, client: Client, elapsed: float) -> None:
        concerned = [
            one for one in client.instances() if self.services is None or one.service in self.services
        ]
        self.laggards = [one for one in concerned if not self._has_applied(one)]
        for one in concerned:
            if self._has_applied(one):
                self.arrived.setdefault(one.id, elapsed)

    def _has_applied(self, one: Instance) -> bool:
        return one.behind(*self.position) == 0


def wait(session: Session, before: Snapshot, after: Snapshot, patience: timedelta, by: Authorship) -> None:
    """Wait until what changed from ``before`` to ``after`` is in force everywhere, and write that down.

    Raises ClickException, which names those who lag, after ``patience``.
    """
    changed = _changed(before, after)
    if not changed:
        output.say(session, "Nothing was changed that instances would have to apply.")
        return
    waiting = _Waiting(after.cursor, _concerned(changed))
    begun = time.monotonic()
    while True:
        elapsed = time.monotonic() - begun
        is_last = elapsed >= patience.total_seconds()
        try:
            waiting.look(session.client, elapsed)
        except BackendError as error:
            # Who has restarted a server or a store for the change does not want to wait anew.
            if is_last or isinstance(error, RefusedError):
                raise
        else:
            if not waiting.laggards:
                break
            if is_last:
                raise click.ClickException(_lagging(waiting, elapsed, session.zone))
        time.sleep(_MOMENT)
    if not waiting.arrived:
        output.say(session, f"Note: no live instance {_whose(waiting)}is known that could apply it.")
        return
    told = _told(waiting)
    output.say(session, f"In force on {told}.")
    _note(session.client, waiting, changed, told, by)


def _changed(before: Snapshot, after: Snapshot) -> list[str]:
    """Return the store keys that differ, also between two stores."""
    keys = sorted({*before.objects, *after.objects})
    if before.epoch != after.epoch:
        return keys
    return [key for key in keys if before.revision_of(key) != after.revision_of(key)]


def _concerned(changed: list[str]) -> frozenset[str | None] | None:
    """Return the services whose instances decide by what changed, None for all."""
    found: set[str | None] = set()
    for key in changed:
        facet, scope = parse_store_key(key)
        if scope.kind in ("global", "store"):
            return None
        found.add(scope.owner if facet is not Facet.TOKEN else None)
    return frozenset(found)


def _note(client: Client, waiting: _Waiting, changed: list[str], told: str, by: Authorship) -> None:
    """Write the result into the audit log, under what changed where it is one thing."""
    paths = {Scope.of(key).store_key for key in changed}
    [path] = paths if len(paths) == 1 else [""]
    details: Mapping[str, object] = {
        "revision": waiting.position.revision,
        "instances": len(waiting.arrived),
        "slowest_ms": round(1000 * max(waiting.arrived.values())),
    }
    service = Scope.of(path).owner if path else None
    by = Authorship(**by)
    by["note"] = told
    client.note("enforced", path, service, details=details, **by)


def _told(waiting: _Waiting) -> str:
    count = len(waiting.arrived)
    return (
        f"{count} instance{'s' if count > 1 else ''}, slowest {1000 * max(waiting.arrived.values()):.0f} ms"
    )


def _whose(waiting: _Waiting) -> str:
    names = sorted(name for name in waiting.services or () if name)
    return f"of {', '.join(names)} " if names else ""


def _lagging(waiting: _Waiting, elapsed: float, zone: tzinfo | None) -> str:
    late = waiting.laggards
    count = len(late) + len([one for one in waiting.arrived if one not in {each.id for each in late}])
    named = "; ".join(
        f"{one.service or 'an instance'} on {one.host or '?'} (pid {one.pid}) is at revision {one.revision}, "
        f"last seen {shown(one.seen_at, zone)}"
        for one in late[:_NAMED]
    )
    more = f"; and {len(late) - _NAMED} more" if len(late) > _NAMED else ""
    return (
        f"The change is made, but after {elapsed:.0f} s {len(late)} of {count} instances have not applied "
        f"revision {waiting.position.revision}: {named}{more}."
    )
