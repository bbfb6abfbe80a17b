"""Commands about the Shield Server that the console script talks to, and who one is there."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from shield_core.cli import output
from shield_core.cli.console import Console
from shield_core.cli.group import AliasGroup
from shield_core.cli.options import Function, format_option
from shield_core.cli.session import Streams
from shield_core.cli.times import shown
from shield_core.exceptions import InvalidInputError

group = AliasGroup()


def _on_console(function: Callable[..., None]) -> Function:
    """Give a command the console that it runs on; ``manage.py`` has none."""

    @functools.wraps(function)
    def command(*args: Any, **kwargs: Any) -> None:
        console = click.get_current_context().find_object(Console)
        if console is None:
            raise click.ClickException(
                "This is about a Shield Server: run the console script 'shield'. manage.py works on the "
                "store of its own project, and needs no login."
            )
        function(console, *args, **kwargs)

    return command


@group.command(example="login admin")
@click.argument("username", required=False)
@click.option("--password", "-p", help="Better typed when asked for: other users can read command lines.")
@_on_console
def login(console: Console, username: str | None, password: str | None) -> None:
    """Log in at the Shield Server, and keep its token for the commands that follow.

    Where no terminal is, the password is the first line of the standard input.
    """
    address = console.address
    username = username or click.prompt("Username", err=True)
    kept = console.log_in(username, password or _typed_password())
    until = f" until {shown(kept.expires_at, None)}" if kept.expires_at else ""
    _say(f"Logged in at {address} as {kept.username}{until}.")


@group.command(example="logout")
@_on_console
def logout(console: Console) -> None:
    """Let the server revoke the token, and forget it."""
    was_in = console.log_out()
    _say(f"Logged out at {console.address}." if was_in else f"You are not logged in at {console.address}.")


@group.group()
def config() -> None:
    """Which Shield Server commands go to."""


@config.command("set-url", example="config set-url http://localhost:9000")
@click.argument("url")
@_on_console
def set_url(console: Console, url: str) -> None:
    """Let commands go to the Shield Server at URL; '' forgets it.

    SHIELD_SERVER_URL stands over it. Tokens are kept per server, and sent to no other.
    """
    address, login = console.point_at(url.strip())
    if not address:
        _say("No Shield Server is configured any more.")
    elif login is None or login.has_expired:
        _say(f"Commands go to {address} from now on. Log in there with 'shield login'.")
    else:
        _say(f"Commands go to {address} from now on, as {login.username}.")
    if (over := console.environ.get("SHIELD_SERVER_URL")) and address:
        _say(f"Note: SHIELD_SERVER_URL is set, and stands over this: {over}")


@config.command("show", example="config show")
@format_option
@_on_console
def show(console: Console, form: str) -> None:
    """Show where commands go, and as whom."""
    found = _found(console)
    if form == "json":
        output.print_json(Streams(), found)
    else:
        output.print_fields(Streams(), [(name, _text(value)) for name, value in found.items()])


def _found(console: Console) -> dict[str, Any]:
    """Return what there is to know without asking a server, and without a secret."""
    found: dict[str, Any] = {"configuration": str(console.home.path), "server": console.server_url or None}
    if not console.server_url:
        try:
            return {**found, "store": console.session.target}
        except InvalidInputError:
            return {**found, "store": None}
    access = console.access
    if access.login is None:
        return {**found, "credentials": access.variable or None}
    return {
        **found,
        "credentials": "login",
        "username": access.login.username,
        "expires": access.login.expires_at,
    }


def _typed_password() -> str:
    """Ask for the password on the terminal, or read it where there is none."""
    if sys.stdin.isatty():
        typed: str = click.prompt("Password", hide_input=True, err=True)
        return typed
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise click.UsageError("Type the password, or send it as the first line of the standard input.")
    return line


def _text(value: Any) -> str:
    return shown(value, None) if isinstance(value, datetime) else str(value or "none")


def _say(message: str) -> None:
    output.say(Streams(), message)
