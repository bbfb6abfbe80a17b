"""What the engine relies on in every backend, be it ours or six methods long."""

import asyncio

import pytest

from shield_core.audit import AuditQuery
from shield_core.backends.memory import MemoryBackend
from shield_core.exceptions import ConflictError
from shield_core.keys import EVERYTHING
from shield_core.models import AuditEntry, GlobalMaintenanceConfig, RouteState
from shield_core.snapshot import Commit, Cursor, Write


@pytest.fixture
async def store(backend):
    await backend.startup()
    yield backend
    await backend.shutdown()


def put(path, **fields):
    return Write(path, RouteState(path=path, origin="operator", **fields))


def objects(snapshot):
    return {
        key: value.model_dump(exclude={"revision"}, exclude_defaults=True)
        for key, value in snapshot.objects.items()
    }


async def test_a_commit_answers_with_the_revision_that_its_objects_and_entries_got(store):
    before = await store.load()
    changes = await store.commit(Commit((put("/x"),), (AuditEntry(action="enable"),)))
    assert changes.cursor > before.cursor
    assert [value.revision for _, value in changes.writes] == [changes.cursor.revision]
    assert [entry.revision for entry in changes.audit] == [changes.cursor.revision]
    assert (await store.load()).cursor == changes.cursor


async def test_a_commit_on_a_stale_revision_changes_nothing(store):
    await store.commit(Commit((put("/x"),)))
    before = await store.load()
    with pytest.raises(ConflictError):
        await store.commit(Commit((put("/x"), put("/y")), (AuditEntry(action="enable"),), {"/x": 0}))
    assert await store.load() == before
    assert await store.read_audit(AuditQuery()) == []


async def test_a_commit_may_expect_that_something_is_not_there(store):
    await store.commit(Commit((put("/x"),), expect={"/x": 0, EVERYTHING.store_key: 0}))


@pytest.mark.parametrize(
    "batches",
    [
        [(put("/x"),)],
        [(put("/x"),), (put("/x", status="disabled"), put("/y"))],
        [(put("/x"),), (Write("/x", None),)],
        [(put("/x"), put("/y")), (Write("/x", None),), (put("/x", reason="again"),)],
        [(Write(EVERYTHING.store_key, GlobalMaintenanceConfig(enabled=True, exempt_paths=("/x",))),)],
    ],
    ids=["one", "changed", "deleted", "put again", "maintenance"],
)
async def test_following_the_feed_leads_to_what_a_load_gives(store, batches):
    await store.commit(Commit((put("/first"),)))
    followed = await store.load()
    for batch in batches:
        await store.commit(Commit(batch))
        changes = await store.watch(followed.cursor)
        followed = await store.load() if changes.reset else followed.apply(changes, advance=True)
    loaded = await store.load()
    assert (followed.cursor, objects(followed)) == (loaded.cursor, objects(loaded))


async def test_without_a_change_the_feed_says_nothing(store):
    await store.commit(Commit((put("/x"),)))
    cursor = (await store.load()).cursor
    changes = await store.watch(cursor)
    assert (changes.cursor, changes.writes, changes.reset) == (cursor, (), False)


@pytest.mark.parametrize("since", [Cursor("another", 1), Cursor("", 0)])
async def test_a_position_that_the_store_does_not_know_means_load_again(store, since):
    await store.commit(Commit((put("/x"),)))
    assert (await store.watch(since)).reset


async def test_a_store_of_six_methods_has_them(store):
    await store.set_state("/x", RouteState(path="/x", status="disabled"))
    await store.set_state("/y", RouteState(path="/y"))
    assert (await store.get_state("/x")).status == "disabled"
    assert {state.path for state in await store.list_states()} == {"/x", "/y"}
    await store.delete_state("/x")
    await store.delete_state("/x")
    with pytest.raises(KeyError):
        await store.get_state("/x")
    for number in range(3):
        await store.write_audit(AuditEntry(action="enable", path="/x", reason=str(number)))
    await store.write_audit(AuditEntry(action="enable", path="/y"))
    assert [entry.reason for entry in await store.get_audit_log("/x", 2)] == ["2", "1"]


async def test_the_memory_backend_waits_for_a_change_without_blocking_its_loop():
    store = MemoryBackend()
    waiting = asyncio.create_task(store.watch((await store.load()).cursor, timeout=10))
    await asyncio.sleep(0)
    await store.commit(Commit((put("/x"),)))
    async with asyncio.timeout(5):
        assert [write.key for write in (await waiting).writes] == ["/x"]


async def test_the_memory_backend_keeps_as_many_audit_entries_as_agreed():
    store = MemoryBackend(audit_limit=3)
    for number in range(5):
        await store.commit(Commit(audit=(AuditEntry(action="enable", reason=str(number)),)))
    assert [entry.reason for entry in await store.read_audit(AuditQuery())] == ["4", "3", "2"]


async def test_who_is_too_far_behind_loads_again():
    store = MemoryBackend()
    start = (await store.load()).cursor
    for _ in range(1001):
        await store.commit(Commit((put("/x"),)))
    assert (await store.watch(start)).reset
    near = Cursor(start.epoch, start.revision + 5)
    assert not (await store.watch(near)).reset
