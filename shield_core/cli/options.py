"""What commands have in common: their options, and the objects made of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import click
from click.core import ParameterSource

from shield_core.cli import output, waiting, wording
from shield_core.cli.client import Client
from shield_core.cli.params import ACTOR, LASTING, LINE, MOMENT, SERVICE, SPAN, Timing
from shield_core.cli.session import Session, current_session
from shield_core.exceptions import AmbiguousRouteError, InvalidKeyError
from shield_core.keys import RouteKey, Scope
from shield_core.models import GlobalMaintenanceConfig, RouteState
from shield_core.plan import Authorship
from shield_core.snapshot import Snapshot

Function: TypeAlias = Callable[..., None]

format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    help="How to print data. JSON has all fields, and times in UTC.",
)
service_option = click.option(
    "--service",
    "-s",
    type=SERVICE,
    envvar="SHIELD_SERVICE",
    show_envvar=True,
    help="The service that a bare path belongs to; '' for all services.",
)
read_only_option = click.option(
    "--read-only", is_flag=True, help="Let GET, HEAD and OPTIONS through and block only writes."
)


@dataclass(frozen=True)
class Reading:
    """A command that only looks."""

    session: Session
    as_json: bool
    service: str | None = None

    @property
    def client(self) -> Client:
        return self.session.client

    def target(self, route: str) -> str:
        """Return ``route`` as a key of the chosen service, where it names none itself."""
        if not self.service:
            return route
        try:
            return str(RouteKey.parse(route, service=self.service))
        except InvalidKeyError:
            return route  # perhaps a view's name, which the client understands

    def snapshot(self) -> Snapshot:
        """Return the state of the store, with what the code in this process says."""
        if self.session.code is not None:
            self.client.list_states()  # which stores what is new in it
        return self.client.current()

    def say(self, message: str) -> None:
        output.say(self.session, message)


@dataclass(frozen=True, kw_only=True)
class Edit(Reading):
    """A command that changes something: why, and on whose behalf."""

    reason: str
    by: Authorship

    def report_routes(self, states: Sequence[RouteState], *, as_list: bool) -> None:
        """Tell what routes are now; ``as_list``: as a list also where it is one."""
        sentences = [wording.route_sentence(state, self.session.zone) for state in states]
        data = [wording.route_data(state) for state in states]
        for sentence in sentences[:-1]:
            self.say(sentence)
        self.report(sentences[-1], data if as_list else data[0])

    def report_scope(self, scope: Scope, config: GlobalMaintenanceConfig) -> None:
        self.report(wording.scope_sentence(scope, config, self.session.zone), wording.scope_data(config))

    def report(self, sentence: str, data: wording.Data | list[wording.Data] | None) -> None:
        """Tell what changed, and where."""
        self.say(f"{sentence} [{self.session.place}]")
        if self.as_json:
            output.print_json(self.session, data)


def reading(function: Function) -> Function:
    """Give a command ``--format``, and a ``Reading`` as its first argument."""

    @functools.wraps(function)
    def command(*args: Any, form: str, service: str | None = None, **kwargs: Any) -> None:
        session = current_session()
        if session.refuses:
            output.say(session, f"Note: what you see is of this process alone: {session.refuses}")
        function(Reading(session, form == "json", _chosen(service, session)), *args, **kwargs)

    return format_option(command)


def mutation(function: Function) -> Function:
    """Give a command the options of a change, and an ``Edit`` as its first argument."""

    @functools.wraps(function)
    def command(
        *args: Any,
        form: str,
        reason: str,
        note: str,
        actor: str | None,
        patience: timedelta | None,
        service: str | None = None,
        **kwargs: Any,
    ) -> None:
        session = current_session()
        if session.refuses:
            raise click.ClickException(f"Nothing was changed: it would reach nobody: {session.refuses}")
        if not session.names_actor and _is_typed("actor"):
            raise click.UsageError(f"--actor is for manage.py: {session.target} knows you by your login.")
        by = Authorship(actor=actor or session.actor, platform=session.platform, note=note)
        edit = Edit(session, form == "json", _chosen(service, session), reason=reason, by=by)
        before = edit.snapshot() if patience else None
        function(edit, *args, **kwargs)
        if patience and before is not None:
            waiting.wait(session, before, session.client.current(), patience, by)

    for option in (
        format_option,
        click.option(
            "--wait",
            "patience",
            type=SPAN,
            help="Wait so long, such as 10s, until every live instance has applied the change.",
        ),
        click.option(
            "--actor", type=ACTOR, envvar="SHIELD_ACTOR", show_envvar=True, help="Who is doing this."
        ),
        click.option("--note", type=LINE, default="", help="For operators only: audit log and admin."),
        click.option("--reason", "-r", type=LINE, default="", help="Shown to callers, and in the audit log."),
    ):
        command = option(command)
    return command


def asking(function: Function) -> Function:
    """Let a person at a terminal choose the route of a command, where ROUTE stands for several."""

    @functools.wraps(function)
    def command(reading: Reading, *args: Any, route: str | None, **kwargs: Any) -> None:
        try:
            function(reading, *args, route=route, **kwargs)
        except AmbiguousRouteError as error:
            [route] = output.chosen(reading.session, error, several=False)
            function(reading, *args, route=route, **kwargs)

    return command


def timing_options(function: Function) -> Function:
    """Give a command the ways to name a time, and a ``Timing``."""

    @functools.wraps(function)
    def command(
        *args: Any,
        span: timedelta | datetime | None,
        until: datetime | None,
        start: datetime | None,
        end: datetime | None,
        **kwargs: Any,
    ) -> None:
        function(*args, timing=Timing.of(span, until, start, end), **kwargs)

    for option in (
        click.option("--end", type=MOMENT, help="When to end, as --until; with or without --start."),
        click.option("--start", type=MOMENT, help="When to begin; now, if left out."),
        click.option("--until", type=MOMENT, help="When to end: 2026-03-01T14:30, 2h or 'in 2h'."),
        click.option("--for", "span", type=LASTING, help="How long: 30m, 2h, 1d or 1h30m; or until when."),
    ):
        command = option(command)
    return command


def _is_typed(name: str) -> bool:
    """Whether an option stands on the command line, and is not taken from the environment."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def _chosen(service: str | None, session: Session) -> str | None:
    return (session.service if service is None else service) or None
