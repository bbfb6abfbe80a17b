"""The values that are stored, sent and shown (CONTRACT §1). All are immutable."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from ipaddress import ip_network
from typing import Annotated, Any, Literal, Self, TypeAlias
from uuid import uuid4

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    ValidationError,
    field_validator,
    model_validator,
)

from shield_core.keys import ExemptEntry, Facet, RouteKey, is_route_key, parse_store_key
from shield_core.rate_limit.grammar import Rate


def reasons(error: ValidationError) -> str:
    """Return what is wrong with an input, in a line."""
    parts = []
    for one in error.errors():
        place = ".".join(str(part) for part in one["loc"])
        said = str(one["msg"]).removeprefix("Value error, ")
        parts.append(f"{place}: {said}" if place else said)
    return "; ".join(parts)


class RouteStatus(StrEnum):
    """What a route answers. ``env_gated`` is 404 outside the named environments."""

    ACTIVE = "active"
    MAINTENANCE = "maintenance"
    DISABLED = "disabled"
    ENV_GATED = "env_gated"
    DEPRECATED = "deprecated"


class LimitCause(StrEnum):
    """What blocks a request besides a status."""

    RATE_LIMITED = "rate_limited"


WindowStatus: TypeAlias = Literal[RouteStatus.MAINTENANCE, RouteStatus.DISABLED]
BLOCKING = frozenset({RouteStatus.MAINTENANCE, RouteStatus.DISABLED})


class _Value(BaseModel):
    """Frozen; fields that a newer version wrote are kept when the object is written again."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def replace(self, **changes: Any) -> Self:
        """Return a validated copy with ``changes``."""
        return type(self).model_validate({**dict(self), **changes})


class _Timeless(_Value):
    """What is stored and has no window."""

    @property
    def window(self) -> None:
        """None, always; other stored objects may have one."""


def _settled(moment: datetime) -> datetime:
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{moment} is before or after all years that there are in UTC") from None
    if not isinstance(moment.tzinfo, timezone):
        # Moments of one zone with summer time compare by the wall clock, which goes back once a year. And
        # an object of pydantic's zone that is left when the interpreter ends crashes it, under -X dev.
        moment = moment.replace(tzinfo=timezone(moment.utcoffset() or timedelta()), fold=0)
    return moment


#: An aware datetime that all stores can hold.
Moment: TypeAlias = Annotated[AwareDatetime, AfterValidator(_settled)]


class MaintenanceWindow(_Value):
    """An overlay from ``start`` to ``end`` (aware datetimes) over a base status."""

    start: Moment
    end: Moment
    reason: str = ""
    status: WindowStatus = RouteStatus.MAINTENANCE
    read_only: bool = False

    @model_validator(mode="after")
    def _ends_after_start(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"a window must end after it starts: {self.start} to {self.end}")
        return self

    def runs_at(self, moment: datetime) -> bool:
        return self.start <= moment < self.end


class Baseline(_Value):
    """What the code's decorators say of a route."""

    status: RouteStatus = RouteStatus.ACTIVE
    reason: str = ""
    allowed_envs: tuple[str, ...] = ()
    window: MaintenanceWindow | None = None
    sunset_date: Moment | None = None
    successor_path: str | None = None
    read_only: bool = False


class Algorithm(StrEnum):
    """How requests are counted.

    ``fixed_window``: in windows that begin with the clock's; up to twice the capacity around a boundary.
    ``sliding_window``: exact, never more than the capacity in any window. ``token_bucket``: a steady
    rate with the capacity as its store; up to capacity + limit in one period.
    """

    FIXED_WINDOW = "fixed_window"
    SLIDING_WINDOW = "sliding_window"
    TOKEN_BUCKET = "token_bucket"

    @classmethod
    def _missing_(cls, value: object) -> Algorithm | None:
        return cls.SLIDING_WINDOW if value == "moving_window" else None


class KeyStrategy(StrEnum):
    """Who is counted together. ``custom`` is the callable that the code's decorator has."""

    IP = "ip"
    USER = "user"
    API_KEY = "api_key"
    GLOBAL = "global"
    CUSTOM = "custom"


OnMissingKey: TypeAlias = Literal["exempt", "fallback_ip", "block"]


def _check_limit(text: str) -> str:
    Rate.parse(text)
    return " ".join(text.split())


class RateLimitTier(_Value):
    """What one kind of caller may do: ``{"name": "pro", "limit": "1000/minute"}``."""

    name: str
    limit: str

    _limit_parses = field_validator("limit")(_check_limit)


