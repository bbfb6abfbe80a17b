"""State in Redis, shared by all instances of a deployment.

The published keys stay what they are: ``shield:state:{key}`` (a RouteState as JSON), ``shield:audit``
(newest first), ``shield:global`` and the channel ``shield:changes``. Maintenance stands among the
states under its reserved keys, as `api-shield` has it, and ``shield:global`` is a copy. Beside them
stand ``shield:head`` (epoch, revision, hash of the newest audit entry), ``shield:revisions`` (store
key to revision), ``shield:deleted`` and ``shield:stream``, which followers read from a revision on.

One Lua script makes a commit (``redis_commit``). The client stamps revisions and the hash chain
beforehand, so the script first checks that the head is still the one they were made for.

The client is redis-py's synchronous one: commits are rare, followers have a thread of their own,
requests never come here; and a django-redis connection, which is synchronous only, serves as it is.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

from pydantic import BaseModel, ValidationError

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError as error:
    raise ImportError("RedisBackend needs redis: pip install 'shield-django[redis]'") from error

from shield_core import forking
from shield_core.audit import AuditQuery
from shield_core.backends import redis_values as values
from shield_core.backends.base import WHOLE_ATTEMPTS, SyncNativeBackend, check_expectations, stamped
from shield_core.backends.redis_commit import CommitScript
from shield_core.exceptions import BackendError
from shield_core.keys import EVERYTHING, Scope
from shield_core.models import (
    INSTANCE_TTL,
    AuditEntry,
    GlobalMaintenanceConfig,
    Instance,
    RateLimitHit,
    StoredObject,
)
from shield_core.rate_limit.hits import KEPT, HitQuery
from shield_core.rate_limit.storage.base import RateLimitStorage
from shield_core.rate_limit.storage.redis import RedisRateLimitStorage
from shield_core.snapshot import Changes, Commit, Cursor, Snapshot, Write

logger = logging.getLogger("shield.redis")

#: Seconds for connecting, and for one command.
_SOCKET_TIMEOUT = 5.0
#: How many changes followers may be behind before they load the whole state again.
_STREAM_LENGTH = 10_000
_ATTEMPTS = 1000
_CHUNK = 500

Entry = TypeVar("Entry", bound=BaseModel)


class RedisBackend(SyncNativeBackend):
    """Stores everything under ``key_prefix`` (``"{shield}:"`` for a Redis Cluster).

    Give a ``url``, or a redis-py client, or a function that returns one (with Sentinel:
    ``lambda: sentinel.master_for("mymaster")``); give a client of your own a ``socket_timeout``.
    ``audit_limit`` None keeps all entries.
    """

    def __init__(
        self,
        url: str = "redis://localhost:6379/0",
        *,
        client: redis.Redis | Callable[[], redis.Redis] | None = None,
        key_prefix: str = "shield:",
        audit_limit: int | None = 1000,
    ) -> None:
        #: Where the server is; empty where a client was given.
        self.url = url if client is None else ""
        self._given = client
        self._prefix = key_prefix
        self._audit_limit = audit_limit
        self._connected: _Connection | None = None
        self._opening = threading.Lock()
        self._pubsub: Any = None
        if client is None:
            self._open()  # which says at once what is wrong with a URL, and connects to nothing
        forking.watch(self)

    def after_fork(self) -> None:
        self._opening = threading.Lock()
        self._connected = None
        self._pubsub = None

    def described(self) -> str:
        place = re.sub(r"^.*?//|.*@|\?.*", "", self.url)  # without passwords
        return f"redis {place}" if place else "redis"

    def eviction_policy(self, timeout: float) -> str:
        """Return what the server does when its memory is full, "" when it does not say (seconds)."""
        if not self.url:
            return ""
        try:
            client = redis.Redis.from_url(self.url, socket_timeout=timeout, socket_connect_timeout=timeout)
            with client:
                return str(client.config_get("maxmemory-policy").get("maxmemory-policy", ""))
        except redis.RedisError:
            return ""

    # -- reading ----------------------------------------------------------------------------

    def load_sync(self) -> Snapshot:
        with self._errors():
            for attempt in range(_ATTEMPTS):
                cursor, _ = values.parse_head(self._head())
                snapshot = Snapshot(*cursor, self._objects(), self._numbers("deleted"))
                after, _ = values.parse_head(self._head())
                # What is committed while the objects are read is here in part: a restored store may look
                # accepted and still empty. In a store that never rests the feed, which goes on from the head
                # before the objects, brings the rest; but what is emptied meanwhile is another store.
                if after == cursor or (attempt >= WHOLE_ATTEMPTS and after.epoch == cursor.epoch):
                    return snapshot
        raise BackendError(f"Redis was emptied {_ATTEMPTS} times in a row while it was read.")

    def watch_sync(self, since: Cursor, timeout: float = 0.0) -> Changes:
        with self._errors():
            if timeout and self._adopt():
                return Changes(values.parse_head(self._head())[0], reset=True)
            cursor, _ = values.parse_head(self._head())
            if cursor == since and timeout:
                self._wait(since, timeout)
                cursor, _ = values.parse_head(self._head())
            if cursor == since:
                return Changes(since)
            if cursor.epoch != since.epoch or cursor.revision < since.revision:
                return Changes(cursor, reset=True)
            return self._missed(since, cursor)

    def read_audit_sync(self, query: AuditQuery) -> list[AuditEntry]:
        with self._errors():
            return query.select(self._stored("audit", AuditEntry))

    def beat_sync(self, instance: Instance) -> None:
        with self._errors():
            key = self._key(f"instance:{instance.id}")
            self._redis.set(key, instance.model_dump_json(), ex=int(INSTANCE_TTL))

    def instances_sync(self) -> list[Instance]:
        with self._errors():
            names = list(self._redis.scan_iter(f"{_escaped(self._key('instance:'))}*", count=1000))
            noted = self._redis.mget(names) if names else []
            return [Instance.model_validate_json(text) for text in noted if text is not None]

    def write_hits_sync(self, hits: Sequence[RateLimitHit]) -> None:
        if not hits:
            return
        with self._errors(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.lpush(self._key("hits"), *(hit.model_dump_json() for hit in hits))
            pipeline.ltrim(self._key("hits"), 0, KEPT - 1)
            pipeline.execute()

    def read_hits_sync(self, query: HitQuery) -> list[RateLimitHit]:
        with self._errors():
            return query.select(self._stored("hits", RateLimitHit))

    def rate_limit_storage(self) -> RateLimitStorage:
        """Return counters in the same Redis, with connections and timeouts of their own."""
        return RedisRateLimitStorage(self.url, client=self._given, key_prefix=self._prefix)

    def close_sync(self) -> None:
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            pubsub.close()
        if self._given is None and self._connected is not None:
            self._connected.client.connection_pool.disconnect(inuse_connections=False)

    def _stored(self, name: str, kind: type[Entry]) -> Iterable[Entry]:
        """Yield the entries of a list from the newest on, as many as are asked for."""
        start = 0
        while chunk := self._redis.lrange(self._key(name), start, start + _CHUNK - 1):
            for text in chunk:
                try:
                    yield kind.model_validate_json(text)
                except ValidationError:
                    logger.warning("An entry of %s cannot be read and is passed over.", self._key(name))
            start += _CHUNK

    def _missed(self, since: Cursor, cursor: Cursor) -> Changes:
        entries = self._redis.xrange(
            self._key("stream"), f"{since.revision + 1}-0", f"{cursor.revision}-9", count=_STREAM_LENGTH
        )
        if len(entries) != cursor.revision - since.revision:
            return Changes(cursor, reset=True)
        writes: list[Write] = []
        for _, fields in entries:
            for key, data in json.loads(fields[b"changes" if b"changes" in fields else "changes"]):
                writes.append(Write(key, values.value(key, data) if data is not None else None))
        return Changes(cursor, tuple(writes))

    def _wait(self, since: Cursor, timeout: float) -> None:
        patience = self._redis.connection_pool.connection_kwargs.get("socket_timeout") or _SOCKET_TIMEOUT
        seconds = min(timeout, self.refresh_interval, patience / 2)
        block = max(1, int(seconds * 1000))
        self._redis.xread({self._key("stream"): f"{since.revision}-9"}, count=1, block=block)

    def _objects(self) -> dict[str, StoredObject]:
        """Read all objects, with the revisions that Shield gave them; others wrote none."""
        revisions = self._numbers("revisions")
        prefix = self._key("state:")
        names = (values.text(name) for name in self._redis.scan_iter(f"{_escaped(prefix)}*", count=1000))
        keys = sorted({name.removeprefix(prefix) for name in names})
        objects: dict[str, StoredObject] = {}
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            texts = self._redis.mget([f"{prefix}{key}" for key in chunk])
            for key, text in zip(chunk, texts, strict=True):
                if text is not None and (value := values.read(key, text)) is not None:
                    objects[key] = value.model_copy(update={"revision": revisions.get(key, 0)})
        if EVERYTHING.store_key not in objects and (text := self._redis.get(self._key("global"))):
            objects[EVERYTHING.store_key] = GlobalMaintenanceConfig.model_validate_json(text)
        return self._foreign_policies() | objects

    def _foreign_policies(self) -> dict[str, StoredObject]:
        """Read the limits of routes that `api-shield` has left, as far as none of ours was ever there."""
        names = [values.text(name) for name in self._redis.smembers(self._key("rl-policy-index"))]
        if not names:
            return {}
        deleted = self._numbers("deleted")
        texts = self._redis.mget([self._key(f"rlpolicy:{name}") for name in names])
        found = [values.policy(name, text) for name, text in zip(names, texts, strict=True) if text]
        keys = {Scope("route", str(policy.key)).limit_key: policy for policy in found if policy is not None}
        return {key: policy for key, policy in keys.items() if key not in deleted}

    def _numbers(self, name: str) -> dict[str, int]:
        return {values.text(key): int(number) for key, number in self._redis.hgetall(self._key(name)).items()}

    def _head(self) -> str:
        return values.text(self._redis.get(self._key("head")) or b"")

    # -- what others write --------------------------------------------------------------------

    def _adopt(self) -> bool:
        """Take what processes of `api-shield` have written, who count no revisions, into the store.

        Return whether messages may have been missed: on a new subscription.
        """
        if self._pubsub is None:
            self._pubsub = self._redis.pubsub()
            self._pubsub.subscribe(self._key("changes"))
        missed = False
        while message := self._pubsub.get_message(timeout=0):
            missed |= message["type"] == "subscribe"
            if (
                message["type"] == "message"
                and (key := values.written_by_others(message["data"])) is not None
            ):
                self._take_over(key)
        return missed

    def _take_over(self, key: str) -> None:
        """Commit what somebody else has stored under ``key``, unless another process has done so already."""
        for _ in range(_ATTEMPTS):
            head = self._head()
            name = self._key(f"state:{key}")
            text = self._redis.get(name)
            if text is None or values.is_ours(text) or (value := values.read(key, text)) is None:
                return
            content = text.encode() if isinstance(text, str) else text
            if self._try(head, Commit((Write(key, value),)), watched=(name, content)) is not None:
                return

    # -- writing ----------------------------------------------------------------------------

    def commit_sync(self, commit: Commit) -> Changes:
        with self._errors():
            for _ in range(_ATTEMPTS):
                head = self._head()
                check_expectations(commit, self._revisions(commit.expect).__getitem__)
                if (changes := self._try(head, commit)) is not None:
                    return changes
        raise BackendError(
            f"Redis was changed by others {_ATTEMPTS} times in a row; the change was given up."
        )

    def _try(self, head: str, commit: Commit, watched: tuple[str, bytes] | None = None) -> Changes | None:
        """Run the commit script; return None when somebody else was first."""
        cursor, audit_head = values.parse_head(head)
        if not cursor.epoch:
            # Objects that have outlived the head keep their revisions: what follows must be newer.
            numbers = [*self._numbers("revisions").values(), *self._numbers("deleted").values()]
            cursor = Cursor(uuid4().hex[:12], max(numbers, default=0))
        changes = stamped(commit, cursor._replace(revision=cursor.revision + 1), audit_head)
        new_head = f"{changes.cursor}:{changes.audit[-1].hash if changes.audit else audit_head}"
        try:
            done = self._connection.script.run(head, new_head, changes, watched)
        except (redis.ConnectionError, redis.TimeoutError):
            if not self._is_done(new_head, changes):
                raise
            done = True
        return changes if done or self._is_done(new_head, changes) else None

    def _is_done(self, new_head: str, changes: Changes) -> bool:
        """Whether a commit whose answer was lost is in the store: its entry's hash is like no other."""
        return bool(changes.audit) and self._head() == new_head

    def _revisions(self, keys: Iterable[str]) -> dict[str, int]:
        wanted = list(keys)
        if not wanted:
            return {}
        found = self._redis.hmget(self._key("revisions"), wanted)
        return {key: int(at or 0) for key, at in zip(wanted, found, strict=True)}

    # -- connection -------------------------------------------------------------------------

    @property
    def _connection(self) -> _Connection:
        return self._connected or self._open()

    @property
    def _redis(self) -> Any:
        return self._connection.client

    def _open(self) -> _Connection:
        """Make the client; a forked child gets one of its own."""
        with self._opening:
            if self._connected is None:
                client = self._make_client()
                script = CommitScript(
                    client, self._key, audit_limit=self._audit_limit, stream_length=_STREAM_LENGTH
                )
                self._connected = _Connection(client, script)
            return self._connected

    def _make_client(self) -> Any:
        if self._given is not None:
            return self._given if isinstance(self._given, redis.Redis) else self._given()
        # A connection that a restarted server has left behind is opened anew; a server that hangs is
        # not asked twice.
        retry = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
        return redis.Redis.from_url(
            self.url, socket_timeout=_SOCKET_TIMEOUT, socket_connect_timeout=_SOCKET_TIMEOUT, retry=retry
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except redis.ReadOnlyError as error:
            # After a failover the address may lead to another server.
            self._redis.connection_pool.disconnect(inuse_connections=False)
            raise BackendError("This Redis is a read-only replica; nothing was written.") from error
        except redis.RedisError as error:
            raise BackendError(f"Redis does not answer as it should: {error}") from error

    def _key(self, name: str) -> str:
        return f"{self._prefix}{name}"


class _Connection(NamedTuple):
    client: Any
    script: CommitScript


def _escaped(pattern: str) -> str:
    return "".join(f"\\{char}" if char in "*?[]\\" else char for char in pattern)
