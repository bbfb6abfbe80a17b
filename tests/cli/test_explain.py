"""``explain`` on a terminal and for programs; that it is right is shown in tests/parity/test_explain.py."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from typing import Any

import pytest

from shield_core.engine import ShieldEngine
from tests.cli.conftest import Shield

HEADS = ["LAYER", "SAYS", "SET BY", "UNTIL", "REASON"]


def told(shield: Shield, line: str, **changes: Any) -> dict[str, Any]:
    result = shield(f"explain {line} --format json", **changes)
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_table_of_every_layer_and_the_one_that_decides(shield: Shield) -> None:
    shield("sm enable shop -r 'moving house' --until 2035-01-01T10:00")
    shield("disable shop:GET:/cart -r broken")

    result = shield("explain GET /cart --service shop")

    lines = result.stdout.splitlines()
    table = lines[next(i for i, line in enumerate(lines) if line.startswith("LAYER")) :]
    assert [head.strip() for head in table[0].split("  ") if head] == HEADS
    rows = [[cell.strip() for cell in line.split("  ") if cell] for line in table[1:]]
    assert rows[1] == [
        "maintenance of service shop",
        "blocks <- decides",
        "ann@desk",
        "2035-01-01 10:00:00 CET",
        "moving house",
    ]
    assert [row[0] for row in rows] == [
        "maintenance of everything",
        "maintenance of service shop",
        "shop:GET:/cart",
        "rate limit of everything",
        "rate limit of service shop",
        "rate limit of route",
    ]
    assert {row[1] for row in rows[2:]} == {"not asked"}
    assert "answer       503 maintenance, until 2035-01-01 10:00:00 CET" in result.stdout


def test_another_moment(shield: Shield) -> None:
    shield("disable GET:/payments/ --start 2035-01-01T10:00 --end 2035-01-01T12:00 -r later")

    def answer(at: str) -> tuple[Any, Any]:
        found = told(shield, f"GET /payments/ --at '{at}'")
        return found["answer"]["status"], found["at"]

    assert answer("2035-01-01T10:00") == (503, "2035-01-01T09:00:00Z")
    assert answer("2035-01-01T12:00")[0] is None
    assert answer("in 2h")[0] is None
    assert answer("2h ago")[0] is None
    table = shield("explain GET /payments/").stdout
    assert "(window from 2035-01-01 10:00:00 CET to 2035-01-01 12:00:00 CET)" in table


@pytest.mark.parametrize(
    "options, environment, status",
    [("", "dev", 404), ("", "staging", None), ("--env staging", "dev", None), ("--env prod", "staging", 404)],
)
def test_the_environment_is_the_targets_or_the_one_named(
    shield: Shield, options: str, environment: str, status: int | None
) -> None:
    assert told(shield, f"GET /beta {options}", environment=environment)["answer"]["status"] == status


def test_where_no_environment_is_known_it_says_so(shield: Shield) -> None:
    result = shield("explain GET /beta", environment=None)

    assert "404 env_gated" in result.stdout
    assert "Note: which environment it is, is not known" in result.stderr


@pytest.mark.parametrize(
    "url, route",
    [
        ("/orders/42/", "GET:/orders/{id}/"),
        ("/orders/42", "GET:/orders/{id}/"),
        ("/orders/a%20b/?page=2", "GET:/orders/{id}/"),
        ("https://shop.example/orders/42/#end", "GET:/orders/{id}/"),
        ("/invoices", "billing:GET:/invoices"),
        ("shop:/cart", "shop:GET:/cart"),
        ("/health", "/health"),
        ("/nothing", None),
    ],
)
def test_a_url_leads_to_its_route(shield: Shield, url: str, route: str | None) -> None:
    assert told(shield, f"GET {url}")["route"] == route


def test_a_url_of_several_services_is_ambiguous(shield: Shield) -> None:
    result = shield("explain GET /cart")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "'/cart' is a URL of several services: archive:/cart, shop:/cart. Choose one" in result.stderr
    assert told(shield, "GET /cart -s archive")["service"] == "archive"


def test_a_url_that_several_templates_match_is_told_with_a_doubt(
    shield: Shield, engine: ShieldEngine
) -> None:
    engine.sync.register_batch([("GET:/orders/new/", {}), ("GET:/a/{x}", {}), ("GET:/a/{y}", {})])

    specific = shield("explain GET /orders/new/")
    equal = shield("explain GET /a/1")
    slash = shield("explain GET /orders/42")
    deep = shield("explain GET /a/1/2")

    assert "route        GET:/orders/new/" in specific.stdout
    assert "also matches /orders/{id}/; taken is the most specific." in specific.stderr
    assert "/a/1 also matches /a/{y}: the service takes the one" in equal.stderr
    assert "/orders/42 and /orders/{id}/ differ in the last slash" in slash.stderr
    assert "only where a parameter of it takes several segments" in deep.stderr


def test_an_unknown_url_is_told_as_one(shield: Shield) -> None:
    shield("global enable -r moving")

    result = shield("explain GET /nothing")

    assert "Note: no known route has this URL" in result.stderr
    assert "route        unknown" in result.stdout
    assert "503 maintenance" in result.stdout


def test_limits_are_told_in_words(shield: Shield) -> None:
    shield("grl set 100/minute")
    shield("rl set GET:/payments/ 5/minute --key user --shadow")

    result = shield("explain GET /payments/")

    assert re.search("limited to 100/minute per address, fixed_window +ann@desk", result.stdout)
    assert "limited to 5/minute per user, fixed_window, counted only: nobody is blocked" in result.stdout
    assert "answer       the application's own, or 429 over a limit" in result.stdout


@pytest.mark.parametrize("line", ["GET", "G=T /x", "GET /x --at soon", "GET /x --service 'no/service'"])
def test_wrong_usage_is_exit_2(shield: Shield, line: str) -> None:
    assert shield(f"explain {line}").exit_code == 2


@pytest.mark.parametrize("text", ["payments", "?next=/payments/", "''"])
def test_what_is_no_url_is_refused(shield: Shield, text: str) -> None:
    result = shield(f"explain GET {text}")

    assert result.exit_code == 1
    assert f"{text.strip(chr(39))!r} is no URL: write its path, such as /payments/42." in result.stderr


@pytest.mark.parametrize(
    "url", ["http://[shop/payments/", "HTTPS://shop:99999/payments/?a=b#c", "/payments/?next=http://a/b"]
)
def test_of_a_url_only_the_path_counts(shield: Shield, url: str) -> None:
    assert "route        GET:/payments/\n" in shield(f"explain GET {url}").stdout


def test_a_path_may_have_an_address_in_it(shield: Shield) -> None:
    assert "route        unknown" in shield("explain GET /to/http://shop/payments/").stdout


# -- a person at a terminal -----------------------------------------------------------------------

AT_A_TERMINAL = """
import sys
from shield_core.cli.app import app
from shield_core.cli.session import Session
from shield_core.engine import ShieldEngine
engine = ShieldEngine()
engine.sync.register_batch([("GET:/payments/", {}), ("POST:/payments/", {})])
try:
    app.main(sys.argv[1:], obj=Session(client=engine.sync, target="t", actor="ann"))
finally:
    print([state.path for state in engine.sync.list_states() if state.status == "disabled"])
"""


def typed(answer: str, *words: str) -> str:
    """Run a command line on a terminal of its own, and type ``answer``."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", AT_A_TERMINAL, *words], stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        os.write(ours, answer.encode())
        process.wait(timeout=60)
        said = b""
        try:
            while chunk := os.read(ours, 4096):
                said += chunk
        except OSError:
            pass  # the end of a terminal on Linux
    os.close(ours)
    return said.decode()


@pytest.mark.parametrize(
    "answer, disabled",
    [
        ("2\n", "['POST:/payments/']"),
        ("all\n", "['GET:/payments/', 'POST:/payments/']"),
        ("9\n1\n", "['GET:/payments/']"),
    ],
)
def test_a_person_at_a_terminal_is_asked_which_route_is_meant(answer: str, disabled: str) -> None:
    said = typed(answer, "disable", "/payments/")

    assert "1  GET:/payments/" in said
    assert "Which one, or all" in said
    assert disabled in said
