"""``make_engine()``: an engine from arguments, the environment and a ``.shield`` file.

Of each value the strongest source counts: argument, environment variable, the nearest ``.shield`` file
upwards from the working directory (lines ``KEY=value``), default.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from shield_core.backends.base import ShieldBackend
from shield_core.backends.sync import awaited
from shield_core.engine import ShieldEngine
from shield_core.exceptions import InvalidInputError
from shield_core.rate_limit.storage.base import RateLimitStorage

logger = logging.getLogger("shield")

FILE_NAME = ".shield"
#: Not taken from a file: a hostile working directory must not choose what code runs.
_NEVER_FROM_FILE = "SHIELD_CUSTOM_PATH"
_DEFAULT_FILE = "shield-state.json"
_REDIS_SCHEMES = ("redis", "rediss", "unix")
_CREDENTIALS = ("token", "token_file", "username", "password")


def make_engine(
    current_env: str | None = None,
    backend: str | None = None,
    file_path: str | None = None,
    redis_url: str | None = None,
    custom_path: str | None = None,
    *,
    server_url: str | None = None,
    service: str | None = None,
    **options: Any,
) -> ShieldEngine:
    """Return the engine that the configuration describes; ``options`` go to ``ShieldEngine``.

    ``backend`` is memory, file, redis, server or custom; ``custom_path`` is ``module:factory``, a class or
    function that returns a ``ShieldBackend``. Of the options for rate limits these have variables too:
    ``SHIELD_RATE_LIMIT_STORAGE`` (auto: as the backend does; memory, file, redis), ``SHIELD_FAIL_OPEN``,
    ``SHIELD_NUM_PROXIES``, ``SHIELD_DRAFT_HEADERS``. Raises InvalidInputError, which says what to correct.
    """
    found = Configuration.read()
    env = current_env or found.get("SHIELD_ENV")
    if env is None:
        warn_of_forgotten_environment()
    name, app_id = backend or found.get("SHIELD_BACKEND") or "memory", service or found.get("SHIELD_APP_ID")
    if name == "server":
        made = make_server_backend(server_url, app_id, found=found)
    else:
        made = make_backend(
            name,
            file_path=file_path or found.get("SHIELD_FILE_PATH") or _DEFAULT_FILE,
            redis_url=redis_url or found.get("SHIELD_REDIS_URL"),
            custom_path=custom_path or found.get("SHIELD_CUSTOM_PATH"),
        )
    options = {**limit_options(found), **options}
    return ShieldEngine(made, env, service=app_id, **options)


def make_server_backend(
    server_url: str | None = None,
    app_id: str | None = None,
    *,
    found: Configuration | None = None,
    **options: Any,
) -> ShieldBackend:
    """Return the backend of a service that follows a Shield Server; ``options`` are those of the backend.

    What is not given comes from SHIELD_SERVER_URL, SHIELD_APP_ID, SHIELD_SNAPSHOT_PATH, and, unless other
    credentials are given, SHIELD_TOKEN, SHIELD_TOKEN_FILE, SHIELD_USERNAME and SHIELD_PASSWORD. A server
    that a ``.shield`` file names is sent only what stands in that file. With SHIELD_OFFLINE it is a memory
    backend, so that the decorators alone decide. Raises InvalidInputError.
    """
    from shield_core.backends.memory import MemoryBackend
    from shield_core.backends.server import ShieldServerBackend

    found = found or Configuration.read()
    if is_offline(found):
        return MemoryBackend()
    address = server_url or found.get("SHIELD_SERVER_URL")
    if not address:
        raise InvalidInputError(
            "The server backend needs SHIELD_SERVER_URL, such as http://localhost:9000 (or SHIELD_OFFLINE=1)."
        )
    app_id = app_id or found.get("SHIELD_APP_ID")
    if not app_id:
        raise InvalidInputError(
            "A service needs a name on the Shield Server: SHIELD_APP_ID, in Django SHIELD_SERVICE."
        )
    given = {name: value for name, value in options.items() if value is not None and value != ""}
    are_arguments = bool(given.keys() & set(_CREDENTIALS))
    if not are_arguments:
        given |= {name: text for name in _CREDENTIALS if (text := found.get(f"SHIELD_{name.upper()}"))}
    if not server_url and found.only_in_file("SHIELD_SERVER_URL"):
        _refuse_to_send_away(found, given, are_arguments)
    path = options.get("snapshot_path")
    given["snapshot_path"] = path if path is not None else found.get("SHIELD_SNAPSHOT_PATH")
    return ShieldServerBackend(address, app_id, **given)


def _refuse_to_send_away(found: Configuration, given: Mapping[str, Any], are_arguments: bool) -> None:
    """Refuse to send a server that a file names what that file does not know itself.

    A hostile working directory would else learn credentials, or what any file holds that it calls a token's.
    """
    secret = [name for name in _CREDENTIALS if name in given]
    own = [name for name in secret if name != "token_file" and found.only_in_file(f"SHIELD_{name.upper()}")]
    if secret and (are_arguments or own != secret):
        raise InvalidInputError(
            f"SHIELD_SERVER_URL is taken from {found.path}, and would be sent credentials that are not: "
            "set it in the environment."
        )


def is_offline(found: Configuration | None = None) -> bool:
    """Whether services are to run on their decorators alone: in development, and in tests."""
    said = (found or Configuration.read()).get("SHIELD_OFFLINE")
    return said is not None and _flag("SHIELD_OFFLINE", said)


def limit_options(found: Configuration) -> dict[str, Any]:
    """Return the arguments of ``ShieldEngine`` that the configuration has for rate limits."""
    options: dict[str, Any] = {}
    storage = found.get("SHIELD_RATE_LIMIT_STORAGE")
    if storage not in (None, "auto"):
        options["rate_limit_backend"] = make_rate_limit_storage(
            storage,
            file_path=found.get("SHIELD_FILE_PATH") or _DEFAULT_FILE,
            redis_url=found.get("SHIELD_REDIS_URL"),
        )
    for name in ("fail_open", "draft_headers"):
        variable = f"SHIELD_{name.upper()}"
        if (said := found.get(variable)) is not None:
            options[name] = _flag(variable, said)
    if (proxies := found.get("SHIELD_NUM_PROXIES")) is not None:
        if not proxies.isdecimal():
            raise InvalidInputError(f"SHIELD_NUM_PROXIES is {proxies!r}: it is a number, 0 or more.")
        options["num_proxies"] = int(proxies)
    return options


def make_rate_limit_storage(name: str, *, file_path: str, redis_url: str | None) -> RateLimitStorage:
    """Return where the backend called ``name`` counts, whatever backend keeps the rest."""
    if name not in ("memory", "file", "redis"):
        raise InvalidInputError(
            f"SHIELD_RATE_LIMIT_STORAGE is {name!r}: it is one of auto, memory, file, redis."
        )
    made = make_backend(name, file_path=file_path, redis_url=redis_url, custom_path=None)
    return made.rate_limit_storage()


def _flag(name: str, text: str) -> bool:
    try:
        return truth(text)
    except ValueError as error:
        raise InvalidInputError(f"{name} is {text!r}: {error}") from None


def truth(text: str) -> bool:
    """Read ``1``, ``true``, ``yes``, ``on`` and their opposites. Raises ValueError."""
    said = {"1": True, "true": True, "yes": True, "on": True}
    said |= {"0": False, "false": False, "no": False, "off": False}
    if (word := text.strip().lower()) not in said:
        raise ValueError("it is true or false.")
    return said[word]


def warn_of_forgotten_environment() -> None:
    logger.warning(
        "The environment is not named, so routes with @env_only stay closed everywhere: set SHIELD_ENV."
    )


class Configuration:
    """The environment over the nearest ``.shield`` file, which stands at ``path``."""

    def __init__(
        self, environment: Mapping[str, str], file: Mapping[str, str], path: Path | None = None
    ) -> None:
        self._environment = environment
        self._file = {key: text for key, text in file.items() if key != _NEVER_FROM_FILE}
        self.path = path

    @classmethod
    def read(cls, start: Path | None = None) -> Configuration:
        """Read the environment and the nearest file from ``start`` (the working directory) upwards."""
        try:
            directory = (start or Path.cwd()).resolve()
        except FileNotFoundError:  # somebody has deleted it
            return cls(os.environ, {})
        for folder in (directory, *directory.parents):
            path = folder / FILE_NAME
            if path.is_file():
                return cls(os.environ, parse_file(path), path)
        return cls(os.environ, {})

    def get(self, name: str) -> str | None:
        return self._environment.get(name) or self._file.get(name) or None

    def only_in_file(self, name: str) -> bool:
        """Whether it is the file that says it."""
        return not self._environment.get(name) and bool(self._file.get(name))


def parse_file(path: Path) -> dict[str, str]:
    """Read lines ``KEY=value``; quotes around a value and lines that begin with # are left out."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}") from error
    values = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip().removeprefix("export ")
        if not stripped or stripped.startswith("#"):
            continue
        key, equals, value = stripped.partition("=")
        if not equals or not key.strip().isidentifier():
            raise InvalidInputError(f"{path}, line {number}: write KEY=value, not {line!r}.")
        values[key.strip()] = _unquoted(value.strip())
    return values


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def make_backend(
    name: str, *, file_path: str, redis_url: str | None, custom_path: str | None
) -> ShieldBackend:
    """Return the backend called ``name``."""
    makers: dict[str, Callable[[], ShieldBackend]] = {
        "memory": _memory,
        "file": lambda: _file(file_path),
        "redis": lambda: _redis(redis_url),
        "custom": lambda: _custom(custom_path),
    }
    if name not in makers:
        raise InvalidInputError(f"SHIELD_BACKEND is {name!r}: it is one of {', '.join(makers)}, server.")
    return makers[name]()


