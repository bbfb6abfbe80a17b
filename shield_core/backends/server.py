"""The Shield Server as a store: what a service follows, and changes, over HTTP.

One thread follows: it reads the whole state once, and from that position on the event stream. Where
streams do not get through, as behind a proxy that buffers, it asks every few seconds whether anything
has changed, and tries a stream again later. Nobody else waits for the server but who changes something.
"""

from __future__ import annotations

import math
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import Any

from shield_core import forking
from shield_core.audit import AuditQuery
from shield_core.backends.base import SyncNativeBackend
from shield_core.exceptions import (
    BackendError,
    InvalidInputError,
    ServerError,
    ShieldException,
)
from shield_core.keys import check_service, is_route_key
from shield_core.models import AuditEntry, Instance, RateLimitHit, RouteState
from shield_core.remote.connection import Connection, whatever_is_refused
from shield_core.remote.credentials import credentials
from shield_core.remote.fallback import Fallback, Unheard
from shield_core.remote.kept import KeptSnapshot, default_path
from shield_core.remote.paging import read_pages
from shield_core.remote.reading import Reader
from shield_core.remote.stream import SILENCE, Stream
from shield_core.snapshot import Changes, Commit, Cursor, Snapshot, Write

#: Seconds that a server may take to begin a stream, and a stream that has begun to its first event.
_FIRST_ANSWER = 10.0
_FIRST_EVENT = 10.0
#: Seconds between two looks at a stream that is beginning.
_MOMENT = 0.2
#: Seconds over which a server may spread the acknowledgements of all its services.
_LONGEST_TURN = 60.0
#: Seconds that a node may be behind what is known here, before it is believed that the store went back.
_BEHIND = 30.0
#: Seconds that a process which ends waits for the server to hear of it.
_FAREWELL = 1.0


