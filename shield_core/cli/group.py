"""Commands and groups with aliases, an example in each help, and Shield's errors as sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from shield_core.cli.output import printable
from shield_core.exceptions import ShieldException


class ExampleCommand(click.Command):
    """A command whose help ends with an example, written without the program's name."""

    def __init__(self, *args: Any, example: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Example"):
            # Not wrapped, so that it can be pasted.
            indent = " " * formatter.current_indent
            formatter.write(f"{indent}{ctx.find_root().info_name} {self.example}\n")


class AliasGroup(click.Group):
    """A group that knows further names for its commands."""

    command_class = ExampleCommand
    group_class = type

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.aliases: dict[str, str] = {}

    def add_command(
        self, cmd: click.Command, name: str | None = None, *, aliases: Sequence[str] = ()
    ) -> None:
        super().add_command(cmd, name)
        self.aliases |= dict.fromkeys(aliases, name or cmd.name or "")

    def command(  # type: ignore[override]
        self, *args: Any, aliases: Sequence[str] = (), **kwargs: Any
    ) -> Callable[[Callable[..., Any]], click.Command]:
        """Make a command of a function, under its name and ``aliases``."""
        make = click.command(*args, cls=self.command_class, **kwargs)

        def decorator(function: Callable[..., Any]) -> click.Command:
            command = make(function)
            self.add_command(command, aliases=aliases)
            return command

        return decorator

    def adopt(self, other: AliasGroup) -> None:
        """Take over all commands of another group."""
        self.commands.update(other.commands)
        self.aliases |= other.aliases

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for text in args:
            if not _is_text(text):
                raise click.UsageError(f"{printable(text)!r} has bytes that are not UTF-8.", ctx)
        return super().parse_args(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, self.aliases.get(cmd_name, cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List each command once, with its aliases."""
        rows = []
        for name in self.list_commands(ctx):
            also = [alias for alias, of in self.aliases.items() if of == name]
            help_text = self.commands[name].get_short_help_str(limit=90)
            rows.append((", ".join([name, *also]), help_text))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ShieldException as refusal:
            # A server's words too, which shall not write on the terminal but be read there.
            raise click.ClickException(printable(str(refusal))) from refusal


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
