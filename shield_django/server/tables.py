"""The tables of a server on the models backend, which it makes itself."""

from __future__ import annotations

import logging
import random
import time

from django.core.management import call_command
from django.db import DatabaseError, connection, connections

from shield_core.exceptions import BackendError

logger = logging.getLogger("shield.server")

#: Seconds that others get to make the tables, where several processes start at the same time.
_PATIENCE = 10.0


def migrate() -> None:
    """Make the tables, or bring them up to date. Raises BackendError."""
    end = time.monotonic() + _PATIENCE
    try:
        connection.ensure_connection()  # without one there is nothing to wait for
        while not _migrated(is_last=time.monotonic() > end):
            time.sleep(random.uniform(0.2, 0.6))
    except DatabaseError as error:
        raise BackendError(f"The database cannot be used: {str(error).strip()}") from error
    finally:
        connections.close_all()


def _migrated(*, is_last: bool) -> bool:
    """Whether the tables are there now: of several who make the same one, all but one fail."""
    try:
        call_command("migrate", "shield", verbosity=0, interactive=False)
    except DatabaseError as error:
        if is_last:
            raise
        logger.info("The tables cannot be made, perhaps because another process does: %s", error)
        return False
    return True
