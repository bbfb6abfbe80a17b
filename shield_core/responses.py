"""A decision as an HTTP answer, neutral of any framework: the same bytes everywhere (CONTRACT §2)."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shield_core.models import RouteStatus
from shield_core.ruleset import Decision

logger = logging.getLogger("shield.blocked")

CODES = {RouteStatus.MAINTENANCE: "MAINTENANCE_MODE", RouteStatus.DISABLED: "ROUTE_DISABLED"}
MESSAGES = {
    RouteStatus.MAINTENANCE: "This endpoint is temporarily unavailable",
    RouteStatus.DISABLED: "This endpoint has been disabled",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and JSON body of a blocked request. ``error`` is the body's content."""

    status: int
    headers: tuple[tuple[str, str], ...]
    error: Mapping[str, Any]

    @property
    def body(self) -> bytes:
        return json.dumps({"error": self.error}, ensure_ascii=False, separators=(",", ":")).encode()


def answer(decision: Decision, *, method: str, path: str, now: datetime | None = None) -> Answer:
    """Return the answer to a request that ``decision`` blocks with maintenance or disabled.

    ``method`` and ``path`` name the request where the decision knows no route. An environment
    gate has no answer here: it is the framework's own answer to an unknown URL.
    """
    assert decision.cause in CODES, "only maintenance and disabled have an answer of their own"
    error: dict[str, Any] = {
        "code": CODES[decision.cause],
        "message": MESSAGES[decision.cause],
        "reason": decision.reason,
        "path": decision.key or f"{method}:{path}",
    }
    headers = [("Cache-Control", "no-store")]
    if decision.cause is RouteStatus.MAINTENANCE:
        error["retry_after"] = decision.until.isoformat() if decision.until else None
    if decision.until is not None:
        seconds = (decision.until - (now or datetime.now(UTC))).total_seconds()
        headers.append(("Retry-After", str(max(0, math.ceil(seconds)))))
    return Answer(503, tuple(headers), error)


def log_blocked(decision: Decision, *, method: str, path: str) -> None:
    """Log a blocked request on ``shield.blocked``, at INFO: planned maintenance is no error."""
    logger.info(
        "%s %s is blocked: %s",
        method,
        decision.key or path,
        decision.cause,
        extra={"route": decision.key, "cause": str(decision.cause), "reason": decision.reason},
    )
