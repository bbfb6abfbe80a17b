"""What is answered beside the models of CONTRACT §1."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from shield_core.models import GlobalRateLimitPolicy, Instance, RateLimitPolicy, RouteState, TokenRecord


class Ok(BaseModel):
    ok: Literal[True] = True


class Acknowledged(Ok):
    """``within``: the seconds over which services are to spread their acknowledgements of a change."""

    within: float | None = None


class Failure(BaseModel):
    """What went wrong; a bare path that could be several routes names them."""

    error: str
    ambiguous_matches: list[str] | None = None


class LoggedIn(BaseModel):
    token: str
    username: str
    expires_at: datetime


class Me(BaseModel):
    username: str
    platform: str


class DeletedLimit(Ok):
    path: str
    method: str


class ResetLimit(Ok):
    path: str


class WideLimit(BaseModel):
    enabled: bool
    policy: GlobalRateLimitPolicy | None


class InstanceDetail(Instance):
    """``lag`` is how many revisions it is behind the store, None where it follows another history."""

    lag: int | None


class ServiceDetail(BaseModel):
    """``service`` None is the control plane itself, and a project without a service of its own."""

    service: str | None
    instances: list[InstanceDetail]
    last_contact: datetime | None
    revision: int | None
    lag: int | None


class RouteLimit(BaseModel):
    """The limit that is in force for a route: an operator's, its bare path's or the code's."""

    policy: RateLimitPolicy | None


class IssuedToken(TokenRecord):
    """With the token itself, which is shown this once."""

    token: str


class Registered(BaseModel):
    states: list[RouteState]


class Stored(BaseModel):
    """What is stored under a key; null where it was deleted."""

    key: str
    value: dict[str, Any] | None


class Committed(BaseModel):
    epoch: str
    revision: int
    writes: list[Stored]


class Snapshot(BaseModel):
    """A consistent cut of the store (CONTRACT §7)."""

    epoch: str
    revision: int
    routes: list[RouteState]
    marks: dict[str, Any]
    durable: bool
    rate_limits: list[dict[str, Any]]
