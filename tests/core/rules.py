"""Rulesets for tests: what the store holds, what this process's code declares, and when."""

from datetime import UTC, datetime, timedelta

from shield_core.declarations import Declaration
from shield_core.decorators import meta_of
from shield_core.keys import EVERYTHING, RouteKey, Scope
from shield_core.models import GlobalMaintenanceConfig, MaintenanceWindow, RouteState
from shield_core.ruleset import Ruleset
from shield_core.snapshot import Snapshot

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)

FUTURE = MaintenanceWindow(start=NOW + HOUR, end=NOW + 2 * HOUR, reason="later")
RUNNING = MaintenanceWindow(start=NOW - HOUR, end=NOW + HOUR, reason="now")
OVER = MaintenanceWindow(start=NOW - 2 * HOUR, end=NOW - HOUR, reason="earlier")


def declare(key, *stamps, **flags):
    """Declare what a view with ``stamps`` declares."""

    def view(): ...

    for stamp in stamps:
        stamp(view)
    return Declaration.from_meta(RouteKey.parse(key), meta_of(view), **flags)


def override(key, status="active", **fields):
    return RouteState(path=key, status=status, origin="operator", **{"revision": 1, **fields})


def snapshot(*states, everything=None, revision=1, **services):
    """A snapshot of route states, and of maintenance as dictionaries."""
    objects = {state.path: state for state in states}
    scopes = {Scope.service(name): fields for name, fields in services.items()}
    if everything is not None:
        scopes[EVERYTHING] = everything
    for scope, fields in scopes.items():
        objects[scope.store_key] = GlobalMaintenanceConfig(**{"revision": 1, **fields})
    return Snapshot("epoch", revision, objects)


def rules(*contents, service=None, env="dev", **scopes):
    """The rules for declarations and stored states; the clock stands at NOW."""
    declared = {one.key: one for one in contents if isinstance(one, Declaration)}
    states = [one for one in contents if isinstance(one, RouteState)]
    return Ruleset.compile(
        snapshot(*states, **scopes), declared, service=service, env=env, clock=NOW.timestamp
    )


def answers(ruleset, method, path, at=None):
    """What a caller meets, in a word."""
    decision = ruleset.decide(method, path, at=at)
    return decision.cause.value if decision.cause else "open"
