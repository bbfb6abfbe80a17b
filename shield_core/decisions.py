"""What is decided of a request, and what each layer said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from shield_core.exceptions import (
    EnvGatedException,
    MaintenanceException,
    RateLimitExceededException,
    RequestBlocked,
    RouteDisabledException,
)
from shield_core.keys import EVERYTHING, Scope
from shield_core.models import LimitCause, RouteStatus
from shield_core.rate_limit.limiter import Outcome


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with a request.

    ``cause`` is what blocks (maintenance, disabled, env_gated, rate_limited), None when the request
    is let through. ``key`` is the route's plain key, empty for a URL that matches no route.
    ``until`` is the known end, in UTC. ``headers`` go on an allowed answer. ``outcome`` is what its
    limits said of the request, None where it has none.
    """

    cause: RouteStatus | LimitCause | None = None
    key: str = ""
    scope: Scope = EVERYTHING
    reason: str = ""
    until: datetime | None = None
    headers: tuple[tuple[str, str], ...] = ()
    response: Callable[..., Any] | None = None
    outcome: Outcome | None = None

    @property
    def allowed(self) -> bool:
        return self.cause is None

    def exception(self) -> RequestBlocked:
        """Return the exception that ``ShieldEngine.check`` raises for a blocked request."""
        match self.cause:
            case RouteStatus.MAINTENANCE:
                return MaintenanceException(self.reason, self.until)
            case RouteStatus.DISABLED:
                return RouteDisabledException(self.reason, self.until)
            case LimitCause.RATE_LIMITED if self.outcome is not None:
                result = self.outcome.result
                return RateLimitExceededException(
                    self.outcome.text, result.retry_after_seconds, result.reset_at, 0, result.key
                )
            case LimitCause.RATE_LIMITED:  # another limiter's, which does not tell
                return RateLimitExceededException(None, None, None, 0, "")
            case _:
                return EnvGatedException(self.key)


@dataclass(frozen=True, slots=True)
class Step:
    """One layer of a trace: what it said of the request, and who set it."""

    layer: Literal["maintenance", "route"]
    scope: Scope
    verdict: str
    reason: str = ""
    until: datetime | None = None
    origin: str = ""
    by: str = ""
    revision: int = 0


ALLOWED = Decision()
Trace = list[Step]
