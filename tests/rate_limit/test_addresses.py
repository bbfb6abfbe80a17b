"""Whose address counts."""

import pytest

from shield_core.rate_limit.addresses import client_address, network_key

PEER = "192.0.2.1"


def test_without_trusted_proxies_only_the_peer_counts():
    forged = {client_address(PEER, f"10.{number >> 8}.{number & 255}.9", 0) for number in range(10_000)}
    assert forged == {PEER}


@pytest.mark.parametrize(
    ("num_proxies", "found"),
    [(1, "203.0.113.3"), (2, "203.0.113.2"), (3, "203.0.113.1"), (9, "203.0.113.1")],
)
def test_trusted_proxies_are_counted_from_the_right(num_proxies, found):
    assert client_address(PEER, "203.0.113.1, 203.0.113.2 ,203.0.113.3", num_proxies) == found


def test_what_a_client_puts_in_front_changes_nothing():
    forged = {
        client_address(PEER, f"10.0.{number >> 8}.{number & 255}, 203.0.113.3", 1) for number in range(9999)
    }
    assert forged == {"203.0.113.3"}


@pytest.mark.parametrize(
    "forwarded", [None, "", "unknown", "_hidden", "1.2.3", "a" * 10_000, ",", "1.2.3.4,"]
)
def test_garbage_counts_as_the_peer(forwarded):
    assert client_address(PEER, forwarded, 1) == PEER


@pytest.mark.parametrize("peer", [None, "", "unix:", "/run/socket", "testclient"])
def test_a_peer_without_an_address_is_not_known(peer):
    assert client_address(peer, None, 0) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("192.0.2.1:4711", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
    ],
)
def test_an_address_has_one_form(text, found):
    assert client_address(text, None, 0) == found


def test_ipv6_counts_by_its_64_bits_of_network():
    keys = {network_key(f"2001:db8:1:2::{number:x}") for number in range(1, 1000)}
    assert keys == {"2001:db8:1:2::/64"}
    assert network_key("2001:db8:1:3::1") not in keys


def test_ipv4_counts_by_itself():
    assert network_key("192.0.2.1") == "192.0.2.1"
