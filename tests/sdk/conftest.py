"""Servers of the tests of services: in a process of their own, or in the tests'."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.conftest import ControlPlane


@pytest.fixture(autouse=True, scope="module")
def connections_may_be_closed(django_db_blocker: Any) -> Iterator[None]:
    """Let a server close what async tests of a database have opened in the thread that they share with it."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture(scope="module")
def control() -> Iterator[ControlPlane]:
    """A Shield Server in a process of its own, on a memory store."""
    server = ControlPlane("uvicorn", {}, "unstocked")
    yield server
    server.stop()
