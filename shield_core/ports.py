"""How callers on any thread or loop reach a backend.

The engine's operations are coroutines over a ``Port``. ``AwaitingPort`` serves coroutines;
``PlainPort`` serves synchronous code: its coroutines never suspend, so ``drive`` runs them to
their end without a loop. All coroutines of an async backend run on one loop: the one that
awaited the backend's ``startup()``, else a loop thread owned by ``HomeLoop``.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from shield_core import forking
from shield_core.audit import AuditQuery
from shield_core.backends.base import ShieldBackend, SyncNativeBackend
from shield_core.exceptions import BackendError, ShieldException
from shield_core.models import AuditEntry, Instance, RateLimitHit
from shield_core.rate_limit.hits import HitQuery
from shield_core.snapshot import Changes, Commit, Cursor, Snapshot

Result = TypeVar("Result")
Publish = Callable[[Changes], None]
Operation = Callable[..., Coroutine[Any, Any, Result]]


def drive(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine that never suspends, and return its result."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    coroutine.close()
    raise AssertionError("a plain operation tried to suspend")


@dataclass(frozen=True)
class _Home:
    """A loop, the thread when it is our own, and whether the backend's startup is over on it."""

    loop: asyncio.AbstractEventLoop
    thread: threading.Thread | None = None
    started: Future[None] = field(default_factory=Future)


class HomeLoop:
    """The one loop on which all coroutines of an async backend run."""

    def __init__(self, backend: ShieldBackend) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self._home: _Home | None = None
        self._left_by_fork: _Home | None = None
        forking.watch(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._left_by_fork, self._home = self._home, None

    @property
    def running(self) -> asyncio.AbstractEventLoop | None:
        """The home, when there is one."""
        home = self._home
        return home.loop if home is not None and not home.loop.is_closed() else None

    async def adopt_running_loop(self) -> None:
        """Make the running loop the home, unless there is one, and wait for the backend's startup."""
        home, new = self._claim(_Home, asyncio.get_running_loop())
        if new:
            await self._start_up(home)
        else:
            await asyncio.shield(asyncio.wrap_future(home.started))

    def get(self) -> asyncio.AbstractEventLoop:
        """Return the home; where there is none yet, start a loop thread and the backend on it."""
        home, new = self._claim(_own_loop)
        if new:
            asyncio.run_coroutine_threadsafe(self._start_up(home), home.loop)
        try:
            home.started.result()
        except BaseException:
            if new and home.thread is not None:
                _end(home.loop, home.thread)
            raise
        return home.loop

    def _claim(self, make: Callable[..., _Home], *args: Any) -> tuple[_Home, bool]:
        """Return the home, and whether it was made now and has still to be started up."""
        with self._lock:
            if self._home is not None and self.running is not None:
                return self._home, False
            self._home = make(*args)
            return self._home, True

    async def _start_up(self, home: _Home) -> None:
        try:
            await self._backend.startup()
        except BaseException as error:
            self._home = None
            interrupted = BackendError("The backend's startup was interrupted.")
            home.started.set_exception(error if isinstance(error, Exception) else interrupted)
            raise
        home.started.set_result(None)

    async def leave(self) -> None:
        """Shut the backend down and end an own loop thread."""
        home, self._home = self._home, None
        if home is None or home.loop.is_closed():
            return
        if home.loop is asyncio.get_running_loop():
            await self._backend.shutdown()
        else:
            await asyncio.to_thread(self._shut_down, home)

    def leave_sync(self) -> None:
        home, self._home = self._home, None
        if home is not None and not home.loop.is_closed():
            self._shut_down(home)

    def _shut_down(self, home: _Home) -> None:
        try:
            if home.loop.is_running():
                asyncio.run_coroutine_threadsafe(self._backend.shutdown(), home.loop).result()
        finally:
            if home.thread is not None:
                _end(home.loop, home.thread)


def _own_loop() -> _Home:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="shield-loop", daemon=True)
    thread.start()
    return _Home(loop, thread)


