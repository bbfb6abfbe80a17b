"""The pytest plugin: the fixture ``shield``, and a fresh state for each test.

It is loaded in every pytest run where the package is installed, so it imports Django only when
a test runs in a configured Django project.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _shield_state_per_test() -> Iterator[None]:
    """Forget the state of a test's memory engine after it."""
    yield
    project = sys.modules.get("shield_django.project")
    if project is not None:
        project.forget_test()


@pytest.fixture
def shield() -> Any:
    """``shield.route_state(…)`` and ``shield.maintenance_state(…)``, see ``shield_django.testing``."""
    from shield_django import testing

    return testing
