"""Tells all followers of an engine what changes, with each batch encoded once for those who hear the same.

Changes arrive on any thread, and out of order: a commit of this process may be known before an earlier
one of another process. So the hub tells not what arrives but what the replica's snapshot has become,
from position to position, and under one lock: nothing is lost and nothing goes backwards.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Protocol

from shield_core import forking
from shield_core.engine import ShieldEngine
from shield_core.events import (
    FULL,
    PLAIN,
    Audience,
    change_events,
    encoded,
    heartbeat,
    now,
    opening_events,
)
from shield_core.keys import Facet, parse_store_key
from shield_core.snapshot import Changes, Cursor, Snapshot, Write

#: Seconds between two signs of life of one stream.
KEEPALIVE_INTERVAL = 15.0
#: Followers are given a sign of life in so many groups, one after the other.
_TURNS = 15
#: Objects whose encoding takes some milliseconds.
_MANY = 200


class Follower(Protocol):
    """Who listens; called on its own loop, where it subscribed."""

    audience: Audience
    #: The number of the last batch before it subscribed; the hub sets it.
    start: int

    def tell(self, text: bytes) -> None:
        """Take the frames of a batch."""

    def check(self) -> None:
        """Find out whether to listen on: a token was changed, or some time has passed."""


class Hub:
    """Follows ``engine`` from the first subscription on."""

    def __init__(self, engine: ShieldEngine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._follows = False
        self._position = Cursor("", 0)
        #: How many batches there were.
        self._count = 0
        #: The revision from which on the snapshot knows what was deleted; before it, it may not.
        self._floor = 0
        #: The whole state at the position, once somebody has asked for it.
        self._whole: Batch | None = None
        self._fanouts: dict[asyncio.AbstractEventLoop, Fanout] = {}
        forking.watch(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._fanouts = {}

    def __len__(self) -> int:
        return sum(map(len, list(self._fanouts.values())))

    @property
    def durable(self) -> bool:
        """Whether the store survives this server, so that an empty one must have been lost."""
        return self._engine.backend.durable

    # -- followers --------------------------------------------------------------------------

    def subscribe(self, follower: Follower, since: Cursor | None) -> Batch:
        """Register a follower on the running loop; return what it must be told first.

        It is registered before the position is read, so that nothing falls in between. ``since`` is
        what it knows already; where that is too long ago, or of another history, it gets the whole state.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            snapshot = self._catch_up(None)
            fanout = self._fanouts.get(loop)
            if fanout is None:
                fanout = self._fanouts[loop] = Fanout(loop, self._position)
            fanout.add(follower)
            follower.start = self._count
            return self._from(since, snapshot)

    def unsubscribe(self, follower: Follower) -> None:
        loop = asyncio.get_running_loop()
        with self._lock:
            fanout = self._fanouts.get(loop)
            if fanout is not None:
                fanout.discard(follower)
                if not len(fanout):
                    del self._fanouts[loop]

    @property
    def told(self) -> Cursor:
        """Return up to where the followers on the running loop have been told."""
        fanout = self._fanouts.get(asyncio.get_running_loop())
        return fanout.position if fanout is not None else self._position

    def _from(self, since: Cursor | None, snapshot: Snapshot) -> Batch:
        """Return what leads from ``since`` to the position, which is that of ``snapshot``."""
        position = self._position
        known = since is not None and since.epoch == position.epoch
        if since is not None and known and max(self._floor, 1) <= since.revision <= position.revision:
            return Batch(snapshot, snapshot.since(since).writes, since, position)
        if self._whole is None:
            self._whole = Batch(snapshot, None, Cursor(position.epoch, 0), position)
        return self._whole

    # -- changes ----------------------------------------------------------------------------

    def _follow(self, _: Snapshot, changes: Changes) -> None:
        with self._lock:
            self._catch_up(changes)

    def _catch_up(self, changes: Changes | None) -> Snapshot:
        """Tell everybody what lies between the position and the newest snapshot; return that.

        ``changes`` are what was applied now. They are told as they are where they are all there is.
        """
        # Read under the lock, so that none is older than the one read before.
        snapshot, before = self._engine.replica.snapshot or Snapshot(), self._position
        if not self._follows:
            self._follows = True
            self._engine.subscribe(self._follow)
            self._position, self._floor = snapshot.cursor, snapshot.revision
        elif snapshot.epoch != before.epoch or (changes is not None and changes.reset):
            self._floor = snapshot.revision
            self._emit(Batch(snapshot, None, Cursor(snapshot.epoch, 0), snapshot.cursor))
        elif snapshot.revision <= before.revision:
            pass
        elif changes is not None and _is_next(changes, before) and _is_current(changes, snapshot):
            self._emit(Batch(snapshot, changes.writes, before, changes.cursor))
        else:
            self._emit(Batch(snapshot, snapshot.since(before).writes, before, snapshot.cursor))
        return snapshot

    def _emit(self, batch: Batch) -> None:
        """Tell all loops. The caller holds the lock, so that batches reach them in their order."""
        self._count += 1
        batch.number = self._count
        self._position = batch.after
        self._whole = None
        for loop, fanout in list(self._fanouts.items()):
            if loop.is_closed():
                del self._fanouts[loop]
            else:
                loop.call_soon_threadsafe(fanout.tell, batch)