def _end(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


class Port(ABC):
    """The store as the engine sees it."""

    def __init__(self, backend: ShieldBackend, home: HomeLoop) -> None:
        self._backend = backend
        self._home = home

    @abstractmethod
    async def _native(self, function: Callable[..., Result], *args: Any) -> Result:
        """Run a plain function of a backend that is synchronous by nature."""

    @abstractmethod
    async def _at_home(self, operation: Operation[Result], *args: Any) -> Result:
        """Run a coroutine of an async backend on its home loop."""

    @abstractmethod
    async def pause(self, seconds: float) -> None:
        """Sleep."""

    async def load(self) -> Snapshot:
        if isinstance(self._backend, SyncNativeBackend):
            return await self._native(self._backend.load_sync)
        return await self._at_home(self._backend.load)

    async def watch(self, since: Cursor, timeout: float = 0.0) -> Changes:
        if isinstance(self._backend, SyncNativeBackend):
            return await self._native(self._backend.watch_sync, since, timeout)
        return await self._at_home(self._backend.watch, since, timeout)

    async def prepare(self) -> None:
        """Tell the store that a commit follows what is read next."""
        if isinstance(self._backend, SyncNativeBackend):
            await self._native(self._backend.prepare_sync)

    async def commit(self, commit: Commit, publish: Publish) -> Changes:
        """Commit, and ``publish`` the changes once they are certain: after the caller's transaction."""
        if isinstance(self._backend, SyncNativeBackend):
            return await self._native(_commit_and_publish, self._backend, commit, publish)
        changes = await self._at_home(self._backend.commit, commit)
        publish(changes)
        return changes

    async def read_audit(self, query: AuditQuery) -> list[AuditEntry]:
        if isinstance(self._backend, SyncNativeBackend):
            return await self._native(self._backend.read_audit_sync, query)
        return await self._at_home(self._backend.read_audit, query)

    async def beat(self, instance: Instance) -> None:
        if isinstance(self._backend, SyncNativeBackend):
            await self._native(self._backend.beat_sync, instance)
        else:
            await self._at_home(self._backend.beat, instance)

    async def write_hits(self, hits: Sequence[RateLimitHit]) -> None:
        if isinstance(self._backend, SyncNativeBackend):
            await self._native(self._backend.write_hits_sync, hits)
        else:
            await self._at_home(self._backend.write_hits, hits)

    async def read_hits(self, query: HitQuery) -> list[RateLimitHit]:
        if isinstance(self._backend, SyncNativeBackend):
            return await self._native(self._backend.read_hits_sync, query)
        return await self._at_home(self._backend.read_hits, query)

    async def instances(self) -> list[Instance]:
        if isinstance(self._backend, SyncNativeBackend):
            return await self._native(self._backend.instances_sync)
        return await self._at_home(self._backend.instances)


def _commit_and_publish(backend: SyncNativeBackend, commit: Commit, publish: Publish) -> Changes:
    # A server may take its time to answer; its backend holds forks off where that matters.
    with contextlib.nullcontext() if backend.writes_apart else forking.held_off():
        changes = backend.commit_sync(commit)
    backend.after_commit(lambda: publish(changes))
    return changes


class AwaitingPort(Port):
    """For coroutines."""

    async def _native(self, function: Callable[..., Result], *args: Any) -> Result:
        assert isinstance(self._backend, SyncNativeBackend)
        return await self._backend.hop(function, *args)

    async def _at_home(self, operation: Operation[Result], *args: Any) -> Result:
        if self._home.running is asyncio.get_running_loop():
            await self._home.adopt_running_loop()
            return await operation(*args)
        loop = await asyncio.to_thread(self._home.get)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(operation(*args), loop))

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class PlainPort(Port):
    """For synchronous code: nothing suspends, the calling thread waits."""

    _watch: Future[Changes] | None = None

    async def _native(self, function: Callable[..., Result], *args: Any) -> Result:
        return function(*args)

    async def watch(self, since: Cursor, timeout: float = 0.0) -> Changes:
        if not timeout or isinstance(self._backend, SyncNativeBackend):
            return await super().watch(since, timeout)
        self._watch = self._submit(self._backend.watch, since, timeout)
        return self._watch.result()

    def interrupt(self) -> None:
        """End the wait of the one thread that waits for changes: the replica's."""
        if isinstance(self._backend, SyncNativeBackend):
            self._backend.wake()
        elif self._watch is not None:
            self._watch.cancel()

    async def _at_home(self, operation: Operation[Result], *args: Any) -> Result:
        return self._submit(operation, *args).result()

    def _submit(self, operation: Operation[Result], *args: Any) -> Future[Result]:
        own = _running_loop()
        if own is not None and own is self._home.running:
            raise ShieldException(
                "engine.sync was called on the event loop that the backend runs on, which would wait "
                "for itself for ever. Await the engine's own method there."
            )
        loop = self._home.get()
        return asyncio.run_coroutine_threadsafe(operation(*args), loop)

    async def pause(self, seconds: float) -> None:
        threading.Event().wait(seconds)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
