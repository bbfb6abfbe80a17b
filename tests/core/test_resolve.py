"""Which registered key a key, a bare path or a path with another slash stands for."""

import pytest

from shield_core.exceptions import AmbiguousRouteError, InvalidKeyError, RouteNotFoundException
from shield_core.keys import RouteKey
from shield_core.plan import resolve
from shield_core.plan.resolution import is_known, resolve_all

from .rules import override, snapshot


def found(target, *keys, service=None):
    return resolve(snapshot(*(override(key) for key in keys)), target, service)


@pytest.mark.parametrize(
    ("target", "keys", "key"),
    [
        ("GET:/x", ["GET:/x", "POST:/x"], "GET:/x"),
        ("/x", ["GET:/x"], "GET:/x"),
        ("/x", ["/x", "GET:/x"], "/x"),
        ("/x/", ["GET:/x"], "GET:/x"),
        ("/x", ["GET:/x/"], "GET:/x/"),
        ("GET:/x", ["GET:/x/"], "GET:/x/"),
        ("/x", ["GET:/x", "POST:/x/"], "GET:/x"),
        ("GET:/x", ["/x"], "GET:/x"),
        ("GET:/x/", ["/x"], "GET:/x"),
        ("GET:/x", ["/x", "POST:/x"], "GET:/x"),
        ("/items/{id:int}", ["GET:/items/{id}"], "GET:/items/{id}"),
        ("/", ["GET:/"], "GET:/"),
    ],
)
def test_without_services(target, keys, key):
    assert found(target, *keys) == key


@pytest.mark.parametrize(
    ("target", "keys", "service", "key"),
    [
        ("GET:/x", ["shop:GET:/x", "stock:GET:/x"], "shop", "shop:GET:/x"),
        ("stock:GET:/x", ["shop:GET:/x", "stock:GET:/x"], "shop", "stock:GET:/x"),
        ("/x", ["shop:GET:/x"], None, "shop:GET:/x"),
        ("GET:/x", ["shop:/x"], None, "shop:GET:/x"),
        ("GET:/x", ["shop:/x", "shop:GET:/x"], None, "shop:GET:/x"),
        ("/x", ["shop:/x", "shop:GET:/x"], None, "shop:/x"),
        ("/x", ["/x", "shop:/x"], None, "/x"),
    ],
)
def test_with_services(target, keys, service, key):
    assert found(target, *keys, service=service) == key


@pytest.mark.parametrize(
    ("target", "keys"),
    [
        ("/x", ["GET:/x", "POST:/x"]),
        ("/x/", ["GET:/x", "POST:/x"]),
        ("GET:/x", ["shop:GET:/x", "stock:GET:/x"]),
        ("GET:/x", ["shop:/x", "stock:/x"]),
    ],
)
def test_several_candidates_are_named(target, keys):
    with pytest.raises(AmbiguousRouteError) as caught:
        found(target, *keys)
    assert caught.value.matches == keys
    assert all(key in str(caught.value) for key in keys)


@pytest.mark.parametrize(
    ("target", "keys", "service"),
    [
        ("GET:/x", [], None),
        ("POST:/x", ["GET:/x"], None),
        ("/y", ["GET:/x"], None),
        ("/x", ["stock:GET:/x"], "shop"),
        ("shop:/x", ["/x"], None),
        ("__shield:global__", ["/x"], None),
    ],
)
def test_what_is_not_registered_is_not_found(target, keys, service):
    with pytest.raises(RouteNotFoundException, match="registered"):
        found(target, *keys, service=service)


def test_the_closest_names_are_offered():
    with pytest.raises(RouteNotFoundException, match=r"Did you mean GET:/payments\?") as caught:
        found("GET:/paymets", "GET:/payments", "GET:/users/{id}")
    assert caught.value.closest == ["GET:/payments"]


@pytest.mark.parametrize("service, closest", [(None, ["a:GET:/pay", "b:GET:/pay"]), ("b", ["b:GET:/pay"])])
def test_the_closest_paths_are_offered_where_no_key_is_written_alike(service, closest):
    with pytest.raises(RouteNotFoundException) as caught:
        found("/pai", "a:GET:/pay", "b:GET:/pay", "b:GET:/users/{id}", service=service)
    assert caught.value.closest == closest


def test_what_is_no_key_is_refused():
    with pytest.raises(InvalidKeyError):
        found("payments", "GET:/payments")


@pytest.mark.parametrize(
    ("target", "keys", "service", "expected"),
    [
        ("/x", ["POST:/x", "GET:/x"], None, ["GET:/x", "POST:/x"]),
        ("DELETE:/x/", ["/x", "GET:/x"], None, ["/x", "GET:/x"]),
        ("/x", ["shop:GET:/x", "shop:/x"], None, ["shop:/x", "shop:GET:/x"]),
        ("/x", ["shop:GET:/x", "stock:GET:/x"], "stock", ["stock:GET:/x"]),
        ("shop:/x", ["shop:GET:/x", "stock:GET:/x"], None, ["shop:GET:/x"]),
        ("/x", ["GET:/x", "shop:GET:/x"], None, ["GET:/x"]),
    ],
)
def test_all_methods_of_a_path_are_those_of_one_service(target, keys, service, expected):
    assert resolve_all(snapshot(*map(override, keys)), target, service) == expected


def test_all_methods_of_a_path_that_several_services_have_are_ambiguous():
    with pytest.raises(AmbiguousRouteError):
        resolve_all(snapshot(override("shop:GET:/x"), override("stock:GET:/x")), "/x")


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("shop:GET:/x", True),
        ("shop:/x", True),
        ("shop:POST:/x", False),
        ("GET:/x", False),
        ("stock:GET:/x", False),
        ("shop:POST:/y", True),
    ],
)
def test_a_route_is_known_in_its_own_service_only(key, known):
    assert is_known(snapshot(override("shop:GET:/x"), override("shop:/y")), RouteKey.parse(key)) is known
