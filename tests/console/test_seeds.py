"""Every command line of the documents works as it is shown there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from shield_core.keys import encode_key
from tests.clients.conftest import Operator
from tests.console.conftest import ORDERS, PAYMENTS, Script
from tests.shield_server.conftest import ServerProcess

pytestmark = pytest.mark.servers

COPY = Path(__file__).with_name("seeds.txt")
#: Where the documents themselves are, on the machines that have them.
DOCUMENTS = Path("/work/shared/seeds")
KEY = f"{PAYMENTS}:GET:/api/payments"
MAINTENANCE, LIMIT = f"services/{PAYMENTS}/maintenance", f"services/{PAYMENTS}/rate-limit"
Done: TypeAlias = "subprocess.CompletedProcess[str]"


def lines_of(text: str) -> list[str]:
    """Return the command lines of a document, and the changes of the environment between them."""
    found = re.findall(r"^(?:shield |export SHIELD_|unset SHIELD_).*", text, re.M)
    return [line.rstrip() for line in found if not line.rstrip().endswith((".", ":"))]  # sentences


def cases() -> list[Any]:
    """Return each command line with the environment that it is shown in."""
    env: dict[str, str] = {}
    found: dict[str, Any] = {}
    for line in lines_of(COPY.read_text()):
        match line.split("=")[0].split():
            case ["export", name]:
                env = {name: line.partition("=")[2]}
            case ["unset", _]:
                env = {}
            case _:
                words = shlex.split(line, comments=True)[1:]
                name = " ".join([*words, *env.values()])
                found[name] = pytest.param(tuple(words), env, id=name)
    return list(found.values())


def test_no_command_line_of_the_documents_is_left_out() -> None:
    if not DOCUMENTS.is_dir():
        pytest.skip("The documents are not here.")
    shown = [line for path in sorted(DOCUMENTS.glob("*.txt")) for line in lines_of(path.read_text())]
    assert shown == lines_of(COPY.read_text())


# -- what each of them does ---------------------------------------------------------------------------


def status(operator: Operator) -> str:
    return str(operator("GET", f"routes/{encode_key(KEY)}")["status"])


def routes_of(*services: str) -> Callable[[Done, Operator], None]:
    def check(done: Done, operator: Operator) -> None:
        keys = [line.split()[0] for line in done.stdout.splitlines()[1:]]
        assert {key.split(":")[0] for key in keys} == set(services)

    return check


def prints(*cells: str) -> Callable[[Done, Operator], None]:
    def check(done: Done, operator: Operator) -> None:
        assert done.stdout.split() == [*cells]

    return check


def leaves(address: str, **wanted: Any) -> Callable[[Done, Operator], None]:
    """Check what the server has afterwards, and that the operator was told where it was changed."""

    def check(done: Done, operator: Operator) -> None:
        found = operator("GET", address)
        found = found.get("policy", found)
        assert {name: found[name] for name in wanted} == wanted
        assert done.stdout == ""
        assert re.search(r"\[http://127\.0\.0\.1:\d+, environment staging\]$", done.stderr, re.M)

    return check


def has_status(wanted: str, reason: str) -> Callable[[Done, Operator], None]:
    return leaves(f"routes/{encode_key(KEY)}", status=wanted, reason=reason)


def shows(*words: str) -> Callable[[Done, Operator], None]:
    def check(done: Done, operator: Operator) -> None:
        assert all(re.search(one, done.stdout) for one in words)

    return check


def is_told(word: str) -> Callable[[Done, Operator], None]:
    def check(done: Done, operator: Operator) -> None:
        assert (done.stdout, word in done.stderr) == ("", True)

    return check


def nothing_limited(done: Done, operator: Operator) -> None:
    assert operator("GET", LIMIT)["policy"] is None


def global_disable_is_recorded(done: Done, operator: Operator) -> None:
    leaves("global", enabled=False)(done, operator)
    newest = operator("GET", "audit?limit=1")[0]
    assert (newest["action"], newest["reason"]) == ("global_maintenance_off", "emergency maintenance")


DEPLOYING = {"reason": "Deploying v3", "exempt_paths": ["/health", "/ready"]}
HEALTH_AND_METRICS = ["/health", "GET:/metrics"]
DOES: dict[str, Callable[[Done, Operator], None]] = {
    f"services {PAYMENTS}": prints("SERVICE", ORDERS, PAYMENTS),
    "services": prints("SERVICE", ORDERS, PAYMENTS),
    f"status --service {PAYMENTS}": routes_of(PAYMENTS),
    "enable /api/payments": has_status("active", ""),
    f"status {PAYMENTS}": routes_of(PAYMENTS),
    f"disable GET:/api/payments --reason hotfix {PAYMENTS}": has_status("disabled", "hotfix"),
    f"enable GET:/api/payments {PAYMENTS}": has_status("active", ""),
    f"current-service {PAYMENTS}": prints("SERVICE", PAYMENTS),
    f"status --service {ORDERS} {PAYMENTS}": routes_of(ORDERS),
    "status": routes_of(ORDERS, PAYMENTS),
    "audit": shows("svc_rl_set .*7/minute +admin", "global_maintenance_on .*admin .*moving house"),
    "global disable --reason emergency maintenance": global_disable_is_recorded,
    "global enable": leaves("global", enabled=True),
    "global enable --reason Deploying v3 --exempt /health --exempt /ready": leaves(
        "global", enabled=True, **DEPLOYING
    ),
    "global disable": leaves("global", enabled=False),
    f"sm enable {PAYMENTS} --reason DB migration": leaves(MAINTENANCE, enabled=True, reason="DB migration"),
    f"sm enable {PAYMENTS} --reason Upgrade --exempt /health": leaves(
        MAINTENANCE, enabled=True, reason="Upgrade", exempt_paths=["/health"]
    ),
    f"sm status {PAYMENTS}": shows("maintenance +on", "reason +stock-taking"),
    f"sm disable {PAYMENTS}": leaves(MAINTENANCE, enabled=False),
    "current-service": is_told("None: commands act on all services"),
    f"srl set {PAYMENTS} 1000/minute": leaves(LIMIT, limit="1000/minute"),
    f"srl set {PAYMENTS} 500/minute --algorithm sliding_window --key ip": leaves(
        LIMIT, limit="500/minute", algorithm="sliding_window", key_strategy="ip"
    ),
    f"srl set {PAYMENTS} 2000/hour --burst 50 --exempt /health --exempt GET:/metrics": leaves(
        LIMIT, limit="2000/hour", burst=50, exempt_routes=HEALTH_AND_METRICS
    ),
    f"srl get {PAYMENTS}": shows("7/minute"),
    f"srl disable {PAYMENTS}": leaves(LIMIT, limit="7/minute", enabled=False),
    f"srl enable {PAYMENTS}": leaves(LIMIT, limit="7/minute", enabled=True),
    f"srl reset {PAYMENTS}": leaves(LIMIT, limit="7/minute"),
    f"srl delete {PAYMENTS}": nothing_limited,
}


@pytest.fixture
def busy(operator: Operator) -> Operator:
    """A server on which something is in maintenance and limited, so that each command finds its subject."""
    operator("POST", LIMIT, limit="7/minute")
    operator("POST", f"{MAINTENANCE}/enable", reason="stock-taking")
    operator("POST", "global/enable", reason="moving house", exempt_paths=[])
    return operator


@pytest.mark.parametrize("words, env", cases())
def test_a_command_line_works_as_shown(
    busy: Operator,
    logged_in: Script,
    server: ServerProcess,
    words: tuple[str, ...],
    env: dict[str, str],
) -> None:
    if words[:2] == ("config", "set-url"):
        done = logged_in(*words)
        assert f"Commands go to {words[2]} from now on" in done.stderr
        assert logged_in("config", "show").stdout.split()[3] == words[2]
    elif words == ("login", "admin"):
        shutil.rmtree(logged_in.home / ".shield")
        done = logged_in(*words, typed="secret\n", SHIELD_SERVER_URL=server.address)
        assert f"Logged in at {server.address} as admin until " in done.stderr
    else:
        done = logged_in(*words, **env)
        DOES[" ".join([*words, *env.values()])](done, busy)
    assert done.returncode == 0, done.stderr
