"""Groups of commands that exist twice: for everything, and for a service that each command names."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import click

from shield_core.cli.group import AliasGroup
from shield_core.cli.params import SERVICE_SCOPE
from shield_core.keys import Scope


@dataclass(frozen=True)
class ScopedCommand:
    """One command; ``run`` has a ``scope``, which its docstring calls SCOPE.

    ``example`` are the words after the command's name, and after SERVICE where there is one.
    """

    name: str
    run: Callable[..., None]
    options: tuple[Callable[..., Any], ...]
    example: tuple[str, ...] = ()


def scoped_group(name: str, scope: Scope | None, about: str, commands: Iterable[ScopedCommand]) -> AliasGroup:
    """Return the commands for ``scope``; None is a service that each command names."""
    label = scope.label if scope else "SERVICE"
    group = AliasGroup(name, help=about.replace("SCOPE", label))
    for one in commands:
        function: Callable[..., Any] = functools.partial(one.run, **({"scope": scope} if scope else {}))
        for option in one.options:
            function = option(function)
        if scope is None:
            function = click.argument("scope", metavar="SERVICE", type=SERVICE_SCOPE)(function)
        words = [name, one.name, *([] if scope else ["payments-service"]), *one.example]
        help_text = (inspect.getdoc(one.run) or "").replace("SCOPE", label)
        group.command(one.name, help=help_text, example=" ".join(words))(function)
    return group
