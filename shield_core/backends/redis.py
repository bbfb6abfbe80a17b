"""State in Redis, shared by all instances of a deployment.

The published keys stay what they are: ``shield:state:{key}`` (a RouteState as JSON),
``shield:global``, ``shield:audit`` (newest first) and the channel ``shield:changes``. Beside them
stand ``shield:head`` (epoch, revision, hash of the newest audit entry), ``shield:revisions`` (store
key to revision), ``shield:deleted`` and ``shield:stream``, which followers read from a revision on.

One Lua script makes a commit. The client stamps revisions and the hash chain beforehand, so the
script first checks that the head is still the one they were made for.

The client is redis-py's synchronous one: commits are rare, followers have a thread of their own,
requests never come here; and a django-redis connection, which is synchronous only, serves as it is.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Callable, Iterable
from typing import Any
from uuid import uuid4

import redis
from pydantic import ValidationError

from shield_core.audit import AuditQuery
from shield_core.backends.base import SyncNativeBackend, check_expectations, decoded, encoded, stamped
from shield_core.exceptions import BackendError, ConflictError
from shield_core.keys import EVERYTHING, is_route_key
from shield_core.models import (
    INSTANCE_TTL,
    AuditEntry,
    GlobalMaintenanceConfig,
    Instance,
    RouteState,
    StoredObject,
)
from shield_core.snapshot import Changes, Commit, Cursor, Snapshot, Write

logger = logging.getLogger("shield.redis")

#: Seconds for one command; a watch waits longer, by its own time-out.
_SOCKET_TIMEOUT = 5.0
#: How many changes followers may be behind before they load the whole state again.
_STREAM_LENGTH = 10_000
_ATTEMPTS = 1000
_CHUNK = 500

# KEYS: head, revisions, deleted, stream, audit, then one object key per write.
# ARGV: expected head, new head, revision, event, channel, audit limit, stream length,
#       number of writes, then per write: store key, JSON ("" deletes), message ("" is not published);
#       number of audit entries, then their JSON.
_COMMIT = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
local revision, at = ARGV[3], 9
for i = 1, tonumber(ARGV[8]) do
  local key, value, message = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if value == '' then
    redis.call('DEL', KEYS[5 + i])
    redis.call('HDEL', KEYS[2], key)
    redis.call('HSET', KEYS[3], key, revision)
  else
    redis.call('SET', KEYS[5 + i], value)
    redis.call('HSET', KEYS[2], key, revision)
    redis.call('HDEL', KEYS[3], key)
  end
  if message ~= '' then redis.call('PUBLISH', ARGV[5], message) end
  at = at + 3
end
for i = 1, tonumber(ARGV[at]) do redis.call('LPUSH', KEYS[5], ARGV[at + i]) end
if ARGV[6] ~= '' then redis.call('LTRIM', KEYS[5], 0, ARGV[6] - 1) end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[7], revision .. '-1', 'changes', ARGV[4])
return 1
"""


