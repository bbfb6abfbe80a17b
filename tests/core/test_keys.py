import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield_core.exceptions import InvalidKeyError, ShieldException
from shield_core.keys import EVERYTHING, ExemptEntry, RouteKey, Scope, check_service, is_route_key

services = st.from_regex(r"[a-z0-9][A-Za-z0-9._-]{0,12}", fullmatch=True)
methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "WS", "M-SEARCH"])
segments = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="{}"), max_size=20
)
paths = segments.map(lambda text: "/" + text)
keys = st.builds(RouteKey, st.none() | services, st.none() | methods, paths)


@given(keys)
def test_a_printed_key_parses_to_itself(key):
    assert RouteKey.parse(str(key)) == key


@given(st.text(max_size=40))
def test_any_text_is_a_key_or_is_refused_by_name(text):
    try:
        key = RouteKey.parse(text)
    except InvalidKeyError as error:
        refusal = str(error)
    else:
        refusal = repr(text) if RouteKey.parse(str(key)) == key else "another key"
    assert repr(text) in refusal or "cannot name a service" in refusal


@pytest.mark.parametrize(
    ("text", "service", "method", "path"),
    [
        ("/payments", None, None, "/payments"),
        ("GET:/payments", None, "GET", "/payments"),
        ("shop:GET:/payments", "shop", "GET", "/payments"),
        ("shop:/payments", "shop", None, "/payments"),
        ("WS:/chat", None, "WS", "/chat"),
        ("shop:WS:/chat", "shop", "WS", "/chat"),
        ("get:/payments", "get", None, "/payments"),
        ("http:/x", "http", None, "/x"),
        ("3d.printers_v-2:/x", "3d.printers_v-2", None, "/x"),
        ("GET:/jobs:run/12:30", None, "GET", "/jobs:run/12:30"),
        ("shop:GET:/a:b/c:/d", "shop", "GET", "/a:b/c:/d"),
        ("/", None, None, "/"),
    ],
)
def test_a_key_is_split_at_its_first_slash(text, service, method, path):
    key = RouteKey.parse(text)
    assert key == (service, method, path)
    assert str(key) == text


def test_converters_are_stripped_from_templates():
    assert RouteKey.parse("GET:/items/{pk:int}/files/{rest:path}").path == "/items/{pk}/files/{rest}"


def test_the_default_service_gives_way_to_the_one_in_the_text():
    assert RouteKey.parse("/x", service="shop").service == "shop"
    assert RouteKey.parse("stock:/x", service="shop").service == "stock"


def test_the_local_key_has_no_service():
    assert RouteKey.parse("shop:GET:/x").local == "GET:/x"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("payments", "it has no path such as '/payments'"),
        ("", "it has no path"),
        ("GET:payments", "it has no path"),
        ("GET/payments", "'GET' needs a ':' after it"),
        ("a:b:/x", "it names two services"),
        ("GET:shop:/x", "it names two services"),
        ("GET:POST:/x", "'GET' cannot name a service"),
        ("Shop:/x", "'Shop' cannot name a service"),
        (":/x", "'' cannot name a service"),
        ("sh op:/x", "'sh op' cannot name a service"),
        ("http://shop.example/x", "write the path alone"),
        ("https://shop.example/x", "write the path alone"),
        ("/a b", "white space"),
        ("/a\nb", "white space"),
        ("/a\x00", "white space"),
        ("/a\x85b", "what cannot be printed"),
        ("/a\u2028b", "what cannot be printed"),
        ("/\u202egnp.exe", "what cannot be printed"),
        ("/\ud800", "what cannot be printed"),
    ],
)
def test_what_is_no_key_is_refused_with_a_reason(text, complaint):
    with pytest.raises(InvalidKeyError, match=re.escape(complaint)):
        RouteKey.parse(text)


def test_a_refusal_is_a_value_error_and_a_shield_exception():
    with pytest.raises(ValueError) as caught:
        RouteKey.parse("nothing")
    assert isinstance(caught.value, ShieldException)


@given(services)
def test_every_service_has_a_scope_that_its_store_key_leads_back_to(name):
    scope = Scope.service(name)
    assert Scope.of(scope.store_key) == scope
    assert not is_route_key(scope.store_key)


@given(keys)
def test_the_store_key_of_a_route_is_its_key(key):
    assert Scope.of(str(key)) == Scope("route", str(key))
    assert is_route_key(Scope("route", str(key)).store_key)


def test_everything_and_services_have_the_reserved_keys_that_clients_know():
    assert EVERYTHING.store_key == "__shield:global__"
    assert Scope.service("shop").store_key == "__shield:svc_global:shop__"
    assert Scope.of("__shield:global__") == EVERYTHING


@pytest.mark.parametrize(
    "key", ["__shield:svc_global:shop", "__shield:svc_global:__", "__shield:global__x", "__shield:rl:GET:/x"]
)
def test_a_reserved_key_that_is_written_in_another_way_is_of_no_scope(key):
    assert Scope.of(key) == Scope("store", key)


@pytest.mark.parametrize(
    ("scope", "label"),
    [(EVERYTHING, "everything"), (Scope.service("shop"), "service shop"), (Scope.of("GET:/x"), "GET:/x")],
)
def test_a_scope_says_what_it_is(scope, label):
    assert scope.label == label


@pytest.mark.parametrize("name", ["", "Shop", "-shop", "sh/op", "sh:op", "__shield", "shöp", "shop\n"])
def test_a_service_name_outside_the_alphabet_is_refused(name):
    with pytest.raises(InvalidKeyError, match="cannot name a service"):
        check_service(name)


def test_a_service_name_has_at_most_100_characters():
    assert check_service("a" * 100) == "a" * 100
    for refused in (lambda: check_service("a" * 101), lambda: RouteKey.parse("a" * 101 + ":/x")):
        with pytest.raises(InvalidKeyError, match="at most 100 characters"):
            refused()


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("/health", (None, "/health")),
        ("/health/", (None, "/health")),
        ("GET:/health/", ("GET", "/health")),
        (" /health ", (None, "/health")),
        ("/items/{pk:int}/", (None, "/items/{pk}")),
        ("/", (None, "/")),
    ],
)
def test_an_exempt_entry_leaves_the_trailing_slash_out(entry, expected):
    assert ExemptEntry.parse(entry) == expected
