"""Help, terminals, and whoever runs the command."""

from __future__ import annotations

import getpass
import io
import os
import re
from collections.abc import Iterator

import click
import pytest

from shield_core.cli.app import app
from shield_core.cli.output import print_table
from shield_core.cli.session import Session, default_actor
from tests.cli.conftest import Shield


def commands(group: click.Group, *names: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *names, name)
        else:
            yield (*names, name)


@pytest.mark.parametrize("names", list(commands(app)), ids=" ".join)
def test_the_help_of_each_command_shows_an_example_that_parses(
    shield: Shield, names: tuple[str, ...]
) -> None:
    result = shield(" ".join([*names, "--help"]))

    assert result.exit_code == 0
    example = result.stdout.split("Example:")[1].strip()
    assert "\n" not in example, "the example cannot be pasted"
    assert example.startswith(f"shield {' '.join(names)}")
    assert shield(example.removeprefix("shield ")).exit_code in (0, 1), "the example is a usage error"


def test_aliases_are_listed_with_their_command(shield: Shield) -> None:
    result = shield("--help")

    assert "audit, log " in result.stdout
    assert "sm, service-maintenance " in result.stdout


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(session: Session, rows: list[tuple[str, ...]]) -> str:
    print_table(session, ("ROUTE", "STATUS", "REASON"), rows)
    assert isinstance(session.out, io.StringIO)
    return session.out.getvalue()


@pytest.fixture
def terminal(session: Session, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    return Session(client=session.client, target="", out=Terminal())


def test_a_terminal_gets_colour(terminal: Session) -> None:
    assert "\x1b[31mdisabled" in printed(terminal, [("/x", "disabled", "broken")])


@pytest.mark.parametrize("variable, value, coloured", [("NO_COLOR", "1", False), ("NO_COLOR", "", True)])
def test_no_color(
    terminal: Session, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, coloured: bool
) -> None:
    monkeypatch.setenv(variable, value)

    assert ("\x1b[31m" in printed(terminal, [("/x", "disabled", "broken")])) is coloured


def test_a_terminal_wraps_and_cuts_nothing(terminal: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    key, reason = "GET:/" + "abcdefghij" * 9, " ".join(f"word{number}" for number in range(40))

    text = printed(terminal, [(key, "disabled", reason)])

    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    assert all(len(line) <= 60 for line in lines)
    status = lines[0].index("STATUS")
    assert "".join(line[:status].strip() for line in lines[2:]) == key
    assert " ".join(line[status:] for line in lines[2:]).split() == ["disabled", *reason.split()]


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "CLICOLOR_FORCE"])
def test_a_pipe_gets_none_even_when_forced(
    session: Session, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    pipe = Session(client=session.client, target="", out=io.StringIO())

    text = printed(pipe, [("/x" * 200, "disabled", "broken")])

    assert text.splitlines()[1] == f"{'/x' * 200}  disabled  broken"


def test_the_default_actor_is_user_at_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "ann")
    monkeypatch.setattr("socket.gethostname", lambda: "desk")
    assert default_actor() == "ann@desk"


def test_a_user_without_a_name_is_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("uid not found: 1234")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert default_actor().startswith(f"uid{os.getuid()}@")
