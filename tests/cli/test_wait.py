"""``--wait``: a change is told as done when every live instance that it concerns has applied it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from shield_core.backends.base import SyncNativeBackend
from shield_core.engine import ShieldEngine
from shield_core.exceptions import BackendError, RefusedError
from shield_core.models import Instance
from tests.backends import stores
from tests.cli.conftest import Shield
from tests.conftest import eventually

CHANGES = ["disable shop:/cart --all-methods", "sm enable shop", "rl set shop:GET:/cart 5/minute"]


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Iterator[Callable[..., ShieldEngine]]:
    """Start engines on one store, each as in a process of its own."""
    kind: str = getattr(request, "param", "file")
    with ExitStack() as stack:
        make_backend = stores.open_store(kind, request, stack)

        def start(service: str | None = None, **options: Any) -> ShieldEngine:
            engine = ShieldEngine(make_backend(), service=service, refresh_interval=0.05, **options)
            stack.callback(_close, engine)
            if service is not None:
                engine.sync.register_batch([("GET:/cart", {}), ("POST:/cart", {})])
                assert engine.decide("GET", "/cart").allowed
            return engine

        yield start


def _close(engine: ShieldEngine) -> None:
    engine.sync.stop()
    if isinstance(engine.backend, SyncNativeBackend):
        engine.backend.close_sync()


@pytest.fixture
def operator(start: Callable[..., ShieldEngine]) -> ShieldEngine:
    """The engine of a command line: it enforces nothing."""
    return start(threads=False)


def silent(operator: ShieldEngine, service: str | None, **told: Any) -> Instance:
    """Let an instance be known that was heard of, and that applies nothing any more."""
    store = operator.sync.current()
    given = {"epoch": store.epoch, "revision": store.revision, "host": "web-9", "pid": 4711, **told}
    instance = Instance(id=f"silent-{service}", service=service, seen_at=datetime.now(UTC), **given)
    operator.sync.heard_of(instance)
    return instance


@pytest.mark.parametrize("start", stores.ATOMIC, indirect=True)
def test_it_waits_for_every_instance_and_writes_that_down(
    start: Callable[..., ShieldEngine], operator: ShieldEngine, shield: Shield
) -> None:
    shops = [start("shop", release=f"v{number}") for number in range(2)]
    eventually(lambda: len(operator.sync.instances()) == 2)

    result = shield("disable shop:GET:/cart -r fraud --note '#4' --wait 20s", client=operator.sync)

    assert result.exit_code == 0, result.stderr
    assert not any(shop.decide("GET", "/cart").allowed for shop in shops)
    told = re.search(r"In force on (2 instances, slowest (\d+) ms)\.", result.stderr)
    assert told
    enforced, disabled = operator.sync.get_audit_log(limit=2)
    assert (enforced.action, enforced.path, enforced.service) == ("enforced", "shop:GET:/cart", "shop")
    assert (enforced.actor, enforced.platform, enforced.note) == ("ann@desk", "cli", told[1])
    assert enforced.details == {
        "revision": disabled.revision,
        "instances": 2,
        "slowest_ms": int(told[2]),
    }
    assert (disabled.action, disabled.note) == ("disable", "#4")


@pytest.mark.parametrize("line", CHANGES)
def test_instances_of_other_services_are_not_waited_for(
    start: Callable[..., ShieldEngine], operator: ShieldEngine, shield: Shield, line: str
) -> None:
    start("shop")
    silent(operator, "billing")
    silent(operator, None)
    eventually(lambda: len(operator.sync.instances()) == 3)

    result = shield(f"{line} --wait 20s", client=operator.sync)

    assert result.exit_code == 0, result.stderr
    assert "In force on 1 instance, slowest" in result.stderr


def test_what_concerns_everything_waits_for_all_and_names_those_that_lag(
    start: Callable[..., ShieldEngine], operator: ShieldEngine, shield: Shield
) -> None:
    start("shop")
    late = silent(operator, "billing")
    eventually(lambda: len(operator.sync.instances()) == 2)

    result = shield("global enable --wait 1s", client=operator.sync)

    assert result.exit_code == 1
    assert re.search(
        r"Error: The change is made, but after \d s [12] of 2 instances have not applied revision \d+: "
        rf".*billing on web-9 \(pid 4711\) is at revision {late.revision}, last seen \d{{4}}-",
        result.stderr,
    )
    assert "enforced" not in {entry.action for entry in operator.sync.get_audit_log(limit=None)}


def test_an_instance_that_follows_another_history_lags(operator: ShieldEngine, shield: Shield) -> None:
    operator.sync.register("GET:/x", {})
    silent(operator, None, epoch="of another store", revision=10_000)

    result = shield("disable GET:/x --wait 1s", client=operator.sync)

    assert result.exit_code == 1
    assert "1 of 1 instances have not applied" in result.stderr


def test_where_nobody_lives_there_is_nobody_to_wait_for(operator: ShieldEngine, shield: Shield) -> None:
    operator.sync.register("GET:/x", {})

    result = shield("disable GET:/x --wait 10s", client=operator.sync)

    assert result.exit_code == 0
    assert "Note: no live instance is known that could apply it." in result.stderr
    assert [entry.action for entry in operator.sync.get_audit_log()] == ["disable"]


def test_what_changes_nothing_is_not_waited_for(operator: ShieldEngine, shield: Shield) -> None:
    silent(operator, None)
    shield("global exempt-add /health", client=operator.sync)

    result = shield("global exempt-add /health --wait 10s", client=operator.sync)

    assert result.exit_code == 0
    assert "Nothing was changed that instances would have to apply." in result.stderr


def test_a_refused_change_is_not_waited_for(operator: ShieldEngine, shield: Shield) -> None:
    result = shield("disable GET:/nothing --wait 10s", client=operator.sync)

    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert shield("disable GET:/nothing --wait soon", client=operator.sync).exit_code == 2


@pytest.mark.parametrize(
    "failures, patience, outcome",
    [
        ([BackendError("gone"), BackendError("gone")], "20s", (0, "In force on 1 instance")),
        (100 * [BackendError("gone")], "1s", (1, "Error: gone")),
        ([RefusedError("not allowed")], "20s", (1, "Error: not allowed")),
    ],
)
def test_a_store_that_is_away_for_a_moment_ends_no_waiting(
    start: Callable[..., ShieldEngine],
    operator: ShieldEngine,
    shield: Shield,
    monkeypatch: pytest.MonkeyPatch,
    failures: list[BackendError],
    patience: str,
    outcome: tuple[int, str],
) -> None:
    shop = start("shop")
    eventually(lambda: len(operator.sync.instances()) == 1)
    told, left = type(operator.sync).instances, iter(failures)

    def instances(client: Any) -> list[Instance]:
        for failure in left:
            raise failure
        return told(client)

    monkeypatch.setattr(type(operator.sync), "instances", instances)

    result = shield(f"disable shop:GET:/cart --wait {patience}", client=operator.sync)

    assert result.exit_code == outcome[0]
    assert outcome[1] in result.stderr.splitlines()[-1]
    assert "shop:GET:/cart is now disabled" in result.stderr
    eventually(lambda: not shop.decide("GET", "/cart").allowed)
