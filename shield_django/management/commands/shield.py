"""``manage.py shield``: the one command line, over this project's engine."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, Unpack, cast

import click
from django import db
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone, translation

from shield_core.backends.base import ShieldBackend
from shield_core.cli.app import app
from shield_core.cli.session import Session
from shield_core.declarations import Declaration
from shield_core.exceptions import RouteNotFoundException
from shield_core.keys import RouteKey
from shield_core.models import TokenRecord
from shield_core.plan import Authorship
from shield_django import engine, project
from shield_django.conf import ShieldSettings
from shield_django.discovery import Catalog

_UNREACHABLE = (
    "the state lives in the server's memory, where no other process sees it. Set SHIELD_BACKEND to 'models' "
    "(the default) or to another backend that processes share, or make the change in the server's own admin."
)


class Command(BaseCommand):
    help = "Take routes out of service and put them back."
    requires_system_checks = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Hand the arguments to click, apart from the options that all management commands have."""
        common, arguments = _common_options().parse_known_args(argv[2:])
        try:
            with _errors_as_sentences():
                session = _session()
                try:
                    app.main(arguments, prog_name=f"{Path(argv[0]).name} {argv[1]}", obj=session)
                finally:
                    engine.sync.stop()
        except CommandError as error:
            if common.traceback:
                raise
            click.ClickException(str(error)).show()
            sys.exit(error.returncode)
        finally:
            db.connections.close_all()

    def print_help(self, prog_name: str, subcommand: str) -> None:
        self.run_from_argv([prog_name, subcommand, "--help"])

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("arguments", nargs=argparse.REMAINDER)

    def handle(self, *args: str, **options: Any) -> None:
        """Serve ``call_command("shield", "status", …)``. Raises CommandError."""
        # Only errors deserve the red in which Django writes to stderr.
        self.stderr.style_func = None
        session = _session(out=cast(TextIO, self.stdout), err=cast(TextIO, self.stderr))
        try:
            with _errors_as_sentences():
                app.main(options["arguments"], prog_name="shield", obj=session, standalone_mode=False)
        except click.ClickException as error:
            raise CommandError(error.format_message(), returncode=error.exit_code) from error


def _common_options() -> argparse.ArgumentParser:
    """Return a parser of what Django has already acted on, which may stand anywhere on the line."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for option in ("--settings", "--pythonpath"):
        parser.add_argument(option)
    for flag in ("--traceback", "--no-color", "--force-color", "--skip-checks"):
        parser.add_argument(flag, action="store_true")
    return parser


def _session(out: TextIO | None = None, err: TextIO | None = None) -> Session:
    try:
        backend, environment, client = engine.backend, engine.current_env, engine.sync
    except (ImproperlyConfigured, ValueError) as error:
        raise CommandError(str(error)) from error
    return Session(
        client=client,
        target=backend.described(),
        environment=environment,
        refuses=None if _reaches_requests(backend) else _UNREACHABLE,
        zone=timezone.get_current_timezone(),
        code=_ProjectCode(),
        issue_token=_issue_token,
        out=out,
        err=err,
    )


class _ProjectCode:
    """The routes of this project's own code."""

    @property
    def service(self) -> str | None:
        return engine.service

    def declared(self) -> Mapping[RouteKey, Declaration]:
        return self._catalog.declarations

    def template(self, text: str) -> str | None:
        language = translation.get_language_from_path(text) or settings.LANGUAGE_CODE
        with translation.override(language), contextlib.suppress(RouteNotFoundException):
            return self._catalog.one_key(text).path
        return None

    @property
    def _catalog(self) -> Catalog:
        found = project.current()
        found.discover()
        return found.catalog


def _issue_token(*args: Any, **by: Unpack[Authorship]) -> tuple[TokenRecord, str]:
    """Sign a token with the project's key, as its control plane does."""
    from shield_django.control import of_project

    return of_project().issue_token(*args, **by)


def _reaches_requests(backend: ShieldBackend) -> bool:
    """Whether a change made here is enforced anywhere: in other processes, or in this one."""
    serves_itself = engine.replica.ruleset is not None or project.is_testing(ShieldSettings.read())
    return backend.shared_across_processes or serves_itself


@contextmanager
def _errors_as_sentences() -> Iterator[None]:
    try:
        yield
    except db.Error as error:
        raise CommandError(_trouble(error)) from error
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from error


def _trouble(error: db.Error) -> str:
    alias = getattr(engine.backend, "alias", db.DEFAULT_DB_ALIAS)
    said = str(error).strip().partition("\n")[0].rstrip(".")
    if _tables_are_missing(alias):
        return f"Shield's tables are not in the database {alias!r} yet: run 'manage.py migrate'."
    return f"The database {alias!r} cannot be used: {said}."


def _tables_are_missing(alias: str) -> bool:
    from shield_django.models import StoreRevision

    try:
        tables: Sequence[str] = db.connections[alias].introspection.table_names()
    except db.Error:
        return False
    return StoreRevision._meta.db_table not in tables
