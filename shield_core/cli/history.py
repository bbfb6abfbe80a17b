"""Commands about what happened and who takes part."""

from __future__ import annotations

from datetime import datetime, tzinfo

import click

from shield_core.cli import output
from shield_core.cli.group import AliasGroup
from shield_core.cli.options import Reading, reading, service_option
from shield_core.cli.params import PAST_MOMENT
from shield_core.cli.times import shown
from shield_core.exceptions import RouteNotFoundException
from shield_core.keys import Scope
from shield_core.models import AuditEntry

group = AliasGroup()

_HEADS = ("TIME", "ACTION", "WHAT", "FROM", "TO", "ACTOR", "VIA", "REASON", "NOTE")


@group.command(aliases=["log"], example='audit --route GET:/payments/ --since "2h ago"')
@click.option("--route", help="Only this route.")
@service_option
@click.option("--actor", help="Only what this person did.")
@click.option("--action", help="Only this action, such as disable or maintenance_on.")
@click.option("--since", type=PAST_MOMENT, help="Only from then on: 2026-03-01T14:30, 2h or '2h ago'.")
@click.option("--limit", "-n", type=click.IntRange(min=1), default=50, show_default=True)
@reading
def audit(
    reading: Reading,
    route: str | None,
    actor: str | None,
    action: str | None,
    since: datetime | None,
    limit: int,
) -> None:
    """Show who changed what, newest first."""
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
