"""What is kept of logins: for its owner alone, for each server its own, whole at every moment."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shield_core.cli.home import Home, HomeError, Login

LOGIN = Login(token="secret-token", username="olga")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / ".shield")


def keep(home: Home, address: str = "http://a", login: Login = LOGIN) -> None:
    with home.changed() as kept:
        kept.tokens[address] = login


def test_nothing_is_kept_at_first_and_looking_makes_nothing(home: Home) -> None:
    assert home.read().tokens == {}
    assert not home.folder.exists()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_its_owner_can_read_it(home: Home, umask: int) -> None:
    before = os.umask(umask)
    try:
        keep(home)
    finally:
        os.umask(before)

    assert (mode(home.folder), mode(home.path)) == (0o700, 0o600)
    assert [one.name for one in home.folder.iterdir()] == ["config.json"]


def test_a_folder_and_a_file_that_others_can_read_are_closed_to_them(home: Home) -> None:
    home.folder.mkdir(mode=0o755)
    home.path.write_text("{}")
    home.path.chmod(0o644)

    keep(home)

    assert (mode(home.folder), mode(home.path)) == (0o700, 0o600)


@pytest.mark.parametrize(
    "path, rights", [("folder", 0o777), ("folder", 0o770), ("path", 0o666), ("path", 0o620)]
)
def test_what_others_could_have_written_is_not_believed(home: Home, path: str, rights: int) -> None:
    keep(home)
    getattr(home, path).chmod(rights)

    for use in (home.read, lambda: keep(home)):
        with pytest.raises(HomeError, match="could have been written by others"):
            use()


def test_a_link_is_neither_read_nor_written_through(home: Home, tmp_path: Path) -> None:
    target = tmp_path / "target.json"
    target.write_text('{"server_url": "http://evil"}')
    home.folder.mkdir(mode=0o700)
    home.path.symlink_to(target)

    for use in (home.read, lambda: keep(home)):
        with pytest.raises(HomeError, match="through a link"):
            use()
    assert target.read_text() == '{"server_url": "http://evil"}'


def test_a_link_in_the_place_of_the_folder_is_refused(home: Home, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    home.folder.symlink_to(tmp_path / "elsewhere")

    for use in (home.read, lambda: keep(home)):
        with pytest.raises(HomeError, match="through a link"):
            use()
    assert not [*(tmp_path / "elsewhere").iterdir()]


def test_a_link_where_the_new_file_is_written_is_replaced(home: Home, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("mine")
    home.folder.mkdir(mode=0o700)
    (home.folder / "config.json.tmp").symlink_to(tmp_path / "target")

    keep(home)

    assert (tmp_path / "target").read_text() == "mine"
    assert home.read().tokens["http://a"].token == "secret-token"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", 100_000 * "[", '{"tokens": {"http://a": {"token": 1}}}', '{"tokens": []}']
)
def test_a_damaged_file_is_one_sentence_that_says_what_to_do(home: Home, content: str) -> None:
    home.folder.mkdir(mode=0o700)
    home.path.write_text(content)
    home.path.chmod(0o600)

    with pytest.raises(HomeError, match="cannot be understood: delete it and log in again") as caught:
        home.read()
    assert "\n" not in str(caught.value)


def test_a_pipe_in_the_place_of_the_file_is_not_waited_for(home: Home) -> None:
    home.folder.mkdir(mode=0o700)
    os.mkfifo(home.path, 0o600)

    with pytest.raises(HomeError, match="cannot be understood"):
        home.read()


def test_what_others_keep_there_stays(home: Home) -> None:
    home.folder.mkdir(mode=0o700)
    home.path.write_text('{"theirs": {"a": 1}, "tokens": {"http://b": {"token": "t", "scope": "x"}}}')
    home.path.chmod(0o600)

    keep(home)

    found = json.loads(home.path.read_text())
    assert found["theirs"] == {"a": 1}
    assert found["tokens"]["http://b"]["scope"] == "x"


def test_logins_at_the_same_time_are_all_kept(home: Home) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: keep(Home(home.folder), f"http://{number}"), range(40)))

    assert len(home.read().tokens) == 40


def test_a_change_that_fails_leaves_what_was(home: Home) -> None:
    keep(home)

    def change() -> None:
        with home.changed() as kept:
            kept.tokens.clear()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change()

    assert home.read().tokens["http://a"].token == "secret-token"


def test_a_token_is_in_no_repr() -> None:
    assert "secret-token" not in repr(LOGIN)


def test_a_login_ends() -> None:
    now = datetime.now(UTC)
    assert Login(token="t", expires_at=now - timedelta(seconds=1)).has_expired
    assert not Login(token="t", expires_at=now + timedelta(hours=1)).has_expired
    assert not Login(token="t").has_expired
