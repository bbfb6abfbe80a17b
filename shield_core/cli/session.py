"""What every command is given: whom to talk to, and on whose behalf."""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import TextIO

from shield_core.cli.client import Client


def default_actor() -> str:
    """Return ``user@host`` of whoever runs this process."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):
        # A container's user often has no name.
        user = f"uid{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


@dataclass(frozen=True, kw_only=True)
class Session:
    """One run of the command line.

    ``service`` is the context where neither ``--service`` nor ``SHIELD_SERVICE`` names one.
    ``target`` and ``environment`` (None: not configured) tell people what they act on.
    ``refuses`` says why changes made here would reach nobody, and what to do about it. Times are
    read and shown in ``zone``, None for the machine's own. ``out`` and ``err`` None are the
    process's own streams.
    """

    client: Client
    target: str
    environment: str | None = None
    actor: str = field(default_factory=default_actor)
    platform: str = "cli"
    service: str | None = None
    refuses: str | None = None
    zone: tzinfo | None = None
    out: TextIO | None = None
    err: TextIO | None = None

    @property
    def place(self) -> str:
        """Which environment of what a change was made in."""
        return f"{self.target}, {f'environment {self.environment}' if self.environment else 'no environment'}"
