"""What callers send: a serializer for every body and every query string."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rest_framework import serializers

from shield_core.models import (
    GlobalRateLimitPolicy,
    MaintenanceWindow,
    RateLimitPolicy,
    WindowStatus,
)
from shield_core.plan import ROUTE_ACTIONS
from shield_core.rate_limit.hits import KEPT
from shield_django.api.fields import Moment, Service, Span, Text, Texts, Truth, Whole
from shield_django.models import STORE_KEY_LENGTH

_MOST = 1000


class Body(serializers.Serializer[Any]):
    """A body or a query string; one with a field that nobody knows is refused, as it may be misspelt."""

    #: Whether fields of a newer version are passed over.
    lenient = False

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and not self.lenient:
            unknown = sorted(set(data) - set(self.fields))
            if unknown:
                raise serializers.ValidationError(
                    {
                        name[:80]: [f"There is no such field; there are {', '.join(self.fields)}."]
                        for name in unknown
                    }
                )
        return super().to_internal_value(data)


class Change(Body):
    """Why something is changed: ``reason`` is shown to callers, ``note`` only to operators."""

    reason = Text(required=False)
    note = Text(required=False)


class Timed(Change):
    """Until when something is blocked: ``for`` a span, ``until`` a moment, or from ``start`` to ``end``."""

    until = Moment(required=False, allow_null=True)
    start = Moment(required=False, allow_null=True)
    end = Moment(required=False, allow_null=True)

    def get_fields(self) -> dict[str, Any]:
        return {**super().get_fields(), "for": Span(required=False, allow_null=True)}

    def validate(self, said: dict[str, Any]) -> dict[str, Any]:
        span, until, start, end = (said.pop(name, None) for name in ("for", "until", "start", "end"))
        if sum(one is not None for one in (span, until, end)) > 1:
            raise serializers.ValidationError("Give only one of for, until and end.")
        now = datetime.now(UTC)
        try:
            end = (start or now) + span if span is not None else end or until
        except OverflowError:
            raise serializers.ValidationError({"for": "This is too long."}) from None
        if start is not None and end is None:
            raise serializers.ValidationError("A start needs an end.")
        if end is not None and end <= (start or now):
            raise serializers.ValidationError(
                "The end must be after the start." if start else "The end is in the past."
            )
        return {**said, "start": start, "end": end}


class Disable(Timed):
    pass


class Maintenance(Timed):
    read_only = Truth(required=False)  # type: ignore[assignment]


class Schedule(Timed):
    """The window, which needs both ends here."""

    status = serializers.ChoiceField(["maintenance", "disabled"], required=False)
    read_only = Truth(required=False)  # type: ignore[assignment]

    def validate(self, said: dict[str, Any]) -> dict[str, Any]:
        said = super().validate(said)
        if said["start"] is None or said["end"] is None:
            raise serializers.ValidationError("A window needs a start and an end.")
        return said


class BulkChange(Timed):
    """What to do to several ``routes``; ``all_methods``: to every key that each of their paths has.

    What else belongs to it is as at the address of the change of one route.
    """

    action = serializers.ChoiceField(list(ROUTE_ACTIONS))
    routes = serializers.ListField(
        child=Text(max_length=500, allow_blank=False), min_length=1, max_length=_MOST
    )
    all_methods = Truth(required=False)
    status = serializers.ChoiceField(["maintenance", "disabled"], required=False)
    envs = Texts(required=False)
    read_only = Truth(required=False)  # type: ignore[assignment]


class Environments(Change):
    envs = Texts()


class ScopeMaintenance(Timed):
    """``exempt_paths`` left out: those that were exempt before stay so."""

    exempt_paths = Texts(required=False, allow_null=True)
    include_force_active = Truth(required=False)
    read_only = Truth(required=False)  # type: ignore[assignment]


class ExemptPath(Change):
    path = Text(max_length=500, allow_blank=False)


class ExemptPaths(Change):
    """All paths that are exempt from now on."""

    paths = Texts()


def window_of(said: dict[str, Any], status: WindowStatus) -> MaintenanceWindow | None:
    """Return the window that a validated ``Timed`` describes, None for a block that is for good."""
    if said["end"] is None:
        return None
    return MaintenanceWindow(
        start=said["start"] or datetime.now(UTC),
        end=said["end"],
        reason=said.get("reason", ""),
        status=said.get("status", status),
        read_only=said.get("read_only", False),
    )


class Restoration(Change):
    """``timeout`` is how many seconds to wait for a process that has rules to put back."""

    timeout = Whole(required=False, min_value=0, max_value=30)


class Tier(Body):
    name = Text(max_length=100, allow_blank=False)
    limit = Text(max_length=50, allow_blank=False)


class _Limit(Change):
    """What every limit has. What is left out, or null, stays as it is.

    ``on_missing_key`` null is that of the key strategy again.
    """

    limit = Text(max_length=50, required=False, allow_blank=False, allow_null=True)
    algorithm = serializers.ChoiceField(
        ["fixed_window", "sliding_window", "moving_window", "token_bucket"], required=False, allow_null=True
    )
    key_strategy = serializers.ChoiceField(
        ["ip", "user", "api_key", "global", "custom"], required=False, allow_null=True
    )
    on_missing_key = serializers.ChoiceField(
        ["exempt", "fallback_ip", "block"], required=False, allow_null=True
    )
    burst = Whole(required=False, allow_null=True, min_value=0, max_value=1_000_000_000)
    shadow = Truth(required=False, allow_null=True)


class RouteLimit(_Limit):
    """``method`` "" is every method."""

    path = Text(max_length=500, allow_blank=False)
    method = Text(max_length=32, required=False, allow_null=True)
    tiers = serializers.ListField(child=Tier(), max_length=100, required=False, allow_null=True)
    tier_resolver = Text(max_length=100, required=False, allow_null=True, allow_blank=False)
    exempt_ips = Texts(required=False, allow_null=True)
    exempt_roles = Texts(required=False, allow_null=True)


class WideLimit(_Limit):
    exempt_routes = Texts(required=False, allow_null=True)


#: The fields of a limit that can be named; the rest of a body says why.
ROUTE_LIMIT = frozenset(RateLimitPolicy.model_fields) - {"path", "method"}
WIDE_LIMIT = frozenset(GlobalRateLimitPolicy.model_fields)


class Login(Body):
    lenient = True

    username = Text(max_length=254, allow_blank=False)
    password = Text(lines=True, max_length=4096, allow_blank=False)
    platform = serializers.ChoiceField(["cli", "sdk"], required=False)
    app_id = Service(required=False, allow_null=True)


class NewToken(Change):
    """``expires`` is a span such as ``90d``; left out, the server's own lifetime of service tokens."""

    service = Service()
    expires = Span(required=False, allow_null=True)


