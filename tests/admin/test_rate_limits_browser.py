"""The way of an operator through the pages of rate limits, in a real browser."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.admin.conftest import HAS_DATABASE
from tests.admin.test_browser import database, in_browser, on_the_command_line, server

__all__ = ["database", "in_browser", "server"]

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(not HAS_DATABASE, reason="logs in with a user of the database"),
]
#: Where to keep pictures of the pages, for who wants to look at them.
PICTURES = os.environ.get("SHIELD_TEST_PICTURES")


def picture(page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=True)


def test_an_operator_limits_a_route_and_pauses_the_limit_of_everything(in_browser, server, database):
    def story(page) -> None:
        page.get_by_role("link", name="Add rate limit").click()
        page.locator("#shield-routes option[value='/shop/cart/']").wait_for(state="attached", timeout=5000)
        page.get_by_label("Route:").fill("shop:cart")
        page.get_by_label("Limit:", exact=True).fill("2/day")
        page.get_by_label("Tiers:").fill("pro=1000/minute")
        page.get_by_label("Burst:").fill("1")
        page.get_by_label("Reason:").fill("scrapers")
        picture(page, "add")
        page.get_by_role("button", name="Save").click()
        told = page.locator(".messagelist").inner_text()
        assert "The rate limit of /shop/cart/ is now 2/day, per address" in told
        assert [server.status("/shop/cart/") for _ in range(4)] == [200, 200, 200, 429]

        page.get_by_role("link", name="Blocked requests").click()
        hit = page.get_by_role("row", name="/shop/cart/")
        assert "127.0.0.1" in hit.inner_text()
        picture(page, "hits")
        page.go_back()

        page.get_by_role("row", name="/shop/cart/").get_by_role("link").click()
        picture(page, "form")
        page.get_by_role("button", name="Reset counters…").click()
        picture(page, "step")
        page.get_by_role("button", name="Reset counters", exact=True).click()
        assert "begin anew" in page.locator(".messagelist").inner_text()
        assert server.status("/shop/cart/") == 200

        on_the_command_line(database, "grl", "set", "1000/minute", "--actor", "bob")
        page.reload()
        card = page.get_by_role("region", name="Rate limit of everything")
        assert "1000/minute" in card.inner_text()
        card.get_by_role("button", name="Pause…").press("Enter")  # by keyboard alone
        page.get_by_label("Reason:").press("Enter")
        assert "paused" in page.get_by_role("region", name="Rate limit of everything").inner_text()
        picture(page, "list")
        on_the_command_line(database, "srl", "set", "billing", "50/minute", "--shadow", "--actor", "bob")
        page.goto("/admin/shield/ratelimit/?service=billing")
        assert "50/minute" in page.get_by_role("region", name="Rate limit of service billing").inner_text()
        picture(page, "service")
        page.get_by_role("link", name="All", exact=True).first.click()

        page.set_viewport_size({"width": 380, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 380
        picture(page, "narrow")

    in_browser("/admin/shield/ratelimit/", story)
