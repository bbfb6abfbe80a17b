"""What Redis holds under Shield's keys, as values; others write there, too."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import Any

from shield_core.backends.base import decoded, foreign_policy
from shield_core.keys import RouteKey, is_route_key
from shield_core.models import RateLimitPolicy, RouteState, StoredObject
from shield_core.snapshot import Cursor

logger = logging.getLogger("shield.redis")


def read(key: str, text: bytes | str) -> StoredObject | None:
    try:
        return value(key, json.loads(text))
    except (ValueError, TypeError) as error:
        logger.error("The state of %s cannot be read and is passed over: %s", key, error)
        return None


def policy(name: str, text: bytes | str) -> RateLimitPolicy | None:
    try:
        return foreign_policy(json.loads(text))
    except (ValueError, TypeError) as error:
        logger.error("The rate limit of %s cannot be read and is passed over: %s", name, error)
        return None


def value(key: str, data: Any) -> StoredObject:
    if is_route_key(key):
        RouteKey.parse(key)
    return decoded(RouteState.model_validate({**data, "path": key}))


def written_by_others(message: bytes | str) -> str | None:
    """Return the key that a message is about, None for a message of ours."""
    try:
        data = json.loads(message)
        return None if _OURS in data else str(data["path"])
    except (ValueError, TypeError, KeyError) as error:
        logger.error("A message about a change cannot be read and is passed over: %s", error)
        return None


def is_ours(text: bytes | str) -> bool:
    with suppress(ValueError, TypeError):
        return _OURS in json.loads(text)
    return False


#: What the states have that we write, and others' have not.
_OURS = "origin"


def parse_head(head: str) -> tuple[Cursor, str]:
    if not head:
        return Cursor("", 0), ""
    epoch, revision, audit_head = head.split(":")
    return Cursor(epoch, int(revision)), audit_head


def text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
