"""What a request gets and why: the real decision on a state of the store, at any moment, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from shield_core.decisions import Decision, Step
from shield_core.declarations import Declaration
from shield_core.keys import EVERYTHING, RouteKey, Scope
from shield_core.models import GlobalRateLimitPolicy, MaintenanceWindow, RouteStatus, StoredPolicy
from shield_core.rate_limit.layers import DeclaredLimit, Layer
from shield_core.ruleset import Ruleset
from shield_core.snapshot import Snapshot

#: Layers: what each says of a request before the last word, and of the route itself.
MAINTENANCE, LIFECYCLE, LIMIT = "maintenance", "route", "rate limit"
#: What is said of a layer that was not asked, because one before it decided, or nothing applies to the route.
NOT_ASKED, PASSED_OVER = "not asked", "passed over"
#: Routes that wider scopes do not touch, by their own word.
_PROTECTED = ("force_active", "always_open")
_STATUSES = {RouteStatus.MAINTENANCE: 503, RouteStatus.DISABLED: 503, RouteStatus.ENV_GATED: 404}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one layer said. ``until`` is its end; ``window`` one that is still to come.

    ``origin`` is operator, code or "" where nobody has set anything; ``by`` the operator.
    """

    layer: str
    scope: Scope
    said: str
    decides: bool = False
    reason: str = ""
    until: datetime | None = None
    origin: str = ""
    by: str = ""
    revision: int = 0
    window: MaintenanceWindow | None = None
    policy: StoredPolicy | None = None


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What ``method`` to the template ``path`` gets; an unknown URL (not ``is_known``) meets wide layers."""

    method: str
    path: str
    is_known: bool
    service: str | None
    env: str | None
    at: datetime
    decision: Decision
    findings: tuple[Finding, ...]

    @property
    def status(self) -> int | None:
        """The HTTP status of the answer; None: it is the application's to answer, within the limits."""
        cause = self.decision.cause
        return _STATUSES[cause] if isinstance(cause, RouteStatus) else None

    @property
    def decider(self) -> Finding | None:
        """The layer that blocks."""
        return next((one for one in self.findings if one.decides), None)


def registered(snapshot: Snapshot, service: str | None) -> dict[RouteKey, Declaration]:
    """Return what the code of a service says, as far as it has told the store."""
    found = {}
    for state in snapshot.routes.values():
        key = state.key
        by_operator_alone = state.origin == "operator" and state.baseline is None
        if key.service != service or (by_operator_alone and not state.force_active):
            continue
        plain = key._replace(service=None)
        limit = DeclaredLimit(state.rate_limit) if state.rate_limit is not None else None
        found[plain] = Declaration(
            key=plain, baseline=state.code, force_active=state.force_active, rate_limit=limit
        )
    return found


def explain(
    snapshot: Snapshot,
    method: str,
    path: str,
    *,
    at: datetime,
    service: str | None = None,
    env: str | None = None,
    declared: Mapping[RouteKey, Declaration] | None = None,
    is_known: bool = True,
) -> Explanation:
    """Decide on ``method`` to the template ``path`` of ``service`` at the moment ``at`` (aware).

    ``declared`` is what the code says, where more is known of it than the store does. ``is_known``
    False: ``path`` is a URL's that matches no route. Limits are told, and nothing is counted.
    """
    code = registered(snapshot, service) if declared is None else declared
    rules = Ruleset.compile(snapshot, code, service=service, env=env, clock=at.timestamp)
    trace: list[Step] = []
    ask = rules.decide if is_known else rules.decide_unrouted
    decision = ask(method, path, trace=trace)
    limits = (rules.limits if is_known else rules.limits_unrouted)(method, path) if decision.allowed else ()
    wide = [EVERYTHING, *([Scope("service", service)] if service else [])]
    own = Scope("route", str(RouteKey.parse(decision.key)._replace(service=service)) if decision.key else "")
    own_word = trace[-1].verdict if trace[-1].layer == LIFECYCLE else ""
    findings = [
        *_maintenance(snapshot, wide, trace, decision, at),
        *_lifecycle(snapshot, own, trace, decision, at, is_known=is_known),
        *_limits(snapshot, [*wide, own], limits, decision, own_word),
    ]
    return Explanation(
        method=method,
        path=path,
        is_known=is_known,
        service=service,
        env=env,
        at=at,
        decision=decision,
        findings=tuple(findings),
    )


def _maintenance(
    snapshot: Snapshot, wide: list[Scope], trace: list[Step], decision: Decision, at: datetime
) -> Iterator[Finding]:
    steps = {step.scope: step for step in trace if step.layer == MAINTENANCE}
    for scope in wide:
        coming = _coming(snapshot.maintenance(scope).window, at)
        if scope in steps:
            decides = decision.cause is not None and decision.scope == scope
            yield _of_step(steps[scope], MAINTENANCE, scope, decides, coming)
        else:
            said = NOT_ASKED if steps else PASSED_OVER
            yield Finding(layer=MAINTENANCE, scope=scope, said=said, window=coming)


def _lifecycle(
    snapshot: Snapshot,
    own: Scope,
    trace: list[Step],
    decision: Decision,
    at: datetime,
    *,
    is_known: bool,
) -> Iterator[Finding]:
    step = trace[-1]
    state = snapshot.route(own.name) if own.name else None
    coming = _coming(state.window if state else None, at)
    if step.layer != LIFECYCLE:
        yield Finding(layer=LIFECYCLE, scope=own, said=NOT_ASKED, window=coming)
    elif not (is_known and own.name):
        yield Finding(layer=LIFECYCLE, scope=own, said="unknown")
    else:
        yield _of_step(step, LIFECYCLE, own, decision.cause is not None, coming)


def _limits(
    snapshot: Snapshot, scopes: list[Scope], limits: tuple[Layer, ...], decision: Decision, own_word: str
) -> Iterator[Finding]:
    layers = {layer.scope.kind: layer for layer in limits}
    for scope in scopes:
        layer = layers.get(scope.kind)
        policy = layer.policy if layer else snapshot.policy(scope) if scope.kind != "route" else None
        if not decision.allowed:
            said, policy = NOT_ASKED, None
        elif layer is not None:
            said = "unlimited" if layer.counter is None else "shadow" if layer.policy.shadow else "limit"
        elif policy is None:
            said = "none"
        elif isinstance(policy, GlobalRateLimitPolicy) and not policy.enabled:
            said = "paused"
        else:
            said = own_word if own_word in _PROTECTED else "exempt"
        yield Finding(
            layer=LIMIT,
            scope=layer.scope if layer else scope,
            said=said,
            origin="" if policy is None else "operator" if policy.revision else "code",
            by=policy.updated_by if policy else "",
            revision=policy.revision if policy else 0,
            policy=policy,
        )


def _of_step(
    step: Step, layer: str, scope: Scope, decides: bool, coming: MaintenanceWindow | None
) -> Finding:
    return Finding(
        layer=layer,
        scope=scope,
        said=step.verdict,
        decides=decides,
        reason=step.reason,
        until=step.until,
        origin=step.origin,
        by=step.by,
        revision=step.revision,
        window=coming,
    )


def _coming(window: MaintenanceWindow | None, at: datetime) -> MaintenanceWindow | None:
    return window if window is not None and window.start > at else None
