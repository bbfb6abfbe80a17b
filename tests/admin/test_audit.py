"""The audit log: filters, search, pages and entries; nobody changes it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import pytest

from shield_core.models import AuditEntry
from shield_django.admin.audit import AuditLogEntryAdmin
from tests.admin.conftest import address, client_of, messages_of, text_of

LIST = address("auditlogentry_changelist")
CART, ASYNC = "/shop/cart/", "/async/"


@pytest.fixture
def log(sync):
    """Four entries, the newest last."""
    sync.disable(CART, "stock-taking", actor="bob", platform="cli", note="for the boss")
    sync.enable(CART, "counted", actor="olga", platform="admin", client_ip="10.0.0.7", request_id="r-1")
    sync.set_maintenance(ASYNC, "slow", actor="bob", platform="api")
    sync.enable_service_maintenance("billing", "invoices", actor="eve")


def lines_of(response) -> list[tuple[str, str]]:
    return [(entry.action, entry.path) for entry in response.context["cl"].result_list]


def test_it_lists_the_newest_first_with_who_and_from_where(operator, log):
    response = operator.get(LIST)
    assert [path for _, path in lines_of(response)][1:] == [ASYNC, CART, CART]
    said = text_of(response)
    for words in ("service billing", "olga admin, 10.0.0.7", "bob command line", "counted", "for the boss"):
        assert words in said


@pytest.mark.parametrize(
    "query, count",
    [
        ("action=disable", 1),
        ("platform=cli", 1),
        ("actor=bob", 2),
        ("actor=nobody", 0),
        ("path=/shop/cart/", 2),
        ("service=billing", 1),
        ("since=1", 4),
        ("since=365&actor=bob&platform=api", 1),
        ("q=STOCK", 1),
        ("q=boss", 1),
        ("q=olga", 1),
        ("q=nothing+of+this", 0),
        ("path__exact=/async/", 1),
    ],
)
def test_filters_and_search(operator, log, query, count):
    assert len(lines_of(operator.get(f"{LIST}?{query}"))) == count


def test_filters_of_time_leave_out_what_is_older(operator, sync):
    old = AuditEntry(
        action="disable", path=CART, actor="bob", timestamp=datetime.now(UTC) - timedelta(days=3)
    )
    from shield_core.ports import drive
    from shield_core.snapshot import Commit
    from shield_django import project

    drive(project.current().engine._plain._port.commit(Commit(audit=(old,)), lambda changes: None))
    assert len(lines_of(operator.get(f"{LIST}?since=1"))) == 0
    assert len(lines_of(operator.get(f"{LIST}?since=7"))) == 1


@pytest.mark.parametrize("query", ["note=x", "timestamp__year=2020", "reason__icontains=x", "nonsense=1"])
def test_what_no_store_can_filter_leads_back_to_the_list(operator, log, query):
    response = operator.get(f"{LIST}?{query}", follow=True)
    assert response.redirect_chain == [(f"{LIST}?e=1", 302)]
    assert response.status_code == 200


def test_a_name_leads_to_what_else_this_person_did(operator, log):
    body = operator.get(LIST).content.decode()
    assert 'href="?actor=bob"' in body
    response = operator.get(f"{LIST}?actor=bob")
    assert "By person All bob" in text_of(response)


def test_pages_follow_each_other_without_counting(operator, sync):
    for number in range(230):
        sync.disable(CART, f"reason-{number:03}", actor="bob")
    with patch.object(
        type(sync), "get_audit_log", autospec=True, side_effect=type(sync).get_audit_log
    ) as read:
        first = operator.get(f"{LIST}?actor=bob")
    assert [call.kwargs["limit"] for call in read.call_args_list] == [101]
    seen = [entry.reason for entry in first.context["cl"].result_list]
    page = first
    while older := page.context["cl"].older:
        assert "actor=bob" in older
        page = operator.get(LIST + older)
        seen += [entry.reason for entry in page.context["cl"].result_list]
    assert seen == [f"reason-{number:03}" for number in reversed(range(230))]
    assert page.context["cl"].newest == "?actor=bob"


def test_another_filter_begins_at_the_newest_again(operator, sync):
    for _ in range(101):
        sync.disable(CART, "again", actor="bob")
    page = operator.get(LIST + operator.get(LIST).context["cl"].older)
    links = re.findall(r'<a href="(\?[^"]*action=[^"]*)"', page.content.decode())
    assert links
    assert not any("before" in link for link in links)
    assert '<input type="hidden" name="before"' not in page.content.decode()


def test_a_page_after_an_entry_that_is_gone_is_empty(operator, log):
    response = operator.get(f"{LIST}?before=gone")
    assert response.status_code == 200
    assert lines_of(response) == []


def test_an_entry_shows_what_was_before_and_after(operator, log, sync):
    [entry] = [one for one in sync.get_audit_log(CART) if one.action == "enable"]
    said = text_of(operator.get(address("auditlogentry_change", entry.id)))
    for words in ("What changed", "status disabled active", "10.0.0.7", "r-1", "counted", entry.hash):
        assert words in said


def test_a_window_is_shown_in_words(operator, sync):
    sync.disable(CART, "x", until=datetime.now(UTC) + timedelta(days=400), actor="bob")
    [entry] = sync.get_audit_log(CART)
    said = text_of(operator.get(address("auditlogentry_change", entry.id)))
    assert "window - disabled from" in said


def test_an_unknown_entry_leads_to_the_list(operator):
    response = operator.get(address("auditlogentry_change", "nope"), follow=True)
    assert "does not exist" in messages_of(response)[0]


def test_nobody_changes_it_not_even_who_may_do_everything(operator, log, sync):
    [entry] = sync.get_audit_log(limit=1)
    for page in ("auditlogentry_add", "auditlogentry_changelist"):
        assert operator.post(address(page), {"action": "delete_selected"}).status_code == 403
    for page in ("auditlogentry_change", "auditlogentry_delete"):
        assert operator.post(address(page, entry.id), {"post": "yes"}).status_code == 403
    assert operator.get(address("auditlogentry_history", entry.id)).status_code == 404
    assert 'name="action"' not in operator.get(LIST).content.decode()
    assert AuditLogEntryAdmin.actions is None


def test_it_needs_a_permission_of_its_own(store, log, sync, viewer):
    [entry] = sync.get_audit_log(limit=1)
    for page in (LIST, address("auditlogentry_change", entry.id)):
        assert viewer.get(page).status_code == 403
    auditor = client_of("ada", ["view_auditlogentry"])
    assert auditor.get(LIST).status_code == 200
    assert auditor.get(address("auditlogentry_change", entry.id)).status_code == 200
    assert auditor.get(address("route_changelist")).status_code == 403


def test_changes_of_limits_read_as_limits(operator, sync):
    sync.set_rate_limit_policy(CART, limit="10/minute", tiers=[{"name": "pro", "limit": "9/s"}], actor="bob")
    sync.set_rate_limit_policy(CART, limit="5/minute")
    sync.reset_rate_limit(CART)
    sync.delete_rate_limit_policy(CART)
    sync.set_global_rate_limit("100/minute")
    sync.disable_global_rate_limit()
    sync.set_service_rate_limit("billing", "50/minute")

    said = text_of(operator.get(LIST))

    for words in (
        "rate limit set no limit → 10/minute /shop/cart/ bob",
        "rate limit changed 10/minute → 5/minute",
        "rate limit counted anew 5/minute",
        "rate limit deleted 5/minute → no limit",
        "global rate limit set no limit → 100/minute everything",
        "global rate limit paused 100/minute everything",
        "service rate limit set no limit → 50/minute service billing",
    ):
        assert words in said
    assert 'class="shield-status' not in operator.get(LIST).content.decode()
    page = text_of(operator.get(address("auditlogentry_change", sync.get_audit_log(CART)[-1].id)))
    for words in ("Limit no limit → 10/minute", "tiers - pro 9/s", "burst - 0"):
        assert words in page


@pytest.mark.parametrize(
    "query, count", [("action=rl_policy_set", 1), ("action=global_rl_disabled", 1), ("action=svc_rl_set", 0)]
)
def test_limits_are_filtered_by_their_actions(operator, sync, query, count):
    sync.set_rate_limit_policy(CART, limit="10/minute")
    sync.set_global_rate_limit("100/minute")
    sync.disable_global_rate_limit()

    assert len(lines_of(operator.get(f"{LIST}?{query}"))) == count


def test_what_was_narrowed_to_is_named_in_words(operator, sync):
    sync.set_global_rate_limit("100/minute")

    response = operator.get(f"{LIST}?path=__shield:global__")

    assert len(lines_of(response)) == 1
    assert "By route All everything" in text_of(response)
