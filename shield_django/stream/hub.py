"""Tells all followers of an engine what changes, with each batch encoded once for those who hear the same.

Changes arrive on any thread. The hub keeps to the order of revisions: a commit of this process may be
known before an earlier one of another process, and is told only after it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from shield_core import forking
from shield_core.engine import ShieldEngine
from shield_core.events import (
    FULL,
    PLAIN,
    Audience,
    Event,
    change_events,
    frame,
    opening_events,
)
from shield_core.keys import Facet, parse_store_key
from shield_core.snapshot import Changes, Cursor, Snapshot, Write

#: Called on the follower's own loop with the bytes of a batch.
Tell = Callable[[bytes], None]


class Subscription:
    """One follower, on the loop on which it subscribed."""

    __slots__ = ("audience", "loop", "principal", "reset", "start", "tell")

    def __init__(
        self, audience: Audience, tell: Tell, reset: Callable[[], None], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.audience = audience
        self.tell = tell
        #: Called when the history is broken: the follower must begin anew.
        self.reset = reset
        self.loop = loop
        #: The position up to which it knows everything already.
        self.start = Cursor("", 0)


class Hub:
    """Follows ``engine`` from the first subscription on."""

    def __init__(self, engine: ShieldEngine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._position = Cursor("", 0)
        self._follows = False
        self._subscriptions: dict[asyncio.AbstractEventLoop, set[Subscription]] = {}
        self._openings: dict[Audience, tuple[Cursor, bytes]] = {}
        forking.watch(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._subscriptions = {}

    def __len__(self) -> int:
        return sum(map(len, self._subscriptions.values()))

    # -- followers --------------------------------------------------------------------------

    def subscribe(
        self, audience: Audience, since: Cursor | None, tell: Tell, reset: Callable[[], None]
    ) -> tuple[Subscription, bytes]:
        """Register a follower of the running loop; return it and what it must be told first.

        It is registered before the position is read, so that nothing falls in between. ``since`` is
        what it knows already; a position of another history gets the whole state.
        """
        self._begin()
        loop = asyncio.get_running_loop()
        one = Subscription(audience, tell, reset, loop)
        with self._lock:
            alone = not self._subscriptions
            self._subscriptions.setdefault(loop, set()).add(one)
            snapshot = self._engine.replica.snapshot or Snapshot()
            one.start = position = snapshot.cursor
            if alone:
                self._position = position
        if since is not None and since.epoch == position.epoch and since.revision <= position.revision:
            return one, self._missed(audience, snapshot, since, position)
        return one, self._opening(audience, snapshot, position)

    def unsubscribe(self, one: Subscription) -> None:
        with self._lock:
            found = self._subscriptions.get(one.loop)
            if found is not None:
                found.discard(one)
                if not found:
                    del self._subscriptions[one.loop]

    def _begin(self) -> None:
        with self._lock:
            if self._follows:
                return
            self._follows = True
        self._engine.subscribe(self._follow)

    def _opening(self, audience: Audience, snapshot: Snapshot, position: Cursor) -> bytes:
        known = self._openings.get(audience)
        if known is not None and known[0] == position:
            return known[1]
        events = opening_events(snapshot, audience, datetime.now(UTC))
        text = encoded(events, audience, position, position)
        if len(self._openings) > _OPENINGS:
            self._openings.clear()
        self._openings[audience] = (position, text)
        return text

    def _missed(self, audience: Audience, snapshot: Snapshot, since: Cursor, position: Cursor) -> bytes:
        writes = snapshot.since(since).writes if since.revision < position.revision else ()
        return encoded(change_events(writes, audience, datetime.now(UTC)), audience, since, position)

    # -- changes ----------------------------------------------------------------------------

    def _follow(self, snapshot: Snapshot, changes: Changes) -> None:
        with self._lock:
            before, after = self._position, snapshot.cursor
            if after.epoch != before.epoch:
                self._position = after
                followers = self._followers()
                batch = None
            elif after.revision <= before.revision:
                return
            else:
                exactly = (
                    changes.cursor.epoch == after.epoch and changes.cursor.revision == before.revision + 1
                )
                if exactly and not changes.reset:
                    after, writes = changes.cursor, changes.writes
                else:
                    writes = snapshot.since(before).writes
                self._position = after
                followers = self._followers()
                batch = Batch(writes, before, after)
            # Within the lock, so that batches reach the loops in their order.
            for loop, subscriptions in followers:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(_tell_all, subscriptions, batch)

    def _followers(self) -> list[tuple[asyncio.AbstractEventLoop, tuple[Subscription, ...]]]:
        return [(loop, tuple(found)) for loop, found in self._subscriptions.items()]


class Batch:
    """The changes from one position to another, encoded when somebody first hears them."""

    __slots__ = ("_encoded", "_lock", "_now", "after", "before", "concerns_tokens", "writes")

    def __init__(self, writes: Iterable[Write], before: Cursor, after: Cursor) -> None:
        self.writes = tuple(writes)
        #: Whether a token was revoked, perhaps that of a follower.
        self.concerns_tokens = any(parse_store_key(key)[0] is Facet.TOKEN for key, _ in self.writes)
        self.before = before
        self.after = after
        self._now = datetime.now(UTC)
        self._encoded: dict[Audience, bytes] = {}
        self._lock = threading.Lock()

    def encoded_for(self, audience: Audience) -> bytes:
        with self._lock:
            found = self._encoded.get(audience)
            if found is None:
                events = change_events(self.writes, audience, self._now)
                found = self._encoded[audience] = encoded(events, audience, self.before, self.after)
            return found


def encoded(events: Iterable[Event], audience: Audience, before: Cursor, after: Cursor) -> bytes:
    """Return the frames that lead from one position to another; none where there is nothing to tell."""
    contents = [event.content for event in events]
    if audience.proto == FULL:
        contents.append({"type": "sync", "revision": after.revision, "epoch": after.epoch})
    last = len(contents) - 1
    return b"".join(
        frame(content, after if index == last else before) for index, content in enumerate(contents)
    )


def _tell_all(subscriptions: Iterable[Subscription], batch: Batch | None) -> None:
    for one in subscriptions:
        if batch is None:
            one.reset()
        elif one.start.epoch != batch.after.epoch or one.start.revision < batch.after.revision:
            text = batch.encoded_for(one.audience)
            if text or batch.concerns_tokens:
                one.tell(text)


_OPENINGS = 100

__all__ = ["FULL", "PLAIN", "Batch", "Hub", "Subscription"]
