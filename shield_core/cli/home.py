"""``~/.shield/config.json``: the server that commands go to, and a token for each server, sent to no other.

Only its owner can read it. It is replaced as a whole, so that no moment shows half of it, and never
written through a link.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from shield_core.exceptions import ShieldException
from shield_core.ownership import is_writable_by_others

_NAME = "config.json"
_READ_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Not waiting where it is a pipe.
_READ_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class HomeError(ShieldException):
    """The configuration in the home directory cannot be used."""


class Login(BaseModel):
    """What a server gave for a name and a password."""

    model_config = ConfigDict(extra="allow")

    token: str = Field(repr=False)
    username: str = ""
    expires_at: AwareDatetime | None = None

    @property
    def has_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)


class Kept(BaseModel):
    """All that is kept; what others have put there stays."""

    model_config = ConfigDict(extra="allow")

    server_url: str = ""
    #: By the address of the server.
    tokens: dict[str, Login] = {}


class Home:
    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    @property
    def folder(self) -> Path:
        try:
            return self._folder or Path.home() / ".shield"
        except RuntimeError as error:
            raise HomeError("There is no home directory to keep a login in: set HOME.") from error

    @property
    def path(self) -> Path:
        return self.folder / _NAME

    def read(self) -> Kept:
        """Return what is kept. Raises HomeError where that cannot be believed."""
        try:
            folder = os.open(self.folder, _READ_FOLDER)
        except FileNotFoundError:
            return Kept()
        except OSError as error:
            raise self._trouble(error) from error
        try:
            return self._read(folder)
        finally:
            os.close(folder)

    @contextmanager
    def changed(self) -> Iterator[Kept]:
        """Read what is kept, let it be changed, and write it, while no other process does so."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = os.open(self.folder, _READ_FOLDER)
        except OSError as error:
            raise self._trouble(error) from error
        try:
            self._lock(folder)
            kept = self._read(folder)
            yield kept
            self._write(folder, kept)
        finally:
            os.close(folder)

    def _lock(self, folder: int) -> None:
        """Wait until no other process changes what is kept; the lock ends with ``folder``."""
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
        except OSError as error:
            raise self._trouble(error) from error

    def _read(self, folder: int) -> Kept:
        try:
            self._refuse_others(os.fstat(folder), self.folder)
            descriptor = os.open(_NAME, _READ_FILE, dir_fd=folder)
            with open(descriptor, encoding="utf-8") as file:
                self._refuse_others(os.fstat(descriptor), self.path)
                return Kept.model_validate(json.load(file))
        except FileNotFoundError:
            return Kept()
        except OSError as error:
            raise self._trouble(error) from error
        except (ValidationError, ValueError, RecursionError) as error:
            raise HomeError(f"{self.path} cannot be understood: delete it and log in again.") from error

    def _write(self, folder: int, kept: Kept) -> None:
        temporary = f"{_NAME}.tmp"  # one is enough: the folder is locked
        try:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
            if stat.S_IMODE(os.fstat(folder).st_mode) & 0o077:
                os.fchmod(folder, 0o700)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(temporary, flags, 0o600, dir_fd=folder)
            try:
                with open(descriptor, "w", encoding="utf-8") as file:
                    json.dump(kept.model_dump(mode="json"), file, indent=2)
                    file.flush()
                    os.fsync(descriptor)
                os.rename(temporary, _NAME, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                os.unlink(temporary, dir_fd=folder)
                raise
        except OSError as error:
            raise self._trouble(error) from error

    def _refuse_others(self, found: os.stat_result, path: Path) -> None:
        """Refuse what another user could have written: it would choose where tokens are sent."""
        if is_writable_by_others(found):
            raise HomeError(f"{path} could have been written by others: make it yours, and run chmod go-w.")

    def _trouble(self, error: OSError) -> HomeError:
        if self.folder.is_symlink() or self.path.is_symlink():
            return HomeError(f"{self.path} is reached through a link: put the file itself there.")
        return HomeError(f"{self.path} cannot be used: {error.strerror or error}.")
