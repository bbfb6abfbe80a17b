"""The read path: an immutable, compiled set of rules and ``decide()``.

``decide()`` is pure and synchronous: no I/O, no lock. It looks a rule up in two dictionaries;
a rule without a window is a constant that all requests share, one with a window reads the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Literal

from shield_core.declarations import Declaration
from shield_core.exceptions import (
    EnvGatedException,
    MaintenanceException,
    RateLimitExceededException,
    RequestBlocked,
    RouteDisabledException,
)
from shield_core.keys import (
    EVERYTHING,
    HTTP_METHODS,
    SAFE_METHODS,
    ExemptEntry,
    Facet,
    RouteKey,
    Scope,
    parse_store_key,
    without_slash,
)
from shield_core.models import (
    GlobalMaintenanceConfig,
    GlobalRateLimitPolicy,
    LimitCause,
    MaintenanceWindow,
    RateLimitPolicy,
    RouteState,
    RouteStatus,
    StoredPolicy,
)
from shield_core.rate_limit.layers import Layer, Layers, table_of
from shield_core.rate_limit.limiter import Outcome
from shield_core.snapshot import Snapshot


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


@dataclass(frozen=True, slots=True)
class _Block:
    """A reason to block, from ``start`` to ``end`` (seconds since the epoch), or always."""

    status: RouteStatus
    reason: str
    read_only: bool = False
    until: datetime | None = None
    start: float = float("-inf")
    end: float = float("inf")

    @classmethod
    def of(cls, window: MaintenanceWindow, fallback_reason: str = "") -> _Block:
        return cls(
            status=window.status,
            reason=window.reason or fallback_reason,
            read_only=window.read_only,
            until=window.end.astimezone(UTC),
            start=window.start.timestamp(),
            end=window.end.timestamp(),
        )

    @property
    def strictness(self) -> tuple[bool, bool]:
        """Order of those that block a request: disabled, then maintenance; of equals the endless one."""
        return (self.status is RouteStatus.DISABLED, self.until is None)

    def spares(self, rule: _Rule) -> bool:
        """Whether requests by the rule's method pass: only maintenance can be read-only."""
        return self.read_only and rule.safe and self.status is RouteStatus.MAINTENANCE


class _Layer:
    """The maintenance of one scope: the same code for everything and for a service."""

    __slots__ = ("_blocks", "_exempt", "config", "scope")

    def __init__(self, scope: Scope, config: GlobalMaintenanceConfig) -> None:
        self.scope = scope
        self.config = config
        self._exempt = frozenset(ExemptEntry.parse(entry) for entry in config.exempt_paths)
        blocks = []
        if config.enabled:
            blocks.append(_Block(RouteStatus.MAINTENANCE, config.reason, config.read_only))
        if config.window is not None:
            blocks.append(_Block.of(config.window, config.reason))
        self._blocks = sorted(blocks, key=lambda block: block.strictness, reverse=True)

    @property
    def may_block(self) -> bool:
        return bool(self._blocks)

    def decide(self, rule: _Rule, moment: float, trace: Trace | None) -> Decision | None:
        verdict, block = self._verdict(rule, moment)
        if trace is not None:
            config = self.config
            trace.append(
                Step(
                    layer="maintenance",
                    scope=self.scope,
                    verdict=verdict,
                    reason=block.reason if block else "",
                    until=block.until if block else None,
                    origin="operator" if config.revision else "",
                    by=config.updated_by,
                    revision=config.revision,
                )
            )
        if verdict != "block" or block is None:
            return None
        return Decision(block.status, rule.key, self.scope, block.reason, block.until)

    def _verdict(self, rule: _Rule, moment: float) -> tuple[str, _Block | None]:
        running = [block for block in self._blocks if block.start <= moment < block.end]
        if not running:
            return "off", None
        if rule.force_active and not self.config.include_force_active:
            return "force_active", running[0]
        path = without_slash(rule.path)
        if ExemptEntry(None, path) in self._exempt or ExemptEntry(rule.method, path) in self._exempt:
            return "exempt", running[0]
        for block in running:
            if not block.spares(rule):
                return "block", block
        return "read_only", running[0]


