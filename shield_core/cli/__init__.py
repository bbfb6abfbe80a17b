"""The one command line; ``manage.py shield`` and the console script are thin over it."""

from __future__ import annotations

import click


def main() -> int:
    """Say where the commands are, until the console script can reach a Shield Server."""
    click.echo(
        "Error: shield has no server to talk to, since remote control comes with the Shield Server: "
        "inside a Django project run 'python manage.py shield'.",
        err=True,
    )
    return 1
