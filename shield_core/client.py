"""A Shield Server, operated over its REST API (CONTRACT §7), as ``engine.sync`` operates a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar, Unpack
from urllib.parse import quote, unquote

import httpx2
from pydantic import BaseModel, TypeAdapter, ValidationError

from shield_core.exceptions import BackendError, ServerError
from shield_core.keys import EVERYTHING, RouteKey, Scope, encode_key
from shield_core.models import (
    AuditEntry,
    GlobalMaintenanceConfig,
    GlobalRateLimitPolicy,
    Instance,
    MaintenanceWindow,
    RateLimitHit,
    RateLimitPolicy,
    RouteState,
    StoredPolicy,
    TokenRecord,
)
from shield_core.plan import Authorship, RouteAction, Stays, given
from shield_core.rate_limit.hits import KEPT
from shield_core.remote.connection import ANSWER_TIMEOUT, Connection, Reply
from shield_core.remote.paging import read_pages
from shield_core.remote.reading import Reader
from shield_core.snapshot import Snapshot
from shield_core.texts import listed

Found = TypeVar("Found")
Answer = TypeVar("Answer")


class HTTPClient:
    """Does over ``connection`` what ``engine.sync`` does in this process, and raises the same exceptions.

    Of ``by``, who it was and from where is the server's to say; ``note`` and ``expected_revision`` count.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        #: What the server has said of its environment; None where it has none, or has not been asked yet.
        self.environment: str | None = None

    def close(self) -> None:
        self.connection.close()

    # -- routes -----------------------------------------------------------------------------

    def get_state(self, path: str) -> RouteState:
        return self._read(RouteState, self._ask("GET", _of_route(path), params=_DETAIL))

    def list_states(self, service: str | None = None) -> list[RouteState]:
        return self._read(
            list[RouteState], self._ask("GET", "/routes", params={**_DETAIL, **_of_service(service)})
        )

    def list_services(self) -> list[str]:
        return self._read(list[str], self._ask("GET", "/services"))

    def enable(self, path: str, reason: str = "", **by: Unpack[Authorship]) -> RouteState:
        return self._route("POST", path, "enable", reason, by)

    def disable(
        self, path: str, reason: str = "", until: datetime | None = None, **by: Unpack[Authorship]
    ) -> RouteState:
        return self._route("POST", path, "disable", reason, by, until=until)

    def set_maintenance(
        self,
        path: str,
        reason: str = "",
        window: MaintenanceWindow | None = None,
        read_only: bool = False,
        until: datetime | None = None,
        **by: Unpack[Authorship],
    ) -> RouteState:
        when = {"start": window.start, "end": window.end} if window else {"until": until}
        return self._route("POST", path, "maintenance", reason, by, read_only=read_only, **when)

    def set_env_only(
        self, path: str, envs: Sequence[str], reason: str = "", **by: Unpack[Authorship]
    ) -> RouteState:
        return self._route("POST", path, "env", reason, by, envs=listed(envs, "envs"))

    def schedule_maintenance(
        self, path: str, window: MaintenanceWindow, reason: str = "", **by: Unpack[Authorship]
    ) -> RouteState:
        return self._route(
            "POST",
            path,
            "schedule",
            reason or window.reason,
            by,
            start=window.start,
            end=window.end,
            status=str(window.status),
            read_only=window.read_only,
        )

    def cancel_schedule(self, path: str, reason: str = "", **by: Unpack[Authorship]) -> RouteState:
        return self._route("DELETE", path, "schedule", reason, by)

    def clear_override(self, path: str, reason: str = "", **by: Unpack[Authorship]) -> RouteState:
        return self._route("DELETE", path, "override", reason, by)

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
    ) -> list[RouteState]:
        """Do the same to several routes in one commit. Raises BulkRefusedError."""
        what = {
            "action": action,
            "routes": list(paths),
            "all_methods": all_methods,
            "until": until,
            "envs": listed(envs, "envs") or None,
            "read_only": (window.read_only if window else read_only) or None,
            "start": window.start if window else None,
            "end": window.end if window else None,
            "status": str(window.status) if window else None,
        }
        why = reason or (window.reason if window else "")
        return self._read(
            list[RouteState], self._change("POST", "/routes/bulk", why, by, what, params=_DETAIL)
        )

    def _route(
        self, method: str, path: str, action: str, reason: str, by: Authorship, **what: Any
    ) -> RouteState:
        reply = self._change(method, f"{_of_route(path)}/{action}", reason, by, what, params=_DETAIL)
        return self._read(RouteState, reply)

    # -- the store --------------------------------------------------------------------------

    def current(self) -> Snapshot:
        """Return the state of the server's store as it is now, at one revision."""
        return Reader(None).snapshot(self._ask("GET", "/sdk/snapshot").data, Snapshot())

    def instances(self) -> list[Instance]:
        services = self._read(list[_Service], self._ask("GET", "/services", params=_DETAIL))
        return [one for service in services for one in service.instances]

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
    ) -> None:
        """Write into the audit log what was done elsewhere; ``service`` is that of ``path``."""
        entry = {
            "action": action,
            "path": path,
            "reason": reason,
            "note": by.get("note", ""),
            "previous_status": previous_status,
            "new_status": new_status,
            "details": dict(details or {}),
        }
        self._ask("POST", "/sdk/commit", body={"writes": [], "audit": [entry]})

    def restore(self, reason: str = "", timeout: float = 10.0, **by: Unpack[Authorship]) -> None:
        what = {"timeout": round(timeout)}
        self._change("POST", "/store/restore", reason, by, what, patience=ANSWER_TIMEOUT + timeout)

    def reset_all(self, reason: str = "", **by: Unpack[Authorship]) -> None:
        self._change("POST", "/store/reset", reason, by)

    def get_audit_log(
        self,
        path: str | None = None,
        limit: int | None = 100,
        service: str | None = None,
        actor: str | None = None,
        action: str | None = None,
        since: datetime | None = None,
        cursor: str | None = None,
    ) -> list[AuditEntry]:
        asked = {
            "route": path,
            "service": service,
            "actor": actor,
            "action": action,
            "since": since.isoformat() if since else None,
        }

        def read(page: Mapping[str, str]) -> list[AuditEntry]:
            params = _given({**asked, **page})
            return self._read(list[AuditEntry], self._ask("GET", "/audit", params=params))

        return read_pages(read, limit, cursor)

    # -- maintenance of scopes --------------------------------------------------------------

    def get_maintenance(self, scope: Scope) -> GlobalMaintenanceConfig:
        return self._read(GlobalMaintenanceConfig, self._ask("GET", _maintenance(scope)))

    def enable_maintenance(
        self,
        scope: Scope,
        reason: str = "",
        exempt_paths: Sequence[str] | None = None,
        include_force_active: bool = False,
        read_only: bool = False,
        window: MaintenanceWindow | None = None,
        **by: Unpack[Authorship],
    ) -> GlobalMaintenanceConfig:
        return self._maintenance(
            "POST",
            scope,
            "enable",
            reason,
            by,
            exempt_paths=None if exempt_paths is None else list(exempt_paths),
            include_force_active=include_force_active,
            read_only=read_only,
            start=window.start if window else None,
            end=window.end if window else None,
        )

    def disable_maintenance(
        self, scope: Scope, reason: str = "", **by: Unpack[Authorship]
    ) -> GlobalMaintenanceConfig:
        return self._maintenance("POST", scope, "disable", reason, by)

    def set_exempt_paths(
        self, scope: Scope, paths: Sequence[str], reason: str = "", **by: Unpack[Authorship]
    ) -> GlobalMaintenanceConfig:
        return self._maintenance("PUT", scope, "exempt", reason, by, paths=list(paths))

    def exempt_path(
        self, scope: Scope, path: str, exempt: bool = True, reason: str = "", **by: Unpack[Authorship]
    ) -> GlobalMaintenanceConfig:
        return self._maintenance("POST" if exempt else "DELETE", scope, "exempt", reason, by, path=path)

    def cancel_maintenance_schedule(
        self, scope: Scope, reason: str = "", **by: Unpack[Authorship]
    ) -> GlobalMaintenanceConfig:
        return self._maintenance("DELETE", scope, "schedule", reason, by)

    def _maintenance(
        self, method: str, scope: Scope, action: str, reason: str, by: Authorship, **what: Any
    ) -> GlobalMaintenanceConfig:
        reply = self._change(method, f"{_maintenance(scope)}/{action}", reason, by, what)
        return self._read(GlobalMaintenanceConfig, reply)

    # -- limits of routes -------------------------------------------------------------------

    def list_limits(self, service: str | None = None) -> list[RateLimitPolicy]:
        return self._read(
            list[RateLimitPolicy], self._ask("GET", "/rate-limits", params=_of_service(service))
        )

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
    ) -> RateLimitPolicy:
        if method is None:
            # The server takes GET for what is not named; here it is the one route that the path stands for.
            path = self._key(path)
            method = RouteKey.parse(path).method or ""
        named = {
            "path": path,
            "method": method,
            "limit": limit,
            "algorithm": algorithm,
            "key_strategy": key_strategy,
            "on_missing_key": on_missing_key,
            "burst": burst,
            "tiers": None if tiers is None else [dict(one) for one in tiers],
            "tier_resolver": tier_resolver,
            "exempt_ips": None if exempt_ips is None else list(exempt_ips),
            "exempt_roles": None if exempt_roles is None else list(exempt_roles),
            "shadow": shadow,
        }
        reply = self._change("POST", "/rate-limits", reason, by, named)
        return self._read(RateLimitPolicy, reply)

    def get_rate_limit_policy(self, path: str, method: str | None = None) -> RateLimitPolicy | None:
        reply = self._ask("GET", _limit(path), params=_of_method(method))
        return self._read(_RouteLimit, reply).policy

    def delete_rate_limit_policy(
        self, path: str, method: str | None = None, reason: str = "", **by: Unpack[Authorship]
    ) -> None:
        self._change("DELETE", _limit(path), reason, by, params=_of_method(method))

    def reset_rate_limit(
        self, path: str, method: str | None = None, reason: str = "", **by: Unpack[Authorship]
    ) -> None:
        self._change("DELETE", f"{_limit(path)}/reset", reason, by, params=_of_method(method))

    def get_rate_limit_hits(self, path: str | None = None, limit: int | None = 100) -> list[RateLimitHit]:
        params = _given({"route": path, "limit": KEPT if limit is None else min(limit, KEPT)})
        return self._read(list[RateLimitHit], self._ask("GET", "/rate-limits/hits", params=params))

    def _key(self, path: str) -> str:
        is_complete = "/" in path and RouteKey.parse(path).method is not None
        return path if is_complete else self.get_state(path).path

    # -- limits of wider scopes -------------------------------------------------------------

    def get_limit(self, scope: Scope) -> StoredPolicy | None:
        return self._read(_WideLimit, self._ask("GET", _wide_limit(scope))).policy

    def set_limit(
        self, scope: Scope, named: Mapping[str, Any], reason: str = "", **by: Unpack[Authorship]
    ) -> StoredPolicy:
        return self._read(GlobalRateLimitPolicy, self._change("POST", _wide_limit(scope), reason, by, named))

    def delete_limit(self, scope: Scope, reason: str = "", **by: Unpack[Authorship]) -> None:
        self._change("DELETE", _wide_limit(scope), reason, by)

    def switch_limit(
        self, scope: Scope, enabled: bool, reason: str = "", **by: Unpack[Authorship]
    ) -> StoredPolicy:
        self._change("POST", f"{_wide_limit(scope)}/{'enable' if enabled else 'disable'}", reason, by)
        found = self.get_limit(scope)
        if found is None:
            raise ServerError(f"The rate limit of {scope.label} was deleted meanwhile.")
        return found

    def reset_limit(
        self, scope: Scope, reason: str = "", all_methods: bool = False, **by: Unpack[Authorship]
    ) -> None:
        self._change("DELETE", f"{_wide_limit(scope)}/reset", reason, by)

    # -- logins and tokens ------------------------------------------------------------------

    def log_out(self) -> None:
        """Revoke the token with which this client asks."""
        self._ask("POST", "/auth/logout")

    def issue_token(
        self,
        service: str,
        lifetime: timedelta | None = None,
        reason: str = "",
        **by: Unpack[Authorship],
    ) -> tuple[TokenRecord, str]:
        """Return a new token of a service, which is shown this once, and what is known of it."""
        seconds = max(1, round(lifetime.total_seconds())) if lifetime else 0
        expires = f"{seconds // 86_400}d{seconds % 86_400}s" if lifetime else None
        reply = self._change("POST", "/tokens", reason, by, {"service": service, "expires": expires})
        issued = self._read(_IssuedToken, reply)
        return TokenRecord.model_validate(issued.model_dump(exclude={"token"})), issued.token

    def list_tokens(self, service: str | None = None) -> list[TokenRecord]:
        return self._read(list[TokenRecord], self._ask("GET", "/tokens", params=_of_service(service)))

    def revoke_token(
        self,
        token_id: str,
        record: TokenRecord | None = None,
        reason: str = "",
        **by: Unpack[Authorship],
    ) -> TokenRecord:
        """``record`` is the server's to know."""
        where = f"/tokens/{quote(token_id, safe='')}"
        return self._read(TokenRecord, self._change("DELETE", where, reason, by))

    # -- requests and answers ---------------------------------------------------------------

    def _change(
        self,
        method: str,
        where: str,
        reason: str,
        by: Authorship,
        what: Mapping[str, Any] | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        patience: float = ANSWER_TIMEOUT,
    ) -> Reply:
        """Ask for a change; of ``what`` only that is said which is given."""
        body = {name: _told(value) for name, value in given(what or {}).items()}
        said = {"reason": reason, "note": by.get("note", "")}
        expected = by.get("expected_revision")
        return self._ask(
            method,
            where,
            params=params,
            body={**body, **{name: text for name, text in said.items() if text}},
            headers={} if expected is None else {"If-Match": f'"{expected}"'},
            timeout=patience,
        )

    def _ask(self, method: str, where: str, **options: Any) -> Reply:
        reply = any_node(self.connection, lambda: self.connection.request(method, where, **options))
        self.environment = unquote(reply.headers.get("x-shield-environment", "")) or None
        return reply

    def _read(self, kind: type[Found], reply: Reply) -> Found:
        try:
            return TypeAdapter(kind).validate_python(reply.data)
        except ValidationError as error:
            raise ServerError(
                f"{self.connection.address} answers what this version of shield cannot read: is it of a "
                "newer version, or no Shield Server?"
            ) from error