class _Rule:
    """What one method of one template answers in this process, apart from wider scopes."""

    __slots__ = (
        "_allow",
        "_blocks",
        "_gated",
        "_state",
        "always_open",
        "constant",
        "force_active",
        "key",
        "method",
        "path",
        "safe",
    )

    def __init__(
        self,
        method: str,
        path: str,
        *,
        key: str = "",
        state: RouteState | None = None,
        declared: Declaration | None = None,
        env: str | None = None,
    ) -> None:
        self.method = _handler_method(method)
        self.path = path
        self.key = key
        self.safe = method in SAFE_METHODS
        self.force_active = declared is not None and declared.force_active
        self.always_open = declared is not None and declared.always_open
        overridden = state is not None and state.origin == "operator"
        self._state = state if overridden else None
        said = state if overridden else declared.baseline if declared else None
        responses = declared.responses if declared else {}
        scope = Scope("route", key) if key else EVERYTHING

        blocks: list[_Block] = []
        envs: Sequence[str] = ()
        if said is not None:
            envs = said.allowed_envs
            if said.status in (RouteStatus.MAINTENANCE, RouteStatus.DISABLED):
                blocks.append(_Block(said.status, said.reason, said.read_only))
            if said.window is not None:
                blocks.append(_Block.of(said.window))
        blocks.sort(key=lambda block: block.strictness, reverse=True)
        self._blocks = tuple(
            (
                block,
                Decision(
                    block.status, key, scope, block.reason, block.until, (), responses.get(block.status.value)
                ),
            )
            for block in blocks
            if not block.spares(self)
        )
        self._allow = Decision(key=key, scope=scope, headers=_deprecation_headers(declared))
        gated = bool(envs) or (said is not None and said.status is RouteStatus.ENV_GATED)
        self._gated = (
            Decision(RouteStatus.ENV_GATED, key, scope, response=responses.get("env_only"))
            if gated and env not in envs
            else None
        )
        self.constant = self._constant()

    def _constant(self) -> Decision | None:
        if self.always_open or self.force_active or not self._blocks:
            return self._at(0.0)
        strictest, decision = self._blocks[0]
        return decision if strictest.until is None else None

    def _at(self, moment: float) -> Decision:
        if not (self.always_open or self.force_active):
            for block, decision in self._blocks:
                if block.start <= moment < block.end:
                    return decision
            if self._gated is not None:
                return self._gated
        return self._allow

    def decide(self, moment: float, trace: Trace | None) -> Decision:
        decision = self.constant or self._at(moment)
        if trace is not None:
            state = self._state
            trace.append(
                Step(
                    layer="route",
                    scope=decision.scope,
                    verdict=decision.cause.value if decision.cause else self._pass_word,
                    reason=decision.reason,
                    until=decision.until,
                    origin="operator" if state else "code",
                    by=state.updated_by if state else "",
                    revision=state.revision if state else 0,
                )
            )
        return decision

    @property
    def _pass_word(self) -> str:
        if self.always_open:
            return "always_open"
        return "force_active" if self.force_active else "pass"

    @property
    def closed_gate(self) -> bool:
        """Whether callers must not learn that this route exists, whatever else may block it."""
        return self._gated is not None and not (self.always_open or self.force_active)


