"""What the maintenance of a scope will block, told before it is switched on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from shield_core.decisions import Step
from shield_core.explain import registered
from shield_core.keys import EVERYTHING, RouteKey, Scope, without_slash
from shield_core.plan import EnableScopeMaintenance
from shield_core.ruleset import Ruleset
from shield_core.snapshot import Changes, Snapshot

#: What the probes of orchestrators and monitors are called.
_PROBE = re.compile(r"[/_.-](?:health|ready|readiness|live|metrics)", re.IGNORECASE)
#: How many routes or services a sentence names.
_NAMED = 8
_WHY = {"force_active": "@force_active"}


@dataclass
class Preview:
    """Keys of routes: those that will be ``blocked``, by service, and those that stay open, by the reason.

    ``others`` are the services that have routes, where the one that was named has none.
    """

    blocked: dict[str | None, list[str]] = field(default_factory=dict)
    spared: dict[str, list[str]] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)

    @property
    def probes(self) -> list[str]:
        """Routes that will be blocked although they look like what a probe asks."""
        return [key for keys in self.blocked.values() for key in keys if _PROBE.search(key)]

    @property
    def _by_name(self) -> list[tuple[str, list[str]]]:
        return [(why, keys) for why, keys in self.spared.items() if why != "read_only"]

    def sentences(self) -> Iterator[str]:
        """Yield what to tell an operator before it is done."""
        counts = {name or "no service": len(keys) for name, keys in self.blocked.items()}
        by_service = [f"{count} of {name}" for name, count in sorted(counts.items())]
        told = f" ({_listed(by_service)})" if any(self.blocked) else ""
        yield f"This blocks {_routes(sum(counts.values()))}{told}."
        if self.others:
            yield f"Warning: no route of this service is known, only routes of {_listed(self.others)}."
        spared = [f"{_listed(keys)} ({_WHY.get(why, why)})" for why, keys in self._by_name]
        if reading := self.spared.get("read_only"):
            spared.insert(0, f"{_routes(len(reading))} for reading")
        if spared:
            yield f"Stays open: {'; '.join(spared)}."
        if probes := self.probes:
            path = without_slash(RouteKey.parse(probes[0]).path)
            yield (
                f"Warning: what probes ask will be blocked: {_listed(probes)}. Let it pass with "
                f"'--exempt {path}', or decorate it with @force_active."
            )


def preview(snapshot: Snapshot, command: EnableScopeMaintenance) -> Preview:
    """Return what ``command`` will do to the routes that the store knows, when it begins to."""
    moment = command.window.start if command.window is not None else command.now
    alone = _with_this_maintenance_alone(snapshot, command)
    rules: dict[str | None, Ruleset] = {}
    found = Preview()
    for text in sorted(snapshot.routes):
        key = RouteKey.parse(text)
        if command.scope not in (EVERYTHING, Scope("service", key.service or "")):
            continue
        if key.service not in rules:
            rules[key.service] = _rules(alone, key.service, moment)
        trace: list[Step] = []
        rules[key.service].decide(key.method or "POST", key.path, trace=trace)
        verdict = next(one.verdict for one in trace if one.scope == command.scope)
        if verdict == "block":
            found.blocked.setdefault(key.service, []).append(text)
        else:
            found.spared.setdefault(verdict, []).append(text)
    if not rules:
        found.others = sorted({key.service for key in map(RouteKey.parse, snapshot.routes) if key.service})
    return found


def _with_this_maintenance_alone(snapshot: Snapshot, command: EnableScopeMaintenance) -> Snapshot:
    """Return the state after ``command``, without a wider maintenance that would be asked first."""
    commit = replace(command, by={**command.by, "expected_revision": None}).plan(snapshot)
    then = snapshot.apply(Changes(snapshot.cursor, commit.writes), advance=False)
    kept = {key: value for key, value in then.objects.items() if key != EVERYTHING.store_key}
    return then if command.scope == EVERYTHING else replace(then, objects=kept)


def _rules(snapshot: Snapshot, service: str | None, moment: datetime) -> Ruleset:
    declared = registered(snapshot, service)
    return Ruleset.compile(snapshot, declared, service=service, clock=moment.timestamp)


def _routes(count: int) -> str:
    return f"{count} route{'' if count == 1 else 's'}"


def _listed(parts: Sequence[str]) -> str:
    more = f" and {len(parts) - _NAMED} more" if len(parts) > _NAMED else ""
    return f"{', '.join(parts[:_NAMED])}{more}"
