"""One test body for Django's sync and async handlers, and URLconfs of single tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from django.test import AsyncClient, Client

from shield_django import engine, project
from tests.conftest import eventually
from tests.django_app.callers import Caller

HTML = "text/html,application/xhtml+xml,*/*;q=0.8"

#: Middlewares that Django runs without a thread in async mode, and Shield's own.
ASYNC_ONLY = ["shield_django.middleware.ShieldMiddleware"]


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest) -> Caller:
    """A caller of the project, through Django's sync or async handler."""
    return Caller(AsyncClient() if request.param == "async" else Client())


class Operator:
    """``engine.sync`` of the moment: settings may replace the engine during a test."""

    def __getattr__(self, name: str) -> Any:
        return getattr(engine.sync, name)


@pytest.fixture
def operator() -> Any:
    """The engine, for operators: ``operator.disable("/shop/cart/")``."""
    return Operator()


@pytest.fixture
def urls(settings: Any) -> Callable[..., None]:
    """``urls(path(…), …, handler404=view)`` is the URLconf of this test."""

    def use(*patterns: Any, **names: Any) -> None:
        settings.ROOT_URLCONF = urlconf(*patterns, **names)

    return use


def urlconf(*patterns: Any, **names: Any) -> ModuleType:
    module = ModuleType("urlconf_of_a_test")
    module.__dict__.update(urlpatterns=list(patterns), **names)
    return module


@pytest.fixture
def own_threads() -> Callable[[], list[str]]:
    """The names of the threads that were started since the test began."""
    before = set(threading.enumerate())
    return lambda: sorted(one.name for one in threading.enumerate() if one not in before)


@pytest.fixture
def models_store(settings: Any, transactional_db: None) -> Iterator[project.Project]:
    """The project as in production: the models backend, its thread, a short refresh interval."""
    settings.SHIELD_REFRESH_INTERVAL = 0.05
    settings.SHIELD_TESTING = False
    found = project.current()
    found.ready()
    eventually(lambda: not found.replica.unregistered)
    yield found
    project.reset()
