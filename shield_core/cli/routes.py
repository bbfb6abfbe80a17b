"""Commands about routes."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click

from shield_core.cli import output, wording
from shield_core.cli.group import AliasGroup
from shield_core.cli.options import (
    Edit,
    Function,
    Reading,
    asking,
    mutation,
    read_only_option,
    reading,
    service_option,
    timing_options,
)
from shield_core.cli.params import ENVIRONMENT, ROUTE, Timing
from shield_core.exceptions import AmbiguousRouteError
from shield_core.models import RouteState, RouteStatus
from shield_core.plan import RouteAction

group = AliasGroup()

_HEADS = ("ROUTE", "STATUS", "REASON", "WINDOW", "SET BY", "ENVS")


class Target(NamedTuple):
    """What a change is about; ``all_methods``: all keys that the path of ``route`` has."""

    route: str
    all_methods: bool


def _on_target(function: Function, *, required: bool) -> Function:
    """Give a change its ROUTE, and the service that a bare path belongs to."""

    @functools.wraps(function)
    def command(edit: Edit, *args: Any, route: str | None, all_methods: bool, **kwargs: Any) -> None:
        target = Target(edit.target(route), all_methods) if route is not None else None
        function(edit, *args, target=target, **kwargs)

    made: Function = command
    for option in (
        click.option("--all-methods", is_flag=True, help="All methods that the path of ROUTE has, at once."),
        mutation,
        service_option,
        click.argument("route", type=ROUTE, required=required),
    ):
        made = option(made)
    return made


_on_route = functools.partial(_on_target, required=True)
_on_route_or_none = functools.partial(_on_target, required=False)


def _change(edit: Edit, target: Target, action: RouteAction, **what: Any) -> list[RouteState]:
    """Change the route, or all methods of its path in one commit, and tell what they are now."""

    def change(routes: list[str], all_methods: bool) -> list[RouteState]:
        return edit.client.change_routes(
            routes, action, edit.reason, all_methods=all_methods, **what, **edit.by
        )

    as_list = target.all_methods
    try:
        states = change([target.route], target.all_methods)
    except AmbiguousRouteError as error:
        if target.all_methods:
            raise
        routes = output.chosen(edit.session, error)
        states, as_list = change(routes, False), len(routes) > 1
    edit.report_routes(states, as_list=as_list)
    return states


@group.command(example="status GET:/payments/")
@click.argument("route", type=ROUTE, required=False)
@click.option(
    "--status",
    "statuses",
    type=click.Choice([str(status) for status in RouteStatus]),
    multiple=True,
    help="Only routes that have this status now; may be repeated.",
)
@service_option
@reading
@asking
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
def enable(edit: Edit, target: Target) -> None:
    """Lift maintenance and disabled.

    An environment gate and a window in the future stay.
    """
    states = _change(edit, target, "enable")
    services = [state.service for state in states]
    for sentence in wording.wider_maintenance(edit.client, services, edit.session.zone):
        edit.say(sentence)


@group.command(example='disable GET:/payments/ --reason "hotfix" --for 2h')
@_on_route
@timing_options
def disable(edit: Edit, target: Target, timing: Timing) -> None:
    """Answer 503 "disabled", for good or for a time."""
    if timing.start is not None:
        _change(edit, target, "schedule", window=timing.window(RouteStatus.DISABLED, edit.reason))
    else:
        _change(edit, target, "disable", until=timing.end)


@group.command(example='maintenance GET:/payments/ --reason "database migration" --for 30m')
@_on_route
@timing_options
@read_only_option
def maintenance(edit: Edit, target: Target, timing: Timing, read_only: bool) -> None:
    """Answer 503 "maintenance", for good or for a time."""
    if timing.start is not None:
        window = timing.window(RouteStatus.MAINTENANCE, edit.reason, read_only)
        _change(edit, target, "maintenance", window=window)
    else:
        _change(edit, target, "maintenance", until=timing.end, read_only=read_only)


@group.command(example="schedule GET:/payments/ --start 'in 2h' --for 90m")
@_on_route
@timing_options
@read_only_option
def schedule(edit: Edit, target: Target, timing: Timing, read_only: bool) -> None:
    """Set a maintenance window, in place of the one there is."""
    window = timing.window(RouteStatus.MAINTENANCE, edit.reason, read_only)
    if timing.start is None or window is None:
        raise click.UsageError("A schedule needs --start, and --end or --for.")
    _change(edit, target, "schedule", window=window)


@group.command("schedule-cancel", example="schedule-cancel GET:/payments/")
@_on_route
def schedule_cancel(edit: Edit, target: Target) -> None:
    """Take a route's window away, a running one too."""
    _change(edit, target, "schedule-cancel")


@group.command(example="reset GET:/payments/")
@click.option(
    "--all", "everything", is_flag=True, help="Every route, and all maintenance; accepts a lost store."
)
@_on_route_or_none
def reset(edit: Edit, target: Target | None, everything: bool) -> None:
    """Go back to what the code says of a route, or of all."""
    if everything == (target is not None):
        raise click.UsageError("Name a ROUTE, or --all.")
    if target is not None:
        _change(edit, target, "reset")
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
@click.argument("envs", type=ENVIRONMENT, nargs=-1, required=True)
def env_set(edit: Edit, target: Target, envs: tuple[str, ...]) -> None:
    """Answer 404 outside the environments ENVS."""
    _change(edit, target, "env", envs=envs)


@env.command("clear", example="env clear GET:/debug/")
@_on_route
def env_clear(edit: Edit, target: Target) -> None:
    """Lift a route's environment gate."""
    _change(edit, target, "env")
