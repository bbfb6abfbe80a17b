"""The engine: the one write path (``shield_core.operations``), and the door to the read path.

Operations are coroutines over a port; ``engine.sync`` (``shield_core.sync``, generated from this class)
runs the same coroutines without a loop.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from shield_core.backends.base import ShieldBackend
from shield_core.backends.memory import MemoryBackend
from shield_core.backends.sync import SyncShieldBackend, awaited
from shield_core.decisions import Decision, Trace
from shield_core.declarations import Declaration
from shield_core.exceptions import InvalidInputError
from shield_core.keys import Facet, RouteKey, check_service, parse_store_key
from shield_core.models import (
    RateLimitResult,
)
from shield_core.operations.limits import LimitOperations
from shield_core.operations.maintenance import MaintenanceOperations
from shield_core.operations.records import RecordOperations
from shield_core.operations.routes import RouteOperations
from shield_core.operations.services import ServiceOperations
from shield_core.operations.tokens import TokenOperations
from shield_core.ports import AwaitingPort, HomeLoop, PlainPort, Port, drive
from shield_core.rate_limit.caller import ContextCaller
from shield_core.rate_limit.limiter import Limiter
from shield_core.rate_limit.storage.base import RateLimitStorage
from shield_core.rate_limit.storage.failover import guarded
from shield_core.replica import Listener, NoStore, Replica, Status
from shield_core.responses import limited
from shield_core.ruleset import Ruleset
from shield_core.snapshot import Changes, Snapshot

if TYPE_CHECKING:
    from shield_core.sync import SyncEngine


class ShieldEngine(
    RouteOperations,
    MaintenanceOperations,
    LimitOperations,
    TokenOperations,
    ServiceOperations,
    RecordOperations,
):
    """Everything an operator or an application asks of Shield.

    ``current_env`` None means that the environment was forgotten: no gate matches then.
    ``service`` is this process's own service, if it has a name. ``resolver`` turns what a person
    wrote (a view name, a real URL) into keys; ``discover`` declares the routes of an adapter's
    application, before the first look at them. ``threads`` False keeps the replica's thread away,
    for tests. ``rate_limit_backend`` counts requests where the backend should not: a storage, or a
    backend whose storage is taken. ``fail_open`` says what happens while it cannot be reached: requests
    are counted in this process alone (True), or those that have a limit are blocked. ``num_proxies`` are
    trusted to tell the client's address; ``draft_headers`` adds the IETF draft's ``RateLimit`` headers.
    Times are in seconds.
    """

    def __init__(
        self,
        backend: ShieldBackend | SyncShieldBackend | None = None,
        current_env: str | None = "dev",
        *,
        service: str | None = None,
        release: str = "",
        refresh_interval: float = 1.0,
        init_timeout: float = 2.0,
        no_store: NoStore = "decorators",
        resolver: Callable[[str], Iterable[str]] | None = None,
        discover: Callable[[], None] | None = None,
        threads: bool = True,
        rate_limit_backend: RateLimitStorage | ShieldBackend | None = None,
        fail_open: bool = True,
        num_proxies: int = 0,
        draft_headers: bool = False,
    ) -> None:
        self.backend = awaited(backend if backend is not None else MemoryBackend())
        self.current_env = current_env
        self.service = check_service(service) if service else None
        self.release = release
        self._resolver = resolver
        self._discoveries = [discover] if discover is not None else []
        self._home = HomeLoop(self.backend)
        self._port: Port = AwaitingPort(self.backend, self._home)
        plain = PlainPort(self.backend, self._home)
        self.backend.refresh_interval = refresh_interval
        self.replica = Replica(
            self.backend,
            plain,
            service=self.service,
            release=release,
            env=current_env,
            refresh_interval=refresh_interval,
            init_timeout=init_timeout,
            no_store=no_store,
            threads=threads,
            run=lambda command: drive(self._plain._run(command)),
            register=lambda: drive(self._plain._register_declared()),
            flush_hits=lambda: drive(self._plain._flush_hits()),
        )
        source = rate_limit_backend if rate_limit_backend is not None else self.backend
        storage = source.rate_limit_storage() if isinstance(source, ShieldBackend) else source
        self.limiter = Limiter(
            guarded(storage, fail_open=fail_open), num_proxies=num_proxies, draft_headers=draft_headers
        )
        self.replica.subscribe(self._forget_counters)
        self._plain = copy.copy(self)
        self._plain._port = plain

    @cached_property
    def sync(self) -> SyncEngine:
        """The same operations for synchronous code."""
        from shield_core.sync import SyncEngine

        return SyncEngine(self._plain)

    # -- life cycle -------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the backend up, follow it, and await the first load."""
        if _is_plain(self._port):
            self.replica.start()
            self.replica.ready()
        else:
            await self._home.adopt_running_loop()
            self.replica.start()
            await self.replica.ready_async()

    async def stop(self) -> None:
        """Stop following and shut the backend down; the last rules stay in force until then."""
        if _is_plain(self._port):
            self.replica.stop()
            self.limiter.storage.stop()
            self._home.leave_sync()
        else:
            # In a thread, because the replica may be waiting for this very loop.
            await asyncio.to_thread(self.replica.stop)
            await asyncio.to_thread(self.limiter.storage.stop)
            await self._home.leave()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def status(self) -> Status:
        """Return how fresh this process's rules are."""
        return self.replica.status()

    def _forget_counters(self, _: Snapshot, changes: Changes) -> None:
        """Let go of what limits have counted that are gone now, or were reset."""
        rules = self.replica.ruleset
        facets = {parse_store_key(key)[0] for key, _ in changes.writes}
        if rules is not None and (changes.reset or facets & {Facet.LIMIT, Facet.RESET}):
            self.limiter.storage.keep(rules.limit_tables())

    def subscribe(self, listener: Listener) -> None:
        """Call ``listener(snapshot, changes)`` in this process after every change it applies."""
        self.replica.subscribe(listener)

    # -- read path --------------------------------------------------------------------------

    @property
    def ruleset(self) -> Ruleset:
        """The rules in force; a cold process loads them first, at most ``init_timeout`` seconds."""
        return self.replica.ruleset or self.replica.ready()

    def decide(
        self, method: str, path: str, *, at: datetime | None = None, trace: Trace | None = None
    ) -> Decision:
        """Decide on a request to the route template ``path``, without I/O once rules are loaded.

        ``at`` (aware) is another moment than now. Raises InvalidInputError for one without a time zone.
        """
        if at is not None and at.tzinfo is None:
            raise InvalidInputError(f"{at.isoformat()} names no time zone.")
        return self.ruleset.decide(method, path, at=at, trace=trace)

    async def check(
        self, path: str, method: str | None = None, context: Mapping[str, Any] | None = None
    ) -> RateLimitResult | None:
        """Raise the exception of the layer that blocks ``path`` (a key or a template), if any.

        ``context`` tells who is asking: ip, headers, user, request. A request is charged to its limits;
        the answer is what they say of it, None where it has none.
        """
        self._discover()
        key = RouteKey.parse(path)
        plain = _is_plain(self._port)
        rules = self.ruleset if plain else await self.replica.ready_async()
        asked = method or key.method or "GET"
        decision = rules.decide(asked, key.path)
        if decision.allowed and (layers := rules.limits(asked, key.path)):
            caller = ContextCaller(context or {}, awaits=not plain)
            outcome = self.limiter.limit(layers, caller, method=asked, path=key.path)
            decision = limited(decision, await outcome if isinstance(outcome, Awaitable) else outcome)
        if not decision.allowed:
            raise decision.exception()
        return decision.outcome.result if decision.outcome is not None else None

    # -- declarations -----------------------------------------------------------------------

    def discover_with(self, discover: Callable[[], None]) -> None:
        """Call ``discover`` before the store is asked for routes, to declare those of an application."""
        self._discoveries.append(discover)

    def declare(self, declarations: Iterable[Declaration]) -> None:
        """Put what the code declares in force in this process; it is registered later."""
        self.replica.declare(declarations)

    async def register(self, path: str, meta: Mapping[str, Any]) -> None:
        """Declare one route (``meta`` as in ``__shield_meta__``) and store it for operators."""
        await self.register_batch([(path, meta)])

    async def register_batch(self, routes: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Declare and store many routes in one commit, none when nothing is new."""
        self.declare(Declaration.from_meta(RouteKey.parse(path), meta) for path, meta in routes)
        await self._register_declared()


def _is_plain(port: Port) -> bool:
    return isinstance(port, PlainPort)