class _Methods(dict[str, _Rule]):
    """The rules of one template by method, made when a method is first asked for."""

    __slots__ = ("_env", "declared", "overrides", "path")

    def __init__(
        self,
        path: str,
        overrides: Mapping[str | None, RouteState],
        declared: Mapping[str | None, Declaration],
        env: str | None,
    ) -> None:
        self.path = path
        self.overrides = overrides
        self.declared = declared
        self._env = env

    def __missing__(self, method: str) -> _Rule:
        rule = self._rule(method)
        if method in HTTP_METHODS:
            self[method] = rule
        return rule

    def _rule(self, method: str) -> _Rule:
        known = {*self.overrides, *self.declared}
        name = method if method in known else _handler_method(method)
        if name not in known and None not in known:
            return self._stranger(method)
        own = name if name in known else None
        state = self.overrides.get(name) or self.overrides.get(None)
        declared = self.declared.get(name) or self.declared.get(None)
        key = str(RouteKey(None, own, self.path))
        return _Rule(method, self.path, key=key, state=state, declared=declared, env=self._env)

    def _stranger(self, method: str) -> _Rule:
        """A method that the route has no handler for: it must not reveal a closed gate."""
        gates = self.closed_gates
        if not gates:
            return _Rule(method, self.path, key=str(RouteKey(None, method, self.path)))
        return _Rule(
            method, self.path, key=gates[0].key, state=gates[0]._state, declared=_declared_gate, env=None
        )

    @property
    def closed_gates(self) -> list[_Rule]:
        """Return all rules when they are closed gates, else none: the URL is unknown then."""
        rules = [self[method or _ANY_OTHER] for method in {*self.overrides, *self.declared}]
        return rules if all(rule.closed_gate for rule in rules) else []


#: What stands for a method that has no rule of its own.
_ANY_OTHER = ""
_declared_gate = Declaration.from_meta(RouteKey(None, None, "/"), {"status": RouteStatus.ENV_GATED})


def _handler_method(method: str) -> str:
    """Return the method whose handler answers ``method``: HEAD follows GET."""
    return "GET" if method == "HEAD" else method


