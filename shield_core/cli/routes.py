"""Commands about routes."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from shield_core.cli import output, wording
from shield_core.cli.group import AliasGroup
from shield_core.cli.options import (
    Edit,
    Function,
    Reading,
    mutation,
    read_only_option,
    reading,
    service_option,
    timing_options,
)
from shield_core.cli.params import Timing
from shield_core.models import RouteStatus

group = AliasGroup()

_HEADS = ("ROUTE", "STATUS", "REASON", "WINDOW", "SET BY", "ENVS")


def _on_route(function: Function) -> Function:
    """Give a change its ROUTE, and the service that a bare path belongs to."""
    return click.argument("route")(service_option(mutation(function)))


@group.command(example="status GET:/payments/")
@click.argument("route", required=False)
@click.option(
    "--status",
    "statuses",
    type=click.Choice([str(status) for status in RouteStatus]),
    multiple=True,
    help="Only routes that have this status now; may be repeated.",
)
@service_option
@reading
def status(reading: Reading, route: str | None, statuses: tuple[str, ...]) -> None:
    """Show all routes, or one in detail."""
    zone, now = reading.session.zone, datetime.now(UTC)
    if route is not None:
        states = [reading.client.get_state(reading.target(route))]
    else:
        states = reading.client.list_states(reading.service)
    states = [state for state in states if not statuses or state.effective(now) in statuses]
    if reading.as_json:
        data = [wording.route_data(state) for state in states]
        output.print_json(reading.session, data if route is None else data[0] if data else None)
    elif route is not None and states:
        output.print_fields(reading.session, wording.route_fields(states[0], zone))
    elif states:
        rows = [wording.route_row(state, zone, now) for state in states]
        output.print_table(reading.session, _HEADS, rows)
    else:
        reading.say("No such routes." if statuses or reading.service else "No routes are registered.")
    services = {reading.service, *(state.service for state in states)}
    for sentence in wording.wider_maintenance(reading.client, services, zone):
        reading.say(sentence)


@group.command(example="enable GET:/payments/")
@_on_route
def enable(edit: Edit, route: str) -> None:
    """Lift maintenance and disabled.

    An environment gate and a window in the future stay.
    """
    state = edit.client.enable(edit.target(route), edit.reason, **edit.by)
    edit.report_route(state)
    for sentence in wording.wider_maintenance(edit.client, [state.service], edit.session.zone):
        edit.say(sentence)


@group.command(example='disable GET:/payments/ --reason "hotfix" --for 2h')
@_on_route
@timing_options
def disable(edit: Edit, route: str, timing: Timing) -> None:
    """Answer 503 "disabled", for good or for a time."""
    client, target = edit.client, edit.target(route)
    window = timing.window(RouteStatus.DISABLED, edit.reason)
    if timing.start is not None and window is not None:
        edit.report_route(client.schedule_maintenance(target, window, edit.reason, **edit.by))
    else:
        edit.report_route(client.disable(target, edit.reason, timing.end, **edit.by))


@group.command(example='maintenance GET:/payments/ --reason "database migration" --for 30m')
@_on_route
@timing_options
@read_only_option
def maintenance(edit: Edit, route: str, timing: Timing, read_only: bool) -> None:
    """Answer 503 "maintenance", for good or for a time."""
    starts_later = timing.start is not None
    window = timing.window(RouteStatus.MAINTENANCE, edit.reason, read_only) if starts_later else None
    state = edit.client.set_maintenance(
        edit.target(route),
        edit.reason,
        window=window,
        read_only=read_only,
        until=None if window else timing.end,
        **edit.by,
    )
    edit.report_route(state)


@group.command(example="schedule GET:/payments/ --start 2026-03-01T22:00 --end 2026-03-01T23:30")
@_on_route
@timing_options
@read_only_option
def schedule(edit: Edit, route: str, timing: Timing, read_only: bool) -> None:
    """Set a maintenance window, in place of the one there is."""
    window = timing.window(RouteStatus.MAINTENANCE, edit.reason, read_only)
    if timing.start is None or window is None:
        raise click.UsageError("A schedule needs --start, and --end or --for.")
    edit.report_route(edit.client.schedule_maintenance(edit.target(route), window, edit.reason, **edit.by))


@group.command("schedule-cancel", example="schedule-cancel GET:/payments/")
@_on_route
def schedule_cancel(edit: Edit, route: str) -> None:
    """Take a route's window away, a running one too."""
    edit.report_route(edit.client.cancel_schedule(edit.target(route), edit.reason, **edit.by))


@group.command(example="reset GET:/payments/")
@click.argument("route", required=False)
@click.option(
    "--all", "everything", is_flag=True, help="Every route, and all maintenance; accepts a lost store."
)
@service_option
@mutation
def reset(edit: Edit, route: str | None, everything: bool) -> None:
    """Go back to what the code says of a route, or of all."""
    if everything == (route is not None):
        raise click.UsageError("Name a ROUTE, or --all.")
    if route is not None:
        edit.report_route(edit.client.clear_override(edit.target(route), edit.reason, **edit.by))
    else:
        edit.client.reset_all(edit.reason, **edit.by)
        edit.report("Every route is what its code says, and nothing is in maintenance.", {})


@group.command(example="restore --reason 'disk failure'")
@mutation
def restore(edit: Edit) -> None:
    """Put the rules that running processes kept back into a store that was emptied."""
    edit.client.restore(edit.reason, **edit.by)
    edit.report("The store has its rules back.", {})


@group.group()
def env() -> None:
    """Say in which environments a route exists."""


@env.command("set", example="env set GET:/debug/ dev staging")
@_on_route
@click.argument("envs", nargs=-1, required=True)
def env_set(edit: Edit, route: str, envs: tuple[str, ...]) -> None:
    """Answer 404 outside the environments ENVS."""
    edit.report_route(edit.client.set_env_only(edit.target(route), envs, edit.reason, **edit.by))


@env.command("clear", example="env clear GET:/debug/")
@_on_route
def env_clear(edit: Edit, route: str) -> None:
    """Lift a route's environment gate."""
    edit.report_route(edit.client.set_env_only(edit.target(route), [], edit.reason, **edit.by))
