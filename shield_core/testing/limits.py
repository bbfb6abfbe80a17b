"""The part of ``BackendContract`` that is about rate limits: policies, resets and hits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shield_core.audit import first_break
from shield_core.engine import ShieldEngine
from shield_core.exceptions import ConflictError, RateLimitExceededException
from shield_core.keys import EVERYTHING, RouteKey, Scope
from shield_core.models import (
    GlobalRateLimitPolicy,
    RateLimitHit,
    RateLimitPolicy,
    RateLimitReset,
    StoredPolicy,
)
from shield_core.rate_limit.hits import KEPT, WAITING, HitQuery
from shield_core.snapshot import Commit, Write
from shield_core.testing.inspection import Store, comparable, needs, needs_stored_hits, plain

ROUTE, BARE, SERVICE = Scope("route", "orders:GET:/x/{id}"), Scope("route", "/x"), Scope.service("orders")
_FULL: dict[str, Any] = {
    "algorithm": "token_bucket",
    "key_strategy": "api_key",
    "on_missing_key": "block",
    "burst": 1_000_000_000,
    "shadow": True,
    "updated_at": datetime(2030, 1, 1, tzinfo=UTC),
    "updated_by": "añn",
}
_OF_ROUTE: dict[str, Any] = {
    "path": "orders:/x/{id}",
    "method": "GET",
    "limit": "100000 per 100000 minutes",
    "tiers": [{"name": "pro", "limit": "unlimited"}, {"name": "größe", "limit": "1/s"}],
    "tier_resolver": "profile_plan",
    "exempt_ips": ["10.0.0.0/8", "2001:db8::/32"],
    "exempt_roles": ["staff"],
}
_WIDE: dict[str, Any] = {"limit": "10/10s", "exempt_routes": ["/health", "GET:/m"], "enabled": False}
#: Few requests in a long time, in which no boundary lies.
_TWO: dict[str, Any] = {"limit": "2/day", "algorithm": "token_bucket"}


def limited(scope: Scope, **fields: Any) -> Write:
    """Return the write of a limit of ``scope``."""
    if scope.kind != "route":
        return Write(scope.limit_key, GlobalRateLimitPolicy(**{"limit": "10/minute", **fields}))
    key = RouteKey.parse(scope.name)
    of_route = {"path": str(key._replace(method=None)), "method": key.method or ""}
    return Write(scope.limit_key, RateLimitPolicy(**{"limit": "10/minute", **of_route, **fields}))


def hit(number: int, **fields: Any) -> RateLimitHit:
    moment = datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
    known = {"path": "/x", "method": "GET", "key": f"10.0.0.{number}", "limit": "10/minute"}
    return RateLimitHit(timestamp=moment, reset_at=moment + timedelta(minutes=1), **{**known, **fields})


def keys_of(hits: list[RateLimitHit]) -> list[str]:
    return [one.key for one in hits]


class LimitContract:
    """See the module."""

    #: The service of engines, for a store that knows routes of services alone.
    service: str | None = None

    # -- in the store ---------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "wanted",
        [
            limited(ROUTE, **_FULL, **_OF_ROUTE),
            limited(BARE),
            limited(EVERYTHING, **_FULL, **_WIDE),
            limited(SERVICE, **_WIDE),
            limited(BARE, of_a_newer_version={"a": [1, None]}),
            *(
                Write(scope.reset_key, RateLimitReset(updated_by="ann"))
                for scope in (EVERYTHING, SERVICE, ROUTE)
            ),
        ],
        ids=[
            *("route", "bare route", "global", "service", "unknown field"),
            *("reset of everything", "reset of a service", "reset of a route"),
        ],
    )
    def test_a_limit_comes_back_as_it_was_stored(self, store: Store, wanted: Write) -> None:
        store.commit(Commit((wanted,)))
        assert plain(store.load()) == {wanted.key: comparable(wanted.value)}

    @pytest.mark.parametrize("scope", [EVERYTHING, SERVICE, ROUTE, BARE], ids=lambda scope: scope.label)
    def test_following_the_feed_of_limits_leads_to_what_a_load_gives(
        self, store: Store, scope: Scope
    ) -> None:
        store.commit(Commit((limited(Scope("route", "/first")),)))
        followed = store.load()
        batches = [
            (limited(scope), Write(scope.reset_key, RateLimitReset())),
            (limited(scope, limit="5/s"),),
            (Write(scope.reset_key, RateLimitReset(updated_by="ann")),),
            (Write(scope.limit_key, None),),
            (limited(scope, burst=1),),
        ]
        for batch in batches:
            store.commit(Commit(batch))
            changes = store.watch(followed.cursor)
            followed = store.load() if changes.reset else followed.apply(changes, advance=True)
            assert (followed.cursor, plain(followed)) == (store.load().cursor, plain(store.load()))
            assert followed.generation(scope) == store.load().generation(scope) > 0

    def test_a_limit_is_not_changed_on_a_stale_revision(self, store: Store) -> None:
        seen = store.commit(Commit((limited(ROUTE),))).cursor.revision
        store.commit(Commit((limited(ROUTE, limit="5/s"),), expect={ROUTE.limit_key: seen}))
        for stale in (seen, 0):
            with pytest.raises(ConflictError):
                store.commit(Commit((limited(ROUTE, limit="1/s"),), expect={ROUTE.limit_key: stale}))
        assert store.load().policies[ROUTE].limit == "5/s"

    # -- under the engine -----------------------------------------------------------------------

    def test_limits_of_every_scope_are_stored_in_force_and_written_down(
        self, make_engine: Callable[..., ShieldEngine]
    ) -> None:
        engine = make_engine(service="orders")
        sync = engine.sync
        sync.register("GET:/x", {"rate_limit": {"limit": "9/minute", "burst": 3}})
        sync.set_global_rate_limit("100/minute", exempt_routes=["/health"], actor="ann")
        sync.set_service_rate_limit("orders", "50/minute", key_strategy="global")
        sync.set_rate_limit_policy("GET:/x", limit="10/minute", reason="load")
        assert _in_force(engine) == ["100/minute", "50/minute", "10/minute"]
        sync.set_rate_limit_policy("GET:/x", shadow=True)
        changed = sync.get_rate_limit_policy("GET:/x")
        assert changed is not None
        assert (changed.limit, changed.burst, changed.shadow) == ("10/minute", 3, True)
        sync.disable_global_rate_limit()
        assert _in_force(engine) == ["50/minute", "10/minute"]
        sync.reset_service_rate_limit("orders")
        sync.delete_service_rate_limit("orders")
        sync.delete_rate_limit_policy("GET:/x")
        assert _in_force(engine) == ["9/minute"]
        assert [entry.action for entry in sync.get_audit_log()] == [
            *("rl_policy_deleted", "svc_rl_deleted", "svc_rl_reset", "global_rl_disabled"),
            *("rl_policy_updated", "rl_policy_updated", "svc_rl_set", "global_rl_set"),
        ]
        assert first_break(reversed(sync.get_audit_log(limit=None))) is None

    def test_only_who_names_a_revision_of_a_limit_meets_a_conflict(
        self, make_engine: Callable[..., ShieldEngine]
    ) -> None:
        sync = make_engine().sync
        sync.register("GET:/x", {})
        seen = sync.set_rate_limit_policy("GET:/x", limit="10/minute").revision
        sync.set_global_rate_limit("10/minute")
        sync.set_rate_limit_policy("GET:/x", limit="5/minute", expected_revision=seen)
        with pytest.raises(ConflictError):
            sync.delete_rate_limit_policy("GET:/x", expected_revision=seen)
        sync.delete_rate_limit_policy("GET:/x")

    def test_requests_are_blocked_until_a_reset_and_the_blocked_ones_are_known(
        self, make_engine: Callable[..., ShieldEngine]
    ) -> None:
        engine = make_engine()
        engine.sync.register("GET:/x", {})
        engine.sync.set_rate_limit_policy("GET:/x", **_TWO)
        assert _until_blocked(engine) == 2
        assert _until_blocked(engine) == 0
        engine.sync.reset_rate_limit("/x")
        assert _until_blocked(engine) == 2
        path = str(RouteKey(self.service, None, "/x"))
        assert [(one.path, one.method, one.limit) for one in engine.sync.get_rate_limit_hits("/x")] == [
            (path, "GET", "2/day")
        ] * 3

    def test_another_process_follows_the_limits(self, make_engine: Callable[..., ShieldEngine]) -> None:
        one, other = make_engine(service="orders"), make_engine(service="orders")
        needs(one, "shared_across_processes")
        one.sync.register("GET:/x", {"rate_limit": {"limit": "9/minute"}})
        assert _in_force(other) == []
        assert [policy.limit for policy in other.sync.list_limits()] == ["9/minute"]
        for change, wanted in _changes(one):
            change()
            self._eventually(lambda wanted=wanted: _in_force(other) == wanted)  # type: ignore[misc]
        self._eventually(lambda: _generations(other) == _generations(one) != [0, 0, 0])

    def test_limits_outlive_the_process(self, make_engine: Callable[..., ShieldEngine]) -> None:
        one = make_engine(service="orders")
        needs(one, "durable")
        one.sync.register("GET:/x", {})
        changes = list(_changes(one))
        for change, _ in changes:
            change()
        before = _generations(one)
        one.sync.stop()
        other = make_engine(service="orders")
        assert _in_force(other) == changes[-1][1]
        assert _generations(other) == before

    # -- hits -----------------------------------------------------------------------------------

    def test_hits_come_back_as_they_were_newest_first(self, store: Store) -> None:
        hits = [
            hit(1),
            hit(2, tier="größe", scope="everything", shadow=True, path="orders:/x/{id}"),
            hit(3, of_a_newer_version={"a": [1, None]}),
        ]
        store.write_hits(hits[:2])
        store.write_hits(hits[2:])
        assert store.hits() == hits[::-1]
        assert store.hits(limit=2) == hits[:0:-1]

    def test_hits_are_found_by_path_and_method(self, store: Store) -> None:
        places = [("/x", "GET"), ("/x", "POST"), ("/xx", "GET"), ("orders:/x", "GET"), ("/X", "GET")]
        for number, (path, method) in enumerate(places * 2):
            store.write_hits([hit(number, path=path, method=method)])
        asked = {
            "/x": ["6", "5", "1", "0"],
            "GET:/x": ["5", "0"],
            "DELETE:/x": [],
            "orders:GET:/x": ["8", "3"],
            "/y": [],
        }
        for key, wanted in asked.items():
            found = store.hits(HitQuery(RouteKey.parse(key), None))
            assert keys_of(found) == [f"10.0.0.{number}" for number in wanted]
        assert keys_of(store.hits(HitQuery(RouteKey.parse("/x"), 1))) == ["10.0.0.6"]

    def test_callers_cannot_choose_what_the_log_of_hits_cannot_hold(self, store: Store) -> None:
        store.write_hits([hit(1, path="/\x00" + "é" * 5000, method="X" * 300, key="\x00\n🚧" * 300), hit(2)])
        found = store.hits()
        assert keys_of(found)[0] == "10.0.0.2"
        assert found[1].path.endswith("é" * 5000)

    def test_the_log_of_hits_is_bounded(self, store: Store) -> None:
        batches = KEPT // WAITING + 2
        numbers = iter(range(batches * WAITING))
        for _ in range(batches):
            store.write_hits([hit(number) for number, _ in zip(numbers, range(WAITING), strict=False)])
        found = store.hits(HitQuery(None, None))
        assert keys_of(found[:3]) == [f"10.0.0.{batches * WAITING - back}" for back in (1, 2, 3)]
        assert KEPT * 0.9 <= len(found) <= KEPT * 1.1

    def test_hits_are_known_in_every_process_and_after_a_restart(
        self, make_engine: Callable[..., ShieldEngine]
    ) -> None:
        one, other = make_engine(), make_engine()
        needs(one, "shared_across_processes", "durable")
        needs_stored_hits(one)
        one.sync.start()
        one.sync.register("GET:/x", {})
        one.sync.set_rate_limit_policy("GET:/x", **_TWO)
        assert _until_blocked(one) == 2
        self._eventually(lambda: [found.path for found in other.sync.get_rate_limit_hits("GET:/x")] == ["/x"])
        for engine in (one, other):
            engine.sync.stop()
        assert len(make_engine().sync.get_rate_limit_hits()) == 1

    def _eventually(self, condition: Callable[[], object]) -> None:
        raise NotImplementedError


def _in_force(engine: ShieldEngine) -> list[str]:
    """Return the limits of a request to ``/x``, in their order."""
    return [layer.policy.limit for layer in engine.ruleset.limits("GET", "/x")]


def _generations(engine: ShieldEngine) -> list[int]:
    scopes = (EVERYTHING, SERVICE, Scope("route", "orders:GET:/x"))
    return [engine.ruleset.snapshot.generation(scope) for scope in scopes]


def _changes(engine: ShieldEngine) -> Iterator[tuple[Callable[[], StoredPolicy | None], list[str]]]:
    """Yield changes of the limits of ``/x``, each with what is in force after it."""
    sync = engine.sync
    yield lambda: sync.set_global_rate_limit("100/minute"), ["100/minute"]
    yield lambda: sync.set_service_rate_limit("orders", "50/minute"), ["100/minute", "50/minute"]
    yield (
        lambda: sync.set_rate_limit_policy("GET:/x", limit="10/minute"),
        ["100/minute", "50/minute", "10/minute"],
    )
    yield lambda: sync.reset_rate_limit("GET:/x"), ["100/minute", "50/minute", "10/minute"]
    yield lambda: sync.disable_global_rate_limit(), ["50/minute", "10/minute"]
    yield lambda: sync.set_rate_limit_policy("GET:/x", limit="1/minute"), ["50/minute", "1/minute"]
    yield lambda: sync.reset_service_rate_limit("orders"), ["50/minute", "1/minute"]
    yield lambda: sync.delete_service_rate_limit("orders"), ["1/minute"]


def _until_blocked(engine: ShieldEngine) -> int:
    """Return how many requests to ``/x`` pass until one is blocked."""
    for passed in range(10):
        try:
            engine.sync.check("GET:/x", context={"ip": "192.0.2.1"})
        except RateLimitExceededException:
            return passed
    raise AssertionError("no request was blocked")
