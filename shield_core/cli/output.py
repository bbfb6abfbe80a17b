"""Where and how things are printed: data on stdout, messages on stderr, colour for terminals only."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO

import click
from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shield_core.cli.session import Streams
from shield_core.exceptions import AmbiguousRouteError

_COLOURS = {
    "active": "green",
    "maintenance": "yellow",
    "disabled": "red",
    "env_gated": "magenta",
    "deprecated": "cyan",
}


def say(to: Streams, message: str) -> None:
    """Tell the operator something, on stderr."""
    click.echo(printable(message), file=to.err, err=True)


def chosen(to: Streams, error: AmbiguousRouteError, *, several: bool = True) -> list[str]:
    """Let a person at a terminal choose among the routes of ``error``, which is raised elsewhere.

    ``several``: all of them may be chosen too.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()) or to.err is not None:
        raise error
    say(to, str(error))
    for number, route in enumerate(error.matches, 1):
        say(to, f"  {number}  {route}")
    numbers = [str(number) for number, _ in enumerate(error.matches, 1)]
    asked, choices = ("Which one, or all", [*numbers, "all"]) if several else ("Which one", numbers)
    answer = click.prompt(asked, type=click.Choice(choices), err=True)
    return error.matches if answer == "all" else [error.matches[int(answer) - 1]]


def print_json(to: Streams, data: Any) -> None:
    print_text(to, json.dumps(data, indent=2, default=_utc))


def print_text(to: Streams, text: str, *, color: bool = False) -> None:
    try:
        click.echo(text, file=to.out, color=color)
    except BrokenPipeError:
        raise  # "| head", which click ends quietly
    except OSError as error:
        with suppress(OSError):
            (to.out or sys.stdout).close()  # or Python tries once more at its end
        raise click.ClickException(f"The output cannot be written: {error.strerror or error}.") from error


def print_table(to: Streams, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: fitted to a terminal by wrapping, as wide as need be elsewhere."""
    if not _is_terminal(to):
        print_text(to, _aligned([heads, *rows]))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, highlight=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row))
    _render(to, table)


def print_fields(to: Streams, fields: Sequence[tuple[str, str]]) -> None:
    """Print one thing: a name and a value per line, without those that are empty."""
    rows = [field for field in fields if field[1]]
    if not _is_terminal(to):
        print_text(to, _aligned(rows))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, _cell(value))
    _render(to, table)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return columns, as rich aligns them; it takes seconds for some thousand routes."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(map(set_cell_size, row, widths)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def _render(to: Streams, table: Table) -> None:
    text = io.StringIO()
    console = Console(
        file=text,
        width=shutil.get_terminal_size().columns,
        force_terminal=True,
        no_color=bool(os.environ.get("NO_COLOR")),
        highlight=False,
    )
    console.print(table, soft_wrap=False)
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    print_text(to, "\n".join(lines).strip("\n"), color=True)


def _is_terminal(to: Streams) -> bool:
    stream: TextIO = to.out or sys.stdout
    return stream.isatty()


def _cell(value: str) -> Text:
    return Text(printable(value), style=_COLOURS.get(value, ""))


def printable(text: str) -> str:
    """Return ``text`` without the line breaks and escape sequences that somebody may have put in."""
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
