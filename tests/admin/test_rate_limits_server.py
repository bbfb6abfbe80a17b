"""Rate limits in the panel of a Shield Server: no project, no database, a strict policy."""

from __future__ import annotations

import re

from tests.admin.browser_form import BrowserForm
from tests.admin.conftest import text_of
from tests.shield_server.test_fastapi import HERE, client, log_in

__all__ = ["client"]

LIMITS = "/shield/rate-limits/"


def test_an_operator_limits_pauses_and_finds_who_was_blocked(client):
    def change(page, **entered):
        form = BrowserForm(client.get(page).text).data | entered
        answer = client.post(page, data=form, headers=HERE)
        assert (answer.status_code, answer.headers.get("Location")) == (302, LIMITS), answer.text

    assert client.get(LIMITS).headers["Location"].startswith("/shield/login")
    log_in(client)
    assert f'href="{LIMITS}"' in client.get("/shield/").text

    change(f"{LIMITS}add/", route="/items", limit="1/day", reason="scrapers")
    assert [client.get("/items").status_code for _ in range(2)] == [200, 429]
    assert "GET:/items" in text_of(client.get(LIMITS))
    assert "192.0.2.1 1/day" in text_of(client.get(f"{LIMITS}hits/"))

    change(f"{LIMITS}GET_3A_2Fitems/delete/")
    change(f"{LIMITS}everything/", limit="1/day")
    assert [client.get("/items").status_code for _ in range(2)] == [200, 429]
    change(f"{LIMITS}everything/pause/", reason="load test")
    assert client.get("/items").status_code == 200
    newest, *_ = client.engine.sync.get_audit_log()
    assert (newest.action, newest.actor, newest.reason) == ("global_rl_disabled", "olga", "load test")


def test_its_pages_keep_to_the_policy_without_inline_script(client):
    log_in(client)
    client.engine.sync.set_global_rate_limit("1000/minute")
    for page in ("", "add/", "hits/", "everything/", "everything/reset/", "GET_3A_2Fitems/change/"):
        answer = client.get(f"{LIMITS}{page}")
        assert answer.status_code == 200, page
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert not re.search(r"<script(?![^>]* src=)[^>]*>|<style|\sstyle=|\son\w+=|javascript:", answer.text)