def any_node(connection: Connection, ask: Callable[[], Answer]) -> Answer:
    """Return what a node answers; where one cannot be connected to, so heard nothing, the next is asked."""
    for _ in connection.nodes[1:]:
        try:
            return ask()
        except BackendError as error:
            if not isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout):
                raise
            connection.next_node()
    return ask()


class _Service(BaseModel):
    instances: list[Instance]


class _RouteLimit(BaseModel):
    policy: RateLimitPolicy | None


class _WideLimit(BaseModel):
    policy: GlobalRateLimitPolicy | None


class _IssuedToken(TokenRecord):
    token: str


_DETAIL = {"detail": "1"}


def _told(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _given(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(value) for name, value in params.items() if value is not None}


def _of_service(service: str | None) -> dict[str, str]:
    return {"service": service} if service else {}


def _of_method(method: str | None) -> dict[str, str]:
    return {"method": method} if method else {}


def _of_route(path: str) -> str:
    return f"/routes/{encode_key(path)}"


def _limit(path: str) -> str:
    return f"/rate-limits/{encode_key(path)}"


def _maintenance(scope: Scope) -> str:
    return "/global" if scope == EVERYTHING else f"/services/{scope.name}/maintenance"


def _wide_limit(scope: Scope) -> str:
    return "/global-rate-limit" if scope == EVERYTHING else f"/services/{scope.name}/rate-limit"
