"""``decide()`` agrees with a plain reading of the rules, which looks at everything each time."""

from hypothesis import given, settings

from shield_core.keys import EVERYTHING, SAFE_METHODS, Scope
from shield_core.snapshot import Snapshot

from .test_ruleset_properties import (
    METHODS,
    MOMENTS,
    PATHS,
    batches,
    committed,
    compiled,
    declarations,
    environment,
)


def running(status, read_only, window, moment):
    """What blocks at a moment, the strictest first: status, and whether reading passes."""
    found = [(status, read_only)] if status in ("maintenance", "disabled") else []
    if window is not None and window.runs_at(moment):
        found.append((str(window.status), window.read_only))
    return sorted(found)


def blocked(blocks, method):
    reads = method in SAFE_METHODS
    return next((status for status, mild in blocks if status == "disabled" or not (mild and reads)), None)


def is_exempt(config, method, path):
    plain = path.rstrip("/")
    return not {plain, f"{method}:{plain}"}.isdisjoint(entry.rstrip("/") for entry in config.exempt_paths)


class Reading:
    """The rules of the service ``shop`` as a person would read them in the store and in the code."""

    def __init__(self, snapshot, code, env):
        self.snapshot = snapshot
        self.code = {str(one.key): one for one in code}
        self.env = env

    def overridden(self, key):
        state = self.snapshot.route(f"shop:{key}")
        return state if state is not None and state.origin == "operator" else None

    def of_method(self, find, method, path):
        return find(f"{method}:{path}") or find(path)

    def known(self, path):
        keys = [f"{method}:{path}" for method in ("GET", "POST")] + [path]
        return [key for key in keys if self.overridden(key) or key in self.code]

    def is_closed_gate(self, key):
        method, path = key.split(":") if ":" in key else ("", key)
        said, declared = self.said(method, path)
        passes = declared is not None and (declared.force_active or declared.always_open)
        return not passes and self.is_gated(said)

    def is_gated(self, said):
        has_gate = bool(said.allowed_envs) or said.status == "env_gated"
        return has_gate and self.env not in said.allowed_envs

    def said(self, method, path):
        declared = self.of_method(self.code.get, method, path)
        return self.of_method(self.overridden, method, path) or (declared and declared.baseline), declared

    def cause(self, method, path, moment):
        handler = "GET" if method == "HEAD" else method
        said, declared = self.said(handler, path)
        if declared is not None and declared.always_open:
            return None
        forced = declared is not None and declared.force_active
        for scope in (EVERYTHING, Scope.service("shop")):
            config = self.snapshot.maintenance(scope)
            spared = (forced and not config.include_force_active) or is_exempt(config, handler, path)
            status = "maintenance" if config.enabled else "active"
            found = blocked(running(status, config.read_only, config.window, moment), method)
            if found and not spared:
                return found
        if forced:
            return None
        if said is None:
            known = self.known(path)
            return "env_gated" if known and all(map(self.is_closed_gate, known)) else None
        found = blocked(running(said.status, said.read_only, said.window, moment), method)
        return found or ("env_gated" if self.is_gated(said) else None)


@settings(max_examples=400, deadline=None)
@given(declarations, batches, environment)
def test_a_decision_is_what_the_rules_say(code, batches, env):
    snapshot = Snapshot("epoch")
    for batch in batches:
        snapshot = snapshot.apply(committed(snapshot, batch), advance=True)
    ruleset = compiled(snapshot, code, env)
    reading = Reading(snapshot, code, env)
    for method in METHODS:
        for path in [*PATHS, "/nowhere"]:
            for moment in MOMENTS:
                decision = ruleset.decide(method, path, at=moment)
                found = decision.cause and decision.cause.value
                assert found == reading.cause(method, path, moment), (method, path, moment)
