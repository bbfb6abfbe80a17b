"""Tools for the tests of a project that uses Shield: states without a database.

Inside Django's test environment every test starts with the decorators alone, on a memory
engine of its own. These put routes, or everything, into a state for the length of a block::

    with route_state("shop:cart", "maintenance", reason="stock-taking"):
        assert client.get("/shop/cart/").status_code == 503

They decorate test functions (sync and async) and ``SimpleTestCase`` classes too. The pytest fixture
``shield`` offers them as methods.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from django.test.utils import TestContextDecorator

from shield_core.models import RouteStatus
from shield_core.testing import states
from shield_django import project


class route_state(states.route_state, TestContextDecorator):  # type: ignore[misc]  # noqa: N801
    """Put one route (a view name, a key or a URL) into a state, and back afterwards.

    A bare name or path means all its methods. Options: reason, window, envs, read_only. Raises
    RouteNotFoundException for an unknown one.
    """

    # Django's decorates classes of tests too.
    __call__ = TestContextDecorator.__call__  # type: ignore[assignment]

    def __init__(self, target: str, status: RouteStatus | str, **options: Any) -> None:
        super().__init__(project.engine, target, status, **options)

    def keys(self, target: str) -> list[str]:
        found = project.current()
        found.discover()
        key = found.catalog.one_key(target)
        if key.method is not None:
            return [str(key)]
        return [str(one) for one in found.catalog.declarations if one.path == key.path]


class maintenance_state(states.maintenance_state, TestContextDecorator):  # type: ignore[misc]  # noqa: N801
    """Put everything, or one service, into maintenance, and back afterwards.

    Options: service, reason, exempt_paths, include_force_active, read_only, until.
    """

    __call__ = TestContextDecorator.__call__  # type: ignore[assignment]

    def __init__(self, **options: Any) -> None:
        super().__init__(project.engine, **options)


class rate_limits(TestContextDecorator):  # noqa: N801 - it reads as what it does
    """Let rate limits apply, which they do not in tests otherwise. Counts begin anew with each test."""

    def __init__(self) -> None:
        super().__init__()
        self._open: list[AbstractContextManager[None]] = []

    def enable(self) -> None:
        context = project.limits_in_tests()
        context.__enter__()
        self._open.append(context)

    def disable(self) -> None:
        self._open.pop().__exit__(None, None, None)


def bypass() -> states.bypass:
    """Let everything pass, for the length of a block or of the decorated function."""
    return states.bypass(project.engine)