@dataclass(frozen=True, slots=True)
class Ruleset:
    """The rules of one process at one revision; replaced as a whole, never changed.

    ``env`` None says that the environment was forgotten: no gate matches then.
    """

    snapshot: Snapshot
    service: str | None = None
    env: str | None = None
    clock: Callable[[], float] = time.time
    #: Whether any request may have a limit.
    is_limited: bool = False
    _tables: dict[str, _Methods] = field(default_factory=dict)
    _all_layers: tuple[_Layer, ...] = ()
    _layers: tuple[_Layer, ...] = ()
    #: The operators' limits of routes, by template and method; those of wider scopes, compiled.
    _policies: Mapping[str, Mapping[str | None, RateLimitPolicy]] = field(default_factory=dict)
    _wide_limits: tuple[Layer, ...] = ()
    #: What was asked for already, by method and template.
    _limits: dict[tuple[str, str], tuple[Layer, ...]] = field(default_factory=dict)

    @classmethod
    def compile(
        cls,
        snapshot: Snapshot,
        declared: Mapping[RouteKey, Declaration],
        *,
        service: str | None = None,
        env: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Ruleset:
        """Compile all rules of ``service`` in ``snapshot`` over this process's declarations."""
        overrides: dict[str, dict[str | None, RouteState]] = {}
        for state in snapshot.routes.values():
            key = state.key
            if key.service == service and state.origin == "operator":
                overrides.setdefault(key.path, {})[key.method] = state
        declarations: dict[str, dict[str | None, Declaration]] = {}
        for key, declaration in declared.items():
            declarations.setdefault(key.path, {})[key.method] = declaration
        tables = {
            path: _Methods(path, overrides.get(path, {}), declarations.get(path, {}), env)
            for path in {**overrides, **declarations}
        }
        return cls(snapshot, service, env, clock, _tables=tables)._with_layers()._with_limits()

    def evolve(self, snapshot: Snapshot, changed: Iterable[str]) -> Ruleset:
        """Return the rules for ``snapshot``, compiling again only what ``changed`` (store keys) names."""
        tables = dict(self._tables)
        layers_changed = limits_changed = False
        for store_key in changed:
            facet, scope = parse_store_key(store_key)
            if facet is not Facet.STATE:
                limits_changed = True
                continue
            if scope.kind != "route":
                layers_changed = True
                continue
            key = RouteKey.parse(store_key)
            if key.service != self.service:
                continue
            state = snapshot.route(store_key)
            old = self._table(tables, key.path)
            overrides = {method: found for method, found in old.overrides.items() if method != key.method}
            if state is not None and state.origin == "operator":
                overrides[key.method] = state
            if overrides or old.declared:
                tables[key.path] = _Methods(key.path, overrides, old.declared, self.env)
            else:
                tables.pop(key.path, None)
        evolved = replace(self, snapshot=snapshot, _tables=tables, _limits={})
        if layers_changed:
            evolved = evolved._with_layers()
        return evolved._with_limits() if limits_changed else evolved

    def declare(self, declarations: Collection[Declaration]) -> Ruleset:
        """Return the rules with more declarations of this process."""
        tables = dict(self._tables)
        for declaration in declarations:
            key = declaration.key
            old = self._table(tables, key.path)
            tables[key.path] = _Methods(
                key.path, old.overrides, {**old.declared, key.method: declaration}, self.env
            )
        limited = self.is_limited or any(one.rate_limit for one in declarations)
        return replace(self, is_limited=limited, _tables=tables, _limits={})

    def emptied(self) -> Ruleset:
        """Return rules that let everything pass."""
        return Ruleset(self.snapshot, self.service, self.env, self.clock)

    def _table(self, tables: Mapping[str, _Methods], path: str) -> _Methods:
        found = tables.get(path)  # empty, and false, while nobody has asked for a method
        return found if found is not None else _Methods(path, {}, {}, self.env)

    def _with_layers(self) -> Ruleset:
        layers = tuple(_Layer(scope, self.snapshot.maintenance(scope)) for scope in self._wide_scopes)
        return replace(self, _all_layers=layers, _layers=tuple(layer for layer in layers if layer.may_block))

    def _with_limits(self) -> Ruleset:
        policies: dict[str, dict[str | None, RateLimitPolicy]] = {}
        for policy in self.snapshot.policies.values():
            if isinstance(policy, RateLimitPolicy) and policy.key.service == self.service:
                policies.setdefault(policy.key.path, {})[policy.key.method] = policy
        wide = []
        for scope in self._wide_scopes:
            limit = self.snapshot.policy(scope)
            if isinstance(limit, GlobalRateLimitPolicy) and limit.enabled:
                wide.append(Layer.compile(scope, limit, generation=self.snapshot.generation(scope)))
        declared = any(one.rate_limit for one in self._declarations)
        return replace(
            self,
            is_limited=bool(policies or wide or declared),
            _policies=policies,
            _wide_limits=tuple(wide),
            _limits={},
        )

    @property
    def _wide_scopes(self) -> list[Scope]:
        return [EVERYTHING, *([Scope("service", self.service)] if self.service else [])]

    def limits(self, method: str, path: str) -> tuple[Layer, ...]:
        """Return the limits of a request to the template ``path``: global, service, route.

        A path that matches no route has those of the wider scopes.
        """
        found = self._limits.get((method, path))
        if found is None:
            found = self._find_limits(_handler_method(method), path)
            if path in self._tables and method in HTTP_METHODS:
                self._limits[method, path] = found
        return found

    def limits_unrouted(self, method: str, path: str) -> tuple[Layer, ...]:
        """Return the limits of a URL path that matches no route: those of the wider scopes."""
        asked = _handler_method(method)
        return Layers(layer for layer in self._wide_limits if not layer.spares(asked, path))

    def limit_tables(self) -> set[str]:
        """Return where the limits are counted, those that are paused too: ``RateLimitStorage.keep``."""
        declared = [one.rate_limit.policy for one in self._declarations if one.rate_limit]
        limits: dict[Scope, StoredPolicy] = {self._own_scope(policy): policy for policy in declared}
        limits |= self.snapshot.policies
        return {table_of(scope, policy, self.snapshot.generation(scope)) for scope, policy in limits.items()}

    def _own_scope(self, policy: RateLimitPolicy) -> Scope:
        return Scope("route", str(policy.key._replace(service=self.service)))

    @property
    def _declarations(self) -> Iterable[Declaration]:
        return (one for table in self._tables.values() for one in table.declared.values())

    def _find_limits(self, method: str, path: str) -> tuple[Layer, ...]:
        table = self._tables.get(path)
        rule = table[method] if table is not None else None
        layers: list[Layer] = []
        if rule is None or not (rule.force_active or rule.always_open):
            layers = [layer for layer in self._wide_limits if not layer.spares(method, path)]
        by_code = None
        if table is not None:
            by_code = table.declared.get(method) or table.declared.get(None)
        declared = by_code.rate_limit if by_code is not None else None
        stored = self._policies.get(path, {})
        policy = stored.get(method) or stored.get(None) or (declared.policy if declared else None)
        if policy is not None:
            own = self._own_scope(policy)
            generation = self.snapshot.generation(own)
            layers.append(Layer.compile(own, policy, generation=generation, declared=declared))
        return Layers(layers)

    def decide(
        self, method: str, path: str, *, at: datetime | None = None, trace: Trace | None = None
    ) -> Decision:
        """Decide on one request to the route template ``path``.

        ``at`` replaces the clock. ``trace`` is filled with what each layer said, in order, up to
        the one that decided. A template that is not known meets the wider scopes only.
        """
        table = self._tables.get(path)
        if trace is None and not self._layers:
            if table is None:
                return ALLOWED
            constant = table[method].constant
            if constant is not None:
                return constant
        rule = table[method] if table is not None else _Rule(method, path)
        return self._walk(rule, self.clock() if at is None else at.timestamp(), trace)

    def _walk(self, rule: _Rule, moment: float, trace: Trace | None) -> Decision:
        if not rule.always_open:
            for layer in self._layers if trace is None else self._all_layers:
                decision = layer.decide(rule, moment, trace)
                if decision is not None:
                    return decision
        return rule.decide(moment, trace)

    def decide_unrouted(self, method: str, path: str, *, trace: Trace | None = None) -> Decision:
        """Decide on a URL path that matches no route: only the wider scopes speak."""
        if not self._layers and trace is None:
            return ALLOWED
        return self._walk(_Rule(method, path), self.clock(), trace)

    def decide_preflight(self, method: str, path: str) -> Decision:
        """Decide on a CORS preflight for ``method``: only a closed gate stops it."""
        decision = self.decide(method, path)
        return decision if decision.cause is RouteStatus.ENV_GATED else ALLOWED

    def hides(self, path: str, methods: Iterable[str | None] = ()) -> bool:
        """Whether the template must look like an unknown URL: all its methods are closed gates.

        ``methods`` asks for these alone. A gate with an answer of its own hides nothing, nor does
        one under maintenance: that answer must be reached.
        """
        table = self._tables.get(path)
        if table is None:
            return False
        gates = [table[method or _ANY_OTHER] for method in methods] or table.closed_gates
        decisions = [gate.decide(self.clock(), None) for gate in gates if gate.closed_gate]
        return len(decisions) == len(gates) > 0 and all(
            decision.cause is RouteStatus.ENV_GATED and decision.response is None for decision in decisions
        )

    def gate_closed(self, method: str, path: str) -> bool:
        """Whether an environment gate closes a method of the template, whatever else blocks it."""
        table = self._tables.get(path)
        return table is not None and table[method].closed_gate


def _deprecation_headers(declared: Declaration | None) -> tuple[tuple[str, str], ...]:
    """Headers of RFC 9745 and RFC 8594, and the successor's link relation of RFC 5829."""
    if declared is None or declared.baseline.sunset_date is None:
        return ()
    since = declared.deprecated_at
    sunset = declared.baseline.sunset_date.astimezone(UTC)
    headers = [
        ("Deprecation", f"@{int(since.timestamp()) if since else 0}"),
        ("Sunset", format_datetime(sunset, usegmt=True)),
    ]
    if successor := declared.baseline.successor_path:
        headers.append(("Link", f'<{successor}>; rel="successor-version"'))
    return tuple(headers)
