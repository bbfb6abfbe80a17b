"""Every page, asked in every odd way: no error of the server, a strict policy, nothing kept by caches."""

from __future__ import annotations

import re

import httpx2
import pytest

from tests.hostile.conftest import started
from tests.shield_server.browsing import Person

pytestmark = pytest.mark.servers

ROUTE = "/routes/payments_3AGET_3A_2Fpay"
PAGES = [
    "/",
    "/login",
    "/routes/",
    f"{ROUTE}/change/",
    f"{ROUTE}/history/",
    "/routes/maintenance/",
    "/routes/maintenance/payments/",
    "/routes/maintenance/static/",
    "/rate-limits/",
    "/rate-limits/hits/",
    "/rate-limits/service/payments/pause/",
    "/rate-limits/payments_3AGET_3A_2Fpay/change/",
    "/instances/",
    "/audit/",
    "/panel/shield/",
]
REFUSED = [
    "/nothing/",
    "/routes/add/",
    "/audit/add/",
    f"{ROUTE}/delete/",
    "/routes/_FF_FE/change/",
    "/routes/%00/change/",
    f"/routes/{'x' * 3000}/change/",
    "/audit/_00/change/",
    "/instances/_00/change/",
    "/rate-limits/_00/change/",
    "/routes/maintenance/%0d%0a/",
    f"/routes/maintenance/{'s' * 300}/",
    "/panel/auth/",
    "/static/nothing",
    "/api/nothing",
    "/api/routes/x",
    "/api/sdk/events?proto=3",
]
QUERIES = [
    "q=%00",
    "q=%ff",
    f"q={'x' * 20_000}",
    "o=99999999999999999999",
    "o=-1.x",
    "p=-1",
    "p=99999999999999999999999",
    "p=%D9%A1",
    "all=1",
    "e=1",
    "status__exact=x",
    "service__exact=%00",
    "password__startswith=a",
    "route=%00",
    "route=x",
    "pk__in=a,b",
    "date__gte=x",
    "_popup=1",
    "_to_field=id",
    "_facets=True",
    "_changelist_filters=%00",
]
FORMS = [
    {},
    {"action": "nothing", "_selected_action": "x"},
    {"action": "disable", "_selected_action": "\x00"},
    {"action": "disable", "_selected_action": "payments:GET:/pay", "index": "999"},
    {"status": "\x00", "reason": "\x00"},
    {"status": "maintenance", "start_0": "x", "end_0": "99999-1-1", "until": "x"},
    {"revision": "9" * 5000},
    {"form-TOTAL_FORMS": "99999999999", "_save": ""},
    {"form-TOTAL_FORMS": "x", "_save": ""},
]


@pytest.fixture(scope="module")
def target():
    yield from started("uvicorn")


@pytest.fixture(scope="module")
def olga(target):
    person = Person(target.address)
    assert person.log_in().status_code == 302
    yield person
    person.close()


@pytest.mark.parametrize("path", [*PAGES, "/jsi18n/", *REFUSED])
def test_no_query_is_an_error_of_the_server(unchanged, olga, path):
    mark = "&" if "?" in path else "?"
    for query in QUERIES:
        assert olga.get(f"{path}{mark}{query}").status_code < 500, query


@pytest.mark.parametrize("path", [*PAGES, "/routes/add/", f"{ROUTE}/delete/"])
def test_no_form_that_makes_no_sense_changes_anything(unchanged, olga, path):
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', olga.get("/").text)[1]
    for form in FORMS:
        assert olga.post(path, {**form, "csrfmiddlewaretoken": token}).status_code < 500, form


@pytest.mark.parametrize("path", [*PAGES, *REFUSED, "/healthz", "/api/routes", "/api/schema"])
@pytest.mark.parametrize("is_in", [True, False], ids=["logged in", "stranger"])
def test_every_answer_has_a_strict_policy_and_stays_out_of_caches(target, olga, visit, path, is_in):
    answer = (olga if is_in else visit(target.address)).get(path)
    policy = dict(
        part.strip().partition(" ")[::2] for part in answer.headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert not re.search("unsafe|\\*|https?:", str(policy))
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert re.search("no-store|private", answer.headers["Cache-Control"])
    page = answer.text
    assert not re.search(r"<script(?![^>]* src=)[^>]*>|<style|\sstyle=|\son\w+=|javascript:", page)
    assert not re.search(r'(?:src|href|action)="(?:https?:)?//', page)
    if answer.status_code in (401, 403, 404):
        assert not re.search("Traceback|django|/work/", page)


def test_what_is_public_says_nothing_of_who_asks(olga):
    answer = olga.get("/static/shield/admin.css")
    assert answer.headers["Cache-Control"].startswith("public")
    assert "Set-Cookie" not in answer.headers


def test_a_flood_of_other_names_does_not_make_failures_forgotten(serve):
    """Counters of failed logins outlive those of many others (Django's own cache has 300 of them)."""
    server = serve(options={"trusted_proxies": 1})

    def fail(name, source):
        said = {"username": name, "password": "x"}
        return client.post("/api/auth/login", json=said, headers={"X-Forwarded-For": source}).status_code

    with httpx2.Client(base_url=server.address, timeout=30) as client:
        assert [fail("olga", "198.51.100.1") for _ in range(6)] == [401] * 5 + [429]
        for number in range(120):
            assert fail(f"somebody {number}", f"203.0.113.{number}") == 401
        assert fail("olga", "198.51.100.1") == 429
