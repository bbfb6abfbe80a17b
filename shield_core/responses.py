"""A decision as an HTTP answer, neutral of any framework: the same bytes everywhere (CONTRACT §2)."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from shield_core.decisions import Decision
from shield_core.models import LimitCause, RouteStatus
from shield_core.rate_limit.limiter import Outcome
from shield_core.texts import printable

logger = logging.getLogger("shield.blocked")

CODES: Mapping[RouteStatus | LimitCause, str] = {
    RouteStatus.MAINTENANCE: "MAINTENANCE_MODE",
    RouteStatus.DISABLED: "ROUTE_DISABLED",
    LimitCause.RATE_LIMITED: "RATE_LIMIT_EXCEEDED",
}
MESSAGES: Mapping[RouteStatus | LimitCause, str] = {
    RouteStatus.MAINTENANCE: "This endpoint is temporarily unavailable",
    RouteStatus.DISABLED: "This endpoint has been disabled",
    LimitCause.RATE_LIMITED: "Too many requests",
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
    """Return the answer to a request that ``decision`` blocks with maintenance, disabled or a limit.

    ``method`` and ``path`` name the request where the decision knows no route. An environment
    gate has no answer here: it is the framework's own answer to an unknown URL.
    """
    assert decision.cause is not None
    assert decision.cause in CODES, "only maintenance, disabled and limits have an answer of their own"
    moment = now or datetime.now(UTC)
    error: dict[str, Any] = {"code": CODES[decision.cause], "message": MESSAGES[decision.cause]}
    headers = [("Cache-Control", "no-store")]
    key = decision.key or f"{method}:{path}"
    if decision.cause is LimitCause.RATE_LIMITED:
        return Answer(
            429, (*headers, *_limit_headers(decision, moment)), error | _limit_error(decision, moment, key)
        )
    error |= {"reason": decision.reason, "path": key}
    if decision.cause is RouteStatus.MAINTENANCE:
        error["retry_after"] = decision.until.isoformat() if decision.until else None
    if decision.until is not None:
        seconds = (decision.until - moment).total_seconds()
        headers.append(("Retry-After", str(max(0, math.ceil(seconds)))))
    return Answer(503, tuple(headers), error)


def limited(decision: Decision, outcome: Outcome | None) -> Decision:
    """Return an allowed decision with what its limits say: blocked, or with their headers."""
    if outcome is None:
        return decision
    if not outcome.allowed:
        return replace(
            decision,
            cause=LimitCause.RATE_LIMITED,
            scope=outcome.layer.scope,
            headers=(),
            response=outcome.layer.response,
            outcome=outcome,
        )
    return Decision(
        None,
        decision.key,
        decision.scope,
        headers=(*decision.headers, *rate_headers(outcome, time.time())),
        outcome=outcome,
    )


def rate_headers(outcome: Outcome, now: float) -> tuple[tuple[str, str], ...]:
    """Return ``X-RateLimit-*``; ``now`` is in seconds since the epoch."""
    headers = (
        ("X-RateLimit-Limit", f"{outcome.counter.capacity}"),
        ("X-RateLimit-Remaining", f"{outcome.remaining}"),
        ("X-RateLimit-Reset", f"{_reset_at(outcome, now)}"),
    )
    return (*headers, *_draft_headers(outcome)) if outcome.draft_headers else headers


def _reset_at(outcome: Outcome, now: float) -> int:
    """Return the first whole second of the epoch at which all of the limit is there again."""
    return math.ceil(now + outcome.reset_after)


def _draft_headers(outcome: Outcome) -> tuple[tuple[str, str], ...]:
    """Return the headers of draft-ietf-httpapi-ratelimit-headers-10."""
    name = outcome.layer.scope.kind
    return (
        ("RateLimit-Policy", f'"{name}";q={outcome.limit};w={outcome.seconds}'),
        ("RateLimit", f'"{name}";r={outcome.remaining};t={math.ceil(outcome.reset_after)}'),
    )


def _limit_headers(decision: Decision, moment: datetime) -> list[tuple[str, str]]:
    outcome = decision.outcome
    if outcome is None:  # another limiter's, which does not tell
        return []
    wait = str(max(1, math.ceil(outcome.retry_after)))
    return [("Retry-After", wait), *rate_headers(outcome, moment.timestamp())]


def _limit_error(decision: Decision, moment: datetime, key: str) -> dict[str, Any]:
    outcome = decision.outcome
    if outcome is None:
        return {"limit": None, "retry_after_seconds": None, "reset_at": None, "path": key}
    reset_at = _reset_at(outcome, moment.timestamp())
    return {
        "limit": outcome.text,
        "retry_after_seconds": max(1, math.ceil(outcome.retry_after)),
        "reset_at": datetime.fromtimestamp(reset_at, UTC).isoformat(),
        "path": key,
    }


def log_blocked(decision: Decision, *, method: str, path: str) -> None:
    """Log a blocked request on ``shield.blocked``, at INFO: planned maintenance is no error."""
    logger.info(
        "%s %s is blocked: %s",
        method,
        decision.key or printable(path),
        decision.cause,
        extra={"route": decision.key, "cause": str(decision.cause), "reason": decision.reason},
    )
