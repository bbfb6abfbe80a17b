"""What a server makes of a request's path, host, scheme and client."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from shield_django.server import urls
from shield_django.server.addresses import OWN, Addresses, BadHost

PUBLIC = "https://ops.example.com/shield/"


def scope(path="/", root_path="", scheme="http", client=("10.0.0.1", 5), **headers):
    named = {"host": "ops.example.com", **{name.replace("_", "-"): value for name, value in headers.items()}}
    pairs = [(name.encode(), value.encode()) for name, value in named.items()]
    return {"path": path, "root_path": root_path, "scheme": scheme, "client": client, "headers": pairs}


@pytest.mark.parametrize(
    "public, root_path, path, seen",
    [
        ("", "", "/routes/", ("", "/routes/")),
        ("", "/mount", "/mount/routes/", ("/mount", "/routes/")),
        ("", "/mount", "/mount", ("/mount", "/")),
        ("", "/mount", "/routes/", ("/mount", "/routes/")),
        ("", "/mount", "/mountain/", ("/mount", "/mountain/")),
        (PUBLIC, "", "/shield/routes/", ("/shield", "/routes/")),
        (PUBLIC, "", "/routes/", ("/shield", "/routes/")),
        (PUBLIC, "", "/shield", ("/shield", "/")),
        (PUBLIC, "", "/", ("/shield", "/")),
        (PUBLIC, "/shield", "/shield/routes/", ("/shield", "/routes/")),
        (PUBLIC, "/shield", "/shield/shield/routes/", ("/shield", "/routes/")),
        (PUBLIC, "/inner", "/inner/routes/", ("/shield", "/routes/")),
        ("https://ops.example.com", "", "/routes/", ("", "/routes/")),
    ],
)
def test_the_path_is_found_whether_the_proxy_passes_it_on_or_not(public, root_path, path, seen):
    addresses = Addresses(public, 0, ())
    assert addresses.split(scope(path, root_path)) == seen
    told = addresses.seen_by_client(scope(path, root_path))
    assert (told["root_path"], told["path"]) == (seen[0], "".join(seen))


@pytest.mark.parametrize(
    "public, proxies, headers, scheme",
    [
        ("", 0, {}, "http"),
        ("", 0, {"x_forwarded_proto": "https"}, "http"),
        ("", 1, {"x_forwarded_proto": "https"}, "https"),
        ("", 1, {"x_forwarded_proto": "http, https"}, "https"),
        ("", 1, {"x_forwarded_proto": "javascript"}, "http"),
        (PUBLIC, 0, {"x_forwarded_proto": "http"}, "https"),
        ("http://ops.example.com", 1, {"x_forwarded_proto": "https"}, "http"),
    ],
)
def test_the_scheme_is_that_of_the_public_address_or_of_a_trusted_proxy(public, proxies, headers, scheme):
    assert Addresses(public, proxies, ()).seen_by_client(scope(**headers))["scheme"] == scheme


@pytest.mark.parametrize(
    "proxies, forwarded, client",
    [
        (0, "203.0.113.1", "10.0.0.1"),
        (1, "203.0.113.1, 198.51.100.2", "198.51.100.2"),
        (2, "203.0.113.1, 198.51.100.2", "203.0.113.1"),
        (1, "unknown", "10.0.0.1"),
        (1, "", "10.0.0.1"),
    ],
)
def test_the_client_is_whom_trusted_proxies_have_seen(proxies, forwarded, client):
    seen = Addresses("", proxies, ()).seen_by_client(scope(x_forwarded_for=forwarded))
    assert seen["client"] == (client, 5)


def test_a_host_may_be_named_once():
    asked = scope()
    asked["headers"] = [*asked["headers"], (b"host", b"ops.example.com")]
    with pytest.raises(BadHost):
        Addresses("", 0, ()).seen_by_client(asked)


@pytest.mark.parametrize("path", sorted(OWN))
def test_a_public_path_is_none_of_the_servers_own(path):
    with pytest.raises(ImproperlyConfigured, match="path of the server itself"):
        Addresses(f"https://ops.example.com/{path}/", 0, ())


def test_all_own_paths_are_known():
    def firsts(patterns):
        for one in patterns:
            route = str(one.pattern).strip("^")
            if route:
                yield route.strip("(?:").partition("/")[0]
            else:
                yield from firsts(one.url_patterns if hasattr(one, "url_patterns") else ())

    found = {name.partition("|")[0].partition("$")[0] for name in firsts(urls.urlpatterns)} - {""}
    assert {name for name in found if not name.startswith("P<url>")} - {"static", "healthz", "readyz"} <= OWN


@pytest.mark.parametrize(
    "url", ["ops.example.com", "ftp://ops.example", "https://", "https://a b/", "/shield"]
)
def test_a_public_address_is_a_whole_one(url):
    with pytest.raises(ImproperlyConfigured, match="write the whole address"):
        Addresses(url, 0, ())


@pytest.mark.parametrize(
    "host", ["https://ops.example.com", ".example.com", "ops.example.com/shield", "a,b", "*", ""]
)
def test_an_allowed_host_is_a_name(host):
    with pytest.raises(ImproperlyConfigured, match="no host name"):
        Addresses("", 0, ["shield", host])


@pytest.mark.parametrize("named", [("https://shield", ()), ("", ["shield"])])
def test_a_server_with_a_name_is_also_called_by_those_on_its_machine(named):
    public, allowed = named
    for host in ("shield", "localhost:9000", "127.0.0.1", "[::1]:9000"):
        assert Addresses(public, 0, allowed).seen_by_client(scope(host=host))
    with pytest.raises(BadHost, match="has another name"):
        Addresses(public, 0, allowed).seen_by_client(scope())


def test_one_allowed_host_needs_no_list():
    assert Addresses("", 0, "ops.example.com").seen_by_client(scope())
    with pytest.raises(BadHost):
        Addresses("", 0, "shield").seen_by_client(scope())


def by_page(host):
    return scope(host=host, origin=f"http://{host}")


@pytest.mark.parametrize(
    "host", ["localhost:9000", "127.0.0.1:9000", "10.0.0.5", "[::1]:9000", "shield:9000", "red.LOCALHOST"]
)
def test_pages_use_an_open_server_at_a_name_that_no_stranger_can_give_it(host):
    assert Addresses("", 0, (), is_open=True).seen_by_client(by_page(host))


@pytest.mark.parametrize("host", ["evil.example:9000", "127.0.0.1.evil.example", "evil.example.", "evil."])
def test_pages_at_another_name_use_an_open_server_only_when_it_is_told_the_name(host):
    """A page on the internet can give its own name the address 127.0.0.1."""
    with pytest.raises(BadHost, match="may not use it: name its own address"):
        Addresses("", 0, (), is_open=True).seen_by_client(by_page(host))
    assert Addresses("", 0, [host], is_open=True).seen_by_client(by_page(host))
    assert Addresses("", 0, (), is_open=True).seen_by_client(scope(host=host))
    assert Addresses("", 0, ()).seen_by_client(by_page(host))


def test_fewer_than_no_proxies_are_refused():
    with pytest.raises(ImproperlyConfigured, match="trusted_proxies"):
        Addresses("", -1, ())
