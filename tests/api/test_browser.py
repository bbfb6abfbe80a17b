"""Operators in a browser: sessions, the server's cookie, forged forms, and the browsable page."""

from __future__ import annotations

import re

import pytest

from shield_django.api.keys import encode_key
from tests.api.conftest import Caller

HTML = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
CSRF = "a" * 32


@pytest.fixture
def browser(memory_plane):
    """A browser with the cookie of the server's login form."""
    control = memory_plane.control
    token = control.tokens.make("olga", "dashboard", fingerprint=control.authority.fingerprint("olga"))
    caller = memory_plane.caller()
    caller.cookies[control.session_cookie] = memory_plane.signed(token)
    return caller


def test_the_cookie_of_the_login_form_is_taken(browser):
    assert browser("GET", "auth/me").json() == {"username": "olga", "platform": "dashboard"}


def test_a_change_by_cookie_needs_a_form_of_our_own(browser, memory_plane):
    assert browser("POST", "global/enable", {}).status_code == 403
    assert not memory_plane.sync.get_global_maintenance().enabled
    browser.cookies["csrftoken"] = CSRF
    assert browser("POST", "global/enable", {}, headers={"X-CSRFToken": "b" * 32}).status_code == 403
    assert browser("POST", "global/enable", {}, headers={"X-CSRFToken": CSRF}).json()["enabled"]
    entry = browser("GET", "audit?limit=1").json()[0]
    assert (entry["actor"], entry["platform"]) == ("olga", "dashboard")


def test_a_token_in_a_header_needs_no_form(memory_plane, browser):
    token = memory_plane.operator().token
    headers = {"Authorization": f"Bearer {token}"}
    assert browser("POST", "global/enable", {}, headers=headers).status_code == 200


@pytest.mark.parametrize("platform", ["cli", "sdk"])
def test_no_other_token_works_as_a_cookie(memory_plane, platform):
    control = memory_plane.control
    caller = memory_plane.caller()
    token = control.tokens.make("olga", platform, fingerprint=control.authority.fingerprint("olga"))
    caller.cookies[control.session_cookie] = memory_plane.signed(token)
    assert caller("GET", "auth/me").status_code == 401


def test_logging_out_takes_the_cookie_away_and_revokes_it(browser, memory_plane):
    name = memory_plane.control.session_cookie
    value = browser.cookies[name].value
    browser.cookies["csrftoken"] = CSRF
    answer = browser("POST", "auth/logout", headers={"X-CSRFToken": CSRF})
    assert answer.cookies[name]["max-age"] == 0
    browser.cookies[name] = value
    assert browser("GET", "auth/me").status_code == 401


# -- the page ---------------------------------------------------------------------------------


ADDRESSES = ["routes", "global", f"routes/{encode_key('payments:GET:/payments')}", "audit", "tokens"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_browser_gets_a_page_without_inline_script_or_style(browser, address):
    answer = browser("GET", address, headers=HTML)
    page = answer.content.decode()
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "Shield: nothing" not in page
    scripts = re.findall(r"<script\b([^>]*)>", page)
    assert scripts
    # A block of data is not run, so that no policy forbids it.
    assert all("src=" in one or 'type="application/json"' in one for one in scripts)
    assert not re.search(r"<style\b|\sstyle=|\son[a-z]+=|javascript:|(?:src|href)=.https?:", page)


def test_a_page_is_for_operators_in_a_browser_only(memory_plane, browser):
    for caller in (memory_plane.caller(), memory_plane.sdk("payments")):
        assert caller("GET", "routes", headers=HTML)["Content-Type"] == "application/json"
    for accepted in ("*/*", "application/json", "application/json, text/html;q=0.5", "", "text/plain"):
        answer = browser("GET", "routes", headers={"Accept": accepted})
        assert answer["Content-Type"] == "application/json"


def test_a_project_that_has_no_pages_of_drf_gets_none(browser, settings):
    settings.INSTALLED_APPS = [one for one in settings.INSTALLED_APPS if "rest_framework" not in one]
    answer = browser("GET", "routes", headers=HTML)
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")


def test_what_fails_is_told_in_json_except_to_the_page_itself(browser):
    for address in ("nothing", "routes/GET:/nothing"):
        assert browser("GET", address, headers=HTML)["Content-Type"] == "application/json"
    by_page = {**HTML, "X-Requested-With": "XMLHttpRequest"}
    answer = browser("GET", "routes/GET:/nothing", headers=by_page)
    assert (answer.status_code, answer["Content-Type"]) == (404, "text/html; charset=utf-8")


def test_what_a_page_shows_is_escaped(browser, memory_plane):
    memory_plane.operator()("POST", "global/enable", {"reason": "<script>alert(1)</script>"})
    assert "<script>alert" not in browser("GET", "global", headers=HTML).content.decode()


# -- a project's users --------------------------------------------------------------------------


@pytest.fixture
def member(db):
    """Make callers who are logged in to the project with some permissions."""
    from django.contrib.auth.models import Permission, User

    def make(name: str, *permissions: str, log_in: bool = True) -> Caller:
        user = User.objects.create_user(name, password="correct horse")
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        caller = Caller()
        if log_in:
            caller.force_login(user)
        caller.cookies["csrftoken"] = CSRF
        return caller

    return make


def test_a_projects_session_is_taken_with_the_users_permissions(member):
    viewer, changer = member("vera", "view_route"), member("carl", "view_route", "change_route")
    assert viewer("GET", "auth/me").json() == {"username": "vera", "platform": "dashboard"}
    assert viewer("GET", "routes").status_code == 200
    assert viewer("POST", "global/enable", {}, headers={"X-CSRFToken": CSRF}).status_code == 403
    assert changer("POST", "global/enable", {}).status_code == 403
    assert changer("POST", "global/enable", {}, headers={"X-CSRFToken": CSRF}).status_code == 200
    assert changer("GET", "audit").status_code == 403


def test_a_customer_of_the_project_reaches_nothing(member):
    customer = member("kim")
    assert customer("GET", "routes").status_code == 403
    assert customer("GET", "services").status_code == 403


def test_a_customer_cannot_let_a_service_in(member):
    customer = member("kim", log_in=False)
    body = {"username": "kim", "password": "correct horse"}
    token = customer("POST", "auth/login", body).json()["token"]
    assert customer("GET", "routes", headers={"Authorization": f"Bearer {token}"}).status_code == 403
    sdk = {**body, "platform": "sdk", "app_id": "payments"}
    assert customer("POST", "auth/login", sdk).status_code == 403


def test_a_project_has_a_permission_to_manage_tokens(member):
    changer, manager = member("carl", "view_route", "change_route"), member("mia", "manage_tokens")
    assert changer("GET", "tokens").status_code == 403
    assert manager("GET", "tokens").json() == []


def test_a_user_who_is_no_longer_active_loses_the_token(member):
    from django.contrib.auth.models import User

    caller = member("vera", "view_route", log_in=False)
    body = {"username": "vera", "password": "correct horse"}
    headers = {"Authorization": f"Bearer {caller('POST', 'auth/login', body).json()['token']}"}
    assert caller("GET", "routes", headers=headers).status_code == 200
    User.objects.update(is_active=False)
    assert caller("GET", "routes", headers=headers).status_code == 401


def test_logging_out_of_a_session_ends_it(member):
    caller = member("vera", "view_route")
    assert caller("POST", "auth/logout", headers={"X-CSRFToken": CSRF}).status_code == 200
    assert caller("GET", "auth/me").status_code == 401
