"""What commands need of Shield, wherever it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, Unpack

from shield_core.keys import Scope
from shield_core.models import (
    AuditEntry,
    GlobalMaintenanceConfig,
    Instance,
    MaintenanceWindow,
    RateLimitHit,
    RateLimitPolicy,
    RouteState,
    StoredPolicy,
    TokenRecord,
)
from shield_core.plan import Authorship, RouteAction, Stays
from shield_core.snapshot import Snapshot


class Client(Protocol):
    """The methods of ``engine.sync`` that commands use; ``engine.sync`` is one implementation.

    They raise a ShieldException when Shield refuses or cannot do what was asked.
    """

    def get_state(self, path: str) -> RouteState: ...

    def list_states(self, service: str | None = None) -> list[RouteState]: ...

    def list_services(self) -> list[str]: ...

    def change_routes(
        self,
        paths: Sequence[str],
        action: RouteAction,
        reason: str = "",
        *,
        all_methods: bool = False,
        until: datetime | None = None,
        window: MaintenanceWindow | None = None,
        envs: Sequence[str] = (),
        read_only: bool = False,
        **by: Unpack[Authorship],
    ) -> list[RouteState]: ...

    def restore(self, reason: str = "", timeout: float = 10.0, **by: Unpack[Authorship]) -> None: ...

    def reset_all(self, reason: str = "", **by: Unpack[Authorship]) -> None: ...

    def get_maintenance(self, scope: Scope) -> GlobalMaintenanceConfig: ...

    def enable_maintenance(
        self,
        scope: Scope,
        reason: str = "",
        exempt_paths: Sequence[str] | None = None,
        include_force_active: bool = False,
        read_only: bool = False,
        window: MaintenanceWindow | None = None,
        **by: Unpack[Authorship],
    ) -> GlobalMaintenanceConfig: ...

    def disable_maintenance(
        self, scope: Scope, reason: str = "", **by: Unpack[Authorship]
    ) -> GlobalMaintenanceConfig: ...

    def cancel_maintenance_schedule(
        self, scope: Scope, reason: str = "", **by: Unpack[Authorship]
    ) -> GlobalMaintenanceConfig: ...

    def exempt_path(
        self, scope: Scope, path: str, exempt: bool = True, reason: str = "", **by: Unpack[Authorship]
    ) -> GlobalMaintenanceConfig: ...

    def list_limits(self, service: str | None = None) -> list[RateLimitPolicy]: ...

    def set_rate_limit_policy(
        self,
        path: str,
        method: str | None = None,
        limit: str | None = None,
        *,
        algorithm: str | None = None,
        key_strategy: str | None = None,
        on_missing_key: str | Stays | None = Stays.AS_IT_IS,
        burst: int | None = None,
        tiers: Sequence[Mapping[str, str]] | None = None,
        tier_resolver: str | None = None,
        exempt_ips: Sequence[str] | None = None,
        exempt_roles: Sequence[str] | None = None,
        shadow: bool | None = None,
        reason: str = "",
        **by: Unpack[Authorship],
    ) -> RateLimitPolicy: ...

    def get_rate_limit_policy(self, path: str, method: str | None = None) -> RateLimitPolicy | None: ...

    def delete_rate_limit_policy(
        self, path: str, method: str | None = None, reason: str = "", **by: Unpack[Authorship]
    ) -> None: ...

    def reset_rate_limit(
        self, path: str, method: str | None = None, reason: str = "", **by: Unpack[Authorship]
    ) -> None: ...

    def get_rate_limit_hits(self, path: str | None = None, limit: int | None = 100) -> list[RateLimitHit]: ...

    def get_limit(self, scope: Scope) -> StoredPolicy | None: ...

    def set_limit(
        self, scope: Scope, named: Mapping[str, Any], reason: str = "", **by: Unpack[Authorship]
    ) -> StoredPolicy: ...

    def delete_limit(self, scope: Scope, reason: str = "", **by: Unpack[Authorship]) -> None: ...

    def switch_limit(
        self, scope: Scope, enabled: bool, reason: str = "", **by: Unpack[Authorship]
    ) -> StoredPolicy: ...

    def reset_limit(
        self, scope: Scope, reason: str = "", all_methods: bool = False, **by: Unpack[Authorship]
    ) -> None: ...

    def get_audit_log(
        self,
        path: str | None = None,
        limit: int | None = 100,
        service: str | None = None,
        actor: str | None = None,
        action: str | None = None,
        since: datetime | None = None,
        cursor: str | None = None,
    ) -> list[AuditEntry]: ...

    def current(self) -> Snapshot: ...

    def instances(self) -> list[Instance]: ...

    def note(
        self,
        action: str,
        path: str = "",
        service: str | None = None,
        previous_status: str | None = None,
        new_status: str | None = None,
        details: Mapping[str, Any] | None = None,
        reason: str = "",
        **by: Unpack[Authorship],
    ) -> None: ...

    def list_tokens(self, service: str | None = None) -> list[TokenRecord]: ...

    def revoke_token(
        self,
        token_id: str,
        record: TokenRecord | None = None,
        reason: str = "",
        **by: Unpack[Authorship],
    ) -> TokenRecord: ...
