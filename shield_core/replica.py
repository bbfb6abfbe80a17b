"""Keeps a process's ruleset fresh from the backend's change feed.

One daemon thread per process, started at the first request and again, lazily, after a fork. A
request reads ``ruleset``; while it is None, ``ready`` finds out why and waits, at most
``init_timeout`` seconds in a process's life.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from shield_core import forking, plan, recovery
from shield_core.backends.base import ShieldBackend, SyncNativeBackend
from shield_core.declarations import Declaration
from shield_core.exceptions import BackendError
from shield_core.keys import EVERYTHING, RouteKey
from shield_core.models import GlobalMaintenanceConfig
from shield_core.outages import Outages
from shield_core.ports import PlainPort, drive
from shield_core.reporting import Reporter
from shield_core.retrying import Retries
from shield_core.ruleset import Ruleset
from shield_core.snapshot import Changes, Snapshot

logger = logging.getLogger("shield.replica")

NoStore = Literal["decorators", "maintenance", "refuse"]
Listener = Callable[[Snapshot, Changes], None]

#: Seconds that the first request of a forked process waits for a look at the store.
_FORKED_PATIENCE = 1.0
#: Seconds beyond the refresh interval after which a store that says nothing is taken to hang.
_SILENCE = 5.0
#: Seconds that stopping gives the thread to finish what it is doing.
_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Status:
    """How fresh the rules of this process are.

    ``state`` is cold (nothing loaded yet), live, stale (the store does not answer) or store_lost
    (the store came back empty). ``seconds_since_contact`` is None before the first contact.
    ``acknowledged`` is the revision that a Shield Server knows this process to have applied, None elsewhere.
    """

    state: Literal["cold", "live", "stale", "store_lost"]
    epoch: str
    revision: int
    seconds_since_contact: float | None
    error: str
    acknowledged: int | None = None


class Replica:
    """Follows one backend for one process; see the module."""

    def __init__(
        self,
        backend: ShieldBackend,
        port: PlainPort,
        *,
        service: str | None,
        release: str,
        env: str | None,
        refresh_interval: float,
        init_timeout: float,
        no_store: NoStore,
        threads: bool,
        run: Callable[[plan.Command], object],
        register: Callable[[], object],
        flush_hits: Callable[[], object],
    ) -> None:
        self._backend = backend
        self._port = port
        self._service = service
        self._env = env
        self._refresh_interval = refresh_interval
        self._init_timeout = init_timeout
        self._no_store = no_store
        self._threads = threads
        self._run_command = run
        self._register = register
        self._reporter = Reporter(
            backend,
            port,
            service=service,
            release=release,
            snapshot=lambda: self._snapshot,
            register=register,
            write_boundaries=self._write_boundaries,
            flush_hits=flush_hits,
        )
        self._declared: dict[RouteKey, Declaration] = {}
        self._unregistered: dict[RouteKey, Declaration] = {}
        self._listeners: list[Listener] = []
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._loaded: Future[None] = Future()
        self._waited = False
        self._snapshot: Snapshot | None = None
        self._rules: Ruleset | None = None
        self._contact: float | None = None
        self._error = ""
        self._outages = Outages()
        #: What the store holds that came back empty, while the rules of before stay in force.
        self._lost: Snapshot | None = None
        #: What has a window. Threads that read it need no lock: it is replaced, never changed.
        self._boundaries: frozenset[str] = frozenset()
        self._while_loading: list[Changes] | None = None
        self._retries = Retries(backend.reconnect_delay)
        self._bypasses = 0
        #: The rules in force; None while there is a reason to go through ``ready``.
        self.ruleset: Ruleset | None = None
        forking.watch(self)

    # -- what requests use ------------------------------------------------------------------

    def ready(self) -> Ruleset:
        """Return the rules in force; in a cold process wait for the first load."""
        if self.ruleset is not None:
            return self.ruleset
        if self._begin():
            with suppress(FutureTimeout):
                self._loaded.result(self._first_patience)
        return self._settle()

    async def ready_async(self) -> Ruleset:
        """Do what ``ready`` does, without blocking the event loop."""
        if self.ruleset is not None:
            return self.ruleset
        if self._begin():
            waiting = asyncio.wrap_future(self._loaded)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(waiting), self._first_patience)
        return self._settle()

    def _begin(self) -> bool:
        """Start following; return whether the first look at the store is worth waiting for."""
        if self._rules is None and not self._threads_needed:
            self._reload()
        self.start()
        return self._threads and not self._waited

    @property
    def _first_patience(self) -> float:
        """Seconds to wait for the first look; a forked process has its parent's rules to go on with."""
        inherited = self._rules is not None
        return min(self._init_timeout, _FORKED_PATIENCE) if inherited else self._init_timeout

    @property
    def _threads_needed(self) -> bool:
        return not (isinstance(self._backend, SyncNativeBackend) and self._backend.immediate)

    def _settle(self) -> Ruleset:
        with self._lock:
            self._waited = True
            if self.ruleset is not None:
                return self.ruleset  # by another request that has waited
            if self._rules is None:
                self._begin_with_last_known()
            return self._enforce(self._rules if self._rules is not None else self._without_store())

    def _enforce(self, rules: Ruleset) -> Ruleset:
        """Put ``rules`` in force, or while Shield is bypassed none."""
        self.ruleset = rules.emptied() if self._bypasses else rules
        return self.ruleset

    @contextmanager
    def bypass(self) -> Iterator[None]:
        """Let everything pass in this process; changes of the store are followed meanwhile."""
        self._change_bypasses(1)
        try:
            yield
        finally:
            self._change_bypasses(-1)

    def _change_bypasses(self, change: int) -> None:
        with self._lock:
            self._bypasses += change
            # The next request puts rules in force again, without waiting once they are loaded.
            self.ruleset = None

    def _without_store(self) -> Ruleset:
        """The rules of a process that has never seen its store: never simply open."""
        if self._no_store == "refuse":
            raise BackendError(
                f"Shield has not seen its store yet and SHIELD_NO_STORE is 'refuse'. {self._error}"
            )
        snapshot = Snapshot()
        if self._no_store == "maintenance":
            config = GlobalMaintenanceConfig(enabled=True, reason="The service is starting.")
            snapshot = Snapshot(objects={EVERYTHING.store_key: config})
        logger.error(
            "The store has not answered within %s s; serving by %s until it does.",
            self._init_timeout,
            "the code's decorators" if self._no_store == "decorators" else "global maintenance",
            extra={"error": self._error},
        )
        return self._compile(snapshot)

    # -- declarations -----------------------------------------------------------------------

    @property
    def declared(self) -> Mapping[RouteKey, Declaration]:
        return self._declared

    def declare(self, declarations: Iterable[Declaration]) -> None:
        """Take what the code declares into the rules at once; the thread registers it later."""
        with self._lock:
            new = [one for one in declarations if self._declared.get(one.key) != one]
            if not new:
                return
            self._declared = {**self._declared, **{one.key: one for one in new}}
            self._unregistered |= _listed(new)
            if self._rules is not None:
                self._rules = self._rules.declare(new)
            if self.ruleset is not None:
                self._enforce(self._rules or self.ruleset.declare(new))

    @property
    def unregistered(self) -> list[Declaration]:
        """What the code declares and this process has not yet seen in the store."""
        with self._lock:
            return list(self._unregistered.values())

    def registered(self, declarations: Iterable[Declaration]) -> None:
        with self._lock:
            for one in declarations:
                if self._unregistered.get(one.key) is one:
                    del self._unregistered[one.key]

    # -- what is known ----------------------------------------------------------------------

    @property
    def snapshot(self) -> Snapshot | None:
        return self._snapshot

    def subscribe(self, listener: Listener) -> None:
        """Call ``listener(snapshot, changes)`` whenever this process applies changes."""
        self._listeners.append(listener)

    def publish(self, changes: Changes) -> None:
        """Enforce a local commit at once; the feed will bring it again, without effect."""
        with self._lock:
            if self._while_loading is not None:
                self._while_loading.append(changes)
            if self._lost is not None and self._snapshot is not None:
                self._keep_rules(self._snapshot, self._lost.apply(changes, advance=False))
            elif self._snapshot is not None:
                # A store without an epoch was never written to: this is its first commit, or one soon
                # after. Under any other epoch, as after an edit by hand, the feed says "load again".
                known = self._snapshot.epoch in (changes.cursor.epoch, "")
                advance = known and changes.cursor.revision == self._snapshot.revision + 1
                self._apply(changes, advance=advance)
        if isinstance(self._backend, SyncNativeBackend):
            self._backend.wake()
        self._tell(changes)

    def _overtake(self, changes: Changes) -> bool:
        """Apply changes from the feed, unless local commits have brought all of them already."""
        with self._lock:
            if self._snapshot is None or changes.cursor.revision <= self._snapshot.revision:
                return False
            self._apply(changes, advance=True)
            return True

    def _apply(self, changes: Changes, *, advance: bool) -> None:
        assert self._snapshot is not None
        keys = [key for key, _ in changes.writes]
        self._snapshot = self._snapshot.apply(changes, advance=advance)
        self._boundaries = self._boundaries.difference(keys) | _with_windows(self._snapshot, keys)
        rules = self._rules or self._compile(self._snapshot)
        self._rules = rules.evolve(self._snapshot, keys)
        if self.ruleset is not None:
            self._enforce(self._rules)

    def _install(self, snapshot: Snapshot) -> None:
        with self._lock:
            before = self._snapshot
            # A load that began before a local commit does not undo what the commit has put in force.
            for changes in self._while_loading or ():
                if changes.cursor.epoch == snapshot.epoch:
                    snapshot = snapshot.apply(changes, advance=False)
            if before is not None and self._is_loss(before, snapshot):
                self._keep_rules(before, snapshot)
                return
            self._lost = None
            if before is not None and before.epoch != snapshot.epoch:
                self._unregistered = _listed(self._declared.values())
            self._snapshot = snapshot
            self._boundaries = _with_windows(snapshot, snapshot.objects)
            self._rules = self._compile(snapshot)
            if self.ruleset is not None or self._waited:
                self._enforce(self._rules)
        if before is not None:
            self._tell(Changes(snapshot.cursor, reset=True))

    def _is_loss(self, before: Snapshot, after: Snapshot) -> bool:
        """Whether the store was emptied, and nobody has restored it or accepted it as it is."""
        if recovery.is_accepted(after) or not self._backend.durable:
            return False
        if self._lost is not None:
            return not recovery.is_back(before, after)
        return recovery.was_emptied(before, after)

    def _keep_rules(self, kept: Snapshot, found: Snapshot) -> None:
        """Keep the rules of before, under what operators set in the emptied store."""
        if self._lost is None:
            self._unregistered = _listed(self._declared.values())
            logger.error(
                "The store came back empty (epoch %r, was %r). The rules stay as they were: put them back "
                "with 'shield restore', or accept the loss with 'shield reset --all'.",
                found.epoch,
                kept.epoch,
            )
        self._lost = found
        self._rules = self._compile(recovery.overlay(kept, found))
        if self.ruleset is not None:
            self._enforce(self._rules)

    def _compile(self, snapshot: Snapshot) -> Ruleset:
        return Ruleset.compile(snapshot, self._declared, service=self._service, env=self._env)

    def _tell(self, changes: Changes) -> None:
        snapshot = self._snapshot
        for listener in self._listeners:
            try:
                listener(snapshot or Snapshot(), changes)
            except Exception:
                logger.exception("A listener for changes failed; the change itself is in force.")

    # -- following --------------------------------------------------------------------------

    def start(self) -> None:
        """Follow the store from now on, again after ``stop``; without threads there is nothing to do."""
        with self._lock:
            if not self._threads or (self._thread is not None and self._thread.is_alive()):
                return
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._follow, name="shield-replica", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread; the rules stay in force."""
        with self._lock:
            thread, self._thread = self._thread, None
        self._stop.set()
        self._reporter.nudge()
        deadline = time.monotonic() + _PATIENCE
        if thread is not None and thread is not threading.current_thread():
            while thread.is_alive() and time.monotonic() < deadline:
                self._port.interrupt()
                thread.join(timeout=0.05)
        self._backend.disconnect()

    def after_fork(self) -> None:
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._thread = None
        self._while_loading = None
        self._waited = False
        self._reporter.after_fork()
        self._retries = Retries(self._backend.reconnect_delay)
        # What the parent knew may be old by the time this process has its first request.
        self._loaded = Future()
        self.ruleset = None

    def _follow(self) -> None:
        stop = self._stop
        while not stop.is_set():
            try:
                self._turn()
            except Exception as error:  # noqa: BLE001 - whatever a store raises, the rules stay in force
                if stop.is_set():
                    break
                self._failed(error)
                stop.wait(self._retries.delay(getattr(error, "retry_after", None) or 0.0))
        self._reporter.end(answers=not self._error)
        self._close()

    def _turn(self) -> None:
        """Look at the store once, waiting for a change up to the refresh interval."""
        known = self._lost or self._snapshot
        if known is None or self._recovers:
            self._reload()
        else:
            self._hear(known)
        self._contacted()
        if self._recovers:
            self._recover()
        else:
            self._reporter.report(self._stop)

    def _hear(self, known: Snapshot) -> None:
        """Wait for what changed after ``known``, and apply it."""
        patience = self._pause if self._loaded.done() else 0.0
        changes = drive(self._port.watch(known.cursor, patience))
        if changes.reset:
            self._reload()
        elif self._lost is not None:
            self._follow_lost(self._lost, changes)
        elif self._overtake(changes):
            self._tell(changes)

    def _reload(self) -> None:
        with self._lock:
            self._while_loading = []
        try:
            self._install(drive(self._port.load()))
        finally:
            self._while_loading = None

    @property
    def _pause(self) -> float:
        """Seconds to wait for a change: until the next boundary of a window at the longest."""
        now = datetime.now(UTC)
        edges = [
            (edge - now).total_seconds()
            for key in self._boundaries
            if (found := self._snapshot.objects.get(key) if self._snapshot else None) and found.window
            for edge in (found.window.start, found.window.end)
            if edge > now
        ]
        return max(0.01, min([self._refresh_interval, *edges]))

    @property
    def _recovers(self) -> bool:
        """Whether the store was lost, and it is for those who follow it to put things right."""
        return self._lost is not None and self._backend.reconciles

    def _recover(self) -> None:
        """Let operators work on the emptied store, and put the rules back when they ask for it."""
        found, kept = self._lost, self._snapshot
        if self._backend.atomic:
            self._register()  # elsewhere it would hide the loss from those who have not looked yet
        if found is not None and kept is not None and recovery.is_requested(found):
            self._run_command(recovery.Restore(kept=kept))
        else:
            self._stop.wait(self._refresh_interval)

    def _follow_lost(self, found: Snapshot, changes: Changes) -> None:
        """Hear what operators do in the emptied store, where it is the server that recovers."""
        if changes.cursor != found.cursor:
            self._install(found.apply(changes, advance=True))

    def _write_boundaries(self) -> None:
        if not self._backend.reconciles:
            return
        snapshot, now = self._snapshot, datetime.now(UTC)
        for key in self._boundaries:
            found = snapshot.objects.get(key) if snapshot is not None else None
            if found is not None and plan.crossed_boundary(found, now) is not None:
                self._run_command(plan.CrossBoundary(store_key=key))

    def _close(self) -> None:
        """Let a synchronous backend close what this thread opened."""
        if isinstance(self._backend, SyncNativeBackend):
            with suppress(Exception):  # a broken connection may fail to close
                self._backend.close_sync()

    # -- whether the store answers ----------------------------------------------------------

    def status(self) -> Status:
        with self._lock:
            snapshot = self._snapshot
            silence = None if self._contact is None else time.monotonic() - self._contact
            if snapshot is None:
                state: Literal["cold", "live", "stale", "store_lost"] = "cold"
            elif self._lost is not None:
                state = "store_lost"
            else:
                state = "stale" if self._error or self._is_silent(silence) else "live"
            return Status(
                state=state,
                epoch=snapshot.epoch if snapshot else "",
                revision=snapshot.revision if snapshot else 0,
                seconds_since_contact=silence,
                error=self._error,
                acknowledged=self._backend.acknowledged,
            )

    def _is_silent(self, silence: float | None) -> bool:
        """Whether a store that is followed has not answered for so long that it must hang."""
        follows = self._thread is not None and silence is not None
        return follows and (silence or 0.0) > self._refresh_interval + _SILENCE

    def _contacted(self) -> None:
        self._contact = time.monotonic()
        self._end_waiting()
        self._error = ""
        self._outages.ended()

    def _failed(self, error: Exception) -> None:
        self._error = f"{type(error).__name__}: {error}"
        self._close()
        self._begin_with_last_known()
        self._outages.failed(error, is_cold=self._snapshot is None)

    def _begin_with_last_known(self) -> None:
        """Serve by what is known from before this process, where the store has not been seen in it."""
        with self._lock:
            if self._snapshot is None:
                found = self._backend.last_known()
                if found is None:
                    return
                known, kept_at = found
                logger.error(
                    "The store does not answer; serving by its last known state, of revision %s, kept at %s.",
                    known.revision,
                    kept_at.isoformat(timespec="seconds"),
                    extra={"error": self._error},
                )
                self._install(known)
        self._end_waiting()  # also in a forked process, which has its parent's rules

    def _end_waiting(self) -> None:
        """Let those go on who wait for the first look at the store."""
        with self._lock:
            if not self._loaded.done():
                self._loaded.set_result(None)


def _with_windows(snapshot: Snapshot, keys: Iterable[str]) -> frozenset[str]:
    return frozenset(key for key in keys if (found := snapshot.objects.get(key)) and found.window)


def _listed(declarations: Iterable[Declaration]) -> dict[RouteKey, Declaration]:
    """Return those that are registered without being named by anybody."""
    return {one.key: one for one in declarations if not (one.unlisted or one.always_open)}
