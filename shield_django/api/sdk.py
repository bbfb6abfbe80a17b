"""What services ask and tell."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pydantic import ValidationError as Invalid
from rest_framework.exceptions import PermissionDenied, ValidationError

from shield_core.events import cut, dumped, now
from shield_core.keys import check_service, parse_store_key
from shield_core.models import (
    INSTANCE_TTL,
    AuditEntry,
    Instance,
    RateLimitHit,
    RouteState,
    reasons,
    value_type,
)
from shield_core.plan import Proposal
from shield_django.api import answers, bodies
from shield_django.api.base import ControlView, operation
from shield_django.api.errors import NotImplementedHere
from shield_django.api.formats import TooLarge, cleaned
from shield_django.api.keys import parse_key
from shield_django.auth.access import rule_of_write

logger = logging.getLogger("shield.sdk")

#: What a service may say that was done to its routes.
_REPORTED = frozenset(
    {
        "enable",
        "disable",
        "maintenance_on",
        "env_gate",
        "deprecate",
        "schedule",
        "schedule_cancel",
        "override_cleared",
        "rl_policy_set",
        "rl_policy_updated",
        "rl_policy_deleted",
        "rl_reset",
        "enforced",
    }
)
#: Bytes of JSON that a service may say of one route.
_LARGEST = 32 * 1024
#: How many acknowledgements a node is to get in a second; each takes it some milliseconds.
_ACKNOWLEDGED_PER_SECOND = 50
#: What is the server's to say of a route.
_OURS = ("origin", "baseline", "revision", "updated_at", "updated_by", "note", "service")


class _FromService(ControlView):
    def named_service(self) -> str | None:
        """Return the service that the caller is, or says it is. Raises PermissionDenied for a lie."""
        named: str | None = self.said.get("app_id") or self.asked.get("app_id") or self.app_id
        if not self.principal.is_sdk:
            return named or self.service
        if named is not None and self.principal.service not in (None, named):
            raise PermissionDenied(self.reach)
        return self.principal.service

    def own_service(self) -> str:
        """As ``named_service``. Raises ValidationError where there is none."""
        service = self.named_service()
        self.allow(service)
        if service is None:
            raise ValidationError({"app_id": "Say which service this is about."})
        return service


class Events(ControlView):
    """The event stream, which an ASGI server answers before Django is asked."""

    endpoint = "sdk-events"

    @operation(None)
    def get(self) -> Any:
        raise NotImplementedHere(
            "The event stream needs an ASGI server, with ShieldASGIMiddleware in front of Django, "
            "and Channels (pip install 'shield-django[asgi]'). "
            "Poll /api/sdk/snapshot with If-None-Match instead."
        )


class Register(_FromService):
    """Tell which routes a service has; operators' overrides win."""

    endpoint = "sdk-register"
    body_limit = 10 * 1024 * 1024

    @operation(answers.Registered, takes=bodies.Registration, asks=bodies.RouteQuery)
    def post(self) -> Any:
        service = self._bound_service()
        states = {state.path: state for state in self._states(service)}
        current = self.sync.register_states(list(states.values()), **self.by)
        return {"states": self.shown(current)}

    def _bound_service(self) -> str:
        """Return the service; a token of none belongs to it from now on."""
        token, named = self.principal.token, self.said.get("app_id") or self.app_id
        if token is None or not self.principal.is_sdk or self.principal.service is not None or not named:
            return self.own_service()
        self._states(named)  # nothing is bound by a body that is refused
        self.sync.bind_token(token.record, named, **self.by)
        return str(named)

    def _states(self, service: str) -> list[RouteState]:
        return [self._state(one, service) for one in cleaned(self.said["states"])]

    def _state(self, told: Mapping[str, Any], service: str) -> RouteState:
        """Read a state as the code's. Raises ValidationError."""
        try:
            found = RouteState.model_validate({name: one for name, one in told.items() if name not in _OURS})
        except Invalid as error:
            raise ValidationError({"states": f"{str(told.get('path'))[:200]}: {reasons(error)}"}) from None
        key = parse_key(found.path, service)
        if key.service != service:
            raise PermissionDenied(f"{key} is no route of the service {service!r}.")
        limit = found.rate_limit
        if limit is not None:
            limit = limit.replace(path=str(key._replace(method=None)), method=key.method or "")
        return found.replace(path=str(key), service=service, origin="code", baseline=None, rate_limit=limit)


