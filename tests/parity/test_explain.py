"""``shield explain`` says what a request gets, in each framework, at any moment."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shield_core.cli.app import app
from shield_core.cli.session import Session
from shield_core.keys import RouteKey
from tests.parity.conftest import EXEMPT, SERVICE, STAMPS, Answer, Shop

#: Of the shop's routes those that count nobody, so that requests do not depend on those before them.
TEMPLATES = sorted(
    {template for _, template in STAMPS if "limit" not in template}
    & {
        *("/maintenance", "/disabled", "/old", "/gate", "/health", "/payments", "/items/{item}"),
        *("/window", "/read-only"),
    }
)
URLS = {**{template: template.replace("{item}", "42") for template in TEMPLATES}, "": "/nowhere"}

targets = st.builds(
    lambda method, template: f"'{method}{template}'",
    st.sampled_from(["GET:", "POST:", ""]),
    st.sampled_from(TEMPLATES),
)
spans = st.sampled_from(["", " --for 2h", " --start 'in 1h' --end 'in 3h'"])
read_only = st.sampled_from(["", " --read-only"])
exempt = st.sampled_from(["", " -e /payments", " -e 'GET:/items/{item}'", " -e /nowhere"])
forced = st.sampled_from(["", " --include-force-active"])
reasons = st.sampled_from(["", " -r moving", " -r 'a \"quoted\" reason'"])
scopes = st.sampled_from(["global enable", f"sm enable {SERVICE}"])
commands = st.one_of(
    st.builds("disable {}{}{} --all-methods".format, targets, spans, reasons),
    st.builds("maintenance {}{}{}{}".format, targets, spans, read_only, reasons),
    st.builds("env set {} {}".format, targets, st.sampled_from(["test", "prod"])),
    st.builds("env clear {}".format, targets),
    st.builds("enable {} --all-methods".format, targets),
    st.builds("reset {}".format, targets),
    st.builds("{}{}{}{}{}{}".format, scopes, spans, read_only, exempt, forced, reasons),
)
moments = st.sampled_from([timedelta(0), timedelta(hours=1.5), timedelta(hours=2.5), timedelta(hours=5)])
requests = st.tuples(
    st.sampled_from(["GET", "HEAD", "POST", "OPTIONS"]), st.sampled_from(sorted(URLS.values())), moments
)


def run(line: str, session: Session) -> Any:
    return CliRunner().invoke(app, shlex.split(line), obj=session)


def explained(session: Session, method: str, url: str, at: datetime, *options: str) -> dict[str, Any]:
    result = run(f"explain {method} {url} --at {at.isoformat()} --format json {' '.join(options)}", session)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def asked_at(shop: Shop, moment: datetime, method: str, url: str) -> Answer:
    """Send a real request, at ``moment`` by the clock of the rules."""
    replica = shop.operator._engine.replica
    rules = shop.operator._engine.ruleset
    replica.ruleset = replace(rules, clock=moment.timestamp)
    try:
        return shop.ask(method, url)
    finally:
        replica.ruleset = rules


def assert_told(told: dict[str, Any], answer: Answer, method: str) -> None:
    """Assert that an explanation tells what a request got."""
    cause, status = told["answer"]["cause"], told["answer"]["status"]
    blockers = [one for one in told["layers"] if one["decides"]]
    if cause is None:
        assert not blockers
        assert answer.status in ((404,) if told["route"] is None else (200, 405)), (told, answer)
        assert b'"error"' not in answer.body
        return
    [blocker] = blockers
    assert answer.status == status
    if cause == "env_gated":
        assert b'"error"' not in answer.body
    elif method != "HEAD":
        error = json.loads(answer.body)["error"]
        code = {"maintenance": "MAINTENANCE_MODE", "disabled": "ROUTE_DISABLED"}[cause]
        assert (error["code"], error["reason"]) == (code, told["answer"]["reason"])
        assert blocker["reason"] == told["answer"]["reason"]
        if told["route"] is not None:
            assert error["path"] == RouteKey.parse(told["route"]).local


def session_of(shop: Shop, **changes: Any) -> Session:
    shop.operator.list_states()  # as a replica's thread does it, tell the store what the code says
    fields: dict[str, Any] = {"client": shop.operator, "target": "test", "environment": "test"}
    return Session(**{**fields, "service": SERVICE, "zone": UTC, **changes})


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(st.lists(commands, max_size=5), st.lists(requests, min_size=1, max_size=6))
def test_it_says_what_a_request_gets(
    shop: Shop, lines: list[str], wanted: list[tuple[str, str, timedelta]]
) -> None:
    session = session_of(shop)
    shop.operator.reset_all()
    for line in lines:
        assert run(line, session).exit_code in (0, 1), line
    for method, url, later in wanted:
        moment = datetime.now(UTC) + later
        told = explained(session, method, url, moment)
        assert_told(told, asked_at(shop, moment, method, url), method)


def test_each_layer_blocks_once_in_some_example(shop: Shop) -> None:
    """The property above would hold, too, if nothing were ever blocked."""
    session, now = session_of(shop), datetime.now(UTC)
    seen = set()
    for line, url in [
        ("global enable -r a", "/payments"),
        (f"sm enable {SERVICE} -r b", "/items/42"),
        ("disable GET:/payments -r c", "/payments"),
        ("env set GET:/payments prod", "/payments"),
        ("schedule GET:/payments --start 'in 1h' --end 'in 2h'", "/payments"),
    ]:
        shop.operator.reset_all()
        assert run(line, session).exit_code == 0
        moment = now + timedelta(hours=1.5)
        told = explained(session, "GET", url, moment)
        assert_told(told, asked_at(shop, moment, "GET", url), "GET")
        seen.add((told["decided_by"], told["answer"]["status"]))
    assert seen == {
        ("maintenance of everything", 503),
        ("maintenance of service shop", 503),
        ("shop:GET:/payments", 503),
        ("shop:GET:/payments", 404),
    }


def test_limits_are_told_and_nobody_is_counted(shop: Shop) -> None:
    session, now = session_of(shop), datetime.now(UTC)
    shop.operator.set_global_rate_limit("5/hour", actor="ann")

    for _ in range(8):
        told = explained(session, "GET", "/limited", now)

    limits = {one["scope"]: one for one in told["layers"] if one["layer"] == "rate limit"}
    assert [limits[scope]["says"] for scope in ("global", "service", "route")] == ["limit", "none", "limit"]
    assert (limits["global"]["by"], limits["global"]["limit"]["limit"]) == ("ann", "5/hour")
    assert (limits["route"]["origin"], limits["route"]["limit"]["limit"]) == ("code", "2/hour")
    assert [shop.ask("GET", "/limited").status for _ in range(3)] == [200, 200, 429]


@dataclass
class Code:
    """What the code of the shop itself says, which knows more than it stores."""

    shop: Shop
    service: str | None = SERVICE

    def declared(self) -> Any:
        return self.shop.operator._engine.replica.declared

    def template(self, text: str) -> str | None:
        return text if text in EXEMPT else None


def test_what_is_always_open_is_known_to_the_code_alone(shop: Shop) -> None:
    shop.operator.enable_global_maintenance("moving")
    now = datetime.now(UTC)

    by_code = explained(session_of(shop, code=Code(shop)), "GET", "/login", now)

    assert_told(by_code, shop.ask("GET", "/login"), "GET")
    assert [one["says"] for one in by_code["layers"]][:3] == ["passed over", "passed over", "always_open"]
