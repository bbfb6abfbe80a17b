"""Decorators that stamp a view and return the same object.

Each decorator sets an attribute of its own, so that stamps survive ``functools.update_wrapper``
and Django's ``method_decorator`` in any order; ``__shield_meta__`` is the merged view of them,
a new dictionary each time. Nothing here wraps: a stamped function runs normally when called.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from shield_core.declarations import limit_from
from shield_core.exceptions import InvalidInputError
from shield_core.keys import NOWHERE, is_environment
from shield_core.models import MaintenanceWindow, RouteStatus, strictest
from shield_core.texts import listed

View = TypeVar("View", bound=Callable[..., Any])
Meta = dict[str, Any]

META = "__shield_meta__"
#: Module and line of the outermost decorator, for the check that finds stamps made in a URLconf.
STAMPED_AT = "__shield_stamped_at__"
_STAMPS = {
    name: f"__shield_{name}__"
    for name in ("maintenance", "disabled", "env_only", "deprecated", "force_active", "rate_limit")
}

#: Everything that was stamped and is still alive, for the checks that look for lost stamps.
_stamped: dict[int, weakref.ref[Any]] = {}


def maintenance(
    reason: str = "",
    start: datetime | str | None = None,
    end: datetime | str | None = None,
    read_only: bool = False,
    response: Callable[..., Any] | None = None,
) -> Callable[[View], View]:
    """Answer 503, always or from ``start`` to ``end`` (aware datetimes or ISO 8601).

    ``read_only`` lets GET, HEAD and OPTIONS pass. ``response(request, exc)`` makes the answer.
    """
    meta: Meta = {"status": RouteStatus.MAINTENANCE.value, "reason": reason}
    if start is not None or end is not None:
        if start is None or end is None:
            raise InvalidInputError("@maintenance needs both start and end, or neither.")
        first, last = parse_moment(start), parse_moment(end)
        if last <= first:
            raise InvalidInputError(f"@maintenance ends before it starts: {start} to {end}.")
        meta["window"] = MaintenanceWindow(start=first, end=last, reason=reason, read_only=read_only)
    if read_only:
        meta["read_only"] = True
    return _stamp("maintenance", meta, response)


def disabled(reason: str = "", response: Callable[..., Any] | None = None) -> Callable[[View], View]:
    """Answer 503 until an operator enables the route."""
    return _stamp("disabled", {"status": RouteStatus.DISABLED.value, "reason": reason}, response)


def env_only(*envs: str, response: Callable[..., Any] | None = None) -> Callable[[View], View]:
    """Answer what an unknown URL answers, except in the named environments."""
    if not envs or not all(map(is_environment, envs)):
        raise InvalidInputError('@env_only needs the names of environments: @env_only("dev", "staging").')
    return _stamp("env_only", {"status": RouteStatus.ENV_GATED.value, "allowed_envs": list(envs)}, response)


def deprecated(
    sunset: datetime | str, use_instead: str = "", *, since: datetime | str | None = None
) -> Callable[[View], View]:
    """Send ``Deprecation`` (RFC 9745), ``Sunset`` (RFC 8594) and a link to the successor.

    ``sunset`` and ``since`` accept ISO 8601, RFC 7231 dates and aware datetimes. Without
    ``since`` the header says "for ever" (``@0``), the same in every process.
    """
    meta: Meta = {"status": RouteStatus.DEPRECATED.value, "sunset_date": parse_moment(sunset)}
    if use_instead:
        meta["successor_path"] = use_instead
    if since is not None:
        meta["deprecated_at"] = parse_moment(since)
    return _stamp("deprecated", meta, None)


def force_active(view: View) -> View:
    """Let the route pass every lifecycle layer and every limit but its own."""
    return _stamp("force_active", {"force_active": True}, None)(view)


def rate_limit(
    limit: str | Mapping[str, str],
    *,
    algorithm: str | None = None,
    key: str | Callable[..., Any] | None = None,
    on_missing_key: str | None = None,
    burst: int = 0,
    exempt_ips: Iterable[str] | None = None,
    exempt_roles: Iterable[str] | None = None,
    tier_resolver: str | Callable[..., Any] = "plan",
    shadow: bool = False,
    response: Callable[..., Any] | None = None,
) -> Callable[[View], View]:
    """Limit the rate: ``"100/minute"``, ``"10/10s"``, ``"100/5m"``, or a dictionary tier → limit.

    ``key`` is ip (the default), user, api_key, global, or a function of the request, sync or async, that
    returns a text or None. ``tier_resolver`` names an attribute of the user, or is such a function.
    """
    policy: Meta = {
        "limit": dict(limit) if isinstance(limit, Mapping) else limit,
        "algorithm": algorithm,
        "key": key,
        "on_missing_key": on_missing_key,
        "burst": burst,
        "exempt_ips": listed(exempt_ips or (), "exempt_ips"),
        "exempt_roles": listed(exempt_roles or (), "exempt_roles"),
        "tier_resolver": tier_resolver,
        "shadow": shadow,
    }
    limit_from(policy)
    return _stamp("rate_limit", {"rate_limit": policy}, response)


def meta_of(*owners: Any) -> Meta:
    """Merge the stamps of ``owners`` (a class, its handler, …) into one description.

    The result does not depend on the order in which decorators were stacked: disabled is
    stricter than maintenance, which is stricter than an environment gate. Of several owners
    with the same stamp the last one, the innermost, wins; gates add up.
    """
    stamps: dict[str, Meta] = {}
    gates: list[list[str]] = []
    for owner in owners:
        own = {name: found for name in _STAMPS if (found := _read(owner, name)) is not None}
        if "env_only" in own:
            gates.append(own["env_only"]["allowed_envs"])
        stamps.update(own)
    return _merge(stamps, gates)


def is_stamped(candidate: Any) -> bool:
    return any(_read(candidate, name) is not None for name in _STAMPS)


def stamped_objects() -> list[Any]:
    """Return every stamped object that is still alive."""
    return [found for ref in list(_stamped.values()) if (found := ref()) is not None]


def parse_moment(value: datetime | str) -> datetime:
    """Read an aware datetime, ISO 8601 or an RFC 7231 date, as UTC. A bare date is its midnight."""
    moment = value if isinstance(value, datetime) else _parse_text(value)
    if moment.tzinfo is None:
        raise InvalidInputError(f"{value!r} names no time zone: write for example 2027-01-01T04:00:00Z.")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidInputError(f"{value!r} is not within the years 1 to 9999 of UTC.") from None


def _parse_text(text: object) -> datetime:
    if not isinstance(text, str):
        raise InvalidInputError(f"{text!r} is neither a text nor a datetime.")
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        try:
            return parsedate_to_datetime(text)
        except ValueError:
            raise InvalidInputError(
                f"{text!r} is neither an ISO 8601 date nor an HTTP date such as "
                "'Sat, 31 Dec 2026 23:59:59 GMT'."
            ) from None
    return moment.replace(tzinfo=UTC) if len(text.strip()) <= len("2027-01-01") else moment


def _stamp(name: str, meta: Meta, response: Callable[..., Any] | None) -> Callable[[View], View]:
    if callable(meta.get("reason")):
        raise InvalidInputError(f'@{name} is written with parentheses: @{name}() or @{name}("why").')
    if response is not None:
        meta["responses"] = {name: response}
    frame = sys._getframe(2)
    place = (frame.f_globals.get("__name__", ""), frame.f_lineno)

    def decorate(view: View) -> View:
        if not callable(view):
            raise InvalidInputError(f"@{name} decorates views, and {view!r} cannot be called.")
        try:
            setattr(view, _STAMPS[name], meta)
            setattr(view, META, meta_of(view))
            setattr(view, STAMPED_AT, place)
            _stamped[id(view)] = weakref.ref(view, functools.partial(_forget, id(view)))
        except (AttributeError, TypeError) as error:
            raise InvalidInputError(
                f"@{name} cannot mark {view!r}: a bound method or a built-in keeps no attributes. "
                "Decorate the method where it is defined."
            ) from error
        return view

    return decorate


def _forget(identity: int, _ref: weakref.ref[Any]) -> None:
    _stamped.pop(identity, None)


def _read(owner: Any, name: str) -> Meta | None:
    found = getattr(owner, _STAMPS[name], None)
    if found is None and isinstance(owner, functools.partial):
        return _read(owner.func, name)
    return found if isinstance(found, dict) else None


def _merge(stamps: Mapping[str, Meta], gates: list[list[str]]) -> Meta:
    merged: Meta = {}
    for name in ("rate_limit", "deprecated", "env_only", "maintenance", "disabled", "force_active"):
        stamp = dict(stamps.get(name, ()))
        if "responses" in merged and "responses" in stamp:
            stamp["responses"] = {**merged["responses"], **stamp["responses"]}
        if "status" in merged and "status" in stamp:
            stamp["status"] = strictest(RouteStatus(merged["status"]), RouteStatus(stamp["status"])).value
        merged.update(stamp)
    if len(gates) > 1:
        common = [env for env in gates[0] if all(env in gate for gate in gates[1:])]
        merged["allowed_envs"] = common or [NOWHERE]
    return merged
