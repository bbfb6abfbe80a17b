"""What a server tells, as objects of the store: the other side of ``shield_core.events``.

A server may be a version ahead. Unknown events and fields are passed over; an object that cannot be
read is dropped and reported, and what was known of it before stays.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from shield_core.events import FULL, MARKS
from shield_core.exceptions import InvalidInputError, ServerError
from shield_core.keys import EVERYTHING, Facet, RouteKey, Scope, is_route_key, parse_store_key
from shield_core.models import (
    RateLimitPolicy,
    StoredObject,
    reasons,
    value_type,
)
from shield_core.snapshot import Changes, Cursor, Snapshot, Write

logger = logging.getLogger("shield.remote")

#: How many reports wait for the next acknowledgement.
_REPORTS = 10
#: What a broken object raises when it is read.
_BROKEN = (
    *(ValidationError, InvalidInputError, AttributeError, KeyError, TypeError, ValueError),
    *(OverflowError, RecursionError),
)


class Reader:
    """Reads for ``service``, whose limits come without its name; None hears of all services."""

    def __init__(self, service: str | None) -> None:
        self._service = service
        self._reports: deque[str] = deque(maxlen=_REPORTS)

    def reports(self) -> list[str]:
        """Take out what could not be read, a sentence each."""
        found = []
        while self._reports:
            found.append(self._reports.popleft())
        return found

    def keep_reports(self, reports: Iterable[str]) -> None:
        """Put reports back that have reached nobody."""
        self._reports.extend(one for one in reports if one not in self._reports)

    def snapshot(self, payload: Any, before: Snapshot) -> Snapshot:
        """Return a whole state, which is all there is; ``before`` is what was known of it.

        Raises ServerError for what is no snapshot.
        """
        try:
            epoch, revision = str(payload["epoch"]), int(payload["revision"])
            parts = list(self._parts(payload))
        except _BROKEN as error:
            raise ServerError(f"The server's snapshot cannot be read: {error!r}") from error
        objects: dict[str, StoredObject] = {}
        for name, value in parts:
            write = self._object(name, value)
            if write is not None and write.value is not None:
                objects[write.key] = write.value
            elif write is None and name in before.objects:
                objects[name] = before.objects[name]
        return Snapshot(epoch, revision, objects)

    def stored(self, told: Mapping[str, Any]) -> Write | None:
        """Return what a commit has stored, ``{"key": …, "value": …}``; None for what cannot be read."""
        return self._object(str(told["key"]), told["value"])

    def write(self, content: Mapping[str, Any]) -> Write | None:
        """Return what one event of a change says; None where it says nothing that is understood."""
        match content:
            case {"type": "state", "payload": {"path": str(key)} as payload}:
                return self._object(key, payload)
            case {"type": "state_delete", "key": str(key)}:
                return Write(key, None)
            case {"type": "config", "key": str(key), "payload": payload}:
                return self._object(key, payload)
            case {"type": "rl_policy", "action": "delete", "key": str(key)}:
                return self._limit(key, None)
            case {"type": "rl_policy", "action": "set", "key": str(key), "policy": policy}:
                return self._limit(key, policy)
        return None

    def _parts(self, payload: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Yield the store keys that a snapshot names, with what it says of them."""
        for state in payload["routes"]:
            yield from self._named(_state_key, state)
        for policy in payload["rate_limits"]:
            yield from self._named(self._policy_key, policy)
        yield from _of_scope(EVERYTHING, payload.get("global"), payload.get("global_rate_limit"))
        if self._service is not None:
            own = Scope("service", self._service)
            yield from _of_scope(own, payload.get("service"), payload.get("service_rate_limit"))
        for name, service in (payload.get("services") or {}).items():
            yield from _of_scope(
                Scope("service", name), service.get("maintenance"), service.get("rate_limit")
            )
        for key, revision in (payload.get("rate_limit_resets") or {}).items():
            yield key, {"revision": revision}
        yield from (payload.get("marks") or {}).items()

    def _named(self, name: Callable[[Any], str], told: Any) -> Iterator[tuple[str, Any]]:
        """Yield an object with its key in the store; only a report for one that does not tell its key."""
        try:
            key = name(told)
        except _BROKEN as error:
            self._report(f"{str(told)[:200]}: {error!r}")
            return
        yield key, told

    def _limit(self, key: str, said: Any) -> Write | None:
        return next((self._object(*one) for one in self._named(lambda _: self._limit_key(key), said)), None)

    def _object(self, key: str, said: Any) -> Write | None:
        """Return an object under its key in the store; None, and a report, for a broken one."""
        try:
            facet, scope = parse_store_key(key)
            if facet is Facet.TOKEN or (scope.kind == "store" and key not in MARKS):
                return None
            if is_route_key(key):
                key = str(RouteKey.parse(key))
            return Write(key, None if said is None else self._read(key, said))
        except _BROKEN as error:
            told = reasons(error) if isinstance(error, ValidationError) else repr(error)
            self._report(f"{key[:200]}: {told[:500]}")
            return None

    def _read(self, key: str, said: Any) -> StoredObject:
        value = value_type(key).model_validate(said)
        if not isinstance(value, RateLimitPolicy):
            return value
        path = str(parse_store_key(key)[1].name)
        return value.replace(path=str(RouteKey.parse(path)._replace(method=None)))

    def _policy_key(self, policy: Any) -> str:
        key = RouteKey.parse(str(policy["path"]))
        return self._limit_key(str(key._replace(method=policy.get("method") or None)))

    def _limit_key(self, text: str) -> str:
        key = RouteKey.parse(text, service=self._service)
        return Scope("route", str(key)).limit_key

    def _report(self, sentence: str) -> None:
        if sentence in self._reports:
            return
        self._reports.append(sentence)
        logger.error("The server tells what this version cannot read; what was known stays. %s", sentence)