class ShieldServerBackend(SyncNativeBackend):
    """``server_url`` may name several nodes, with commas between them; ``app_id`` is this service.

    ``token`` (or a function that returns it), ``token_file``, or ``username`` and ``password`` let it in.
    After failures it is asked again ``reconnect_delay`` seconds later on average. ``snapshot_path`` is where
    the last known state is kept for a start without the server: a path, "" for nowhere, None for the
    user's cache folder. ``verify`` is httpx2's, for a certificate authority of one's own.
    """

    shared_across_processes = True
    durable = True
    reconciles = False
    writes_apart = True
    verbatim = False
    hits_interval = 5.0

    def __init__(
        self,
        server_url: str,
        app_id: str | None = None,
        *,
        token: str | Callable[[], str] | None = None,
        token_file: str | Path | None = None,
        username: str | None = None,
        password: str | None = None,
        reconnect_delay: float = 5.0,
        snapshot_path: str | Path | None = None,
        verify: Any = True,
        silence: float = SILENCE,
    ) -> None:
        if not 0 < reconnect_delay < math.inf:
            raise InvalidInputError(f"reconnect_delay is {reconnect_delay!r}: it is seconds, more than 0.")
        self.app_id = check_service(app_id) if app_id else None
        self.reconnect_delay = reconnect_delay
        self.connection = Connection(
            server_url,
            credentials(token, token_file, username, password),
            app_id=self.app_id,
            agent=f"shield-sdk/{_version()}",
            verify=verify,
        )
        if snapshot_path is None:
            path = default_path(",".join(self.connection.nodes), self.app_id)
        else:
            path = Path(snapshot_path) if str(snapshot_path) not in ("", os.devnull) else None
        self._kept = KeptSnapshot(path, self.app_id)
        self._silence = silence
        self._reader = Reader(self.app_id)
        #: The newest state that the follower has seen, and what it will be given when it loads.
        self._known = Snapshot()
        self._next_load: Snapshot | None = None
        #: The thread that follows.
        self._follower = 0
        #: The last whole state that was asked for, and its ETag.
        self._whole: tuple[str, Snapshot] | None = None
        self._lock = threading.Lock()
        self._stream: Stream | None = None
        self._fallback = Fallback(reconnect_delay)
        self._next_poll = 0.0
        self._behind_since: float | None = None
        self._woken = threading.Event()
        #: The revision that the server knows this process to have applied.
        self.acknowledged: int | None = None
        forking.watch(self)

    def described(self) -> str:
        return self.connection.address

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._stream = None  # it is the parent's
        self.acknowledged = None

    def __repr__(self) -> str:
        return f"ShieldServerBackend({','.join(self.connection.nodes)!r}, {self.app_id!r})"

    @property
    def streams(self) -> bool:
        """Whether changes come by the event stream, and not by asking every few seconds."""
        return self._stream is not None and self._stream.heard > 0

    # -- the whole state --------------------------------------------------------------------

    def load_sync(self) -> Snapshot:
        if self._known.epoch and threading.get_ident() != self._follower:
            return self._ask()
        snapshot, self._next_load = self._next_load, None
        try:
            self._known = snapshot or self._forward(self._ask())
        except BackendError:
            self.connection.next_node()
            raise
        return self._known

    def last_known(self) -> tuple[Snapshot, datetime] | None:
        return self._kept.read()

    def _ask(self) -> Snapshot:
        """Ask for the whole state; one that has not changed since the last time is not sent again."""
        with self._lock:
            whole = self._whole
        params = {"app_id": self.app_id} if self.app_id else None
        headers = {"If-None-Match": whole[0]} if whole else None
        with whatever_is_refused(self.connection):
            reply = self.connection.request("GET", "/sdk/snapshot", params=params, headers=headers)
        if reply.status == 304 and whole:
            return whole[1]
        with forking.held_off():
            snapshot = self._reader.snapshot(reply.data, self._known)
        self.durable = bool(reply.data.get("durable", True))
        with self._lock:
            self._whole = (reply.etag, snapshot) if reply.etag else None
        return snapshot

    def _forward(self, snapshot: Snapshot) -> Snapshot:
        """Refuse a node that is behind, for a while: then the store itself has gone back."""
        known = self._known
        if snapshot.epoch != known.epoch or snapshot.revision >= known.revision:
            self._behind_since = None
            return snapshot
        now = time.monotonic()
        self._behind_since = self._behind_since or now
        if now - self._behind_since > _BEHIND:
            self._behind_since = None
            return snapshot
        raise ServerError(
            f"{self.connection.address} is at revision {snapshot.revision}, behind {known.revision} that is "
            "known here."
        )

    # -- following --------------------------------------------------------------------------

    def watch_sync(self, since: Cursor, timeout: float = 0.0) -> Changes:
        """Return what changed; with a ``timeout`` it is the follower that asks, and there is one of it."""
        if not timeout:
            return _since(since, self._ask().cursor)
        self._follower = threading.get_ident()
        if self._fallback.holds:
            return self._poll(since, timeout)
        if self._stream is None:
            self._stream = self._begin(since)
        try:
            return self._listen(self._stream, since, timeout)
        except BackendError as error:
            self._let_go(self._stream)
            self.connection.next_node()
            if self._fallback.begins(error):
                self._next_poll = 0.0
                if isinstance(error, Unheard):
                    return self._poll(since, timeout)
            raise  # two questions at once, again and again, would be a storm

    def wake(self) -> None:
        self._woken.set()
        if (stream := self._stream) is not None:
            stream.nudge()

    def close_sync(self) -> None:
        if self._stream is not None:
            self._let_go(self._stream)
        self._keep(now=True)
        self.disconnect()

    def disconnect(self) -> None:
        self.connection.close()

    def _begin(self, since: Cursor) -> Stream:
        """Open a stream from ``since`` on, or a little before it: what comes twice has no effect."""
        known = self._known
        if known.epoch != since.epoch or known.revision > since.revision:
            known = Snapshot(objects=known.objects)  # without a position: the whole state comes
        return Stream(self.connection, self._reader, known, self.app_id, self._silence)

    def _listen(self, stream: Stream, since: Cursor, timeout: float) -> Changes:
        """Return what the stream has told; wait for it, and for its beginning as long as that takes."""
        self._woken.clear()
        deadline = time.monotonic() + timeout
        while (commits := stream.commits()) is None:
            if stream.error is not None:
                raise stream.error
            now = time.monotonic()
            if self._woken.is_set() or (stream.heard and now >= deadline):
                return Changes(since)
            if not stream.heard:
                self._check_beginning(stream, now)
            self._keep()
            stream.wait(max(deadline - now, _MOMENT), self._woken.is_set)
        return self._told(stream, since, commits)

    def _check_beginning(self, stream: Stream, now: float) -> None:
        """Raise BackendError when a stream does not begin as streams do."""
        if stream.answered_at is None:
            if now - stream.begun_at > _FIRST_ANSWER:
                raise Unheard(f"{self.connection.address} does not begin a stream in time.")
        elif now - stream.answered_at > _FIRST_EVENT:
            raise Unheard(f"{self.connection.address} begins a stream, and nothing of it comes.")

    def _told(self, stream: Stream, since: Cursor, commits: Changes) -> Changes:
        self.durable = stream.durable
        self._known = self._forward(stream.snapshot)
        if commits.reset or commits.cursor.epoch != since.epoch:
            self._next_load = self._known
            return Changes(commits.cursor, reset=True)
        return commits

    def _let_go(self, stream: Stream) -> None:
        self._stream = None
        if stream.heard > 1:  # also something after its beginning: so streams do get through
            self._fallback.ends()
        stream.close()

    def _poll(self, since: Cursor, timeout: float) -> Changes:
        """Ask whether anything has changed, when it is time to."""
        self._keep()
        self._woken.clear()
        wait = self._next_poll - time.monotonic()
        if wait > 0:
            self._woken.wait(min(wait, timeout))
            if time.monotonic() < self._next_poll:
                return Changes(since)
        self._next_poll = time.monotonic() + self.reconnect_delay * random.uniform(1.1, 1.4)
        try:
            self._known = self._forward(self._ask())
        except BackendError:
            self.connection.next_node()
            self._fallback.is_no_help()
            raise
        changes = _since(since, self._known.cursor)
        if changes.reset:
            self._next_load = self._known
        return changes

    def _keep(self, *, now: bool = False) -> None:
        if self._known.epoch:
            self._kept.keep(self._known, now=now)

    # -- changing ---------------------------------------------------------------------------

    def commit_sync(self, commit: Commit) -> Changes:
        """Let the server commit; it tells by itself who did it, and refuses what this service may not."""
        if _is_registration(commit):
            with forking.held_off():
                told = list(_by_service(commit))
            for service, states in told:
                body = {"app_id": self.app_id or service, "states": states}
                self.connection.request("POST", "/sdk/register", body=body)
            # What became of it comes with the feed: this position is one that nobody moves on to.
            return Changes(Cursor(self._known.epoch, 0))
        with forking.held_off():
            body = _commit_body(self.app_id, commit)
        reply = self.connection.request("POST", "/sdk/commit", body=body)
        with forking.held_off(), self._understood():
            writes = [self._reader.stored(one) for one in reply.data["writes"]]
            position = Cursor(str(reply.data["epoch"]), int(reply.data["revision"]))
        return Changes(position, tuple(write for write in writes if write is not None))

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Raise ServerError for an answer that is JSON, and yet not what a Shield Server says."""
        try:
            yield
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            address = self.connection.address
            raise ServerError(f"{address} answers what cannot be read: is it a Shield Server?") from error

    def beat_sync(self, instance: Instance) -> None:
        service = self.app_id or instance.service
        if service is None:
            return
        reports = self._reader.reports()
        has_ended = not instance.alive_at(datetime.now(UTC))
        body = {
            "app_id": service,
            "instance": instance.id,
            "errors": reports,
            "ended": has_ended,
            **instance.model_dump(mode="json", include={"host", "pid", "release", "epoch", "revision"}),
        }
        try:
            patience = _FAREWELL if has_ended else None
            told = self.connection.request("POST", "/sdk/ack", body=body, timeout=patience).data
        except ShieldException:
            self._reader.keep_reports(reports)
            raise
        self.acknowledged = instance.revision
        within = told.get("within", 0.0) if isinstance(told, dict) else 0.0
        self.beats_within = min(max(float(within), 0.0), _LONGEST_TURN) if _is_number(within) else 0.0

    def write_hits_sync(self, hits: Sequence[RateLimitHit]) -> None:
        """Keep hits here, and tell the server of them, where all processes' hits come together."""
        super().write_hits_sync(hits)
        if self.app_id is not None:
            told = [hit.model_dump(mode="json") for hit in hits]
            self.connection.request("POST", "/sdk/hits", body={"app_id": self.app_id, "hits": told})

    # -- what operators' credentials let one ask ------------------------------------------------

    def instances_sync(self) -> list[Instance]:
        found = self.connection.request("GET", "/services", params={"detail": "1"}).data
        with self._understood():
            return [Instance.model_validate(one) for service in found for one in service["instances"]]

    def read_audit_sync(self, query: AuditQuery) -> list[AuditEntry]:
        names = {"route": query.path, "service": query.service, "actor": query.actor, "action": query.action}
        names |= {"platform": query.platform, "search": query.search, "id": query.id}
        params = {name: value for name, value in names.items() if value}
        if query.since is not None:
            params["since"] = query.since.isoformat()
        return read_pages(lambda page: self._read_audit({**params, **page}), query.limit, query.cursor)

    def _read_audit(self, params: dict[str, str]) -> list[AuditEntry]:
        found = self.connection.request("GET", "/audit", params=params).data
        with self._understood():
            return [AuditEntry.model_validate(one) for one in found]


