"""The JSON document of the file backend: what it holds, and how it is written and read.

``{"states": {key: RouteState}, "audit": [AuditEntry]}`` is the published shape, the newest entry last;
what else Shield needs stands beside it, as does whatever others put there. Maintenance and limits among
the states, under their reserved keys, are understood, because `api-shield` writes them there; the limits of
routes stand where it has them, in ``rl_policies``. One state and one entry stand on one line, so that
people can read and compare such a file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shield_core.backends.base import decoded, foreign_policy
from shield_core.keys import RouteKey, Scope, is_route_key
from shield_core.models import AuditEntry, RouteState, StoredObject, value_type
from shield_core.snapshot import Snapshot, branch

_OURS = frozenset(
    {"states", "configs", "rl_policies", "audit", "audit_head", "deleted", "epoch", "revision", "digest"}
)


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds: ``audit`` as it was read, ``others`` under keys that are not ours."""

    snapshot: Snapshot = field(default_factory=Snapshot)
    audit: tuple[Mapping[str, Any], ...] = ()
    #: The hash of the newest entry, also when that entry itself has been dropped.
    audit_head: str = ""
    others: Mapping[str, Any] = field(default_factory=dict)
    #: Whether somebody else than Shield wrote the states as they are.
    edited: bool = False


def dump(document: Document) -> str:
    snapshot = document.snapshot
    objects = {key: found.model_dump(mode="json") for key, found in snapshot.objects.items()}
    states = {key: found for key, found in objects.items() if is_route_key(key)}
    policies = {scope.name: objects[scope.limit_key] for scope in snapshot.policies if scope.kind == "route"}
    limits = {Scope("route", name).limit_key for name in policies}
    configs = {key: found for key, found in objects.items() if not (is_route_key(key) or key in limits)}
    members = {
        **{name: _json(found) for name, found in document.others.items()},
        "states": _block("{}", (f"{_json(key)}: {_json(found)}" for key, found in states.items())),
        "configs": _block("{}", (f"{_json(key)}: {_json(found)}" for key, found in configs.items())),
        "rl_policies": _block("{}", (f"{_json(key)}: {_json(found)}" for key, found in policies.items())),
        "audit": _block("[]", map(_json, document.audit)),
        "audit_head": _json(document.audit_head),
        "deleted": _json(dict(snapshot.deleted)),
        "epoch": _json(snapshot.epoch),
        "revision": _json(snapshot.revision),
        "digest": _json(_digest(states, configs, policies)),
    }
    return _block("{}", (f"{_json(name)}: {text}" for name, text in members.items())) + "\n"


def parse(text: str) -> Document:
    """Raises ValueError (pydantic's too), TypeError or AttributeError for what is no such document."""
    data = json.loads(text)
    if not isinstance(data, dict):
        raise TypeError("it holds no JSON object")
    names = ("states", "configs", "rl_policies", "deleted")
    states, configs, policies, deleted = (_object(data, name) for name in names)
    objects: dict[str, StoredObject] = {key: _state(key, found) for key, found in states.items()}
    objects |= {key: value_type(key).model_validate(found) for key, found in configs.items()}
    objects |= {Scope("route", str(one.key)).limit_key: one for one in map(foreign_policy, policies.values())}
    digest = _digest(states, configs, policies)
    epoch = str(data.get("epoch") or "")
    edited = not epoch or data.get("digest") != digest
    if edited:
        epoch = branch(epoch, digest[:12])
    # Whoever takes the number away by hand must not make what follows look older than what is here.
    revisions = [int(data.get("revision") or 0), *(one.revision for one in objects.values())]
    snapshot = Snapshot(epoch, max([*revisions, *deleted.values()]), objects, deleted)
    audit = tuple(dict(entry) for entry in data.get("audit") or ())
    head = data.get("audit_head") or (audit[-1].get("hash", "") if audit else "")
    others = {key: value for key, value in data.items() if key not in _OURS}
    return Document(snapshot, audit, head, others, edited)


def _object(data: dict[str, Any], name: str) -> dict[str, Any]:
    found = data.get(name)
    if not isinstance(found, dict | None):
        raise TypeError(f"{name!r} holds no JSON object")
    return found or {}


def _state(key: str, found: Mapping[str, Any]) -> StoredObject:
    if is_route_key(key):
        RouteKey.parse(key)
    return decoded(RouteState.model_validate({**found, "path": key}))


def line(entry: AuditEntry) -> Mapping[str, Any]:
    return entry.model_dump(mode="json")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _block(brackets: str, lines: Iterable[str]) -> str:
    """Join ``lines`` without the slow encoder that ``json.dumps(indent=…)`` takes."""
    inner = ",\n".join(lines)
    return f"{brackets[0]}\n{inner}\n{brackets[1]}" if inner else brackets


def _digest(*parts: Mapping[str, Any]) -> str:
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