class RedisBackend(SyncNativeBackend):
    """Stores everything under ``key_prefix`` (``"{shield}:"`` for a Redis Cluster).

    Give a ``url``, or a redis-py client, or a function that returns one (with Sentinel:
    ``lambda: sentinel.master_for("mymaster")``). ``audit_limit`` None keeps all entries.
    """

    def __init__(
        self,
        url: str = "redis://localhost:6379/0",
        *,
        client: redis.Redis | Callable[[], redis.Redis] | None = None,
        key_prefix: str = "shield:",
        audit_limit: int | None = 1000,
    ) -> None:
        self._url = url
        self._given = client
        self._prefix = key_prefix
        self._audit_limit = audit_limit
        self._client: redis.Redis | None = None
        self._pubsub: Any = None
        self._pid = 0

    # -- reading ----------------------------------------------------------------------------

    def load_sync(self) -> Snapshot:
        # What is committed while the objects are read is here in part; the feed, which goes on from
        # the head before them, brings the rest.
        cursor, _ = _parse_head(self._head())
        objects = self._objects()
        deleted = {_text(key): int(at) for key, at in self._redis.hgetall(self._key("deleted")).items()}
        return Snapshot(cursor.epoch, cursor.revision, objects, deleted)

    def watch_sync(self, since: Cursor, timeout: float = 0.0) -> Changes:
        cursor, _ = _parse_head(self._head())
        if cursor == since and timeout:
            self._wait(since, timeout)
            cursor, _ = _parse_head(self._head())
        if cursor == since:
            return Changes(since)
        if cursor.epoch != since.epoch or cursor.revision < since.revision:
            return Changes(cursor, reset=True)
        return self._missed(since, cursor)

    def read_audit_sync(self, query: AuditQuery) -> list[AuditEntry]:
        return query.select(self._audit())

    def beat_sync(self, instance: Instance) -> None:
        self._redis.set(
            self._key(f"instance:{instance.id}"), instance.model_dump_json(), ex=int(INSTANCE_TTL)
        )

    def instances_sync(self) -> list[Instance]:
        names = list(self._redis.scan_iter(f"{_escaped(self._key('instance:'))}*", count=1000))
        noted = self._redis.mget(names) if names else []
        return [Instance.model_validate_json(text) for text in noted if text is not None]

    def _audit(self) -> Iterable[AuditEntry]:
        """Yield entries from the newest on, as many as are asked for."""
        start = 0
        while chunk := self._redis.lrange(self._key("audit"), start, start + _CHUNK - 1):
            for text in chunk:
                try:
                    yield AuditEntry.model_validate_json(text)
                except ValidationError:
                    logger.warning("An entry of %s cannot be read and is passed over.", self._key("audit"))
            start += _CHUNK

    def _missed(self, since: Cursor, cursor: Cursor) -> Changes:
        entries = self._redis.xrange(
            self._key("stream"), f"{since.revision + 1}-0", f"{cursor.revision}-9", count=_STREAM_LENGTH
        )
        if len(entries) != cursor.revision - since.revision:
            return Changes(cursor, reset=True)
        writes: list[Write] = []
        for _, fields in entries:
            for key, value in json.loads(fields[b"changes" if b"changes" in fields else "changes"]):
                writes.append(Write(key, _decode(key, value) if value is not None else None))
        return Changes(cursor, tuple(writes))

    def _wait(self, since: Cursor, timeout: float) -> None:
        seconds = min(timeout, self.refresh_interval, _SOCKET_TIMEOUT / 2)
        block = max(1, int(seconds * 1000))
        self._redis.xread({self._key("stream"): f"{since.revision}-9"}, count=1, block=block)
        self._adopt()

    def _adopt(self) -> None:
        """Take what processes of `api-shield` have published, who write no revision, into the store."""
        if self._pubsub is None:
            self._pubsub = self._redis.pubsub(ignore_subscribe_messages=True)
            self._pubsub.subscribe(self._key("changes"))
        while (message := self._pubsub.get_message(timeout=0)) is not None:
            try:
                data = json.loads(message["data"])
                if "origin" in data:
                    continue  # ours
                state = RouteState.model_validate(data)
                key = state.path
                value = state if is_route_key(key) else decoded(state)
            except (ValueError, TypeError, ValidationError) as error:
                logger.error("A message on %s cannot be read: %s", self._key("changes"), error)
                continue
            with contextlib.suppress(ConflictError):  # another process of ours was first
                self.commit_sync(Commit((Write(key, value),), (), self._revisions([key])))

    def _objects(self) -> dict[str, StoredObject]:
        """Read all objects, with the revisions that Shield gave them; others wrote none."""
        revisions = {_text(key): int(at) for key, at in self._redis.hgetall(self._key("revisions")).items()}
        prefix = self._key("state:")
        found = (_text(name) for name in self._redis.scan_iter(f"{_escaped(prefix)}*", count=1000))
        keys = sorted({name.removeprefix(prefix) for name in found} | {EVERYTHING.store_key})
        objects: dict[str, StoredObject] = {}
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            for key, text in zip(
                chunk, self._redis.mget([self._object_key(key) for key in chunk]), strict=True
            ):
                if text is not None:
                    try:
                        value = _decode(key, json.loads(text))
                    except (ValueError, ValidationError) as error:
                        logger.error("%s cannot be read and is passed over: %s", self._object_key(key), error)
                        continue
                    objects[key] = value.model_copy(update={"revision": revisions.get(key, 0)})
        return objects

    def _head(self) -> str:
        return _text(self._redis.get(self._key("head")) or b"")

    # -- writing ----------------------------------------------------------------------------

    def commit_sync(self, commit: Commit) -> Changes:
        for _ in range(_ATTEMPTS):
            head = self._head()
            cursor, audit_head = _parse_head(head)
            revisions = self._revisions(commit.expect)
            check_expectations(commit, revisions.__getitem__)
            next_cursor = Cursor(cursor.epoch or uuid4().hex[:12], cursor.revision + 1)
            changes = stamped(commit, next_cursor, audit_head)
            if self._try(head, changes, audit_head):
                return changes
        raise BackendError(
            f"Redis was changed by others {_ATTEMPTS} times in a row; the change was given up."
        )

    def _try(self, head: str, changes: Changes, audit_head: str) -> bool:
        """Run the commit script; return False when somebody else was first."""
        cursor = changes.cursor
        new_head = changes.audit[-1].hash if changes.audit else audit_head
        event = [[key, _encode(key, value) if value else None] for key, value in changes.writes]
        arguments: list[Any] = [
            *(head, f"{cursor.epoch}:{cursor.revision}:{new_head}", cursor.revision, json.dumps(event)),
            *(self._key("changes"), "" if self._audit_limit is None else self._audit_limit, _STREAM_LENGTH),
            len(changes.writes),
        ]
        for key, value in changes.writes:
            message = encoded(key, value).model_dump_json() if value else ""
            arguments += [key, json.dumps(_encode(key, value)) if value else "", message]
        arguments += [len(changes.audit), *(entry.model_dump_json() for entry in changes.audit)]
        names = [self._key(name) for name in ("head", "revisions", "deleted", "stream", "audit")]
        names += [self._object_key(key) for key, _ in changes.writes]
        return bool(self._script(keys=names, args=arguments))

    def _revisions(self, keys: Iterable[str]) -> dict[str, int]:
        wanted = list(keys)
        if not wanted:
            return {}
        found = self._redis.hmget(self._key("revisions"), wanted)
        return {key: int(at or 0) for key, at in zip(wanted, found, strict=True)}

    # -- connection -------------------------------------------------------------------------

    @property
    def _redis(self) -> Any:
        """The client; a forked child gets one of its own."""
        if self._client is None or self._pid != os.getpid():
            given = self._given
            if given is None:
                self._client = redis.Redis.from_url(
                    self._url, socket_timeout=_SOCKET_TIMEOUT, socket_connect_timeout=_SOCKET_TIMEOUT
                )
            else:
                self._client = given if isinstance(given, redis.Redis) else given()
            self._script = self._client.register_script(_COMMIT)
            self._pubsub = None
            self._pid = os.getpid()
        return self._client

    def _key(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def _object_key(self, key: str) -> str:
        return self._key("global") if key == EVERYTHING.store_key else self._key(f"state:{key}")


def _encode(key: str, value: StoredObject) -> Any:
    """Return what is stored under an object's key: services' maintenance travels as a state."""
    stored = value if key == EVERYTHING.store_key else encoded(key, value)
    return stored.model_dump(mode="json")


def _decode(key: str, data: Any) -> StoredObject:
    if key == EVERYTHING.store_key:
        return GlobalMaintenanceConfig.model_validate(data)
    state = RouteState.model_validate({"path": key, **data})
    return state if is_route_key(key) else decoded(state)


def _parse_head(head: str) -> tuple[Cursor, str]:
    if not head:
        return Cursor("", 0), ""
    epoch, revision, audit_head = head.split(":")
    return Cursor(epoch, int(revision)), audit_head


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _escaped(pattern: str) -> str:
    return "".join(f"\\{char}" if char in "*?[]\\" else char for char in pattern)