class _FromService(Body):
    lenient = True

    app_id = Service(required=False, allow_null=True)


class Registration(_FromService):
    states = serializers.ListField(child=serializers.DictField(), max_length=20_000)


class ProposedWrite(Body):
    """An object to store, null to delete it; ``expect`` is the revision that was seen, 0 for none."""

    lenient = True

    key = Text(max_length=STORE_KEY_LENGTH, allow_blank=False)
    value = serializers.DictField(allow_null=True)
    expect = Whole(required=False, allow_null=True, min_value=0, max_value=2**62)


class ToldEntry(Body):
    """What an audit entry says; who did it is known from the token."""

    lenient = True

    action = Text(max_length=64, allow_blank=False)
    path = Text(max_length=500)
    reason = Text(lines=True, required=False, allow_null=True)
    note = Text(lines=True, required=False, allow_null=True)
    previous_status = Text(max_length=100, required=False, allow_null=True)
    new_status = Text(max_length=100, required=False, allow_null=True)
    details = serializers.DictField(required=False)


class Proposed(_FromService):
    writes = serializers.ListField(child=ProposedWrite(), max_length=_MOST)
    audit = serializers.ListField(child=ToldEntry(), max_length=_MOST)


class ReportedHit(Body):
    """A request that a limit has blocked, or would have."""

    lenient = True

    id = Text(max_length=64, required=False, allow_blank=False)
    timestamp = Moment()
    path = Text(max_length=600, allow_blank=False)
    method = Text(max_length=32)
    key = Text(max_length=300)
    limit = Text(max_length=64)
    tier = Text(max_length=100, required=False, allow_null=True)
    reset_at = Moment()
    scope = Text(max_length=600, required=False)
    shadow = Truth(required=False)


class ReportedHits(_FromService):
    hits = serializers.ListField(child=ReportedHit(), max_length=_MOST)


class ReportedEntry(_FromService):
    """An audit entry of a service; who did it, and for which service, is known from the token."""

    action = Text(max_length=64, allow_blank=False)
    path = Text(max_length=500, allow_blank=False)
    reason = Text(lines=True, required=False, allow_null=True)
    note = Text(lines=True, required=False, allow_null=True)
    previous_status = Text(max_length=32, required=False, allow_null=True)
    new_status = Text(max_length=32, required=False, allow_null=True)
    details = serializers.DictField(required=False, allow_null=True)


class Acknowledgement(_FromService):
    """Which revision an instance of a service has applied, and what it could not apply."""

    instance = Text(max_length=64, allow_blank=False)
    host = Text(max_length=255, required=False)
    pid = Whole(required=False, min_value=0, max_value=2**31)
    release = Text(max_length=255, required=False)
    epoch = Text(max_length=32, required=False)
    revision = Whole(min_value=0, max_value=2**62)
    ended = Truth(required=False)
    errors = serializers.ListField(  # type: ignore[assignment]
        child=Text(lines=True, allow_blank=False), max_length=100, required=False
    )


class Query(Body):
    """What every address takes."""

    lenient = True

    service = Service(required=False)


class RouteQuery(Query):
    detail = serializers.BooleanField(required=False)


class ChangeQuery(RouteQuery):
    """Why something is deleted, where a client sends no body with it."""

    reason = Text(required=False)
    note = Text(required=False)


class DeleteExempt(Change):
    path = Text(max_length=500, allow_blank=False, required=False)


class ExemptQuery(ChangeQuery):
    path = Text(max_length=500, allow_blank=False, required=False)


class MethodQuery(Query):
    method = Text(max_length=32, required=False)


class ResetQuery(ChangeQuery):
    method = Text(max_length=32, required=False)


class AuditQuery(Query):
    """``cursor`` is the id of the last entry that is known; ``since`` is ISO 8601 with a zone.

    ``search`` looks for a text in path, actor, reason and note.
    """

    route = Text(max_length=500, required=False, allow_blank=False)
    actor = Text(max_length=255, required=False, allow_blank=False)
    action = Text(max_length=64, required=False, allow_blank=False)
    platform = Text(max_length=32, required=False, allow_blank=False)
    search = Text(max_length=200, required=False, allow_blank=False)
    id = Text(max_length=64, required=False, allow_blank=False)
    since = Moment(required=False)
    limit = Whole(text=True, required=False, min_value=0, max_value=_MOST)
    cursor = Text(max_length=64, required=False, allow_blank=False)


class HitQuery(Query):
    route = Text(max_length=500, required=False, allow_blank=False)
    limit = Whole(text=True, required=False, min_value=0, max_value=KEPT)


class SnapshotQuery(Query):
    app_id = Service(required=False)
