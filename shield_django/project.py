"""The project's engine, made from its settings when first needed.

``current()`` is what every request calls: one global. It is made anew when settings change.
Inside Django's test environment it is a memory engine without a thread, new for each test, so
that a project's tests neither query nor wait nor leak state into each other.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.http import HttpRequest
from django.utils.module_loading import import_string

from shield_core.backends.base import ShieldBackend
from shield_core.backends.memory import MemoryBackend
from shield_core.backends.sync import SyncShieldBackend, awaited
from shield_core.config import warn_of_forgotten_environment
from shield_core.decisions import Decision, Trace
from shield_core.declarations import Declaration
from shield_core.engine import ShieldEngine
from shield_core.ruleset import Ruleset
from shield_core.snapshot import Changes, Snapshot
from shield_django import hiding, limit_storages
from shield_django.conf import PREFIX, ShieldSettings, name_and_options
from shield_django.discovery import Catalog
from shield_django.signals import state_changed

BACKENDS = {
    "memory": "shield_core.backends.memory.MemoryBackend",
    "models": "shield_django.backends.ModelsBackend",
    "file": "shield_django.stores.file_backend",
    "redis": "shield_django.stores.redis_backend",
    "server": "shield_django.stores.server_backend",
}
_OTHERS = {
    "ROOT_URLCONF",
    "LANGUAGES",
    "LANGUAGE_CODE",
    "LOGIN_URL",
    "DEBUG",
    "DATABASES",
    "CHANNEL_LAYERS",
    "CACHES",
    "INSTALLED_APPS",
}


class Project:
    """An engine and the catalog of the routes it decides on."""

    __slots__ = ("_learnt", "catalog", "engine", "for_test", "replica", "responses", "serves", "templates")

    def __init__(
        self, engine: ShieldEngine, catalog: Catalog, responses: Mapping[str, Any], *, for_test: bool
    ) -> None:
        self.for_test = for_test
        self.engine = engine
        self.replica = engine.replica
        self.catalog = catalog
        self.responses = responses
        #: Route string, as Django resolves it, to template.
        self.templates = catalog.templates
        self._learnt: set[Any] = set()
        #: Whether requests may be served: the routes are known, and closed gates are hidden.
        self.serves = False

        engine.declare(catalog.declarations.values())

    def learn(self, urlconf: Any) -> None:
        """Take the routes of a URLconf into the rules, once; nobody passes before they are in force."""
        self.catalog.learn(urlconf, self._declare)

    def _declare(self, new: Collection[Declaration]) -> None:
        self.engine.declare(new)
        hiding.watch(self.catalog, {one.key.path for one in new if one.baseline.allowed_envs})

    def discover(self) -> None:
        self.learn(settings.ROOT_URLCONF)

    def template_of(self, request: HttpRequest, route: str) -> str:
        """Return the template of what a request resolved to; its URLconf may not be known yet."""
        urlconf = getattr(request, "urlconf", None) or settings.ROOT_URLCONF
        if urlconf not in self._learnt:
            self.learn(urlconf)
            self._learnt.add(urlconf)
        return self.templates.get(route) or self.templates.setdefault(route, f"/{route}")

    def ready(self) -> Ruleset:
        """Return the rules of a process that has none in force yet, which may wait for them."""
        self.discover()
        return self._ready(self.replica.ready())

    async def ready_async(self) -> Ruleset:
        self.discover()
        return self._ready(await self.replica.ready_async())

    def _ready(self, rules: Ruleset) -> Ruleset:
        self._hide(rules.snapshot.routes)
        self.serves = True
        return rules

    def follow(self, snapshot: Snapshot, changes: Changes) -> None:
        """Take note of changes that this process applied."""
        self._hide(snapshot.routes if changes.reset else [key for key, _ in changes.writes])
        state_changed.send(sender=self.engine, snapshot=snapshot, changes=changes)

    def _hide(self, keys: Iterable[str]) -> None:
        routes = self.replica.snapshot.routes if self.replica.snapshot else {}
        gated = (routes[key] for key in keys if key in routes and routes[key].allowed_envs)
        hiding.watch(self.catalog, {state.key.path for state in gated})


_lock = threading.RLock()
_project: Project | None = None
_catalog: Catalog | None = None
_test_backend: MemoryBackend | None = None
_limits_in_tests = 0


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)


def current() -> Project:
    """Return the project's engine and catalog."""
    return _project if _project is not None else _make()


def _make() -> Project:
    global _project, _test_backend
    with _lock:
        if _project is None:
            read = ShieldSettings.read()
            if is_testing(read):
                # What a test has set up stays when it overrides a setting.
                _test_backend = _test_backend or MemoryBackend()
                _project = _build(read, _test_backend, for_test=True)
                _renew_before_each_test()
            else:
                _project = _build(read, make_backend(read.backend), for_test=False)
        return _project


def is_testing(read: ShieldSettings) -> bool:
    """Whether this is Django's test environment.

    A mail outbox would not tell: Django's locmem email backend makes one anywhere.
    """
    if read.testing is not None:
        return read.testing
    state = getattr(sys.modules.get("django.test.utils"), "_TestState", None)
    return hasattr(state, "saved_data")


