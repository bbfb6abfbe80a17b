"""Changes of a store as server-sent events (CONTRACT §8): what followers of a server are told.

There are two dialects. Proto 1 is what `api-shield`'s SDK understands: effective statuses, no windows,
maintenance as a state whose reason is JSON. Proto 2 tells everything, and marks commit points.

The id of a frame is the position to go on from after it. So within a batch only the last frame has
the batch's own revision: whoever is cut off in the middle gets the whole of it again. The frames of a
whole state that is told in pieces have revision 0, from which nobody can go on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pydantic import BaseModel

from shield_core.keys import ACCEPTED_KEY, EVERYTHING, RESTORE_KEY, Facet, RouteKey, Scope, parse_store_key
from shield_core.models import (
    GlobalMaintenanceConfig,
    RateLimitPolicy,
    RouteState,
    StoredObject,
)
from shield_core.snapshot import Cursor, Snapshot, Write

PLAIN, FULL = 1, 2
#: What proto 2 says of itself.
VERSIONS = {"proto": FULL, "minor": 0}
#: What tells followers that an emptied store is to be taken as it is, or is to be restored.
MARKS = (ACCEPTED_KEY, RESTORE_KEY)

KEEPALIVE = b": keepalive\n\n"


class Event(NamedTuple):
    """One event. ``service`` None is for everybody, else for those who see that service."""

    service: str | None
    content: Mapping[str, Any]


class Audience(NamedTuple):
    """Who listens: in which dialect, and to which service; None listens to all of them."""

    proto: int
    service: str | None

    @property
    def is_service(self) -> bool:
        return self.service is not None

    def hears(self, event: Event) -> bool:
        return self.service is None or event.service is None or event.service == self.service


def change_events(
    writes: Iterable[Write], snapshot: Snapshot, audience: Audience, now: datetime
) -> Iterator[Event]:
    """Yield the events that tell ``writes``, in their order; ``snapshot`` is the state after them."""
    for key, value in writes:
        facet, scope = parse_store_key(key)
        if scope.kind == "token" or (scope.kind == "store" and key not in MARKS):
            continue
        event = _event(key, facet, scope, value, snapshot, audience, now)
        if event is not None and audience.hears(event):
            yield event


def opening_events(snapshot: Snapshot, audience: Audience, now: datetime) -> Iterator[Event]:
    """Yield what a follower without a position is told first: the whole state.

    A plain one subscribes after it has read the state itself, and so gets it piece by piece.
    """
    if audience.proto == FULL:
        yield Event(None, {"type": "snapshot", "payload": cut(snapshot, audience.service)})
        return
    mine = [EVERYTHING, *([Scope("service", audience.service)] if audience.service else [])]
    configs = [Write(scope.store_key, snapshot.maintenance(scope)) for scope in mine]
    others = [
        Write(key, value)
        for key, value in snapshot.objects.items()
        if key not in {config.key for config in configs}
    ]
    yield from change_events((*configs, *others), snapshot, audience, now)


def cut(snapshot: Snapshot, service: str | None) -> dict[str, Any]:
    """Return a consistent cut of the store: everything, or what concerns one service (CONTRACT §7)."""

    def seen(scope: Scope) -> bool:
        return service is None or scope.owner == service

    scoped = service is not None
    routes = [state for key, state in snapshot.routes.items() if seen(Scope("route", key))]
    own = Scope("service", service) if service else None
    resets = {
        key: value.revision
        for key, value in snapshot.objects.items()
        if (found := parse_store_key(key))[0] is Facet.RESET and (found[1].kind == "global" or seen(found[1]))
    }
    return {
        "epoch": snapshot.epoch,
        "revision": snapshot.revision,
        "routes": [dumped(state, for_service=scoped) for state in routes],
        "global": dumped(snapshot.maintenance(EVERYTHING), for_service=scoped),
        "service": dumped(snapshot.maintenance(own), for_service=scoped) if own else None,
        "rate_limits": [
            dumped(as_heard(policy, service))
            for scope, policy in snapshot.policies.items()
            if isinstance(policy, RateLimitPolicy) and seen(scope)
        ],
        "global_rate_limit": _dumped_or_none(snapshot.policy(EVERYTHING), scoped),
        "service_rate_limit": _dumped_or_none(snapshot.policy(own), scoped) if own else None,
        "rate_limit_resets": resets,
        "marks": {
            key: dumped(value, for_service=scoped)
            for key in MARKS
            if (value := snapshot.objects.get(key)) is not None
        },
        **({"services": _services(snapshot)} if service is None else {}),
    }


def effective(state: RouteState, now: datetime) -> RouteState:
    """Return a state as those see it who look only at the status: with the window worked in."""
    status = state.effective(now)
    window = state.window
    running = window is not None and window.runs_at(now)
    reason = window.reason if running and window is not None and status is not state.status else state.reason
    return state.model_copy(update={"status": status, "window": None, "reason": reason or state.reason})


def encoded(events: Iterable[Event], audience: Audience, before: Cursor, after: Cursor) -> bytes:
    """Return the frames that lead from one position to another; none where there is nothing to tell."""
    contents = [event.content for event in events]
    if audience.proto == FULL:
        contents.append(commit_point(after))
    last = len(contents) - 1
    return b"".join(
        frame(content, after if index == last else before) for index, content in enumerate(contents)
    )


def heartbeat(proto: int, position: Cursor) -> bytes:
    """Return the sign of life of a follower who has been told everything up to ``position``."""
    return frame(commit_point(position), position) if proto == FULL else KEEPALIVE


def commit_point(position: Cursor) -> dict[str, Any]:
    return {"type": "sync", "epoch": position.epoch, "revision": position.revision}


def frame(content: Mapping[str, Any], position: Cursor) -> bytes:
    """Return one event as it is sent."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=True)
    return f"id: {position}\ndata: {text}\n\n".encode()


