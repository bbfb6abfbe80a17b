"""``global`` and ``sm``: the same commands, for everything and for one service."""

from __future__ import annotations

import click

from shield_core.cli import output, wording
from shield_core.cli.group import AliasGroup
from shield_core.cli.options import Edit, Reading, mutation, read_only_option, reading, timing_options
from shield_core.cli.params import EXEMPT_ENTRY, Timing
from shield_core.cli.preview import preview
from shield_core.cli.scoped import ScopedCommand, scoped_group
from shield_core.exceptions import InvalidInputError
from shield_core.keys import Scope, exempt_as
from shield_core.models import RouteStatus
from shield_core.plan import EnableScopeMaintenance


def maintenance_group(name: str, scope: Scope | None) -> AliasGroup:
    """Return the commands for the maintenance of ``scope``; None is a service that each command names."""
    return scoped_group(name, scope, "Maintenance of SCOPE: 'enable' switches it on.", _COMMANDS)


def _status(reading: Reading, scope: Scope) -> None:
    """Show the maintenance of SCOPE."""
    config = reading.client.get_maintenance(scope)
    if reading.as_json:
        output.print_json(reading.session, wording.scope_data(config))
    else:
        output.print_fields(reading.session, wording.scope_fields(scope, config, reading.session.zone))


def _enable(
    edit: Edit,
    scope: Scope,
    timing: Timing,
    exempt: tuple[str, ...],
    include_force_active: bool,
    read_only: bool,
) -> None:
    """Put SCOPE into maintenance, for good or for a time.

    Told first is what it blocks, and what stays open. With --exempt, these paths replace those that
    were exempt before.
    """
    window = timing.window(RouteStatus.MAINTENANCE, edit.reason, read_only)
    command = EnableScopeMaintenance(
        scope=scope,
        exempt_paths=exempt or None,
        include_force_active=include_force_active,
        read_only=read_only,
        window=window,
    )
    for sentence in preview(edit.snapshot(), command).sentences():
        edit.say(sentence)
    config = edit.client.enable_maintenance(
        scope,
        edit.reason,
        exempt_paths=exempt or None,
        include_force_active=include_force_active,
        read_only=read_only,
        window=window,
        **edit.by,
    )
    edit.report_scope(scope, config)


def _disable(edit: Edit, scope: Scope) -> None:
    """End the maintenance of SCOPE; a window in the future stays."""
    edit.report_scope(scope, edit.client.disable_maintenance(scope, edit.reason, **edit.by))


def _schedule_cancel(edit: Edit, scope: Scope) -> None:
    """Take the window of SCOPE's maintenance away, a running one too."""
    edit.report_scope(scope, edit.client.cancel_maintenance_schedule(scope, edit.reason, **edit.by))


def _exempt_add(edit: Edit, scope: Scope, path: str) -> None:
    """Let PATH through the maintenance of SCOPE, without switching it on."""
    _change_exempt(edit, scope, path, exempt=True)


def _exempt_remove(edit: Edit, scope: Scope, path: str) -> None:
    """Let PATH through the maintenance of SCOPE no more."""
    known = edit.client.get_maintenance(scope).exempt_paths
    if not exempt_as(path, known):
        listed = f"exempt are {', '.join(known)}" if known else "nothing is"
        raise InvalidInputError(f"{path} is not exempt from the maintenance of {scope.label}: {listed}.")
    _change_exempt(edit, scope, path, exempt=False)


def _change_exempt(edit: Edit, scope: Scope, path: str, *, exempt: bool) -> None:
    config = edit.client.exempt_path(scope, path, exempt, edit.reason, **edit.by)
    edit.report(wording.exempt_sentence(scope, config), wording.scope_data(config))


_exempt_option = click.option(
    "--exempt", "-e", type=EXEMPT_ENTRY, multiple=True, help="A path to let through; may be repeated."
)
_force_active_option = click.option(
    "--include-force-active", is_flag=True, help="Block routes decorated with @force_active too."
)
_path_argument = click.argument("path", type=EXEMPT_ENTRY)
_enable_options = (_force_active_option, _exempt_option, read_only_option, timing_options, mutation)

_COMMANDS = (
    ScopedCommand("status", _status, (reading,)),
    ScopedCommand(
        "enable", _enable, _enable_options, ('--reason "Deploying v3"', "--exempt /health", "--for 2h")
    ),
    ScopedCommand("disable", _disable, (mutation,), ('--reason "v3 is out"',)),
    ScopedCommand("schedule-cancel", _schedule_cancel, (mutation,), ('--reason "postponed"',)),
    ScopedCommand("exempt-add", _exempt_add, (_path_argument, mutation), ("/health",)),
    ScopedCommand("exempt-remove", _exempt_remove, (_path_argument, mutation), ("/health",)),
)
