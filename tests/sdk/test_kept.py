"""The last known state on disk: private, whole, and believed only when nobody else can have written it."""

from __future__ import annotations

import json
import os
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shield_core.backends.server import ShieldServerBackend
from shield_core.models import GlobalMaintenanceConfig, RateLimitPolicy, RouteState
from shield_core.remote import kept
from shield_core.remote.kept import KeptSnapshot, default_path
from shield_core.snapshot import Snapshot

STATE = RouteState(path="payments:GET:/x", status="disabled", reason="ä🚧", origin="operator", revision=3)
LIMIT = RateLimitPolicy(path="payments:/x", method="GET", limit="5/minute", revision=4)
EVERYTHING = GlobalMaintenanceConfig(enabled=True, reason="v3", revision=5)
OBJECTS = {
    STATE.path: STATE,
    "__shield:rl:payments:GET:/x__": LIMIT,
    "__shield:global__": EVERYTHING,
}
SNAPSHOT = Snapshot("e", 5, OBJECTS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "shield" / "payments.json"


@pytest.fixture
def disk(path: Path) -> KeptSnapshot:
    return KeptSnapshot(path, "payments")


def later(revision: int) -> Snapshot:
    return Snapshot("e", revision, OBJECTS)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_kept_is_read_again(disk, path):
    before = datetime.now(UTC)
    disk.keep(SNAPSHOT)
    snapshot, saved_at = KeptSnapshot(path, "payments").read()
    assert (snapshot.cursor, snapshot.objects) == (SNAPSHOT.cursor, OBJECTS)
    assert before <= saved_at <= datetime.now(UTC)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_only_its_owner_can_read_it(disk, path, umask):
    old = os.umask(umask)
    try:
        disk.keep(SNAPSHOT)
    finally:
        os.umask(old)
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_it_holds_nothing_of_other_services_and_no_token(path):
    others = {"orders:GET:/o": RouteState(path="orders:GET:/o", revision=1)}
    KeptSnapshot(path, "payments").keep(Snapshot("e", 5, {**OBJECTS, **others}))
    assert "orders" not in path.read_text()


def test_a_new_state_takes_the_place_of_the_old_one_in_one_step(disk, path):
    disk.keep(SNAPSHOT)
    with path.open() as held:  # as another process, which is reading
        disk.keep(later(6), now=True)
        assert json.load(held)["snapshot"]["revision"] == 5
    assert disk.read()[0].revision == 6


def test_it_is_written_once_a_second_at_most_unless_it_must_be_now(disk, path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(kept.time, "monotonic", lambda: clock[0])

    def kept_revision() -> int:
        return int(json.loads(path.read_text())["snapshot"]["revision"])

    disk.keep(later(5))
    clock[0] += 0.5
    disk.keep(later(6))
    assert kept_revision() == 5
    disk.keep(later(6), now=True)
    assert kept_revision() == 6
    clock[0] += 1.1
    disk.keep(later(7))
    assert kept_revision() == 7


def test_what_has_not_changed_is_not_written_again(disk, path):
    disk.keep(SNAPSHOT)
    path.unlink()
    disk.keep(SNAPSHOT, now=True)
    assert not path.exists()


def test_what_an_older_process_left_half_written_is_no_hindrance(disk, path):
    path.parent.mkdir(parents=True)
    left = path.with_name(f"{path.name}.abandoned.tmp")
    left.write_text("half")
    os.utime(left, (0, 0))
    disk.keep(SNAPSHOT)
    assert disk.read()[0].cursor == SNAPSHOT.cursor
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_what_another_writer_is_writing_is_left_alone(disk, path):
    """Two engines of a process, or containers that share a volume, each of which is process 1."""
    path.parent.mkdir(parents=True)
    theirs = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    theirs.write_text("half")
    disk.keep(SNAPSHOT)
    disk.keep(later(6), now=True)
    assert theirs.read_text() == "half"
    assert disk.read()[0].revision == 6


def test_two_writers_never_leave_a_damaged_file(path, caplog):
    def write(first: int) -> None:
        disk = KeptSnapshot(path, "payments")
        for revision in range(first, first + 100, 2):
            disk.keep(later(revision), now=True)

    threads = [threading.Thread(target=write, args=(first,)) for first in (5, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert KeptSnapshot(path, "payments").read() is not None
    assert caplog.records == []


def test_what_is_no_file_is_not_replaced(tmp_path, caplog):
    """As /dev/null would be, in a container where everybody is root."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    KeptSnapshot(pipe, "payments").keep(SNAPSHOT)
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    assert "no regular file" in caplog.text
    assert [one.name for one in tmp_path.iterdir()] == ["pipe"]


def test_the_null_device_means_nowhere():
    assert ShieldServerBackend("http://localhost", "payments", snapshot_path=os.devnull)._kept.path is None


def test_nothing_is_kept_without_a_place(caplog):
    disk = KeptSnapshot(None, "payments")
    disk.keep(SNAPSHOT, now=True)
    assert disk.read() is None
    assert caplog.records == []


def test_nothing_kept_is_no_error(disk, caplog):
    assert disk.read() is None
    assert caplog.records == []


# -- what is not believed -----------------------------------------------------------------------------


def refused(disk: KeptSnapshot, caplog: pytest.LogCaptureFixture) -> str:
    assert disk.read() is None
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    return record.getMessage()


@pytest.mark.parametrize("bits", [0o620, 0o602, 0o666, 0o777])
def test_a_file_that_others_can_write_is_not_believed(disk, path, caplog, bits):
    disk.keep(SNAPSHOT)
    path.chmod(bits)
    assert "others" in refused(disk, caplog)


def test_a_file_of_another_user_is_not_believed(disk, path, caplog, monkeypatch):
    disk.keep(SNAPSHOT)
    owner = path.stat().st_uid
    if owner == 0:
        os.chown(path, 65534, -1)
    else:
        monkeypatch.setattr(kept.os, "geteuid", lambda: owner + 1)
    assert "others" in refused(disk, caplog)


def test_a_link_is_not_followed(disk, path, tmp_path, caplog):
    disk.keep(SNAPSHOT)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    refused(disk, caplog)


def test_a_link_in_its_place_is_replaced_and_not_written_through(disk, path, tmp_path):
    target = tmp_path / "precious"
    target.write_text("precious")
    path.parent.mkdir(parents=True)
    path.symlink_to(target)
    path.with_name(f"{path.name}.{os.getpid()}.tmp").symlink_to(target)
    disk.keep(SNAPSHOT)
    assert target.read_text() == "precious"
    assert not path.is_symlink()
    assert disk.read() is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        '{"format": 1}',
        "[" * 100_000,
        '{"format": 1, "digest": "x", "saved_at": "2030-01-01T00:00:00+00:00", "snapshot": {}}',
        "\x00" * 100,
    ],
)
def test_what_is_no_snapshot_is_not_used(disk, path, caplog, text):
    disk.keep(SNAPSHOT)
    path.write_text(text)
    refused(disk, caplog)


def test_bytes_that_are_no_text_are_not_used(disk, path, caplog):
    disk.keep(SNAPSHOT)
    path.write_bytes(b"\xff\xfe\x00")
    refused(disk, caplog)


def test_a_changed_or_shortened_file_is_damaged(disk, path, caplog):
    disk.keep(SNAPSHOT)
    whole = path.read_text()
    path.write_text(whole.replace('"disabled"', '"active"'))
    assert "damaged" in refused(disk, caplog)
    for end in range(0, len(whole), 97):
        path.write_text(whole[:end])
        assert disk.read() is None


def test_another_format_is_not_used(disk, path, caplog, monkeypatch):
    disk.keep(SNAPSHOT)
    monkeypatch.setattr(kept, "FORMAT", 2)
    assert "another version" in refused(disk, caplog)


def test_one_object_that_cannot_be_read_does_not_cost_the_others(disk, path, monkeypatch):
    spoilt = kept.cut(SNAPSHOT, "payments")
    spoilt["routes"] = [*spoilt["routes"], {"path": "payments:/newer", "status": "asleep"}]
    monkeypatch.setattr(kept, "cut", lambda snapshot, service: spoilt)
    disk.keep(SNAPSHOT)
    assert disk.read()[0].objects == OBJECTS


def test_a_place_that_cannot_be_written_is_told_once(tmp_path, caplog):
    (tmp_path / "file").write_text("not a folder")
    disk = KeptSnapshot(tmp_path / "file" / "payments.json", "payments")
    for revision in (5, 6, 7):
        disk.keep(later(revision), now=True)
    (record,) = caplog.records
    assert record.levelname == "WARNING"


# -- where ----------------------------------------------------------------------------------------


def test_each_server_and_service_has_a_file_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    places = {
        default_path(address, service)
        for address in ("http://a", "http://a,http://b")
        for service in ("payments", "orders", None)
    }
    assert len(places) == 6
    assert {place.parent for place in places if place} == {tmp_path / "shield"}


def test_without_a_home_nothing_is_kept(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert default_path("http://a", "payments") is None


def test_the_time_it_was_kept_is_told(disk, path):
    disk.keep(SNAPSHOT)
    old = json.loads(path.read_text())
    old["saved_at"] = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    path.write_text(json.dumps(old))
    path.chmod(0o600)
    assert datetime.now(UTC) - disk.read()[1] > timedelta(days=2)
