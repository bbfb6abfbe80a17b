"""The panel in Chromium, behind a real nginx with TLS under a path: nothing is refused by its own policy."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from tests.admin.test_browser import _FLAGS
from tests.conftest import missing_service
from tests.postgres import free_port
from tests.shield_server.nginx import Nginx

pytestmark = pytest.mark.servers

_WATCH = "document.addEventListener('securitypolicyviolation', e => console.error('policy: ' + e.blockedURI))"


@pytest.fixture
def in_browser():
    """``in_browser(origin, story)`` hands a page to ``story``; what went wrong on it is returned."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        missing_service("Chromium", "neither chromium nor chromium-browser is on PATH")
    from playwright.sync_api import sync_playwright

    def visit(origin, story):
        wrong = []
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
            page = browser.new_context(base_url=origin, ignore_https_errors=True).new_page()
            page.add_init_script(_WATCH)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("console", lambda said: said.type == "error" and wrong.append(said.text))
            page.on("response", lambda got: got.status >= 400 and wrong.append(f"{got.status} {got.url}"))
            page.on("request", lambda asked: asked.url.startswith(origin) or wrong.append(asked.url))
            story(page)
            browser.close()
        return wrong

    with ThreadPoolExecutor(1) as thread:
        yield lambda origin, story: thread.submit(visit, origin, story).result(timeout=120)


@pytest.fixture
def proxy(serve):
    port = free_port()
    try:
        proxy = Nginx(port, "/shield/", strips=True, keeps_host=True)
    except FileNotFoundError as error:
        missing_service("nginx", str(error))
        raise
    with proxy:
        serve(options={"public_url": f"{proxy.origin}/shield/", "trusted_proxies": 1}, port=port)
        yield proxy


def test_an_operator_works_with_the_panel(proxy, in_browser):
    def story(page):
        page.goto("/shield/routes/")
        assert urlsplit(page.url).path == "/shield/login"
        page.get_by_label("Username:").fill("olga")
        page.get_by_label("Password:").fill("secret")
        page.get_by_role("button", name="Log in").click()
        assert urlsplit(page.url).path == "/shield/routes/"

        page.get_by_role("row", name="payments:GET:/pay").get_by_role("checkbox").check()
        page.get_by_label("Action:").select_option(label="Maintenance")
        page.locator("button[name=index]").click()
        page.get_by_label("Reason:").fill("stock-taking")
        page.get_by_role("button", name="Put into maintenance").click()
        assert "is now in maintenance" in page.locator(".messagelist").inner_text()

        page.get_by_role("link", name="payments:GET:/pay").click()
        page.locator(".field-window_start").get_by_text("Today", exact=True).click()
        assert page.locator("#id_window_start_0").input_value() != ""
        page.get_by_role("link", name="History", exact=True).click()
        history = page.locator(".shield-log").inner_text()
        for said in ("olga", "dashboard", "stock-taking"):
            assert said in history

        page.get_by_role("button", name="Toggle theme").click()
        page.goto("/shield/audit/")
        page.get_by_role("link", name="Home").click()
        assert urlsplit(page.url).path == "/shield/"
        page.get_by_role("button", name="Log out").click()
        assert urlsplit(page.url).path == "/shield/login"
        page.goto("/shield/")
        assert urlsplit(page.url).path == "/shield/login"

    wrong = in_browser(proxy.origin, story)
    assert not wrong, "\n".join(wrong)


def test_another_sites_form_changes_nothing(proxy, serve, in_browser, tmp_path):
    """A page elsewhere posts with the browser of an operator who is logged in."""

    def story(page):
        page.goto("/shield/login")
        page.get_by_label("Username:").fill("olga")
        page.get_by_label("Password:").fill("secret")
        page.get_by_role("button", name="Log in").click()
        for path in ("routes/maintenance/", "api/global/enable"):
            elsewhere = page.context.new_page()
            elsewhere.set_content(
                f'<form method="post" action="{proxy.origin}/shield/{path}">'
                '<input name="status" value="maintenance"><button>Go</button></form>'
            )
            with elsewhere.expect_navigation() as navigation:
                elsewhere.get_by_role("button", name="Go").click()
            assert navigation.value.status == 403
        page.goto("/shield/routes/")
        assert "Global maintenance is off" in page.locator(".shield-strip").inner_text()

    in_browser(proxy.origin, story)
