"""``manage.py shield explain``: URLs are resolved by the project, and its code knows what no store tells."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from shield_core.engine import ShieldEngine
from shield_django import engine

URLS = {
    "/shop/items/42/": "/shop/items/{pk}/",
    "/payments/": "GET:/payments/",
    "/years/2024/": "/years/{year}/",
    "/unnamed/7/x/": "/unnamed/{0}/{1}/",
    "/en/info/": "/info/",
    "/de/info/": "/info/",
    "/gated/": "/gated/",
    "/open-gate/": "/open-gate/",
    "/disabled/": "/disabled/",
    "/health/": "/health/",
    "/admin/login/": "/admin/login/",
    "/nothing/": None,
    "/shop/items/words/": None,
}
CHANGES: dict[str, list[tuple[str, ...]]] = {
    "as the code says": [],
    "under global maintenance": [("global", "enable", "-r", "moving", "-e", "/payments")],
    "read-only and gated": [("global", "enable", "--read-only"), ("env", "set", "shop:item", "staging")],
    "disabled": [("disable", "/years/2024/"), ("disable", "info", "--for", "2h")],
}


def shield(*words: str) -> str:
    out = io.StringIO()
    call_command("shield", *words, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def explained(*words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shield("explain", *words, "--format", "json"))
    return found


@pytest.mark.django_db
@pytest.mark.parametrize("changes", list(CHANGES.values()), ids=list(CHANGES))
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_it_says_what_a_request_gets(changes: list[tuple[str, ...]], method: str) -> None:
    for words in changes:
        shield(*words)
    wrong = []
    for url in URLS:
        told, answer = explained(method, url), Client().generic(method, url)
        code = json.loads(answer.content)["error"]["code"] if b'"error"' in answer.content else None
        expected = {"maintenance": "MAINTENANCE_MODE", "disabled": "ROUTE_DISABLED"}
        if code != expected.get(told["answer"]["cause"]):
            wrong.append((url, told["answer"], answer.status_code))
        if told["answer"]["status"] not in (None, answer.status_code):
            wrong.append((url, told["answer"], answer.status_code))
        if (
            told["route"] is not None
            and told["answer"]["status"] is None
            and answer.status_code in (404, 503)
        ):
            wrong.append((url, told["answer"], answer.status_code))
    assert not wrong


@pytest.mark.parametrize("url, route", URLS.items())
def test_a_url_is_resolved_by_the_project(url: str, route: str | None) -> None:
    assert explained("GET", url)["route"] == route


def test_a_views_name_is_understood() -> None:
    engine.sync.disable("shop:cart", "sold out", actor="ann")

    told = explained("GET", "shop:cart")

    assert (told["route"], told["decided_by"]) == ("/shop/cart/", "/shop/cart/")
    assert (told["layers"][1]["by"], told["layers"][1]["reason"]) == ("ann", "sold out")


def test_what_is_always_open_says_so() -> None:
    engine.sync.enable_global_maintenance("moving", actor="ann")

    told = explained("GET", "/admin/login/")

    assert told["answer"]["status"] is None
    assert [layer["says"] for layer in told["layers"]][:2] == ["passed over", "always_open"]


def test_routes_of_other_services_are_known_by_their_templates() -> None:

    ShieldEngine(engine.backend, service="billing").sync.register(
        "GET:/invoices/{id}", {"status": "disabled"}
    )

    told = explained("GET", "/invoices/7")

    assert (told["service"], told["route"]) == ("billing", "billing:GET:/invoices/{id}")
    assert told["answer"]["cause"] == "disabled"