def _memory() -> ShieldBackend:
    from shield_core.backends.memory import MemoryBackend

    return MemoryBackend()


def _file(path: str) -> ShieldBackend:
    from shield_core.backends.file import FileBackend

    folder = Path(path).resolve().parent
    if not folder.is_dir():
        raise InvalidInputError(f"SHIELD_FILE_PATH is {path!r}, and there is no folder {folder}.")
    backend = FileBackend(path)
    backend.load_sync()  # an unreadable file is an error at the start, not at the first request
    return backend


def _redis(url: str | None) -> ShieldBackend:
    if url is None:
        raise InvalidInputError("The redis backend needs SHIELD_REDIS_URL, such as redis://localhost:6379/0.")
    if urlsplit(url).scheme not in _REDIS_SCHEMES:
        raise InvalidInputError(f"SHIELD_REDIS_URL is {_shown(url)}: write redis://host:port/database.")
    try:
        from shield_core.backends.redis import RedisBackend
    except ImportError as error:
        raise InvalidInputError(f"{error}.") from error
    try:
        return RedisBackend(url)
    except ValueError as error:
        raise InvalidInputError(f"SHIELD_REDIS_URL is {_shown(url)}: {error}.") from error


def _shown(url: str) -> str:
    """Return a URL for a message, without the password."""
    return repr(re.sub(r"(?<=:)[^/:@]*(?=@)", "…", url))


def _custom(path: str | None) -> ShieldBackend:
    if not path or ":" not in path:
        raise InvalidInputError(
            f"The custom backend needs SHIELD_CUSTOM_PATH as module:factory, not {path!r} "
            f"(it is not taken from a {FILE_NAME} file)."
        )
    module, _, name = path.partition(":")
    try:
        made = awaited(getattr(importlib.import_module(module), name)())
    except Exception as error:  # whatever a factory raises, the message says whose it is
        raise InvalidInputError(f"SHIELD_CUSTOM_PATH is {path!r}: {type(error).__name__}: {error}") from error
    if not isinstance(made, ShieldBackend):
        raise InvalidInputError(f"SHIELD_CUSTOM_PATH {path!r} makes {made!r}, which is no ShieldBackend.")
    return made