class Feed:
    """Puts the events of a stream together to what was committed: nothing is applied by halves."""

    def __init__(self, reader: Reader, known: Snapshot) -> None:
        self._reader = reader
        self._writes: list[Write] = []
        #: What has been told so far.
        self.snapshot = known
        #: What the server says of its store.
        self.durable = True
        #: Seconds after which the server, which says goodbye, wants to be asked again.
        self.retry_after: float | None = None
        self._whole: Snapshot | None = None

    def take(self, content: Any) -> Changes | None:
        """Take one event; return a commit, or ``reset`` for a new whole state, once it is complete.

        Raises ServerError for what no stream of this major version says.
        """
        if not isinstance(content, Mapping):
            return None
        match content.get("type"):
            case "hello":
                self._greet(content)
            case "snapshot":
                self._writes = []
                self._whole = self._reader.snapshot(content.get("payload"), self.snapshot)
            case "sync":
                return self._commit(content)
            case "goodbye":
                self.retry_after = _seconds(content.get("retry"))
            case _:
                write = self._reader.write(content)
                if write is not None:
                    self._writes.append(write)
        return None

    def _greet(self, hello: Mapping[str, Any]) -> None:
        if hello.get("proto") != FULL:
            said = hello.get("proto")
            raise ServerError(f"The server speaks version {said!r} of the protocol, not {FULL}.")
        self.durable = bool(hello.get("durable", True))

    def _commit(self, content: Mapping[str, Any]) -> Changes | None:
        try:
            position = Cursor(str(content["epoch"]), int(content["revision"]))
        except _BROKEN as error:
            raise ServerError(f"The server's commit point cannot be read: {error!r}") from error
        whole, writes = self._whole, tuple(self._writes)
        self._whole, self._writes = None, []
        if whole is not None:
            self.snapshot = whole
        if writes or position != self.snapshot.cursor:
            self._refuse_a_gap(position)
            self.snapshot = self.snapshot.apply(Changes(position, writes), advance=True)
        if whole is not None:
            return Changes(position, reset=True)
        return Changes(position, writes)

    def _refuse_a_gap(self, position: Cursor) -> None:
        known = self.snapshot.cursor
        if position.epoch != known.epoch or position.revision < known.revision:
            raise ServerError(f"The server goes on at {position} after {known}, without a snapshot.")


def _state_key(state: Any) -> str:
    return str(state["path"])


def _of_scope(scope: Scope, maintenance: Any, limit: Any) -> Iterable[tuple[str, Any]]:
    """Yield what a snapshot says of a scope; one that was never set is told at revision 0."""
    was_set = not isinstance(maintenance, Mapping) or maintenance.get("revision", 1)
    if maintenance is not None and was_set:
        yield scope.store_key, maintenance
    if limit is not None:
        yield scope.limit_key, limit


def _seconds(milliseconds: Any) -> float | None:
    return milliseconds / 1000 if isinstance(milliseconds, int | float) and milliseconds >= 0 else None
