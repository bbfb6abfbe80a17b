"""A server from the variables ``SHIELD_*``, or the nearest ``.shield`` file, for containers."""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from shield_core.backends.base import ShieldBackend
from shield_core.config import Configuration, make_backend
from shield_core.exceptions import InvalidInputError, ShieldException
from shield_django.auth.tokens import SDK_TOKEN_EXPIRY, TOKEN_EXPIRY
from shield_django.server.application import ShieldServer

logger = logging.getLogger("shield.server")

_BACKENDS = ("memory", "file", "redis", "models", "custom")
#: With which workers end that need not be started again, as gunicorn and uvicorn understand it.
_NOT_STARTED = 3


def server_for_a_command_line() -> ShieldServer:
    """Return the server; end the process with one line where the configuration is wrong."""
    try:
        return server_from_environment()
    except (ShieldException, ImproperlyConfigured) as error:
        logger.critical("The Shield Server cannot start: %s", error)
        raise SystemExit(_NOT_STARTED) from None


def server_from_environment() -> ShieldServer:
    """Return the server that the configuration describes.

    Raises InvalidInputError, BackendError, ImproperlyConfigured.
    """
    found = Configuration.read()
    keys = (found.get("SHIELD_SECRET_KEY") or "").split()
    return ShieldServer(
        _backend(found),
        _auth(found),
        services=dict(_pairs("SHIELD_SERVICES", found.get("SHIELD_SERVICES") or "")),
        secret_key=keys or None,
        token_expiry=_number(found, "SHIELD_TOKEN_EXPIRY", TOKEN_EXPIRY),
        sdk_token_expiry=_number(found, "SHIELD_SDK_TOKEN_EXPIRY", SDK_TOKEN_EXPIRY),
        public_url=found.get("SHIELD_PUBLIC_URL") or "",
        trusted_proxies=_number(found, "SHIELD_TRUSTED_PROXIES", 0),
        allowed_hosts=(found.get("SHIELD_ALLOWED_HOSTS") or "").split(),
        name=found.get("SHIELD_NAME") or "",
        env=found.get("SHIELD_ENV"),
        database=found.get("SHIELD_DATABASE_URL"),
    )


def _backend(found: Configuration) -> ShieldBackend | str:
    name = found.get("SHIELD_BACKEND") or "memory"
    if name not in _BACKENDS:
        raise InvalidInputError(f"SHIELD_BACKEND is {name!r}: a server's is one of {', '.join(_BACKENDS)}.")
    if name == "models":
        return name  # made once Django is set up
    return make_backend(
        name,
        file_path=found.get("SHIELD_FILE_PATH") or "shield-state.json",
        redis_url=found.get("SHIELD_REDIS_URL"),
        custom_path=found.get("SHIELD_CUSTOM_PATH"),
    )


def _auth(found: Configuration) -> Any:
    """Return the operators: SHIELD_AUTH, ``name:password`` separated by spaces, and SHIELD_USERNAME."""
    pairs = _pairs("SHIELD_AUTH", found.get("SHIELD_AUTH") or "")
    username, password = found.get("SHIELD_USERNAME"), found.get("SHIELD_PASSWORD")
    if (username is None) != (password is None):
        raise InvalidInputError("SHIELD_USERNAME and SHIELD_PASSWORD belong together: set both or neither.")
    if username is not None and password is not None:
        pairs.append((username, password))
    return pairs or None


def _pairs(name: str, text: str) -> list[tuple[str, str]]:
    pairs = [word.partition(":") for word in text.split()]
    if not all(before and after for before, _, after in pairs):
        raise InvalidInputError(f"{name} has something that is no name:password; separate several by spaces.")
    return [(before, after) for before, _, after in pairs]


def _number(found: Configuration, name: str, default: int) -> int:
    text = found.get(name)
    if text is None:
        return default
    if not text.isdecimal():
        raise InvalidInputError(f"{name} is {text!r}: it is a number.")
    return int(text)
