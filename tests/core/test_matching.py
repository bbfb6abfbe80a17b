"""Which template a URL belongs to, where no framework is there to say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield_core.matching import matching

SHOP = [
    "/",
    "/items/",
    "/items/{id}/",
    "/items/new/",
    "/items/{id}/{part}",
    "/{page}",
    "/files/{path}",
    "/v{n}",
]


@pytest.mark.parametrize(
    ("url", "templates"),
    [
        ("/", ["/"]),
        ("/items/42/", ["/items/{id}/"]),
        ("/items/new/", ["/items/new/", "/items/{id}/"]),
        ("/items/new", ["/items/new/", "/items/{id}/"]),
        ("/items/42/photo", ["/items/{id}/{part}"]),
        ("/about", ["/{page}"]),
        ("/about/", ["/{page}"]),
        ("/files/a", ["/files/{path}"]),
        ("/files/a/b/c", ["/files/{path}", "/{page}"]),
        ("/v2", ["/v{n}", "/{page}"]),
        ("/items/{id}/", ["/items/{id}/"]),
        ("/a/b/c/d", ["/{page}"]),
        ("/items/a.b+c/", ["/items/{id}/"]),
    ],
)
def test_the_most_specific_comes_first(url, templates):
    assert matching(SHOP, url) == templates


def test_what_nothing_matches():
    assert matching(["/items/{id}/", "/"], "/orders/4/") == []


segments = st.lists(
    st.sampled_from(["items", "new", "a.b", "{id}", "{name}", "v{n}", "(x)"]), min_size=1, max_size=4
)


@given(segments, st.lists(segments, max_size=4))
def test_a_url_made_of_a_template_is_found_again(parts, others):
    template = "/" + "/".join(parts)
    url = "/" + "/".join(
        one if "{" not in one else one.replace("{id}", "42").replace("{name}", "x-y").replace("{n}", "7")
        for one in parts
    )
    known = [template, *("/" + "/".join(one) for one in others)]
    assert template in matching(known, url)