class Commit(_FromService):
    """Commit what a process wants to have changed: a service in its own routes, an operator anywhere."""

    endpoint = "sdk-commit"

    @operation(answers.Committed, takes=bodies.Proposed)
    def post(self) -> Any:
        self.named_service()
        proposals = [self._proposal(one) for one in self.said["writes"]]
        entries = [self._entry(one) for one in self.said["audit"]]
        is_operator = not self.principal.is_sdk
        by = self.by
        by["expected_revision"] = None
        changes = self.sync.propose(proposals, entries, may_be_silent=is_operator, **by)
        writes = [
            {"key": key, "value": dumped(value, for_service=not is_operator) if value else None}
            for key, value in changes.writes
        ]
        return {"epoch": changes.cursor.epoch, "revision": changes.cursor.revision, "writes": writes}

    def _proposal(self, told: Mapping[str, Any]) -> Proposal:
        """Read a write, of what this caller may touch. Raises ValidationError, PermissionDenied."""
        key, value = told["key"], told["value"]
        scope = parse_store_key(key)[1]
        self.admit(rule_of_write(key))
        self.allow(scope.owner)
        if scope.kind == "service":
            check_service(scope.name)
        elif scope.kind == "route" and str(parse_key(scope.name)) != scope.name:
            raise ValidationError({"writes": f"{key[:200]}: write it as {parse_key(scope.name)}."})
        if scope.kind == "route":
            _measure(value, key)
        try:
            read = value_type(key).model_validate(cleaned(value)) if value is not None else None
        except Invalid as error:
            raise ValidationError({"writes": f"{key[:200]}: {reasons(error)}"}) from None
        return Proposal(key, read, told.get("expect"))

    def _entry(self, told: Mapping[str, Any]) -> AuditEntry:
        said = {name: value for name, value in cleaned(dict(told)).items() if value is not None}
        return AuditEntry.model_validate(said)


class Hits(_FromService):
    """Tell which requests limits have blocked in an instance."""

    endpoint = "sdk-hits"

    @operation(answers.Ok, takes=bodies.ReportedHits)
    def post(self) -> Any:
        service = self.own_service()
        self.sync.report_hits([self._hit(one, service) for one in self.said["hits"]])
        return {"ok": True}

    def _hit(self, told: Mapping[str, Any], service: str) -> RateLimitHit:
        """Read a hit of the service's own paths. Raises ValidationError, PermissionDenied."""
        try:
            hit = RateLimitHit.model_validate(cleaned(dict(told)))
        except Invalid as error:
            raise ValidationError({"hits": reasons(error)}) from None
        if not hit.path.startswith(f"{service}:/"):
            raise PermissionDenied(f"{hit.path[:200]} is no path of the service {service!r}.")
        return hit


def _measure(value: Any, what: str) -> None:
    """Refuse what would fill the audit log, which keeps it before and after. Raises TooLarge."""
    if len(json.dumps(value)) > _LARGEST:
        raise TooLarge(f"{what[:200]}: this is too large, at most {_LARGEST} bytes.")


class Report(_FromService):
    """Write into the audit log what a service did to its own routes."""

    endpoint = "sdk-audit"

    @operation(answers.Ok, takes=bodies.ReportedEntry)
    def post(self) -> Any:
        said = cleaned(dict(self.said))
        _measure(said.get("details"), "details")
        if said["action"] not in _REPORTED:
            raise ValidationError({"action": f"A service reports {', '.join(sorted(_REPORTED))}."})
        service = self.own_service()
        key = parse_key(said["path"], service)
        if key.service != service:
            raise PermissionDenied(f"{key} is no route of the service {service!r}.")
        by = self.by
        by["note"] = said.get("note") or ""
        self.sync.note(
            said["action"],
            str(key),
            service,
            said.get("previous_status"),
            said.get("new_status"),
            said.get("details"),
            said.get("reason") or "",
            **by,
        )
        return {"ok": True}


class Snapshot(_FromService):
    """One consistent cut of the store: everything, or what concerns one service."""

    endpoint = "sdk-snapshot"

    @operation(answers.Snapshot, asks=bodies.SnapshotQuery)
    def get(self) -> Any:
        service = self.named_service()
        if self.principal.is_sdk:
            self.allow(service)
        snapshot = self.sync.current()
        self.unless_known([snapshot.epoch, snapshot.revision, service])
        return {**cut(snapshot, service), "durable": self.control.engine.backend.durable}


class Acknowledge(_FromService):
    """Tell that an instance is alive, and which revision it has applied."""

    endpoint = "sdk-ack"

    @operation(answers.Acknowledged, takes=bodies.Acknowledgement)
    def post(self) -> Any:
        said, service = self.said, self.own_service()
        for error in said.get("errors", [])[:10]:
            logger.warning("%s on %s reports: %s", service, said.get("host", "?"), cleaned(error))
        self.sync.heard_of(
            Instance(
                # Of its own service, so that none can speak for the instance of another.
                id=hashlib.sha256(f"{service}:{said['instance']}".encode()).hexdigest()[:32],
                service=service,
                host=said.get("host", ""),
                pid=said.get("pid", 0),
                release=said.get("release", ""),
                epoch=said.get("epoch") or self.control.snapshot.epoch,
                revision=said["revision"],
                # Who ends was last seen too long ago to be alive.
                seen_at=now() - timedelta(seconds=INSTANCE_TTL if said.get("ended") else 0),
            )
        )
        within = len(self.control.hub) / _ACKNOWLEDGED_PER_SECOND
        return {"ok": True, **({"within": within} if within > 1 else {})}
