"""Checks of the settings, each with an id and a hint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, get_args
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from shield_core.exceptions import InvalidInputError, InvalidKeyError
from shield_core.keys import ExemptEntry, check_service
from shield_core.models import LimitCause, RouteStatus
from shield_core.replica import NoStore
from shield_django.conf import NAMES, PREFIX, ShieldSettings

Problem = tuple[str, str]
_BACKENDS = 'Write "models", "memory", a dotted path or {"BACKEND": …, "OPTIONS": {…}}.'
_STORAGES = 'Write "auto", "memory", "file", "redis", a dotted path or {"BACKEND": …, "OPTIONS": {…}}.'


def _backend(value: Any) -> Iterator[Problem]:
    from shield_django.project import make_backend

    try:
        make_backend(value)
    except ImproperlyConfigured as error:
        yield str(error).removeprefix(f"{PREFIX}BACKEND "), _BACKENDS


def _text(value: Any) -> Iterator[Problem]:
    if value is not None and not isinstance(value, str):
        yield f"is {value!r}, which is no text.", "Write a string."


def _service(value: Any) -> Iterator[Problem]:
    try:
        if value:
            check_service(value)
    except (InvalidKeyError, TypeError) as error:
        yield f"is {value!r}: {error}", 'Write a name such as "payments-service".'


def _exempt(value: Any) -> Iterator[Problem]:
    if isinstance(value, str) or not all(isinstance(one, str) for one in value):
        yield f"is {value!r}.", 'Write a list of paths and view names: ["/health", "shop:status"].'
        return
    for entry in value:
        try:
            if "/" in entry:
                ExemptEntry.parse(entry)
        except InvalidKeyError as error:
            yield f"has an entry that cannot be read: {error}", 'Write a path such as "/health".'


def _seconds(value: Any) -> Iterator[Problem]:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        yield f"is {value!r}.", "Write a positive number of seconds."


def _no_store(value: Any) -> Iterator[Problem]:
    if value not in get_args(NoStore):
        yield f"is {value!r}.", f"Write one of {', '.join(get_args(NoStore))}."


def _responses(value: Any) -> Iterator[Problem]:
    causes = (RouteStatus.MAINTENANCE, RouteStatus.DISABLED, RouteStatus.ENV_GATED, LimitCause.RATE_LIMITED)
    statuses = [cause.value for cause in causes]
    hint = f"Write a dictionary from {', '.join(statuses)} to a callable or its dotted path."
    if not isinstance(value, Mapping):
        yield f"is {value!r}.", hint
        return
    for status, found in value.items():
        if status not in statuses:
            yield f"has the unknown status {status!r}.", hint
        elif isinstance(found, str):
            try:
                found = import_string(found)
            except ImportError as error:
                yield f"names what cannot be imported: {error}", hint
                continue
        if not callable(found):
            yield f"has {found!r} for {status}, which cannot be called.", hint


def _proxies(value: Any) -> Iterator[Problem]:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        yield f"is {value!r}.", "Write how many proxies that you trust stand in front: 0, 1, …"


def _rate_limit_storage(value: Any) -> Iterator[Problem]:
    from shield_core.backends.memory import MemoryBackend
    from shield_django import limit_storages
    from shield_django.project import make_backend

    read = ShieldSettings.read()
    try:
        backend = make_backend(read.backend)
    except ImproperlyConfigured:
        backend = MemoryBackend()  # shield.E001 says what is wrong
    try:
        limit_storages.make(read, backend)
    except ImproperlyConfigured as error:
        yield str(error).removeprefix(f"{PREFIX}RATE_LIMIT_STORAGE "), _STORAGES


def _redis_url(value: Any) -> Iterator[Problem]:
    if value and urlsplit(str(value)).scheme not in ("redis", "rediss", "unix"):
        yield "is no Redis URL.", "Write redis://host:6379/0, rediss://… or unix://…"


def _server_url(value: Any) -> Iterator[Problem]:
    from shield_core.remote.connection import Connection

    try:
        if value:
            Connection(value)
    except (InvalidInputError, AttributeError) as error:
        yield f"names no Shield Server: {error}", "Write http://host:port; several nodes with commas between."


def _secret(value: Any) -> Iterator[Problem]:
    if not isinstance(value, str):
        yield "is no text.", "Write a string, from the environment or a secrets manager."


def _flag(value: Any) -> Iterator[Problem]:
    if value not in (True, False):
        yield f"is {value!r}.", "Write True or False."


def _truth(value: Any) -> Iterator[Problem]:
    if value not in (None, True, False):
        yield f"is {value!r}.", "Write True, False or None."


_EACH: dict[str, tuple[str, Callable[[Any], Iterator[Problem]]]] = {
    "backend": ("shield.E001", _backend),
    "env": ("shield.E002", _text),
    "service": ("shield.E003", _service),
    "exempt": ("shield.E004", _exempt),
    "refresh_interval": ("shield.E005", _seconds),
    "init_timeout": ("shield.E006", _seconds),
    "no_store": ("shield.E007", _no_store),
    "responses": ("shield.E008", _responses),
    "release": ("shield.E009", _text),
    "testing": ("shield.E010", _truth),
    "num_proxies": ("shield.E012", _proxies),
    "rate_limit_storage": ("shield.E013", _rate_limit_storage),
    "redis_url": ("shield.E014", _redis_url),
    "fail_open": ("shield.E015", _flag),
    "draft_headers": ("shield.E016", _flag),
    "server_url": ("shield.E017", _server_url),
    **dict.fromkeys(("token", "token_file", "username", "password"), ("shield.E018", _secret)),
    "snapshot_path": ("shield.E019", _text),
    "offline": ("shield.E020", _flag),
}


def check_settings(**_: Any) -> list[checks.CheckMessage]:
    """Check every setting, from the settings module or from the environment."""
    try:
        read = ShieldSettings.read()
    except ValueError as error:
        return [checks.Error(str(error), hint="Correct or unset the variable.", id="shield.E011")]
    return [
        checks.Error(f"{PREFIX}{name.upper()} {message}", hint=hint, id=identifier)
        for name, (identifier, problems) in _EACH.items()
        for message, hint in problems(getattr(read, name))
    ]


def check_names(**_: Any) -> list[checks.CheckMessage]:
    """Find settings that begin with SHIELD_ and that nobody reads."""
    unknown = [name for name in dir(settings) if name.startswith(PREFIX) and name not in NAMES]
    return [
        checks.Warning(
            f"{name} is no setting of Shield.",
            hint=f"Did you mean {meant[0]}?"
            if (meant := get_close_matches(name, NAMES, 1))
            else "Remove it.",
            id="shield.W001",
        )
        for name in unknown
    ]


CHECKS = [check_settings, check_names]
