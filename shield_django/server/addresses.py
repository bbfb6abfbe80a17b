"""Where browsers and clients reach a server: behind proxies, under a path, by which names.

Django is handed a scope in which all that is settled: the client's address, the scheme, the host and
the path are those that the client used.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from shield_core.asgi import Scope
from shield_core.rate_limit.addresses import client_address

_HOST = re.compile(r"([a-z0-9.-]+|\[[a-f0-9:.]+\])(:[0-9]{1,5})?")
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
#: What the server's own paths begin with.
OWN = frozenset(
    {
        "api",
        "audit",
        "favicon.ico",
        "healthz",
        "instances",
        "jsi18n",
        "login",
        "logout",
        "panel",
        "rate-limits",
        "readyz",
        "routes",
        "static",
    }
)


class BadHost(Exception):
    """The request names a host that is not this server's."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or "This server has another name: see public_url and allowed_hosts.")


class Addresses:
    """``allowed_hosts`` are names beside that of ``public_url``; without either, every name is right.

    For pages in a browser only names that no stranger can give to this server are, where it ``is_open``:
    nothing else than the name tells such a page from one on the internet (DNS rebinding).
    """

    def __init__(
        self, public_url: str, num_proxies: int, allowed_hosts: Iterable[str], *, is_open: bool = False
    ) -> None:
        if num_proxies < 0:
            raise ImproperlyConfigured(f"trusted_proxies is a number, 0 or more, not {num_proxies}.")
        url = urlsplit(public_url)
        if public_url and (url.scheme not in ("http", "https") or not _HOST.fullmatch(url.netloc.lower())):
            raise ImproperlyConfigured(
                f"public_url is {public_url!r}: write the whole address, such as https://ops.example.com/shield/."
            )
        if url.path.strip("/") in OWN:
            raise ImproperlyConfigured(
                f"public_url ends in {url.path!r}, which is a path of the server itself."
            )
        self.public_url = public_url
        self.num_proxies = num_proxies
        self._scheme = url.scheme
        self._netloc = url.netloc.lower()
        self._path = url.path.rstrip("/")
        names = {one.lower() for one in _listed(allowed_hosts)}
        if url.hostname:
            names.add(_name(self._netloc))
        self._names = frozenset(names.union(_LOOPBACK) if names else ())
        self._suspects_pages = is_open and not names

    def seen_by_client(self, scope: Scope) -> Scope:
        """Return ``scope`` as the client meant it. Raises BadHost."""
        headers: list[tuple[bytes, bytes]] = [(bytes(name), bytes(value)) for name, value in scope["headers"]]
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        if len(hosts) > 1 or (hosts and not self._allows(hosts[0])):
            raise BadHost
        if self._suspects_pages and hosts and not _is_private(_name(hosts[0])) and _is_by_page(headers):
            raise BadHost(
                f"This server is open, and pages at {hosts[0]} may not use it: name its own address in "
                "public_url or allowed_hosts, or set auth."
            )
        if self.public_url:
            # Links, redirects and origins are those of the public address, also through a proxy that
            # sends another Host.
            headers = [one for one in headers if one[0] not in (b"host", b"x-forwarded-host")]
            headers.append((b"host", self._netloc.encode()))
        peer = scope["client"][0] if scope.get("client") else None
        address = client_address(peer, _joined(headers, b"x-forwarded-for"), self.num_proxies)
        root, rest = self.split(scope)
        seen: dict[str, Any] = {
            **scope,
            "headers": headers,
            "scheme": self._scheme_of(scope, headers),
            "root_path": root,
            "path": root + rest,
        }
        if address:
            seen["client"] = (address, scope["client"][1] if scope.get("client") else 0)
        return seen

    def split(self, scope: Scope) -> tuple[str, str]:
        """Return the path at which the server is, and the rest, which begins with a slash.

        A proxy may pass the public path on or take it away. That is never in doubt, as no path of the
        server's own begins with one that ``public_url`` may have.
        """
        path: str = scope["path"]
        mounted = (scope.get("root_path") or "").rstrip("/")
        around = (scope.get("app_root_path") or "").rstrip("/")
        inner = mounted
        if around and not _begins(path, mounted):
            # Mounted in an application whose own path a proxy has taken away.
            inner = mounted.removeprefix(around)
        rest = _without(_without(path, inner), self._path)
        return (self._path if self.public_url else mounted), rest

    def _allows(self, host: str) -> bool:
        host = host.lower()
        if not _HOST.fullmatch(host):
            return False
        return not self._names or _name(host) in self._names or host in self._names

    def _scheme_of(self, scope: Scope, headers: list[tuple[bytes, bytes]]) -> str:
        told = _joined(headers, b"x-forwarded-proto") if self.num_proxies else None
        found = self._scheme or (told or "").rpartition(",")[2].strip().lower()
        return found if found in ("http", "https") else str(scope.get("scheme") or "http")


def _listed(hosts: Iterable[str]) -> list[str]:
    """Return ``hosts``. Raises ImproperlyConfigured."""
    listed = [hosts] if isinstance(hosts, str) else list(hosts)
    for one in listed:
        if one.startswith(".") or not _HOST.fullmatch(one.lower()):
            raise ImproperlyConfigured(
                f"allowed_hosts has {one!r}, which is no host name: write ops.example.com, or with a port "
                "ops.example.com:8443."
            )
    return listed


def _begins(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")


def _without(path: str, prefix: str) -> str:
    if prefix and _begins(path, prefix):
        path = path[len(prefix) :]
    return path if path.startswith("/") else f"/{path}"


def _name(host: str) -> str:
    return re.sub(r":[0-9]+$", "", host)


def _is_private(name: str) -> bool:
    """Whether no stranger can have this name in the DNS: an address, or a name without a dot."""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return "." not in name or name.lower().endswith(".localhost")
    return True


def _is_by_page(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether a browser says which page sends this, which it does of every change."""
    return any(name == b"origin" for name, _ in headers)


def _joined(headers: list[tuple[bytes, bytes]], name: bytes) -> str | None:
    """Return all values of a header, in the order in which proxies have added them."""
    values = [value.decode("latin-1") for one, value in headers if one == name]
    return ",".join(values) if values else None
