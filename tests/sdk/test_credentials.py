"""What lets a service in: where the token comes from, when it is read again, and that nobody is told it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from shield_core.exceptions import BackendError, InvalidInputError, NotAuthenticatedError
from shield_core.remote.credentials import (
    Credentials,
    FixedToken,
    NoCredentials,
    Password,
    TokenFile,
    credentials,
)
from tests.conftest import eventually

BAD = ["", "t\nX-Forged: 1", "t\r\n", "töken", "t\x00", "\x7f"]


def never(username: str, password: str) -> str:
    raise AssertionError("nobody logs in with a token")


class Door:
    """Gives out tokens with a number, to whoever knows the password."""

    def __init__(self) -> None:
        self.opened = 0

    def __call__(self, username: str, password: str) -> str:
        if (username, password) != ("olga", "secret"):
            raise NotAuthenticatedError("Invalid credentials")
        self.opened += 1
        return f"token {self.opened}"


def write(path: Path, text: str, *, changed_at: int) -> None:
    path.write_text(text)
    os.utime(path, (changed_at, changed_at))


def test_without_anything_no_token_is_sent():
    found = credentials()
    assert isinstance(found, NoCredentials)
    assert found.token(never) is None


def test_the_first_that_is_given_counts(tmp_path):
    (tmp_path / "token").write_text("of the file")
    found = credentials("of the code", tmp_path / "token", "olga", "secret")
    assert found.token(never) == "of the code"
    found = credentials(None, tmp_path / "token", "olga", "secret")
    assert found.token(never) == "of the file"
    found = credentials("", "", "olga", "secret")
    assert found.token(Door()) == "token 1"


@pytest.mark.parametrize(
    ("given", "missing"), [({"username": "olga"}, "SHIELD_PASSWORD"), ({"password": "x"}, "SHIELD_USERNAME")]
)
def test_half_a_login_is_refused_with_the_name_of_what_is_missing(given, missing):
    with pytest.raises(InvalidInputError, match=missing):
        credentials(**given)


def test_a_function_is_asked_each_time():
    tokens = iter(["one", "two"])
    found = credentials(lambda: next(tokens))
    assert [found.token(never), found.token(never)] == ["one", "two"]


@pytest.mark.parametrize("text", BAD)
def test_what_no_token_has_is_not_sent(text, tmp_path):
    path = tmp_path / "token"
    path.write_text(f"{text}" if text.strip() == text else "inner" + text + "inner", newline="")
    for found in (FixedToken(text), FixedToken(lambda: text), TokenFile(path)):
        with pytest.raises(BackendError) as raised:
            found.token(never)
        assert not text or text not in str(raised.value)


# -- a file ---------------------------------------------------------------------------------------


def test_a_file_is_read_again_when_it_has_changed(tmp_path):
    path = tmp_path / "token"
    write(path, "first\n", changed_at=1000)
    found = TokenFile(path)
    assert found.token(never) == "first"
    write(path, "other\n", changed_at=1001)
    assert found.token(never) == "other"


def test_a_file_in_the_place_of_the_first_is_read(tmp_path):
    """As Kubernetes renews a mounted secret: another file, behind a link that is renamed over the old one."""
    for number, text in enumerate(("first", "other")):
        folder = tmp_path / f"..data{number}"
        folder.mkdir()
        write(folder / "token", text, changed_at=1000)
    (tmp_path / "..data").symlink_to(tmp_path / "..data0")
    (tmp_path / "token").symlink_to(tmp_path / "..data" / "token")
    found = TokenFile(tmp_path / "token")
    assert found.token(never) == "first"
    (tmp_path / "..new").symlink_to(tmp_path / "..data1")
    os.replace(tmp_path / "..new", tmp_path / "..data")
    assert found.token(never) == "other"


def test_a_refused_token_is_read_again_although_the_file_looks_the_same(tmp_path):
    path = tmp_path / "token"
    write(path, "first", changed_at=1000)
    found = TokenFile(path)
    found.token(never)
    write(path, "other", changed_at=1000)
    assert found.token(never) == "first"
    found.refused("first")
    assert found.token(never) == "other"


@pytest.mark.parametrize("kind", ["absent", "folder", "bytes"])
def test_a_file_that_cannot_be_read_is_an_error_that_passes(tmp_path, kind):
    path = tmp_path / "token"
    if kind == "folder":
        path.mkdir()
    elif kind == "bytes":
        path.write_bytes(b"\xff\xfe\xff")
    found = TokenFile(path)
    with pytest.raises(BackendError, match="token"):
        found.token(never)
    if kind == "folder":
        path.rmdir()
    path.write_text("now")
    assert found.token(never) == "now"


@pytest.mark.parametrize("given", [b"bytes", 7, ["t"]])
def test_a_function_that_returns_no_text_is_told_so(given):
    with pytest.raises(BackendError, match=f"no text but {type(given).__name__}"):
        FixedToken(lambda: given).token(never)


# -- a login ----------------------------------------------------------------------------------------


def test_one_login_serves_until_its_token_is_refused():
    door, found = Door(), Password("olga", "secret")
    assert [found.token(door), found.token(door)] == ["token 1", "token 1"]
    found.refused("token 1")
    assert found.token(door) == "token 2"


def test_a_late_refusal_of_an_old_token_does_not_forget_the_new_one():
    door, found = Door(), Password("olga", "secret")
    found.token(door)
    found.refused("token 1")
    found.token(door)
    found.refused("token 1")
    found.refused(None)
    assert (found.token(door), door.opened) == ("token 2", 2)


def test_a_login_that_fails_is_tried_again_the_next_time():
    found = Password("olga", "secret")

    def closed(username: str, password: str) -> str:
        raise BackendError("The server is away.")

    with pytest.raises(BackendError):
        found.token(closed)
    assert found.token(Door()) == "token 1"


class Queue:
    """A lock at which one sees how many have come."""

    def __init__(self) -> None:
        self.come = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self.come += 1
        self._lock.acquire()

    def __exit__(self, *exc: object) -> None:
        self._lock.release()


def test_who_waited_for_a_login_that_failed_does_not_wait_for_another_one():
    found, queue, tried, failed = Password("olga", "secret"), Queue(), [], []
    found._lock = queue  # type: ignore[assignment]

    def hangs(username: str, password: str) -> str:
        tried.append(username)
        eventually(lambda: queue.come == 5)
        raise BackendError("The server does not answer in time.")

    def ask() -> None:
        with pytest.raises(BackendError, match="in time"):
            found.token(hangs)
        failed.append(True)

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=15)
    assert (len(tried), len(failed)) == (1, 5)
    assert found.token(Door()) == "token 1"


def test_a_login_after_a_fork_is_possible_although_another_thread_was_logging_in():
    found = Password("olga", "secret")
    found._lock.acquire()
    found.after_fork()
    assert found.token(Door()) == "token 1"


@pytest.mark.parametrize(
    "found", [FixedToken("secret"), FixedToken(lambda: "secret"), Password("olga", "secret")]
)
def test_nothing_secret_is_printed(found: Credentials):
    found.token(Door())
    for printed in (repr(found), str(found), f"{[found]}"):
        assert "secret" not in printed
        assert "token 1" not in printed
