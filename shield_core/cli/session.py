"""What every command is given: whom to talk to, and on whose behalf."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Protocol, TextIO, TypeAlias

import click

from shield_core.cli.client import Client
from shield_core.declarations import Declaration
from shield_core.keys import RouteKey
from shield_core.models import TokenRecord

#: ``issue(service, lifetime, reason, **by)`` returns what is known of a token, and the token.
IssueToken: TypeAlias = Callable[..., tuple[TokenRecord, str]]


def default_actor() -> str:
    """Return ``user@host`` of whoever runs this process."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):
        # A container's user often has no name.
        user = f"uid{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


class OwnCode(Protocol):
    """The routes of the code in this process, where it has any; they are those of ``service``."""

    @property
    def service(self) -> str | None: ...

    def declared(self) -> Mapping[RouteKey, Declaration]: ...

    def template(self, text: str) -> str | None:
        """Return the template that a URL's path, or a name, leads to; None where it leads nowhere."""


@dataclass(frozen=True, kw_only=True)
class Streams:
    """Where things are printed; None are the process's own streams."""

    out: TextIO | None = None
    err: TextIO | None = None


@dataclass(frozen=True, kw_only=True)
class Session(Streams):
    """One run of the command line.

    ``service`` is the context where neither ``--service`` nor ``SHIELD_SERVICE`` names one.
    ``target`` and ``environment`` (None: not configured, or not told yet) tell people what they act on.
    ``refuses`` says why changes made here would reach nobody, and what to do about it. Times are
    read and shown in ``zone``, None for the machine's own. ``names_actor``: it is said here who does
    something. ``issue_token`` signs a token of a service; None where nobody has the key.
    """

    client: Client
    target: str
    environment: str | None = None
    actor: str = field(default_factory=default_actor)
    platform: str = "cli"
    service: str | None = None
    refuses: str | None = None
    zone: tzinfo | None = None
    names_actor: bool = True
    issue_token: IssueToken | None = None
    code: OwnCode | None = None

    @property
    def acted_on(self) -> str | None:
        """The environment, once something has been asked there."""
        return self.environment

    @property
    def place(self) -> str:
        """Which environment of what a change was made in."""
        return f"{self.target}, {f'environment {self.environment}' if self.environment else 'no environment'}"


class SessionSource:
    """Opens the session when a command first needs it: help needs none."""

    @property
    def session(self) -> Session:
        raise NotImplementedError


def current_session() -> Session:
    """Return the session of the command that is running."""
    context = click.get_current_context()
    source = context.find_object(SessionSource)
    session = source.session if source else context.find_object(Session)
    assert session is not None
    return session
