"""What the code of this process declares for its routes.

Declarations decide only in the process that made them: two releases side by side each serve
their own. What is stored of them informs operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shield_core.keys import NOWHERE, RouteKey
from shield_core.models import Baseline, RouteState, RouteStatus


@dataclass(frozen=True, slots=True)
class Declaration:
    """One route of this process: its plain key (no service) and what its stamps say."""

    key: RouteKey
    baseline: Baseline = field(default_factory=Baseline)
    force_active: bool = False
    deprecated_at: datetime | None = None
    responses: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    rate_limit: Mapping[str, Any] | None = None
    #: Never decided upon: login, Shield's own pages, SHIELD_EXEMPT.
    always_open: bool = False
    #: Not registered in the store until somebody names it: the pages of a Django admin.
    unlisted: bool = False

    @classmethod
    def from_meta(
        cls, key: RouteKey, meta: Mapping[str, Any], *, always_open: bool = False, unlisted: bool = False
    ) -> Declaration:
        """Read the merged stamps of a view (``shield_core.decorators.meta_of``)."""
        status = RouteStatus(meta.get("status", RouteStatus.ACTIVE))
        envs = tuple(meta.get("allowed_envs", ()))
        reason = str(meta.get("reason", ""))
        window = meta.get("window")
        if window is not None and status is RouteStatus.MAINTENANCE:
            status, reason = RouteStatus.ACTIVE, ""
        if envs and status in (RouteStatus.ACTIVE, RouteStatus.DEPRECATED):
            status = RouteStatus.ENV_GATED
        elif status is RouteStatus.ENV_GATED and not envs:
            envs = (NOWHERE,)
        baseline = Baseline(
            status=status,
            reason=reason,
            allowed_envs=envs,
            window=window,
            sunset_date=meta.get("sunset_date"),
            successor_path=meta.get("successor_path"),
            read_only=bool(meta.get("read_only", False)) and window is None,
        )
        return cls(
            key=key._replace(service=None),
            baseline=baseline,
            force_active=bool(meta.get("force_active", False)),
            deprecated_at=meta.get("deprecated_at"),
            responses=dict(meta.get("responses", {})),
            rate_limit=meta.get("rate_limit"),
            always_open=always_open,
            unlisted=unlisted,
        )

    def state(self, service: str | None, release: str) -> RouteState:
        """Return what is stored about this route while no operator overrides it."""
        return RouteState(
            path=str(self.key._replace(service=service)),
            service=service,
            **dict(self.baseline),
            force_active=self.force_active,
            origin="code",
            release=release,
        )
