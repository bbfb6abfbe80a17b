"""The requests that rate limits have blocked."""

from __future__ import annotations

import pytest

from shield_core.engine import ShieldEngine
from shield_core.exceptions import RateLimitExceededException
from shield_django import project
from tests.admin.conftest import address, client_of, text_of

HITS = address("ratelimit_hits")


@pytest.fixture
def viewer(store):
    return client_of("viktor", ["view_ratelimit"])


@pytest.fixture
def blocked(sync):
    """``blocked(key, times)`` has requests of a service's route blocked."""
    engine = ShieldEngine(project.current().engine.backend, service="billing", threads=False)

    def block(key: str, times: int = 1) -> None:
        method, _, path = key.rpartition(":")
        engine.sync.register(key, {"rate_limit": {"limit": "1/day"}})
        for number in range(times + 1):
            try:
                engine.sync.check(path, method, {"ip": "192.0.2.1"})
            except RateLimitExceededException:
                assert number
        engine.sync.get_rate_limit_hits()  # stores what waits

    return block


def rows_of(response) -> list[str]:
    return [hit.path for _, hit in response.context["rows"]]


def test_none_is_said(viewer):
    assert "No request was blocked by a rate limit." in text_of(viewer.get(HITS))


def test_the_newest_are_shown_with_caller_and_limit(viewer, blocked):
    blocked("GET:/old")
    blocked("POST:/new")
    response = viewer.get(HITS)
    assert rows_of(response) == ["billing:/new", "billing:/old"]
    for said in ("2 requests", "billing:/new POST 192.0.2.1 1/day billing:POST:/new"):
        assert said in text_of(response)


def test_they_are_filtered_by_route(viewer, blocked):
    blocked("GET:/old")
    blocked("POST:/new")
    for route, found in {
        "billing:GET:/old": ["billing:/old"],
        "billing:/old": ["billing:/old"],
        "billing:POST:/old": [],
        "/new": ["billing:/new"],
        "billing:/nowhere": [],
    }.items():
        assert rows_of(viewer.get(HITS, {"route": route})) == found, route


def test_what_is_no_route_is_told_beside_the_field(viewer, blocked):
    body = viewer.get(HITS, {"route": "<b>x</b>"}).content.decode()
    assert "aria-invalid" in body
    assert "is not a route key" in body
    assert "<b>x" not in body


def test_of_many_the_newest_hundred_are_shown_first(viewer, blocked):
    blocked("GET:/old", 101)
    first = viewer.get(HITS, {"route": "billing:/old"})
    assert len(rows_of(first)) == 100
    assert len(rows_of(viewer.get(HITS + first.context["more_url"]))) == 101


def test_the_form_of_a_route_leads_to_its_own(viewer, blocked):
    blocked("GET:/old")
    page = viewer.get(address("ratelimit_change", "billing:GET:/old"))
    assert f"{HITS}?route=billing%3AGET%3A%2Fold" in page.content.decode()
