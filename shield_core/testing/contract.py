"""What the engine relies on in a backend, as tests that the author of a backend runs on his own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from shield_core.audit import first_break
from shield_core.backends.sync import awaited
from shield_core.engine import ShieldEngine
from shield_core.exceptions import ConflictError, MaintenanceException
from shield_core.keys import EVERYTHING, Scope
from shield_core.models import (
    AuditEntry,
    GlobalMaintenanceConfig,
    Instance,
    MaintenanceWindow,
    RouteState,
    TokenRecord,
)
from shield_core.ports import HomeLoop, PlainPort
from shield_core.snapshot import Commit, Cursor, Write
from shield_core.testing.inspection import (
    SPAWN,
    Store,
    assert_nothing_is_lost,
    begun_until_killed,
    blocked,
    close,
    close_in_thread,
    comparable,
    needs,
    plain,
    six_methods,
)
from shield_core.testing.limits import LimitContract
from shield_core.testing.processes import ROUTES, write_overlapping


def put(path: str, **fields: Any) -> Write:
    return Write(path, RouteState.model_validate({"path": path, "origin": "operator", **fields}))


LATER = datetime(2030, 1, 1, tzinfo=UTC)


def issued(token: str, **fields: Any) -> Write:
    record = TokenRecord(id=token, service="pay", issued=True, expires_at=LATER, created_at=LATER, **fields)
    return Write(Scope("token", token).store_key, record)


class BackendContract(LimitContract):
    """Subclass it in a test module, and give it a store::

        class TestMyBackend(BackendContract):
            @pytest.fixture
            def make_backend(self, tmp_path):
                return partial(MyBackend, tmp_path / "store")

    Each call of ``make_backend()`` opens the test's one store, as another process would; a test
    begins with an empty one. For an atomic backend other processes call it, so it can be pickled.
    What the backend's flags do not promise is skipped.
    """

    #: How many processes write at once, and how often each.
    processes = 4
    mutations = 25
    #: How often a writing process is killed.
    kills = 3
    #: Seconds within which other processes have seen a change.
    patience = 10.0

    @pytest.fixture
    def make_backend(self) -> Callable[[], Any]:
        raise NotImplementedError("A subclass of BackendContract has a fixture make_backend.")

    @pytest.fixture
    def make_engine(self, make_backend: Callable[[], Any]) -> Iterator[Callable[..., ShieldEngine]]:
        """Make engines on the store, each as in a process of its own; they are stopped at the end."""
        made: list[ShieldEngine] = []

        def make(**options: Any) -> ShieldEngine:
            made.append(
                ShieldEngine(make_backend(), **{"refresh_interval": 0.1, "service": self.service, **options})
            )
            return made[-1]

        yield make
        for engine in made:
            engine.sync.stop()
            close(engine.backend)

    @pytest.fixture
    def store(self, make_backend: Callable[[], Any]) -> Iterator[Store]:
        backend = awaited(make_backend())
        needs(backend, "verbatim")
        home = HomeLoop(backend)
        yield Store(PlainPort(backend, home))
        home.leave_sync()
        close(backend)

    # -- six methods ------------------------------------------------------------------------

    def test_the_six_methods_keep_states_and_entries(self, make_backend: Callable[[], Any]) -> None:
        backend = awaited(make_backend())
        needs(backend, "verbatim")
        asyncio.run(six_methods(backend))

    @pytest.mark.parametrize(
        "fields",
        [
            {"status": "maintenance", "reason": "Wartung für «alle» 🚧", "note": 'with "quotes"\nand lines'},
            {"status": "env_gated", "allowed_envs": ("dev", "staging"), "updated_by": "ann"},
            {"sunset_date": datetime(2030, 1, 1, tzinfo=UTC), "successor_path": "/v2", "release": "1.2"},
            {
                "window": {
                    "start": "2030-01-01T00:00:00Z",
                    "end": "2030-01-02T00:00:00Z",
                    "status": "disabled",
                }
            },
            {"baseline": {"status": "disabled", "reason": "code"}, "force_active": True, "read_only": True},
            {"of_a_newer_version": {"a": [1, None]}},
        ],
        ids=["text", "gate", "deprecation", "window", "baseline", "unknown field"],
    )
    def test_a_state_comes_back_as_it_was_stored(self, store: Store, fields: dict[str, Any]) -> None:
        wanted = put("orders:GET:/x/{id}", **fields)
        store.commit(Commit((wanted,)))
        assert plain(store.load()) == {wanted.key: comparable(wanted.value)}

    # -- commits and the feed -----------------------------------------------------------------

    def test_a_commit_answers_with_the_revision_of_what_it_wrote(self, store: Store) -> None:
        before = store.load()
        changes = store.commit(Commit((put("/x"),), (AuditEntry(action="enable"),)))
        assert changes.cursor.revision > before.revision
        assert [value and value.revision for _, value in changes.writes] == [changes.cursor.revision]
        assert [entry.revision for entry in changes.audit] == [changes.cursor.revision]
        assert store.load().cursor == changes.cursor

    def test_a_commit_on_a_stale_revision_changes_nothing(self, store: Store) -> None:
        store.commit(Commit((put("/x"),)))
        before = store.load()
        with pytest.raises(ConflictError):
            store.commit(Commit((put("/x"), put("/y")), (AuditEntry(action="enable"),), {"/x": 0}))
        after = store.load()
        assert (after.cursor, after.objects) == (before.cursor, before.objects)
        assert store.audit() == []

    def test_a_commit_may_expect_that_something_is_not_there(self, store: Store) -> None:
        store.commit(Commit((put("/x"),), expect={"/x": 0, EVERYTHING.store_key: 0}))
        with pytest.raises(ConflictError):
            store.commit(Commit((put("/x"),), expect={"/x": 0}))

    @pytest.mark.parametrize(
        "batches",
        [
            [(put("/x"),), (put("/x", status="disabled"), put("/y"))],
            [(put("/x"),), (Write("/x", None),)],
            [(put("/x"), put("/y")), (Write("/x", None),), (put("/x", reason="again"),)],
            [(Write(EVERYTHING.store_key, GlobalMaintenanceConfig(enabled=True, exempt_paths=("/x",))),)],
            [(Write(Scope.service("pay").store_key, GlobalMaintenanceConfig(enabled=True, reason="é")),)],
            [(issued("t1", subject="añn"),), (issued("t1", revoked_at=LATER),), (issued("t2"),)],
            [(issued("t1"), issued("t2")), (Write(Scope("token", "t1").store_key, None),)],
        ],
        ids=[
            *("changed", "deleted", "put again", "global maintenance", "service maintenance"),
            *("tokens", "token deleted"),
        ],
    )
    def test_following_the_feed_leads_to_what_a_load_gives(
        self, store: Store, batches: list[tuple[Write, ...]]
    ) -> None:
        store.commit(Commit((put("/first"),)))
        followed = store.load()
        for batch in batches:
            store.commit(Commit(batch))
            changes = store.watch(followed.cursor)
            followed = store.load() if changes.reset else followed.apply(changes, advance=True)
        assert (followed.cursor, plain(followed)) == (store.load().cursor, plain(store.load()))

    def test_without_a_change_the_feed_says_nothing(self, store: Store) -> None:
        store.commit(Commit((put("/x"),)))
        cursor = store.load().cursor
        changes = store.watch(cursor)
        assert (changes.cursor, changes.writes, changes.reset) == (cursor, (), False)

    @pytest.mark.parametrize("since", [Cursor("another", 1), Cursor("", 0)])
    def test_a_position_that_the_store_does_not_know_means_load_again(
        self, store: Store, since: Cursor
    ) -> None:
        store.commit(Commit((put("/x"),)))
        assert store.watch(since).reset

    def test_the_log_is_filtered_before_it_is_limited(self, store: Store) -> None:
        for number in range(6):
            store.commit(
                Commit(audit=(AuditEntry(action="enable", path=f"/{number % 2}", reason=str(number)),))
            )
        assert [entry.reason for entry in store.audit(path="/0", limit=2)] == ["4", "2"]
        newest = store.audit(limit=1)[0]
        assert [entry.reason for entry in store.audit(cursor=newest.id, limit=2)] == ["4", "3"]
        assert first_break(reversed(store.audit())) is None

    # -- under the engine ---------------------------------------------------------------------

    def test_every_kind_of_change_is_stored_decided_and_written_down(
        self, make_engine: Callable[..., ShieldEngine]
    ) -> None:
        engine = make_engine()
        sync = engine.sync
        sync.register_batch([("GET:/x", {}), ("GET:/y", {}), ("GET:/z", {"status": "maintenance"})])
        assert blocked(engine) == {"/z"}
        sync.disable("GET:/x", "fraud", actor="ann")
        sync.set_maintenance("GET:/y", "moving")
        sync.enable("GET:/z")
        assert blocked(engine) == {"/x", "/y"}
        sync.clear_override("GET:/z")
        sync.set_env_only("GET:/x", ["staging"])
        sync.enable_global_maintenance("all", exempt_paths=["/x"])
        assert not engine.decide("GET", "/elsewhere").allowed
        sync.disable_global_maintenance()
        sync.enable_service_maintenance("billing", "later")
        start = datetime.now(UTC) + timedelta(days=1)
        sync.schedule_maintenance("GET:/y", MaintenanceWindow(start=start, end=start + timedelta(hours=1)))
        assert (sync.get_state("GET:/x").allowed_envs, sync.get_state("GET:/z").origin) == (
            ("staging",),
            "code",
        )
        assert sync.get_service_maintenance("billing").enabled
        assert sync.list_services() == sorted({"billing", self.service or "billing"})
        actions = [entry.action for entry in sync.get_audit_log()]
        assert actions == [
            *("schedule", "service_maintenance_on", "global_maintenance_off", "global_maintenance_on"),
            *("env_gate", "override_cleared", "enable", "maintenance_on", "disable"),
        ]
        assert first_break(reversed(sync.get_audit_log(limit=None))) is None

    def test_coroutines_reach_the_store_as_plain_functions_do(
        self, make_engine: Callable[..., ShieldEngine]
    ) -> None:
        engine = make_engine()

        async def work() -> None:
            async with engine:
                await engine.register("GET:/x", {})
                await engine.set_maintenance("GET:/x", "moving")
                with pytest.raises(MaintenanceException, match="moving"):
                    await engine.check("GET:/x")
                assert (await engine.get_audit_log(limit=1))[0].action == "maintenance_on"
            await close_in_thread(engine.backend)

        asyncio.run(work())

    def test_registering_many_routes_is_one_commit(self, make_engine: Callable[..., ShieldEngine]) -> None:
        engine = make_engine()
        routes: list[tuple[str, dict[str, Any]]] = [(f"GET:/{number}", {}) for number in range(1000)]
        engine.sync.register("GET:/first", {})
        before = engine.sync.get_state("GET:/first").revision
        engine.sync.register_batch(routes)
        assert {state.revision for state in engine.sync.list_states()} == {before, before + 1}
        engine.sync.register_batch(routes)
        engine.sync.disable("GET:/7")
        assert engine.sync.get_state("GET:/7").revision == before + 2

    def test_only_who_names_a_revision_meets_a_conflict(
        self, make_engine: Callable[..., ShieldEngine]
    ) -> None:
        engine = make_engine()
        engine.sync.register_batch([("GET:/x", {}), ("GET:/y", {})])
        seen = engine.sync.get_state("GET:/x").revision
        engine.sync.disable("GET:/y")
        engine.sync.disable("GET:/x", expected_revision=seen)
        with pytest.raises(ConflictError):
            engine.sync.enable("GET:/x", expected_revision=seen)
        engine.sync.enable("GET:/x")

    # -- several processes ----------------------------------------------------------------------

    def test_another_process_follows(self, make_engine: Callable[..., ShieldEngine]) -> None:
        one, other = make_engine(), make_engine()
        needs(one, "shared_across_processes")
        one.sync.register("GET:/x", {})
        assert other.decide("GET", "/x").allowed
        one.sync.disable("GET:/x")
        self._eventually(lambda: not other.decide("GET", "/x").allowed)
        other.sync.enable_global_maintenance("r", exempt_paths=["/x"])
        other.sync.enable("GET:/x")
        self._eventually(lambda: one.decide("GET", "/x").allowed and not one.decide("GET", "/y").allowed)

    def test_what_was_stored_outlives_the_process(self, make_engine: Callable[..., ShieldEngine]) -> None:
        one = make_engine()
        needs(one, "durable")
        one.sync.register("GET:/x", {})
        one.sync.disable("GET:/x")
        one.sync.stop()
        other = make_engine()
        assert not other.decide("GET", "/x").allowed
        assert other.sync.get_audit_log()[0].action == "disable"

    def test_the_instances_are_known_with_the_revision_they_apply(
        self, make_engine: Callable[..., ShieldEngine]
    ) -> None:
        one, other = make_engine(release="1"), make_engine(release="2", service="billing")
        needs(one, "shared_across_processes")
        one.sync.start()
        other.sync.start()
        one.sync.register("GET:/x", {})

        def known(engine: ShieldEngine) -> list[Instance]:
            # A store may be a process that follows as well, of no release.
            return [instance for instance in engine.sync.instances() if instance.release]

        self._eventually(lambda: {i.release for i in known(one)} == {"1", "2"})
        one.sync.disable("GET:/x")
        self._eventually(lambda: {i.revision for i in known(one)} == {one.status().revision})
        assert {(i.service, i.release) for i in known(other)} == {(self.service, "1"), ("billing", "2")}
        other.sync.stop()
        assert {i.release for i in known(one)} == {"1"}

    @pytest.mark.heavy
    def test_processes_that_write_at_once_lose_nothing(
        self, make_backend: Callable[[], Any], make_engine: Callable[..., ShieldEngine]
    ) -> None:
        engine = make_engine()
        needs(engine, "atomic", "shared_across_processes")
        engine.sync.register_batch([(path, {}) for path in ROUTES])
        with SPAWN.Pool(self.processes) as pool:
            work = partial(write_overlapping, make_backend, self.mutations)
            told = pool.map(work, range(self.processes), chunksize=1)
            pool.close()
            pool.join()
        assert_nothing_is_lost(engine, told)
        assert sum(len(one.acknowledged) + one.conflicts for one in told) == self.processes * self.mutations

    @pytest.mark.heavy
    def test_a_killed_process_leaves_whole_commits(
        self, make_backend: Callable[[], Any], make_engine: Callable[..., ShieldEngine]
    ) -> None:
        engine = make_engine()
        needs(engine, "atomic", "shared_across_processes", "durable")
        engine.sync.register(ROUTES[0], {})
        for number in range(self.kills):
            begun = begun_until_killed(make_backend, after=3 + number)
            log = [entry.reason for entry in engine.sync.get_audit_log(limit=None)]
            newest = log[: len(begun)] if begun[-1] in log else log[: len(begun) - 1]
            # The last one was begun, but perhaps not done, when the process was killed.
            assert newest[::-1] in (begun, begun[:-1])
            assert engine.sync.get_state(ROUTES[0]).reason == log[0]
        assert first_break(reversed(engine.sync.get_audit_log(limit=None))) is None

    def _eventually(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + self.patience
        while not condition():
            assert time.monotonic() < deadline, f"not within {self.patience} s"
            time.sleep(0.01)
