"""Route keys and scopes: the only place that parses or prints them.

A route key is ``[service:][METHOD:]/template``. Maintenance configurations and rate limits live in
the same key space under reserved keys, so that one store, one change feed and one expectation check
serve every scope.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Literal, NamedTuple

from shield_core.exceptions import InvalidKeyError
from shield_core.texts import UNPRINTABLE

WEBSOCKET = "WS"
#: The name of no environment: what a gate without any common environment is open in.
NOWHERE = "(none)"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HTTP_METHODS = frozenset(
    {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", WEBSOCKET}
)

_METHOD = re.compile(r"[A-Z][A-Z-]*")
_SERVICE = re.compile(r"[a-z0-9][A-Za-z0-9._-]*")
#: Characters of a service's name at most.
SERVICE_LENGTH = 100
_CONVERTER = re.compile(r"\{([^{}:]+):[^{}]*\}")

RESERVED_PREFIX = "__shield:"
INSTANCE_PREFIX = "__shield:instance:"
#: Marks of a recovery, see shield_core.recovery.
RESTORE_KEY = "__shield:restore__"
ACCEPTED_KEY = "__shield:accepted__"


class RouteKey(NamedTuple):
    """A parsed route key. ``method`` None means every method, ``service`` None the only service."""

    service: str | None
    method: str | None
    path: str

    @classmethod
    def parse(cls, text: str, *, service: str | None = None) -> RouteKey:
        """Parse ``[service:][METHOD:]/template``.

        ``service`` is used where the text names none. Raises InvalidKeyError, which says what
        is wrong with the text.
        """
        prefix, slash, rest = text.partition("/")
        if not slash:
            raise InvalidKeyError(f"{text!r} is not a route key: it has no path such as '/payments'.")
        if rest.startswith("/") and prefix in ("http:", "https:"):
            raise InvalidKeyError(f"{text!r} is an address: write the path alone.")
        path = _CONVERTER.sub(r"{\1}", "/" + rest)
        if " " in path or UNPRINTABLE.search(path):
            raise InvalidKeyError(
                f"{text!r} is not a route key: its path has white space in it, or what cannot be printed."
            )
        method = None
        if prefix:
            if not prefix.endswith(":"):
                raise InvalidKeyError(f"{text!r} is not a route key: {prefix!r} needs a ':' after it.")
            *services, last = prefix[:-1].split(":")
            if _METHOD.fullmatch(last):
                method = last
            else:
                services.append(last)
            if len(services) > 1:
                raise InvalidKeyError(f"{text!r} is not a route key: it names two services.")
            if services:
                service = check_service(services[0])
        return cls(service, method, path)

    def __str__(self) -> str:
        service = f"{self.service}:" if self.service else ""
        method = f"{self.method}:" if self.method else ""
        return f"{service}{method}{self.path}"

    @property
    def local(self) -> str:
        """The key as the service itself knows it, without the service."""
        return str(self._replace(service=None))


def check_service(name: str) -> str:
    """Return ``name`` when it may name a service, else raise InvalidKeyError."""
    if not _SERVICE.fullmatch(name):
        raise InvalidKeyError(
            f"{name!r} cannot name a service: use letters, digits, '.', '_' and '-', "
            "starting with a small letter or a digit."
        )
    if len(name) > SERVICE_LENGTH:
        raise InvalidKeyError(f"The name of a service has at most {SERVICE_LENGTH} characters.")
    return name


def is_environment(name: object) -> bool:
    """Return whether ``name`` may name an environment."""
    return isinstance(name, str) and bool(name.strip())


class Facet(StrEnum):
    """What is stored of a scope. ``RESET`` numbers the generations of its rate limit's counters."""

    STATE = "state"
    LIMIT = "limit"
    RESET = "reset"
    TOKEN = "token"