def _since(since: Cursor, now: Cursor) -> Changes:
    """Return that nothing has changed, or that the whole state is to be loaded."""
    is_known = now.epoch == since.epoch and now.revision <= since.revision
    return Changes(since) if is_known else Changes(now, reset=True)


def _is_registration(commit: Commit) -> bool:
    """Whether a commit tells what the code declares: it is about routes, and no operator has done it."""
    return not commit.audit and all(is_route_key(key) for key, _ in commit.writes)


def _by_service(commit: Commit) -> Iterator[tuple[str | None, list[dict[str, Any]]]]:
    """Yield what the code of each service says."""
    states = sorted(
        (write.value for write in commit.writes if isinstance(write.value, RouteState)),
        key=lambda state: state.service or "",
    )
    for service, own in groupby(states, lambda state: state.service):
        yield service, [_as_code(state) for state in own]


def _as_code(state: RouteState) -> dict[str, Any]:
    """Return what the code says of a route, whatever an operator does."""
    told = {"force_active": state.force_active, "rate_limit": state.rate_limit, "release": state.release}
    return RouteState.model_validate({"path": state.path, **dict(state.code), **told}).model_dump(mode="json")


def _commit_body(app_id: str | None, commit: Commit) -> dict[str, Any]:
    return {
        **({"app_id": app_id} if app_id else {}),
        "writes": [_write_body(write, commit.expect.get(write.key)) for write in commit.writes],
        "audit": [_entry_body(entry) for entry in commit.audit],
    }


def _write_body(write: Write, expected: int | None) -> dict[str, Any]:
    value = write.value.model_dump(mode="json") if write.value is not None else None
    return {"key": write.key, "value": value, "expect": expected}


def _entry_body(entry: AuditEntry) -> dict[str, Any]:
    told = ("path", "action", "reason", "note", "previous_status", "new_status", "details")
    return {name: getattr(entry, name) for name in told}


def _is_number(found: Any) -> bool:
    return isinstance(found, int | float) and math.isfinite(found)


def _version() -> str:
    try:
        return metadata.version("shield-django")
    except metadata.PackageNotFoundError:
        return "0"
