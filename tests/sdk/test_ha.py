"""Two nodes of a Shield Server on one Redis: one goes, and services miss nothing."""

from __future__ import annotations

import itertools
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from shield_core.backends.server import ShieldServerBackend
from shield_core.engine import ShieldEngine
from shield_core.snapshot import Changes, Snapshot
from tests.clients.conftest import SERVICE, ControlPlane, Operator
from tests.conftest import eventually
from tests.redis_server import RedisServer
from tests.sdk.fleet import register
from tests.sdk.proxy import Link

pytestmark = pytest.mark.servers

ROUTES = [f"GET:/{name}" for name in "abcdefgh"]


class Balancer(Link):
    """Passes each connection on to the next of ``ports`` where somebody listens."""

    def __init__(self, *ports: int) -> None:
        self._ports = itertools.cycle(ports)
        self._count = len(ports)
        super().__init__(ports[0])

    @property
    def target(self) -> int:
        port = 0
        for port in itertools.islice(self._ports, self._count):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
        return port

    @target.setter
    def target(self, port: int) -> None:
        assert port, "the first one, which Link is told"


class Follower:
    """A service that follows; remembers each position that it has applied."""

    def __init__(self, addresses: str) -> None:
        self.backend = ShieldServerBackend(
            addresses, SERVICE, username="olga", password="secret", reconnect_delay=0.2, snapshot_path=""
        )
        self.engine = ShieldEngine(self.backend, service=SERVICE)
        self.positions: list[tuple[str, int]] = []
        self.engine.subscribe(self._note)
        self.engine.sync.start()

    def _note(self, snapshot: Snapshot, _: Changes) -> None:
        self.positions.append((snapshot.epoch, snapshot.revision))

    @property
    def never_went_back(self) -> bool:
        return len({epoch for epoch, _ in self.positions}) == 1 and self.positions == sorted(self.positions)

    def states(self) -> dict[str, tuple[str, str]]:
        """What it enforces: by route, the status and the reason."""
        assert self.engine.replica.snapshot is not None
        routes = self.engine.replica.snapshot.routes
        return {key: (state.status.value, state.reason) for key, state in routes.items()}


class Site:
    """Two nodes, and services that know them in either order or by a balancer in front of them."""

    def __init__(self, stack: ExitStack, redis_url: str) -> None:
        options = {"backend": {"BACKEND": "redis", "OPTIONS": {"url": redis_url}}}
        self.first, self.second = (ControlPlane("uvicorn", options, "unstocked") for _ in range(2))
        self._numbers = itertools.count()
        stack.callback(lambda: [node.stop() for node in (self.first, self.second)])
        with Operator(self.first.address) as operator:
            register(operator, *ROUTES)
        balancer = stack.enter_context(Balancer(self.first.port, self.second.port))
        there, back = (",".join(one.address for one in order) for order in self._orders())
        self.followers = [Follower(one) for one in (there, there, back, balancer.address, balancer.address)]
        for one in self.followers:
            stack.callback(one.engine.sync.stop)
        eventually(lambda: all(one.backend.streams for one in self.followers))

    def _orders(self) -> list[tuple[ControlPlane, ControlPlane]]:
        return [(self.first, self.second), (self.second, self.first)]

    def change(self, node: ControlPlane, count: int) -> None:
        """Open and close routes through a node."""
        with Operator(node.address) as operator:
            for number in itertools.islice(self._numbers, count):
                action = "enable" if number % 3 == 2 else "disable"
                operator.change(action, ROUTES[number % len(ROUTES)], reason=f"change {number}")

    def states(self, node: ControlPlane) -> dict[str, tuple[str, str]]:
        with Operator(node.address) as operator:
            found: list[dict[str, Any]] = operator("GET", f"routes?service={SERVICE}")
        return {one["path"]: (one["status"], one["reason"]) for one in found}

    def all_have_what(self, node: ControlPlane) -> None:
        """Wait until every service enforces what a node says; none may have gone back on the way."""
        wanted = self.states(node)
        eventually(lambda: all(one.states() == wanted for one in self.followers))
        assert all(one.never_went_back for one in self.followers)
        assert {one.engine.status().state for one in self.followers} <= {"live", "stale"}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(stack, stack.enter_context(RedisServer()).url)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_services_of_a_node_that_ends_move_on_and_miss_nothing(site: Site, end: signal.Signals) -> None:
    site.change(site.first, 7)
    site.all_have_what(site.second)

    process = site.first.process.process
    process.send_signal(end)
    site.change(site.second, 12)  # while services notice
    process.wait(10)
    site.all_have_what(site.second)
    site.change(site.second, 5)
    site.all_have_what(site.second)
    eventually(lambda: all(one.backend.streams for one in site.followers))

    site.first.stop()
    site.first.start()
    assert site.states(site.first) == site.states(site.second)
    site.first, site.second = site.second, site.first  # the next to go is the one that has stayed


def test_a_service_changes_its_routes_through_the_node_that_is_left(site: Site) -> None:
    one = site.followers[0]
    site.first.stop()
    eventually(lambda: all(each.backend.streams for each in site.followers))
    try:
        site.change(site.second, 1)
        site.all_have_what(site.second)
        eventually(lambda: one.engine.status().state == "live")
        one.engine.sync.disable(ROUTES[0], reason="by the service")
        site.all_have_what(site.second)
        assert site.states(site.second)[f"{SERVICE}:{ROUTES[0]}"] == ("disabled", "by the service")
    finally:
        site.first.start()


def test_a_node_that_was_away_knows_at_once_what_happened_meanwhile(site: Site) -> None:
    site.first.stop()
    site.change(site.second, 6)
    site.first.start()
    wanted = site.states(site.second)
    assert site.states(site.first) == wanted

    # Services that only know this one are served by it.
    late = Follower(site.first.address)
    try:
        eventually(lambda: late.backend.streams)
        assert late.states() == wanted
        site.change(site.second, 3)
        wanted = site.states(site.second)
        eventually(lambda: late.states() == wanted)
    finally:
        late.engine.sync.stop()


def test_while_both_are_away_the_rules_stay_and_then_go_on(site: Site) -> None:
    site.change(site.first, 4)
    site.all_have_what(site.first)
    wanted = site.states(site.first)
    site.first.stop()
    site.second.stop()
    eventually(lambda: {one.engine.status().state for one in site.followers} == {"stale"})
    asked = [one.backend.connection._node for one in site.followers]
    eventually(
        lambda: all(
            one.backend.connection._node > 5 + was for one, was in zip(site.followers, asked, strict=True)
        )
    )
    assert all(one.states() == wanted for one in site.followers)

    site.second.start()
    site.first.start()
    site.change(site.first, 4)
    site.all_have_what(site.second)
    eventually(lambda: all(one.backend.streams for one in site.followers))
    eventually(lambda: {one.engine.status().state for one in site.followers} == {"live"})