def _is_next(changes: Changes, before: Cursor) -> bool:
    """Whether ``changes`` are the one commit after ``before``."""
    return changes.cursor == Cursor(before.epoch, before.revision + 1)


def _is_current(changes: Changes, snapshot: Snapshot) -> bool:
    """Whether nothing of what ``changes`` wrote has been overtaken by a later commit."""
    return all(snapshot.objects.get(key) is value for key, value in changes.writes)


class Batch:
    """What leads from one position to another, encoded when somebody first hears it.

    ``writes`` None is the whole state. Services that it does not name all hear the same.
    """

    __slots__ = (
        "_encoded",
        "_lock",
        "_now",
        "_services",
        "_snapshot",
        "after",
        "before",
        "number",
        "writes",
    )

    def __init__(
        self, snapshot: Snapshot, writes: Sequence[Write] | None, before: Cursor, after: Cursor
    ) -> None:
        self._snapshot = snapshot
        self.writes = writes
        self.before = before
        self.after = after
        self.number = 0
        self._now = now()
        self._services: frozenset[str | None] | None = None
        self._encoded: dict[Audience, bytes] = {}
        self._lock = threading.Lock()

    @property
    def concerns_tokens(self) -> bool:
        """Whether a token was changed, perhaps that of a follower."""
        return self.writes is None or any(parse_store_key(key)[0] is Facet.TOKEN for key, _ in self.writes)

    @property
    def takes_long(self) -> bool:
        """Whether encoding it would hold an event loop up."""
        return len(self._snapshot.objects if self.writes is None else self.writes) > _MANY

    def known_for(self, audience: Audience) -> bytes | None:
        """Return what was encoded already."""
        return self._encoded.get(audience)

    def encoded_for(self, audience: Audience) -> bytes:
        with self._lock:
            found = self._encoded.get(audience)
            if found is None:
                found = self._encoded[audience] = self._shared(audience)
            return found

    def _shared(self, audience: Audience) -> bytes:
        heard = audience if self._is_about(audience.service) else Audience(audience.proto, "")
        if (found := self._encoded.get(heard)) is None:
            found = self._encoded[heard] = self._encode(heard)
        return found

    def _is_about(self, service: str | None) -> bool:
        """Whether a service hears what others do not; a whole state names whom it is for."""
        if self.writes is None or service is None:
            return True
        if self._services is None:
            self._services = frozenset(parse_store_key(key)[1].owner for key, _ in self.writes)
        return service in self._services

    def _encode(self, audience: Audience) -> bytes:
        if self.writes is None:
            events = opening_events(self._snapshot, audience, self._now)
        else:
            events = change_events(self.writes, self._snapshot, audience, self._now)
        return encoded(events, audience, self.before, self.after)


class Fanout:
    """The followers on one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, position: Cursor) -> None:
        self._loop = loop
        #: Up to where they have been told.
        self.position = position
        self._turns: list[set[Follower]] = [set() for _ in range(_TURNS)]
        self._newest = self._turn = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return sum(map(len, self._turns))

    def add(self, follower: Follower) -> None:
        self._newest += 1
        self._turns[self._newest % _TURNS].add(follower)
        if self._timer is None:
            self._timer = self._loop.call_later(KEEPALIVE_INTERVAL / _TURNS, self._next_turn)

    def discard(self, follower: Follower) -> None:
        for turn in self._turns:
            turn.discard(follower)
        if self._timer is not None and not len(self):
            self._timer.cancel()
            self._timer = None

    def tell(self, batch: Batch) -> None:
        self.position = batch.after
        checks = batch.concerns_tokens
        for turn in self._turns:
            for one in tuple(turn):
                if checks:
                    one.check()
                if one.start < batch.number:
                    text = batch.known_for(one.audience)
                    if text is None:
                        text = batch.encoded_for(one.audience)
                    if text:
                        one.tell(text)

    def _next_turn(self) -> None:
        """Give the next group a sign of life, and let it find out whether to listen on."""
        self._timer = self._loop.call_later(KEEPALIVE_INTERVAL / _TURNS, self._next_turn)
        self._turn = (self._turn + 1) % _TURNS
        beats = {proto: heartbeat(proto, self.position) for proto in (PLAIN, FULL)}
        for one in tuple(self._turns[self._turn]):
            one.check()
            one.tell(beats[one.audience.proto])