def enter_test_environment() -> None:
    """Leave an engine behind that was made before Django's test environment was set up."""
    if _project is None or _project.for_test or "django.test.utils" not in sys.modules:
        return
    if is_testing(ShieldSettings.read()):
        reset()


@contextmanager
def limits_in_tests() -> Iterator[None]:
    """Let limits apply inside Django's test environment."""
    global _limits_in_tests
    _limits_in_tests += 1
    try:
        yield
    finally:
        _limits_in_tests -= 1


def limits_apply(found: Project) -> bool:
    """Whether requests are counted: a test that sends many must not meet limits that it is not about."""
    return not found.for_test or _limits_in_tests > 0


def forget_test() -> None:
    """Forget the memory engine of the test that has just run."""
    global _project, _test_backend
    with _lock:
        _test_backend = None
        if _project is not None and _project.for_test:
            _project = None


def _renew_before_each_test() -> None:
    """Let Django's test cases begin without the state of the test before; pytest has a plugin for it."""
    from django.test import SimpleTestCase

    run_test = SimpleTestCase.__call__
    if getattr(run_test, "forgets_shield_state", False):
        return

    @functools.wraps(run_test)
    def call(self: SimpleTestCase, result: Any = None) -> None:
        forget_test()
        run_test(self, result)

    call.forgets_shield_state = True  # type: ignore[attr-defined]
    SimpleTestCase.__call__ = call  # type: ignore[method-assign]


def _build(read: ShieldSettings, backend: ShieldBackend, *, for_test: bool) -> Project:
    catalog = _catalog_for(tuple(read.exempt))
    if read.env is None and not for_test:
        warn_of_forgotten_environment()

    def discover() -> None:
        project.discover()

    def resolve(text: str) -> list[str]:
        project.discover()
        return project.catalog.resolve(text)

    engine = ShieldEngine(
        backend,
        read.env,
        service=read.service,
        release=read.release,
        refresh_interval=read.refresh_interval,
        init_timeout=read.init_timeout,
        no_store=read.no_store,
        resolver=resolve,
        discover=discover,
        threads=not for_test,
        rate_limit_backend=None if for_test else limit_storages.make(read, backend),
        fail_open=read.fail_open,
        num_proxies=read.num_proxies,
        draft_headers=read.draft_headers,
    )

    responses = {
        status: import_string(found) if isinstance(found, str) else found
        for status, found in read.responses.items()
    }
    project = Project(engine, catalog, responses, for_test=for_test)
    engine.subscribe(project.follow)
    return project


def _catalog_for(exempt: tuple[str, ...]) -> Catalog:
    """Return the catalog, which outlives the engines of single tests."""
    global _catalog
    if _catalog is None or _catalog.exempt != exempt:
        _catalog = Catalog(exempt)
    return _catalog


def make_backend(setting: Any) -> ShieldBackend:
    """Make the backend that SHIELD_BACKEND describes. Raises ImproperlyConfigured."""
    if isinstance(setting, ShieldBackend | SyncShieldBackend):
        return awaited(setting)
    name, options = name_and_options("SHIELD_BACKEND", "backend", setting)
    try:
        factory = import_string(BACKENDS.get(name, name))
        backend = awaited(factory(**options))
    except (ImportError, TypeError, ValueError, ImproperlyConfigured) as error:
        known = ", ".join(sorted(BACKENDS))
        raise ImproperlyConfigured(
            f"SHIELD_BACKEND {name!r} cannot be used: {error}. It is one of {known} or a dotted path."
        ) from error
    if not isinstance(backend, ShieldBackend):
        raise ImproperlyConfigured(f"SHIELD_BACKEND {name!r} makes {backend!r}, which is no ShieldBackend.")
    return backend


async def start() -> None:
    """Start with the server: load the rules before the first request."""
    found = current()
    await found.engine.start()
    await found.ready_async()


async def stop() -> None:
    """Stop with the server."""
    if _project is not None:
        await _project.engine.stop()


def reset() -> None:
    """Forget the engine; the next request makes a new one from the settings as they are then."""
    global _project, _catalog
    with _lock:
        forgotten, _project, _catalog = _project, None, None
    if forgotten is not None:
        forgotten.replica.stop()


def follow_settings() -> None:
    setting_changed.connect(_on_setting_changed, dispatch_uid="shield")


def _on_setting_changed(*, setting: str, **_: Any) -> None:
    if setting.startswith(PREFIX) or setting in _OTHERS:
        reset()


def decide(target: str, method: str = "GET", *, trace: Trace | None = None) -> Decision:
    """Decide on a route anywhere: in a task, a consumer, a template.

    ``target`` is a view name, a key or a URL path. Raises RouteNotFoundException.
    """
    project = current()
    project.discover()
    key = project.catalog.one_key(target)
    return project.engine.decide(key.method or method, key.path, trace=trace)


class _Engine:
    """Stands for the project's engine, which settings may replace."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            # Test runners look for marks on whatever a module imports, before the test environment is up.
            raise AttributeError(name)
        enter_test_environment()
        return getattr(current().engine, name)

    def __repr__(self) -> str:
        return "<the project's ShieldEngine>"


if TYPE_CHECKING:
    engine: ShieldEngine
else:
    engine = cast("ShieldEngine", _Engine())
