"""What one method of one route, and the maintenance of one scope, answer: compiled, and never changed.

A rule without a window is a constant that all requests share; one with a window is told what time it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from shield_core.decisions import Decision, Step, Trace
from shield_core.declarations import Declaration
from shield_core.keys import (
    EVERYTHING,
    HTTP_METHODS,
    SAFE_METHODS,
    ExemptEntry,
    RouteKey,
    Scope,
    without_slash,
)
from shield_core.models import (
    BLOCKING,
    Baseline,
    GlobalMaintenanceConfig,
    MaintenanceWindow,
    RouteState,
    RouteStatus,
)


@dataclass(frozen=True, slots=True)
class Block:
    """A reason to block, from ``start`` to ``end`` (seconds since the epoch), or always."""

    status: RouteStatus
    reason: str
    read_only: bool = False
    until: datetime | None = None
    start: float = float("-inf")
    end: float = float("inf")

    @classmethod
    def of(cls, window: MaintenanceWindow, fallback_reason: str = "") -> Block:
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

    def spares(self, rule: Rule) -> bool:
        """Whether requests by the rule's method pass: only maintenance can be read-only."""
        return self.read_only and rule.safe and self.status is RouteStatus.MAINTENANCE


class MaintenanceLayer:
    """The maintenance of one scope: the same code for everything and for a service."""

    __slots__ = ("_blocks", "_exempt", "config", "scope")

    def __init__(self, scope: Scope, config: GlobalMaintenanceConfig) -> None:
        self.scope = scope
        self.config = config
        self._exempt = ExemptEntry.of(config.exempt_paths)
        blocks = []
        if config.enabled:
            blocks.append(Block(RouteStatus.MAINTENANCE, config.reason, config.read_only))
        if config.window is not None:
            blocks.append(Block.of(config.window, config.reason))
        self._blocks = sorted(blocks, key=lambda block: block.strictness, reverse=True)

    @property
    def may_block(self) -> bool:
        return bool(self._blocks)

    def decide(self, rule: Rule, moment: float, trace: Trace | None) -> Decision | None:
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

    def _verdict(self, rule: Rule, moment: float) -> tuple[str, Block | None]:
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


class Rule:
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
        self.method = handler_method(method)
        self.path = path
        self.key = key
        self.safe = method.upper() in SAFE_METHODS
        self.force_active = declared is not None and declared.force_active
        self.always_open = declared is not None and declared.always_open
        overridden = state is not None and state.origin == "operator"
        self._state = state if overridden else None
        said = state if overridden else declared.baseline if declared else None
        responses = declared.responses if declared else {}
        scope = Scope("route", key) if key else EVERYTHING

        def blocked(block: Block) -> Decision:
            response = responses.get(block.status.value)
            return Decision(block.status, key, scope, block.reason, block.until, (), response)

        self._blocks = tuple((block, blocked(block)) for block in _blocks_of(said) if not block.spares(self))
        self._gated = None
        if _is_gated(said, env):
            self._gated = Decision(RouteStatus.ENV_GATED, key, scope, response=responses.get("env_only"))
        self._allow = Decision(key=key, scope=scope, headers=_deprecation_headers(declared))
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


def _blocks_of(said: RouteState | Baseline | None) -> list[Block]:
    """Return what a state says that blocks, the strictest first."""
    blocks = []
    if said is not None and said.status in BLOCKING:
        blocks.append(Block(said.status, said.reason, said.read_only))
    if said is not None and said.window is not None:
        blocks.append(Block.of(said.window))
    return sorted(blocks, key=lambda block: block.strictness, reverse=True)


def _is_gated(said: RouteState | Baseline | None, env: str | None) -> bool:
    """Whether a state has a gate that is closed in ``env``."""
    if said is None:
        return False
    has_gate = bool(said.allowed_envs) or said.status is RouteStatus.ENV_GATED
    return has_gate and env not in said.allowed_envs


class Methods(dict[str, Rule]):
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

    def __missing__(self, method: str) -> Rule:
        rule = self._rule(method)
        if method in HTTP_METHODS:
            self[method] = rule
        return rule

    def _rule(self, method: str) -> Rule:
        known = {*self.overrides, *self.declared}
        name = method if method in known else handler_method(method)
        if name not in known and None not in known:
            return self._stranger(method)
        own = name if name in known else None
        state = self.overrides.get(name) or self.overrides.get(None)
        declared = self.declared.get(name) or self.declared.get(None)
        key = str(RouteKey(None, own, self.path))
        return Rule(method, self.path, key=key, state=state, declared=declared, env=self._env)

    def _stranger(self, method: str) -> Rule:
        """A method that the route has no handler for: it must not reveal a closed gate."""
        gates = self.closed_gates
        if not gates:
            return Rule(method, self.path, key=str(RouteKey(None, method, self.path)))
        return Rule(method, self.path, key=min(gate.key for gate in gates), declared=_declared_gate)

    @property
    def closed_gates(self) -> list[Rule]:
        """Return all rules when they are closed gates, else none: the URL is unknown then."""
        rules = [self[method or ANY_OTHER] for method in {*self.overrides, *self.declared}]
        return rules if all(rule.closed_gate for rule in rules) else []


#: What stands for a method that has no rule of its own.
ANY_OTHER = ""
_declared_gate = Declaration.from_meta(RouteKey(None, None, "/"), {"status": RouteStatus.ENV_GATED})


def handler_method(method: str) -> str:
    """Return the method whose handler answers ``method``: HEAD follows GET, in whatever case it is sent.

    Methods have a case (RFC 9110), but frameworks that look for a view's ``get`` run it for ``get`` as well.
    """
    method = method.upper()
    return "GET" if method == "HEAD" else method


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