class _Policy(_Timeless):
    """What a limit at any scope has."""

    limit: str
    algorithm: Algorithm = Algorithm.FIXED_WINDOW
    key_strategy: KeyStrategy = KeyStrategy.IP
    on_missing_key: OnMissingKey | None = None
    burst: NonNegativeInt = Field(default=0, le=1_000_000_000)
    shadow: bool = False
    revision: int = 0
    updated_at: Moment | None = None
    updated_by: str = ""

    _limit_parses = field_validator("limit")(_check_limit)


class RateLimitPolicy(_Policy):
    """The limit of one route. ``path`` is a template, with the service in front where there is one.

    ``method`` empty means every method. ``tiers`` replace ``limit`` for callers of a tier, which
    ``tier_resolver`` names: the user's attribute of that name, or ``custom``, the code's callable.
    """

    path: str
    method: str = ""
    tiers: tuple[RateLimitTier, ...] = ()
    tier_resolver: str = "plan"
    exempt_ips: tuple[str, ...] = ()
    exempt_roles: tuple[str, ...] = ()

    @property
    def key(self) -> RouteKey:
        return RouteKey.parse(self.path)._replace(method=self.method or None)

    @field_validator("tiers", mode="before")
    @classmethod
    def _tiers_may_be_a_dictionary(cls, value: object) -> object:
        """Take tiers as the decorator takes them, too: ``{"pro": "1000/minute"}``."""
        if isinstance(value, Mapping):
            return [{"name": name, "limit": limit} for name, limit in value.items()]
        return value

    @field_validator("exempt_ips")
    @classmethod
    def _networks_parse(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                ip_network(text, strict=False)
            except ValueError:
                raise ValueError(
                    f"{text!r} is neither an IP address nor a network such as 10.0.0.0/8"
                ) from None
        return value

    @model_validator(mode="after")
    def _names_one_route(self) -> Self:
        key = RouteKey.parse(self.path)
        if key.method is not None:
            raise ValueError(f"{self.path!r} has a method in it: give the method apart from the path")
        if self.method and RouteKey.parse(f"{self.method}:{key.path}").method != self.method:
            raise ValueError(f"{self.method!r} is no method: methods are written in capitals")
        if len({tier.name for tier in self.tiers}) != len(self.tiers):
            raise ValueError("two tiers have the same name")
        return self


class GlobalRateLimitPolicy(_Policy):
    """The limit of everything or of one service; ``exempt_routes`` are exempt entries."""

    exempt_routes: tuple[str, ...] = ()
    enabled: bool = True

    @field_validator("exempt_routes")
    @classmethod
    def _exempt_routes_parse(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        ExemptEntry.of(value)
        return value


class RateLimitReset(_Timeless):
    """A mark that the counters of a scope begin anew: its revision is their generation."""

    revision: int = 0
    updated_at: Moment | None = None
    updated_by: str = ""


class RouteState(_Value):
    """A route as it is stored: the base status, and an overlay window that never changes it.

    ``origin`` says whose status it is. While an operator overrides the code, ``baseline`` keeps
    what the code said. ``revision`` is that of the last change to this route.
    """

    path: str
    service: str | None = None
    status: RouteStatus = RouteStatus.ACTIVE
    reason: str = ""
    note: str = ""
    allowed_envs: tuple[str, ...] = ()
    window: MaintenanceWindow | None = None
    sunset_date: Moment | None = None
    successor_path: str | None = None
    force_active: bool = False
    read_only: bool = False
    #: What the code's ``@rate_limit`` says, for operators; it decides only in the code's own process.
    rate_limit: RateLimitPolicy | None = None
    origin: Literal["code", "operator"] = "code"
    baseline: Baseline | None = None
    release: str = ""
    revision: int = 0
    updated_at: Moment | None = None
    updated_by: str = ""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, data: Any) -> Any:
        """Read what `api-shield` writes, whose states know neither origin nor overlay."""
        if not isinstance(data, dict) or "path" not in data:
            return data
        data = dict(data)
        if "origin" not in data:
            if data.get("status") == RouteStatus.MAINTENANCE and data.get("window") is not None:
                data["status"] = RouteStatus.ACTIVE
            closing = data.get("status") in (*BLOCKING, RouteStatus.ENV_GATED)
            data["origin"] = "operator" if closing or data.get("window") is not None else "code"
        if data.get("service") is None and is_route_key(str(data["path"])):
            data["service"] = RouteKey.parse(str(data["path"])).service
        return data

    @property
    def key(self) -> RouteKey:
        return RouteKey.parse(self.path)

    @property
    def code(self) -> Baseline:
        """What the code said when it last registered this route."""
        if self.origin == "operator":
            return self.baseline or Baseline()
        return self.here

    @property
    def here(self) -> Baseline:
        """What this state itself says, whosever it is."""
        return Baseline.model_validate({name: getattr(self, name) for name in Baseline.model_fields})

    def effective(self, moment: datetime | None = None) -> RouteStatus:
        """Return the status that callers meet at ``moment`` (now), the window included."""
        status = self.status
        if status is RouteStatus.ACTIVE and self.sunset_date is not None:
            status = RouteStatus.DEPRECATED
        window = self.window
        if window is not None and window.runs_at(moment or datetime.now(UTC)):
            return strictest(status, window.status)
        return status


_FROM_OPEN_TO_CLOSED = (
    RouteStatus.ACTIVE,
    RouteStatus.DEPRECATED,
    RouteStatus.ENV_GATED,
    RouteStatus.MAINTENANCE,
    RouteStatus.DISABLED,
)


def strictness(status: RouteStatus) -> int:
    return _FROM_OPEN_TO_CLOSED.index(status)


def strictest(*statuses: RouteStatus) -> RouteStatus:
    return max(statuses, key=strictness)


class GlobalMaintenanceConfig(_Value):
    """Maintenance of everything or of one service."""

    enabled: bool = False
    reason: str = ""
    note: str = ""
    exempt_paths: tuple[str, ...] = ()
    include_force_active: bool = False
    read_only: bool = False
    window: MaintenanceWindow | None = None
    revision: int = 0
    updated_at: Moment | None = None
    updated_by: str = ""

    @field_validator("exempt_paths")
    @classmethod
    def _exempt_paths_parse(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        ExemptEntry.of(value)
        return value

    def in_force(self, moment: datetime) -> bool:
        return self.enabled or (self.window is not None and self.window.runs_at(moment))


class TokenRecord(_Timeless):
    """What the store knows of a token, never the token itself: one that was issued by hand, or revoked.

    Tokens of a login are not stored before they are revoked. A record may go when it has expired.
    """

    id: str
    platform: str = "sdk"
    subject: str = ""
    service: str | None = None
    issued: bool = False
    expires_at: Moment
    created_at: Moment | None = None
    created_by: str = ""
    revoked_at: Moment | None = None
    revision: int = 0
    updated_at: Moment | None = None
    updated_by: str = ""


StoredPolicy: TypeAlias = RateLimitPolicy | GlobalRateLimitPolicy
StoredObject: TypeAlias = RouteState | GlobalMaintenanceConfig | StoredPolicy | RateLimitReset | TokenRecord


def value_type(store_key: str) -> type[StoredObject]:
    """Return the model of what is stored under ``store_key``."""
    facet, scope = parse_store_key(store_key)
    match facet:
        case Facet.LIMIT:
            return RateLimitPolicy if scope.kind == "route" else GlobalRateLimitPolicy
        case Facet.RESET:
            return RateLimitReset
        case Facet.TOKEN:
            return TokenRecord
        case _:
            return RouteState if scope.kind == "route" else GlobalMaintenanceConfig


class AuditEntry(_Value):
    """One line of the audit log; ``hash`` seals it to the line before it (shield_core.audit)."""

    id: str = Field(default_factory=lambda: uuid4().hex)
    timestamp: Moment = Field(default_factory=lambda: datetime.now(UTC))
    path: str = ""
    service: str | None = None
    action: str
    actor: str = "system"
    platform: str = "system"
    reason: str = ""
    note: str = ""
    previous_status: str | None = None
    new_status: str | None = None
    revision: int = 0
    request_id: str = ""
    client_ip: str = ""
    details: dict[str, Any] = Field(default_factory=dict)
    prev_hash: str = ""
    hash: str = ""


class Instance(_Value):
    """One process that follows a store: which revision it has applied, and when it was last seen."""

    id: str
    service: str | None = None
    host: str = ""
    pid: int = 0
    release: str = ""
    epoch: str = ""
    revision: int = 0
    seen_at: Moment

    def alive_at(self, moment: datetime) -> bool:
        return (moment - self.seen_at).total_seconds() < INSTANCE_TTL

    def behind(self, epoch: str, revision: int) -> int | None:
        """Return how many revisions it is behind a store, None where it follows another history of it."""
        return max(revision - self.revision, 0) if self.epoch in ("", epoch) else None


#: Seconds of silence after which an instance counts as gone; it is heard every 30 seconds.
INSTANCE_TTL = 90.0


class RateLimitResult(_Value):
    """What a limit said of one request."""

    allowed: bool
    limit: int
    remaining: int
    reset_at: Moment
    retry_after_seconds: float = 0.0
    key: str = ""
    tier: str | None = None


class RateLimitHit(_Value):
    """One request that a limit blocked, or would have (``shadow``). API keys are hashed in ``key``."""

    id: str = Field(default_factory=lambda: uuid4().hex)
    timestamp: Moment
    path: str
    method: str
    key: str
    limit: str
    tier: str | None = None
    reset_at: Moment
    scope: str = ""
    shadow: bool = False
