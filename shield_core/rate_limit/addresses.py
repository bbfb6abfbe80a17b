"""Who the client is, by address: the peer, unless trusted proxies stand in between (CONTRACT §3)."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address


def client_address(peer: str | None, forwarded: str | None, num_proxies: int) -> str | None:
    """Return the client's address.

    ``forwarded`` is the whole ``X-Forwarded-For``, which counts only where ``num_proxies`` proxies are
    trusted: each has added one address, so the client's is that many from the right.
    """
    if num_proxies and forwarded:
        hops = forwarded.split(",")
        found = _address(hops[-min(num_proxies, len(hops))])
        if found is not None:
            return found
    return _address(peer) if peer else None


@lru_cache(maxsize=4096)
def network_key(address: str) -> str:
    """Return what an address counts as: an IPv6 address as its /64."""
    if ":" not in address:
        return address
    found = ip_address(address)
    assert isinstance(found, IPv6Address)
    return f"{IPv6Address(int(found) >> 64 << 64)}/64"


@lru_cache(maxsize=4096)
def _address(text: str) -> str | None:
    """Read ``192.0.2.1``, ``192.0.2.1:80``, ``2001:db8::1``, ``[2001:db8::1]:80``; else return None."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(found)
