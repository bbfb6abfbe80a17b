"""A stamp that no route bears, or that marks too much, is never passed over in silence."""

from __future__ import annotations

import sys

import pytest
from django.core import checks

from tests.checks import urls


@pytest.fixture
def messages(settings):
    def run(urlconf):
        sys.modules["tests_checks_urlconf"] = urlconf
        settings.ROOT_URLCONF = "tests_checks_urlconf"
        return {
            one.id: one
            for one in checks.run_checks(tags=["shield"])
            if one.id.startswith(("shield.E", "shield.W022"))
        }

    yield run
    sys.modules.pop("tests_checks_urlconf", None)


@pytest.mark.parametrize("urlconf", [urls.GOOD, urls.SAME_KEY_SAME_STAMPS, urls.GATED, urls.BOUND])
def test_stamps_that_reach_their_routes_are_fine(messages, urlconf):
    assert messages(urlconf) == {}


@pytest.mark.parametrize(
    ("urlconf", "identifier", "names"),
    [
        (urls.CONTRADICTION, "shield.E021", ["plain", "gated", "/x/{a}/"]),
        (urls.WRAPPED, "shield.E022", ["urls.lost", "/x/"]),
        (urls.BELOW_API_VIEW, "shield.E022", ["urls.below_api_view", "/x/"]),
        (urls.SHARED, "shield.E023", ["urls.shared", "/a/, /b/"]),
    ],
)
def test_a_stamp_that_goes_wrong_is_an_error_that_says_which_view(messages, urlconf, identifier, names):
    found = messages(urlconf)
    assert list(found) == [identifier]
    assert all(name in found[identifier].msg for name in names)
    assert found[identifier].hint


def test_a_stamped_view_without_a_url_is_a_warning(settings):
    settings.ROOT_URLCONF = "tests.project.urls"
    lost = [one.msg for one in checks.run_checks(tags=["shield"]) if one.id == "shield.W021"]
    assert any("urls.unrouted" in message for message in lost)


def test_a_gate_with_a_forgotten_environment_is_a_warning(messages, settings):
    settings.SHIELD_ENV = None
    assert "/x/" in messages(urls.GATED)["shield.W022"].msg


def test_what_stays_open_is_listed(settings):
    settings.SHIELD_EXEMPT = ["/no-slash/", "shop:cart"]
    (message,) = [one for one in checks.run_checks(tags=["shield"]) if one.id == "shield.I001"]
    for route in ("/admin/", "/accounts/login/", "/no-slash", "/shop/cart/"):
        assert route in message.msg


def test_shields_own_pages_are_listed_by_where_they_begin(settings):
    settings.ROOT_URLCONF = urls.CONTROLLED
    (message,) = [one for one in checks.run_checks(tags=["shield"]) if one.id == "shield.I001"]
    listed = message.msg.partition(": ")[2].rstrip(".").split(", ")
    assert [route for route in listed if route.startswith(("/back/shield", "/ops", "/shield"))] == [
        "/back/shield/…",
        "/ops/api/…",
        "/ops/healthz",
        "/ops/readyz",
        "/shield/…",
    ]


def test_the_list_of_open_routes_is_no_noise_under_another_command(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["manage.py", "migrate"])
    assert not [one for one in checks.run_checks(tags=["shield"]) if one.id == "shield.I001"]
