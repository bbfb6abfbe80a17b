"""Commands about what happened and who takes part."""

from __future__ import annotations

from datetime import datetime, tzinfo

import click

from shield_core.audit import digest, first_break
from shield_core.cli import output
from shield_core.cli.group import AliasGroup
from shield_core.cli.options import Reading, reading, service_option
from shield_core.cli.params import PAST_MOMENT, ROUTE
from shield_core.cli.times import shown
from shield_core.exceptions import RouteNotFoundException
from shield_core.keys import Scope
from shield_core.models import AuditEntry, Instance
from shield_core.snapshot import Cursor

group = AliasGroup()

_INSTANCE_HEADS = ("SERVICE", "HOST", "PID", "RELEASE", "REVISION", "LAG", "LAST SEEN")
_HEADS = ("TIME", "ACTION", "WHAT", "FROM", "TO", "ACTOR", "VIA", "REASON", "NOTE")


@group.command(aliases=["log"], example='audit --route GET:/payments/ --since "2h ago"')
@click.argument("verify", required=False, type=click.Choice(["verify"]))
@click.option("--route", type=ROUTE, help="Only this route.")
@service_option
@click.option("--actor", help="Only what this person did.")
@click.option("--action", help="Only this action, such as disable or maintenance_on.")
@click.option("--since", type=PAST_MOMENT, help="Only from then on: 2026-03-01T14:30, 2h or '2h ago'.")
@click.option("--limit", "-n", type=click.IntRange(min=1), default=50, show_default=True)
@reading
def audit(
    reading: Reading,
    verify: str | None,
    route: str | None,
    actor: str | None,
    action: str | None,
    since: datetime | None,
    limit: int,
) -> None:
    """Show who changed what, newest first.

    With 'verify': check that no entry was changed, taken out or put in, by the hashes that chain them.
    """
    if verify:
        if any((route, actor, action, since)):
            raise click.UsageError("The whole log is verified: leave the filters out.")
        _verify(reading)
        return
    entries = reading.client.get_audit_log(
        path=_audited(reading, route) if route else None,
        limit=limit,
        service=None if route else reading.service,
        actor=actor,
        action=action,
        since=since,
    )
    if reading.as_json:
        output.print_json(reading.session, [entry.model_dump() for entry in entries])
    elif entries:
        zone = reading.session.zone
        output.print_table(reading.session, _HEADS, [_row(entry, zone) for entry in entries])
    else:
        reading.say("No such entries." if any((route, actor, action, since)) else "Nothing has happened yet.")


@group.command(example="services")
@reading
def services(reading: Reading) -> None:
    """List the services that have routes or maintenance of their own."""
    names = reading.client.list_services()
    if reading.as_json:
        output.print_json(reading.session, names)
    elif names:
        output.print_table(reading.session, ("SERVICE",), [(name,) for name in names])
    else:
        reading.say("No route names a service.")


@group.command(example="instances --service payments-service")
@service_option
@reading
def instances(reading: Reading) -> None:
    """List the live processes that enforce the rules, and how far each has come."""
    store = reading.client.current().cursor
    found = [
        one for one in reading.client.instances() if reading.service is None or one.service == reading.service
    ]
    found.sort(key=lambda one: (one.service or "", one.host, one.pid))
    if reading.as_json:
        output.print_json(reading.session, [{**one.model_dump(), "lag": one.behind(*store)} for one in found])
    elif found:
        rows = [_instance_row(one, store, reading.session.zone) for one in found]
        output.print_table(reading.session, _INSTANCE_HEADS, rows)
    else:
        reading.say("No live process is known.")


@group.command("current-service", example="current-service")
@service_option
@reading
def current_service(reading: Reading) -> None:
    """Show which service bare paths belong to."""
    if reading.as_json:
        output.print_json(reading.session, reading.service)
    elif reading.service:
        output.print_table(reading.session, ("SERVICE",), [(reading.service,)])
    else:
        reading.say("None: commands act on all services. Set SHIELD_SERVICE or use --service.")


def _verify(reading: Reading) -> None:
    """Check the chain of the whole log. Raises ClickException, which names the first broken entry."""
    entries = reading.client.get_audit_log(limit=None)
    broken = first_break(reversed(entries))
    head = entries[0].hash if entries else ""
    is_complete = not (entries and entries[-1].prev_hash)
    if reading.as_json:
        data = broken.model_dump() if broken else None
        output.print_json(
            reading.session,
            {
                "ok": broken is None,
                "entries": len(entries),
                "complete": is_complete,
                "head": head,
                "broken": data,
            },
        )
    if broken is not None:
        raise click.ClickException(_broken_sentence(broken, len(entries), reading.session.zone))
    if not reading.as_json:
        zone = reading.session.zone
        oldest, newest = (entries[-1], entries[0]) if entries else (None, None)
        fields = [
            ("chain", "holds"),
            ("entries", str(len(entries))),
            ("oldest", shown(oldest.timestamp, zone) if oldest else ""),
            ("older ones", "" if is_complete else "not kept any more"),
            ("newest", shown(newest.timestamp, zone) if newest else ""),
            ("last hash", head),
        ]
        output.print_fields(reading.session, fields)


def _broken_sentence(broken: AuditEntry, count: int, zone: tzinfo | None) -> str:
    what = f"{broken.action} {Scope.of(broken.path).label}" if broken.path else broken.action
    why = "it was changed after it was written"
    if broken.hash == digest(broken):
        why = "what stood before it was changed, taken out or put in"
    return (
        f"The chain of {count} entries breaks at {broken.id} (revision {broken.revision}, "
        f"{shown(broken.timestamp, zone)}, {what} by {broken.actor}): {why}."
    )


def _instance_row(one: Instance, store: Cursor, zone: tzinfo | None) -> tuple[str, ...]:
    lag = one.behind(*store)
    return (
        one.service or "",
        one.host,
        str(one.pid),
        one.release,
        str(one.revision),
        "another history" if lag is None else str(lag),
        shown(one.seen_at, zone),
    )


def _audited(reading: Reading, route: str) -> str:
    """Return the key that the log has ``route`` under; it may have been forgotten since."""
    target = reading.target(route)
    try:
        return reading.client.get_state(target).path
    except RouteNotFoundException:
        if not reading.client.get_audit_log(path=target, limit=1):
            raise
        return target


def _row(entry: AuditEntry, zone: tzinfo | None) -> tuple[str, ...]:
    return (
        shown(entry.timestamp, zone),
        entry.action,
        Scope.of(entry.path).label if entry.path else "",
        entry.previous_status or "",
        entry.new_status or "",
        entry.actor,
        entry.platform,
        entry.reason,
        entry.note,
    )
