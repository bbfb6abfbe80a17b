"""Killed writers, locks that are held, permissions and links: what is beside the file's content."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from shield_core.backends import file
from shield_core.backends.file import FileBackend
from shield_core.exceptions import BackendError
from shield_core.models import RouteState
from shield_core.snapshot import Commit, Write
from tests.backends.neighbour import Neighbour
from tests.conftest import eventually

ROOT = Path(__file__).parents[2]
BEFORE_RENAMING = (
    *("lock opened", "lock held", "temporary file made", "half written", "written"),
    *("permissions taken over", "synced"),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shield-state.json"


def change(backend: FileBackend, **fields: Any) -> None:
    state = RouteState.model_validate({"path": "GET:/x", "origin": "operator", **fields})
    backend.commit_sync(Commit((Write("GET:/x", state),)))


@pytest.mark.parametrize("step", [*BEFORE_RENAMING, "renamed", "folder synced"])
def test_a_writer_that_is_killed_leaves_the_old_or_the_new_file(path: Path, step: str) -> None:
    survivor = FileBackend(path)
    change(survivor, reason="old")
    old = path.read_text()
    died = subprocess.run([sys.executable, "-m", "tests.backends.dying", str(path), step], cwd=ROOT)
    assert died.returncode == -signal.SIGKILL

    if step in BEFORE_RENAMING:
        assert path.read_text() == old
    else:
        assert json.loads(path.read_text())["states"]["GET:/x"]["reason"] == "new"
    change(survivor, reason="next")
    assert FileBackend(path).load_sync().routes["GET:/x"].reason == "next"
    assert not list(path.parent.glob("*.tmp"))


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_permissions_are_kept(path: Path, mode: int) -> None:
    path.write_text('{"states": {}}')
    path.chmod(mode)
    change(FileBackend(path))
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_the_owner_is_kept(path: Path) -> None:
    path.write_text('{"states": {}}')
    os.chown(path, 12345, 12346)
    change(FileBackend(path))
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346)


def test_a_new_file_has_the_permissions_of_new_files(path: Path) -> None:
    change(FileBackend(path))
    ordinary = path.with_name("ordinary")
    ordinary.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


def test_a_symbolic_link_stays_one_and_shares_the_lock(tmp_path: Path, path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.json"
    link.symlink_to(path)
    by_link, direct = FileBackend(link), FileBackend(path)
    change(by_link, reason="through the link")
    assert link.is_symlink()
    assert direct.load_sync().routes["GET:/x"].reason == "through the link"
    with direct._locked():
        thread = threading.Thread(target=change, args=(by_link,), kwargs={"reason": "later"})
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
    thread.join()
    assert direct.load_sync().routes["GET:/x"].reason == "later"


def test_a_relative_path_means_the_same_file_in_another_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    backend = FileBackend("state.json")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    change(backend)
    assert (tmp_path / "state.json").exists()


def test_two_writes_within_one_tick_of_the_clock_are_not_taken_for_one(path: Path) -> None:
    """Renaming frees the number of an inode, which the next file but one gets again."""
    writer, reader = FileBackend(path), FileBackend(path)
    change(writer, reason="00")
    frozen = path.stat().st_mtime_ns
    for turn in range(20, 80, 2):
        for number in (turn, turn + 1):
            change(writer, reason=str(number))
            os.utime(path, ns=(frozen, frozen))
        assert reader.load_sync().routes["GET:/x"].reason == str(turn + 1)


def test_a_lock_that_is_never_released_is_an_error_and_not_a_hang(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "_LOCK_PATIENCE", 0.2)
    stopped, other = FileBackend(path), FileBackend(path)
    change(other)
    with stopped._locked(), pytest.raises(BackendError, match=r"state\.json\.lock"):
        change(other, reason="lost")
    change(other, reason="after")
    assert other.load_sync().routes["GET:/x"].reason == "after"


def test_a_stopped_writer_does_not_keep_others_from_following(path: Path, start_engine: Any) -> None:
    engine = start_engine(FileBackend(path))
    engine.sync.register("GET:/x", {})
    assert engine.decide("GET", "/x").allowed
    with Neighbour(partial(FileBackend, path)) as cli, FileBackend(path)._locked():
        assert cli.lets_pass("/x")
        text = path.read_text().replace('"active"', '"disabled"').replace('"code"', '"operator"')
        path.write_text(text)
        eventually(lambda: not engine.decide("GET", "/x").allowed)
        eventually(lambda: not cli.lets_pass("/x"))


def test_a_child_forked_during_a_write_does_not_keep_the_lock(path: Path) -> None:
    program = f"""
import os
from shield_core.backends.file import FileBackend
from shield_core.snapshot import Commit
first, second = (FileBackend({str(path)!r}) for _ in range(2))
with first._locked():
    wait, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go)
        os.read(wait, 1)
        os._exit(0)
second.commit_sync(Commit())
os.close(go)
os.waitpid(child, 0)
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=10)