def dumped(value: BaseModel, *, for_service: bool = False) -> dict[str, Any]:
    """Return an object as JSON has it; what operators note for each other is not for a service."""
    found: dict[str, Any] = value.model_dump(mode="json")
    if for_service and "note" in found:
        found["note"] = ""
    return found


def _dumped_or_none(value: StoredObject | None, for_service: bool) -> dict[str, Any] | None:
    return dumped(value, for_service=for_service) if value is not None else None


def _services(snapshot: Snapshot) -> dict[str, Any]:
    """Return maintenance and limit of every service."""
    found: dict[str, Any] = {}
    for key, value in snapshot.objects.items():
        facet, scope = parse_store_key(key)
        if scope.kind == "service" and facet is not Facet.RESET:
            name = "rate_limit" if facet is Facet.LIMIT else "maintenance"
            found.setdefault(scope.name, {})[name] = dumped(value)
    return found


def _event(
    key: str,
    facet: Facet,
    scope: Scope,
    value: StoredObject | None,
    snapshot: Snapshot,
    audience: Audience,
    now: datetime,
) -> Event | None:
    service = scope.owner
    # What belongs to no service is for everybody when it is about everything, else for operators.
    if scope.kind == "route" and service is None and audience.service is not None:
        return None
    if facet is Facet.LIMIT and scope.kind == "route":
        return Event(service, _policy_content(scope, value, audience))
    if facet is Facet.STATE and scope.kind == "route":
        return _state_event(key, value, service, snapshot, audience, now)
    if audience.proto == FULL:
        payload = _dumped_or_none(value, audience.is_service)
        return Event(service, {"type": "config", "key": key, "payload": payload})
    if facet is Facet.STATE and scope.kind != "store":
        return Event(service, {"type": "state", "payload": _sentinel(key, value, audience, now)})
    return None


def _state_event(
    key: str,
    value: StoredObject | None,
    service: str | None,
    snapshot: Snapshot,
    audience: Audience,
    now: datetime,
) -> Event | None:
    if isinstance(value, RouteState):
        told = value if audience.proto == FULL else effective(value, now)
        return Event(service, {"type": "state", "payload": dumped(told, for_service=audience.is_service)})
    if audience.proto == FULL:
        return Event(service, {"type": "state_delete", "key": key})
    beneath = effective(_beneath(key, snapshot), now)
    return Event(service, {"type": "state", "payload": dumped(beneath, for_service=audience.is_service)})


def _beneath(key: str, snapshot: Snapshot) -> RouteState:
    """Return what holds where a route's own state was deleted, for plain clients, who know no deletion.

    It is the state of the bare path, where there is one.
    """
    bare = snapshot.route(str(RouteKey.parse(key)._replace(method=None)))
    return bare.model_copy(update={"path": key}) if bare is not None else RouteState(path=key)


def _policy_content(scope: Scope, value: StoredObject | None, audience: Audience) -> dict[str, Any]:
    """Return the event about a route's limit; a service knows its own paths without its name."""
    key = RouteKey.parse(scope.name)
    if audience.service is not None:
        key = key._replace(service=None)
    if not isinstance(value, RateLimitPolicy):
        return {"type": "rl_policy", "action": "delete", "key": str(key)}
    policy = as_heard(value, audience.service)
    return {"type": "rl_policy", "action": "set", "key": str(key), "policy": dumped(policy)}


def as_heard(policy: RateLimitPolicy, service: str | None) -> RateLimitPolicy:
    """Return a policy as a service knows it: its own paths have no service before them."""
    if service is None:
        return policy
    return policy.replace(path=str(policy.key._replace(service=None, method=None)))


def _sentinel(key: str, value: StoredObject | None, audience: Audience, now: datetime) -> dict[str, Any]:
    """Return the maintenance of a scope as the state that plain clients understand."""
    config = value if isinstance(value, GlobalMaintenanceConfig) else GlobalMaintenanceConfig()
    told = config.model_copy(update={"enabled": config.in_force(now), "window": None})
    if audience.is_service:
        told = told.model_copy(update={"note": ""})
    return dumped(RouteState(path=key, reason=told.model_dump_json(), revision=config.revision))


def now() -> datetime:
    return datetime.now(UTC)
