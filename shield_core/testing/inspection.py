"""How ``BackendContract`` looks at a backend: from synchronous code, and as a whole."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from shield_core.audit import AuditQuery, first_break
from shield_core.backends.base import ShieldBackend, SyncNativeBackend
from shield_core.engine import ShieldEngine
from shield_core.models import AuditEntry, RateLimitHit, RouteState
from shield_core.ports import PlainPort, drive
from shield_core.rate_limit.hits import HitQuery
from shield_core.snapshot import Commit, Cursor, Snapshot
from shield_core.testing.processes import ROUTES, Told, write_until_killed

SPAWN = multiprocessing.get_context("spawn")


class Store:
    """A backend from synchronous code, whatever it is by nature."""

    def __init__(self, port: PlainPort) -> None:
        self._port = port

    def load(self) -> Snapshot:
        return drive(self._port.load())

    def commit(self, commit: Commit) -> Any:
        return drive(self._port.commit(commit, lambda changes: None))

    def watch(self, since: Cursor) -> Any:
        return drive(self._port.watch(since))

    def audit(self, **query: Any) -> list[AuditEntry]:
        return drive(self._port.read_audit(AuditQuery(**query)))

    def write_hits(self, hits: Sequence[RateLimitHit]) -> None:
        drive(self._port.write_hits(hits))

    def hits(self, query: HitQuery | None = None, limit: int = 100) -> list[RateLimitHit]:
        return drive(self._port.read_hits(query or HitQuery(None, limit)))


async def six_methods(backend: ShieldBackend) -> None:
    await backend.startup()
    try:
        await backend.set_state("/x", RouteState(path="/x", reason="first"))
        await backend.set_state("/x", RouteState(path="/x", status="disabled", reason="second"))
        await backend.set_state("GET:/y", RouteState(path="GET:/y"))
        assert (await backend.get_state("/x")).reason == "second"
        assert {state.path for state in await backend.list_states()} == {"/x", "GET:/y"}
        await backend.delete_state("/x")
        await backend.delete_state("/x")
        with pytest.raises(KeyError):
            await backend.get_state("/x")
        for number in range(3):
            await backend.write_audit(AuditEntry(action="enable", path="/x", reason=str(number)))
        await backend.write_audit(AuditEntry(action="enable", path="/y", reason="other"))
        assert [entry.reason for entry in await backend.get_audit_log("/x", 2)] == ["2", "1"]
        assert [entry.reason for entry in await backend.get_audit_log()] == ["other", "2", "1", "0"]
    finally:
        await close_in_thread(backend)
        await backend.shutdown()


def begun_until_killed(make_backend: Callable[[], Any], after: int) -> list[str]:
    """Kill a writing process in the midst of a commit; return the reasons of those it began."""
    ours, theirs = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=write_until_killed, args=(make_backend, ROUTES[0], theirs))
    process.start()
    theirs.close()
    begun = [ours.recv() for _ in range(after)]
    process.kill()
    process.join()
    while ours.poll():
        try:
            begun.append(ours.recv())
        except EOFError:
            break
    ours.close()
    process.close()
    return begun


def assert_nothing_is_lost(engine: ShieldEngine, told: list[Told]) -> None:
    log = engine.sync.get_audit_log(limit=None)
    assert sorted(entry.reason for entry in log) == sorted(r for one in told for r in one.acknowledged)
    assert first_break(reversed(log)) is None
    assert [entry.revision for entry in log] == sorted((entry.revision for entry in log), reverse=True)
    newest = {entry.path: entry.reason for entry in reversed(log)}
    assert {path: engine.sync.get_state(path).reason for path in newest} == newest


def needs(subject: ShieldEngine | ShieldBackend, *flags: str) -> None:
    backend = subject.backend if isinstance(subject, ShieldEngine) else subject
    for flag in flags:
        if not getattr(backend, flag):
            plain = getattr(backend, "plain", backend)
            pytest.skip(f"{type(plain).__name__} is not {flag}")


def needs_stored_hits(engine: ShieldEngine) -> None:
    """Skip where the log of hits is kept in the process, as it is unless a backend has it otherwise."""
    kind = type(engine.backend)
    own = kind.read_hits is not ShieldBackend.read_hits
    if issubclass(kind, SyncNativeBackend):
        own = kind.read_hits_sync is not SyncNativeBackend.read_hits_sync
    if not own:
        pytest.skip(f"{kind.__name__} keeps hits in the process")


def close(backend: ShieldBackend) -> None:
    if isinstance(backend, SyncNativeBackend):
        backend.close_sync()


async def close_in_thread(backend: ShieldBackend) -> None:
    """Close what coroutines have opened in the thread that works for them."""
    if isinstance(backend, SyncNativeBackend):
        await backend.hop(backend.close_sync)


def blocked(engine: ShieldEngine) -> set[str]:
    return {path for path in ("/x", "/y", "/z") if not engine.decide("GET", path).allowed}


def plain(snapshot: Snapshot) -> dict[str, Any]:
    return {key: comparable(value) for key, value in snapshot.objects.items()}


def comparable(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = value.model_dump(exclude={"revision"}, exclude_defaults=True)
    return found
