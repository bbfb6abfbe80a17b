"""Shield's settings: flat names, setting > environment variable > default, read when needed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from shield_core.config import truth
from shield_core.replica import NoStore

PREFIX = "SHIELD_"


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


#: SHIELD_SERVICE in the environment is the command line's context, not this process's identity.
_VARIABLES = {"service": "SHIELD_APP_ID"}

#: How an environment variable's text is read, where it is not a text.
_PARSERS: dict[str, Callable[[str], Any]] = {
    "exempt": _words,
    "refresh_interval": float,
    "init_timeout": float,
    "testing": truth,
    "num_proxies": int,
    "rate_limit_storage": str,
    "fail_open": truth,
    "offline": truth,
    "draft_headers": truth,
    "responses": json.loads,
}


@dataclass(frozen=True)
class ShieldSettings:
    """The effective settings. Times are in seconds."""

    #: "models", "memory", a dotted path, or {"BACKEND": …, "OPTIONS": {…}}.
    backend: Any = "models"
    #: The environment's name, which ``@env_only`` compares. None: no gate matches.
    env: str | None = None
    #: This project's service, where several share a store.
    service: str | None = None
    #: What runs here, for operators: a version or a commit.
    release: str = ""
    #: Paths ("/health", "GET:/metrics") or view names that are never blocked.
    exempt: Sequence[str] = ()
    #: Between two looks at the store, where it cannot tell of changes by itself.
    refresh_interval: float = 1.0
    #: How long the first requests of a process wait for the first load.
    init_timeout: float = 2.0
    #: What serves when a process has never seen its store: decorators, maintenance, refuse.
    no_store: NoStore = "decorators"
    #: Answers by status: {"maintenance": callable or dotted path, …}.
    responses: Mapping[str, Any] = field(default_factory=dict)
    #: Trusted proxies in front, each of which has added an address to X-Forwarded-For.
    num_proxies: int = 0
    #: "auto", "memory", "file", "redis", a dotted path, {"BACKEND": …, "OPTIONS": {…}}, or a storage.
    rate_limit_storage: Any = "auto"
    #: The Redis of the project, for what is configured as "redis" without a URL of its own.
    redis_url: str = ""
    #: Of the backend "server": where the Shield Server is; several nodes have commas between them.
    server_url: str = ""
    #: What it lets this service in by: a token, a file with one, or a name and a password.
    token: str = ""
    token_file: str = ""
    username: str = ""
    password: str = ""
    #: Where its last known state is kept for a start without it; "" for nowhere.
    snapshot_path: str | None = None
    #: Whether to run on the decorators alone, without the server.
    offline: bool = False
    #: While the counters cannot be reached: count in this process alone (True), or block.
    fail_open: bool = True
    #: Whether answers have the IETF draft's RateLimit headers too.
    draft_headers: bool = False
    #: None: a per-process memory engine inside Django's test environment.
    testing: bool | None = None

    @classmethod
    def read(cls) -> ShieldSettings:
        """Read the settings now. Raises ValueError for an environment variable of the wrong type."""
        values = {one.name: _value(one.name) for one in fields(cls)}
        given = {name: value for name, value in values.items() if value is not None}
        if "env" not in given and settings.DEBUG:
            given["env"] = "dev"
        return cls(**given)


def _value(name: str) -> Any:
    value = getattr(settings, PREFIX + name.upper(), None)
    if value is not None:
        return value
    variable = _VARIABLES.get(name, PREFIX + name.upper())
    text = os.environ.get(variable)
    if text is None or not text.strip():
        return None
    try:
        return _PARSERS.get(name, str)(text)
    except (TypeError, ValueError) as error:
        raise ValueError(f"The environment variable {variable}={text!r} cannot be read: {error}") from error


def name_and_options(setting: str, kind: str, value: Any) -> tuple[str, dict[str, Any]]:
    """Read what may be a name or ``{"BACKEND": …, "OPTIONS": {…}}``. Raises ImproperlyConfigured."""
    name, options = value, {}
    if isinstance(value, Mapping):
        name, options = value.get("BACKEND"), dict(value.get("OPTIONS", {}))
    if not isinstance(name, str):
        raise ImproperlyConfigured(f"{setting} must name a {kind}, got {value!r}.")
    return name, options


#: Every setting's name; anything else that begins with SHIELD_ is probably misspelt.
NAMES = frozenset(PREFIX + one.name.upper() for one in fields(ShieldSettings))