class Scope(NamedTuple):
    """What a maintenance configuration or a limit applies to, as a value.

    ``kind`` says how far it reaches, ``name`` which service or route key it is; everything has
    the empty name.
    """

    kind: Literal["global", "service", "route", "store", "token"]
    name: str = ""

    @classmethod
    def service(cls, name: str) -> Scope:
        return cls("service", check_service(name))

    @classmethod
    def of(cls, store_key: str) -> Scope:
        """Return the scope of which something is stored under ``store_key``."""
        return parse_store_key(store_key)[1]

    @property
    def store_key(self) -> str:
        """The key under which this scope's maintenance, or a route's state, is stored and sent to clients."""
        match self.kind:
            case "store":
                return self.name
            case "token":
                return self.key_of(Facet.TOKEN)
            case _:
                return self.key_of(Facet.STATE)

    @property
    def limit_key(self) -> str:
        """The key under which this scope's rate limit is stored."""
        return self.key_of(Facet.LIMIT)

    @property
    def reset_key(self) -> str:
        return self.key_of(Facet.RESET)

    def key_of(self, facet: Facet) -> str:
        begin, end = _STORE_KEYS[facet, self.kind]
        return f"{begin}{self.name}{end}"

    @property
    def owner(self) -> str | None:
        """The service that the scope is about, None where it is about none or all of them."""
        match self.kind:
            case "route":
                return RouteKey.parse(self.name).service
            case "service":
                return self.name
            case _:
                return None

    @property
    def label(self) -> str:
        """What people read in the audit log and in messages."""
        labels = {
            "global": "everything",
            "service": f"service {self.name}",
            "store": "the store",
            "token": f"token {self.name}",
        }
        return labels.get(self.kind, self.name)


EVERYTHING = Scope("global")

#: What stands before and after a scope's name in the keys of the store.
_STORE_KEYS: dict[tuple[Facet, str], tuple[str, str]] = {
    (Facet.STATE, "global"): ("__shield:global__", ""),
    (Facet.STATE, "service"): ("__shield:svc_global:", "__"),
    (Facet.STATE, "route"): ("", ""),
    (Facet.LIMIT, "global"): ("__shield:global_rl__", ""),
    (Facet.LIMIT, "service"): ("__shield:svc_rl:", "__"),
    (Facet.LIMIT, "route"): ("__shield:rl:", "__"),
    (Facet.RESET, "global"): ("__shield:global_rl_reset__", ""),
    (Facet.RESET, "service"): ("__shield:svc_rl_reset:", "__"),
    (Facet.RESET, "route"): ("__shield:rl_reset:", "__"),
    (Facet.TOKEN, "token"): ("__shield:token:", "__"),
}


def parse_store_key(store_key: str) -> tuple[Facet, Scope]:
    """Return what is stored under ``store_key``, and of which scope."""
    if is_route_key(store_key):
        return Facet.STATE, Scope("route", store_key)
    for (facet, kind), (begin, end) in _STORE_KEYS.items():
        if not begin or not store_key.startswith(begin):
            continue
        name = store_key[len(begin) : len(store_key) - len(end)]
        if f"{begin}{name}{end}" == store_key and bool(name) is (kind != "global"):
            return facet, Scope(kind, name)  # type: ignore[arg-type]
    return Facet.STATE, Scope("store", store_key)


def encode_key(key: str) -> str:
    """Return ``key`` as it stands in a URL: unpadded base64url (CONTRACT §7)."""
    return base64.urlsafe_b64encode(key.encode()).rstrip(b"=").decode()


def is_route_key(store_key: str) -> bool:
    return not store_key.startswith(RESERVED_PREFIX)


class ExemptEntry(NamedTuple):
    """One entry of a list of exempt paths: a template or ``METHOD:template``, slash optional."""

    method: str | None
    path: str

    @classmethod
    def parse(cls, text: str) -> ExemptEntry:
        """Read an entry that somebody gives. Raises InvalidKeyError, also for one that names a service."""
        key = RouteKey.parse(text.strip())
        if key.service is not None:
            raise InvalidKeyError(
                f"{text!r} names a service: what is exempt is a path, such as {key.local!r}, in all of them."
            )
        return cls(key.method, without_slash(key.path))

    @classmethod
    def of(cls, texts: Iterable[str]) -> frozenset[ExemptEntry]:
        """Return what stored entries exempt; one that names a service, as others may store it, is none."""
        keys = [RouteKey.parse(text.strip()) for text in texts]
        return frozenset(cls(key.method, without_slash(key.path)) for key in keys if key.service is None)


def exempt_as(path: str, known: Iterable[str]) -> list[str]:
    """Return those of the exempt entries ``known`` that mean the same as ``path``."""
    meant = ExemptEntry.of([path])
    return [entry for entry in known if entry == path or (meant and ExemptEntry.of([entry]) == meant)]


def without_slash(path: str) -> str:
    """Return ``path`` without its trailing slash, which exempt entries may leave out."""
    return path.rstrip("/") or "/"
