"""The one command line; ``manage.py shield`` and the console script are thin over it."""

from __future__ import annotations


def main() -> None:
    """Run the console script ``shield``, and exit."""
    # Not above: the API reads times and spans with a module of this package, and needs no more of it.
    from shield_core.cli.console import main as run

    run()
