"""What lets a client in at a Shield Server. Nothing of it appears in logs, errors or ``repr``."""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from shield_core import forking
from shield_core.exceptions import BackendError, InvalidInputError, ShieldException

#: Logs in at a server and returns a token: ``ask(username, password)``. Raises a ShieldException.
LogIn = Callable[[str, str], str]


class Credentials(ABC):
    @abstractmethod
    def token(self, log_in: LogIn) -> str | None:
        """Return the token to send, None for none. Raises BackendError where it cannot be had."""

    def refused(self, token: str | None) -> None:
        """Take note that the server does not take ``token`` any more."""


class NoCredentials(Credentials):
    """For a server that is open."""

    def token(self, log_in: LogIn) -> str | None:
        return None


class FixedToken(Credentials):
    """A token that was issued before; ``token`` may be a function that says which it is now."""

    def __init__(self, token: str | Callable[[], str]) -> None:
        self._token = token

    def token(self, log_in: LogIn) -> str | None:
        found = self._token() if callable(self._token) else self._token
        return _checked(found, "The token")


class TokenFile(Credentials):
    """A token in a file, as mounted secrets are: read again when the file changes, and when it is refused."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._read: tuple[object, str] | None = None

    def token(self, log_in: LogIn) -> str | None:
        try:
            found = os.stat(self._path)
            mark = (found.st_mtime_ns, found.st_ino, found.st_size)
            if self._read is None or self._read[0] != mark:
                self._read = (mark, self._path.read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError) as error:
            raise BackendError(f"The token file {self._path} cannot be read: {error}") from error
        return _checked(self._read[1], f"The token in {self._path}")

    def refused(self, token: str | None) -> None:
        self._read = None


class Password(Credentials):
    """A name and a password, for a token that lasts as long as the server says."""

    def __init__(self, username: str, password: str) -> None:
        self._username = username
        self._password = password
        self._token: str | None = None
        self._failure: tuple[float, ShieldException] | None = None
        self._lock = threading.Lock()
        forking.watch(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()

    def token(self, log_in: LogIn) -> str | None:
        asked_at = time.monotonic()
        with self._lock:
            if self._token is None:
                self._token = self._log_in(log_in, asked_at)
            return self._token

    def _log_in(self, log_in: LogIn, asked_at: float) -> str:
        """Log in, unless that has failed while this thread was waiting: it would wait as long again."""
        if self._failure is not None and self._failure[0] >= asked_at:
            raise self._failure[1].with_traceback(None)
        try:
            return log_in(self._username, self._password)
        except ShieldException as error:
            self._failure = (time.monotonic(), error)
            raise

    def refused(self, token: str | None) -> None:
        with self._lock:
            if self._token == token:
                self._token = None


def credentials(
    token: str | Callable[[], str] | None = None,
    token_file: str | Path | None = None,
    username: str | None = None,
    password: str | None = None,
) -> Credentials:
    """Return what the arguments describe. Raises InvalidInputError for what does not go together."""
    if token:
        return FixedToken(token)
    if token_file:
        return TokenFile(token_file)
    if username and password:
        return Password(username, password)
    if username or password:
        missing = "password" if username else "username"
        raise InvalidInputError(
            f"A login at the Shield Server needs a {missing} too (SHIELD_{missing.upper()})."
        )
    return NoCredentials()


def _checked(token: object, whose: str) -> str:
    """Return a token that can stand in a header. Raises BackendError."""
    if token is not None and not isinstance(token, str):
        raise BackendError(f"{whose} is no text but {type(token).__name__}.")
    if not token or not token.isascii() or not token.isprintable():
        raise BackendError(f"{whose} is empty or has characters that no token has.")
    return token
