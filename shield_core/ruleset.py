"""The read path: an immutable, compiled set of rules and ``decide()``.

``decide()`` is pure and synchronous: no I/O, no lock. It looks a rule up in two dictionaries;
a rule without a window is a constant that all requests share, one with a window reads the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from shield_core.decisions import ALLOWED, Decision, Trace
from shield_core.declarations import Declaration
from shield_core.keys import EVERYTHING, HTTP_METHODS, Facet, RouteKey, Scope, parse_store_key
from shield_core.models import GlobalRateLimitPolicy, RateLimitPolicy, RouteState, RouteStatus, StoredPolicy
from shield_core.rate_limit.layers import Layer, Layers, table_of
from shield_core.rules import ANY_OTHER, MaintenanceLayer, Methods, Rule, handler_method
from shield_core.snapshot import Snapshot


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
    _tables: dict[str, Methods] = field(default_factory=dict)
    _all_layers: tuple[MaintenanceLayer, ...] = ()
    _layers: tuple[MaintenanceLayer, ...] = ()
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
            path: Methods(path, overrides.get(path, {}), declarations.get(path, {}), env)
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
                tables[key.path] = Methods(key.path, overrides, old.declared, self.env)
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
            tables[key.path] = Methods(
                key.path, old.overrides, {**old.declared, key.method: declaration}, self.env
            )
        limited = self.is_limited or any(one.rate_limit for one in declarations)
        return replace(self, is_limited=limited, _tables=tables, _limits={})

    def emptied(self) -> Ruleset:
        """Return rules that let everything pass."""
        return Ruleset(self.snapshot, self.service, self.env, self.clock)

    def _table(self, tables: Mapping[str, Methods], path: str) -> Methods:
        found = tables.get(path)  # empty, and false, while nobody has asked for a method
        return found if found is not None else Methods(path, {}, {}, self.env)

    def _with_layers(self) -> Ruleset:
        layers = tuple(
            MaintenanceLayer(scope, self.snapshot.maintenance(scope)) for scope in self._wide_scopes
        )
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
            found = self._find_limits(handler_method(method), path)
            if path in self._tables and method in HTTP_METHODS:
                self._limits[method, path] = found
        return found

    def limits_unrouted(self, method: str, path: str) -> tuple[Layer, ...]:
        """Return the limits of a URL path that matches no route: those of the wider scopes."""
        asked = handler_method(method)
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
        rule = table[method] if table is not None else Rule(method, path)
        return self._walk(rule, self.clock() if at is None else at.timestamp(), trace)

    def _walk(self, rule: Rule, moment: float, trace: Trace | None) -> Decision:
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
        return self._walk(Rule(method, path), self.clock(), trace)

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
        gates = [table[method or ANY_OTHER] for method in methods] or table.closed_gates
        decisions = [gate.decide(self.clock(), None) for gate in gates if gate.closed_gate]
        return len(decisions) == len(gates) > 0 and all(
            decision.cause is RouteStatus.ENV_GATED and decision.response is None for decision in decisions
        )

    def gate_closed(self, method: str, path: str) -> bool:
        """Whether an environment gate closes a method of the template, whatever else blocks it."""
        table = self._tables.get(path)
        return table is not None and table[method].closed_gate
