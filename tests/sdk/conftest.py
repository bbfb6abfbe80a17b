"""For servers that run in the tests' own process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(autouse=True, scope="module")
def connections_may_be_closed(django_db_blocker: Any) -> Iterator[None]:
    """Let a server close what async tests of a database have opened in the thread that they share with it."""
    with django_db_blocker.unblock():
        yield
