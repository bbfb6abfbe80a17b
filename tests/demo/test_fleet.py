"""What ``make demo-fleet`` promises: one control plane over Django and FastAPI, on real processes."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request

import pytest

from shield_django.api.keys import encode_key
from tests.clients.conftest import Operator
from tests.conftest import eventually
from tests.demo.conftest import PROJECT, Response, Shop, ask, environment, free_port

pytestmark = pytest.mark.servers

SHOP, PAYMENTS = "shop", "payments-service"
NAMES = ("server", "shop", "payments")


class Fleet(Shop):
    """The launcher with what it has started; where ``ports`` are not given, it tells its own."""

    def __init__(self, data: Path, ports: dict[str, int] | None = None) -> None:
        given = [text for name, port in (ports or {}).items() for text in (f"--{name}-port", str(port))]
        super().__init__([sys.executable, "fleet.py", *given], 0, data)
        eventually(lambda: any("Changes appear" in line for line in self.lines) or not self.runs, within=90)
        assert self.runs, self.said
        told = re.findall(r"^(?:Panel|Shop|Payments) +http://127\.0\.0\.1:(\d+)/", self.said, re.MULTILINE)
        self.ports = dict(zip(NAMES, map(int, told), strict=True))

    @property
    def said(self) -> str:
        return "".join(self.lines)

    def ask(self, name: str, path: str, method: str = "GET") -> Response:
        url = f"http://127.0.0.1:{self.ports[name]}{path}"
        answer = ask(Request(url, method=method, headers={"Accept": "application/json"}))
        return answer._replace(headers={name.lower(): value for name, value in answer.headers.items()})

    def shows(self, name: str, path: str, status: int, method: str = "GET") -> None:
        """Wait until the service answers so."""
        eventually(lambda: self.ask(name, path, method).status == status)

    def listening(self) -> list[str]:
        def listens(port: int) -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        return [name for name, port in self.ports.items() if listens(port)]


@pytest.fixture(scope="module")
def fleet(data: Path) -> Iterator[Fleet]:
    """The fleet, running; tests leave it as they found it."""
    started = Fleet(data, {name: free_port() for name in NAMES})
    yield started
    started.close()
    assert started.listening() == []


@pytest.fixture(scope="module")
def operator(fleet: Fleet) -> Iterator[Operator]:
    with Operator(f"http://127.0.0.1:{fleet.ports['server']}", "admin", "secret") as somebody:
        yield somebody


def route(service: str, key: str) -> str:
    return f"routes/{encode_key(f'{service}:{key}')}"


def instances(operator: Operator) -> list[dict[str, Any]]:
    """Return the processes of the two services; the server knows itself too."""
    found = operator("GET", "services?detail=1")
    return [one for service in found if service["service"] for one in service["instances"]]


class TestTheTerminal:
    def test_names_three_addresses_and_a_login(self, fleet: Fleet) -> None:
        steps = [line.split()[1] for line in fleet.lines if re.match(r"\d  ", line)]
        assert steps == ["database", "admin", "server", "services"]
        assert "login admin / secret" in fleet.said
        assert fleet.ask("server", "/healthz").status == 200

    def test_every_address_that_it_tells_to_ask_answers(self, fleet: Fleet) -> None:
        urls = re.findall(r"curl -i (\S+)", fleet.said)
        assert len(urls) == 2
        assert [ask(Request(url)).status for url in urls] == [200, 200]

    def test_prints_each_change_with_its_author(self, fleet: Fleet, operator: Operator) -> None:
        operator("POST", f"{route(PAYMENTS, 'GET:/payments')}/disable", reason="hotfix")
        operator("POST", f"{route(PAYMENTS, 'GET:/payments')}/enable")
        eventually(
            lambda: (
                fleet.changes()[-2:]
                == [f"{what} {PAYMENTS}:GET:/payments by admin (cli)" for what in ("disable", "enable")]
            )
        )


class TestTheCommands:
    #: What one of the services answers after each of them that changes something.
    EFFECTS = (
        ("disable", "payments", "/payments", 503),
        ("enable", "payments", "/payments", 200),
        ("sm enable", "payments", "/payments", 503),
        ("sm disable", "payments", "/payments", 200),
        ("srl set", "payments", "/payments", 429),
        ("srl delete", "payments", "/payments", 200),
        ("global enable", "shop", "/catalogue/", 503),
        ("global disable", "shop", "/catalogue/", 200),
    )

    def test_each_that_it_tells_does_what_it_says(self, fleet: Fleet, tmp_path: Path) -> None:
        told = re.findall(r"^  shield (.+)$", fleet.said, re.MULTILINE)
        effects = list(self.EFFECTS)
        said = {}
        for command in told:
            said[command] = self.shield(command, fleet, tmp_path)
            if effects and command.startswith(effects[0][0]):
                fleet.shows(*effects.pop(0)[1:])
        assert effects == []
        assert {SHOP, PAYMENTS} <= set(said["services"].split())
        shown = said[f"status --service {PAYMENTS}"]
        assert f"{PAYMENTS}:GET:/payments" in shown
        assert f"{SHOP}:" not in shown

    def shield(self, command: str, fleet: Fleet, home: Path) -> str:
        """Run the console script as the person at the second terminal does, logged in there before."""
        ran = subprocess.run(
            [re.findall(r"alias shield=(.+)", fleet.said)[0], *shlex.split(command)],
            env={**fleet.environment, "HOME": str(home)},
            cwd=home,
            input="secret\n",
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout


def test_the_alias_runs_also_in_a_folder_with_spaces_and_quotes(tmp_path: Path) -> None:
    program = tmp_path / "mein schöner 'Ordner' (1)" / "shield"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "ran with $1"\n')
    program.chmod(0o755)
    asked = [sys.executable, "-c", "import fleet, sys; print(fleet.alias_of('shield', sys.argv[1]))"]
    alias = subprocess.run([*asked, str(program)], cwd=PROJECT, capture_output=True, text=True, check=True)
    ran = subprocess.run(["sh"], input=f"{alias.stdout}\nshield services\n", capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("ran with services\n", "")


class TestOneControlPlane:
    def test_knows_the_services_and_where_they_are(self, fleet: Fleet, operator: Operator) -> None:
        assert set(operator("GET", "services")) == {SHOP, PAYMENTS}
        eventually(lambda: [one["lag"] for one in instances(operator)] == [0, 0])

    def test_tells_the_status_of_one_service(self, operator: Operator) -> None:
        shown = {one["path"]: one["status"] for one in operator("GET", f"routes?service={PAYMENTS}")}
        assert shown[f"{PAYMENTS}:GET:/payments"] == "active"
        assert shown[f"{PAYMENTS}:POST:/payments/{{number}}/refund"] == "maintenance"
        assert shown[f"{PAYMENTS}:GET:/export"] == "disabled"
        assert {path.partition(":")[0] for path in shown} == {PAYMENTS}
        django = {one["path"] for one in operator("GET", f"routes?service={SHOP}")}
        assert f"{SHOP}:GET:/catalogue/" in django

    def test_services_say_how_fresh_their_rules_are(self, fleet: Fleet) -> None:
        page = fleet.ask("shop", "/").body
        assert "<dt>Rules</dt><dd>live</dd>" in page
        assert "<code>shield audit</code>" in page


class TestARoute:
    def test_is_disabled_in_its_service_and_nowhere_else(self, fleet: Fleet, operator: Operator) -> None:
        path = route(PAYMENTS, "GET:/payments")
        operator("POST", f"{path}/disable", reason="hotfix")
        fleet.shows("payments", "/payments", 503)
        assert '"reason":"hotfix"' in fleet.ask("payments", "/payments").body
        assert fleet.ask("payments", "/transactions").status == 200
        assert fleet.ask("shop", "/payments/").status == 200
        operator("POST", f"{path}/enable")
        fleet.shows("payments", "/payments", 200)

    def test_of_the_django_service_as_well(self, fleet: Fleet, operator: Operator) -> None:
        path = route(SHOP, "GET:/catalogue/")
        operator("POST", f"{path}/maintenance", reason="Stocktaking", **{"for": "30m"})
        fleet.shows("shop", "/catalogue/", 503)
        assert 1700 < int(fleet.ask("shop", "/catalogue/").headers["retry-after"]) <= 1800
        operator("POST", f"{path}/enable")
        fleet.shows("shop", "/catalogue/", 200)

    def test_is_opened_against_its_decorator_and_given_back(self, fleet: Fleet, operator: Operator) -> None:
        path = route(PAYMENTS, "POST:/payments/{number}/refund")
        assert fleet.ask("payments", "/payments/1/refund", "POST").status == 503
        operator("POST", f"{path}/enable")
        fleet.shows("payments", "/payments/1/refund", 200, "POST")
        operator("DELETE", f"{path}/override")
        fleet.shows("payments", "/payments/1/refund", 503, "POST")


class TestAService:
    def test_in_maintenance_leaves_the_other_one_open(self, fleet: Fleet, operator: Operator) -> None:
        place = f"services/{PAYMENTS}/maintenance"
        operator("POST", f"{place}/enable", reason="DB migration", exempt_paths=["/transactions"])
        fleet.shows("payments", "/payments", 503)
        assert fleet.ask("payments", "/payments/7").status == 503
        assert fleet.ask("payments", "/transactions").status == 200
        assert fleet.ask("payments", "/health").status == 200
        assert fleet.ask("shop", "/catalogue/").status == 200
        said = operator("GET", place)
        assert (said["enabled"], said["reason"]) == (True, "DB migration")
        operator("POST", f"{place}/disable")
        fleet.shows("payments", "/payments", 200)

    def test_has_a_limit_over_all_its_routes(self, fleet: Fleet, operator: Operator) -> None:
        place = f"services/{PAYMENTS}/rate-limit"
        operator("POST", place, limit="3/hour", exempt_routes=["/transactions"])
        eventually(lambda: "x-ratelimit-limit" in fleet.ask("payments", "/payments/7").headers)
        operator("DELETE", f"{place}/reset")
        eventually(lambda: fleet.ask("payments", "/payments").headers["x-ratelimit-remaining"] == "2")
        left = [fleet.ask("payments", f"/payments/{number}").status for number in range(3)]
        assert left == [404, 404, 429]
        assert fleet.ask("payments", "/transactions").status == 200
        assert fleet.ask("payments", "/health").status == 200
        assert "x-ratelimit-limit" not in fleet.ask("shop", "/catalogue/").headers
        operator("DELETE", place)
        fleet.shows("payments", "/payments", 200)


class TestEverything:
    def test_in_maintenance_but_for_what_is_exempt(self, fleet: Fleet, operator: Operator) -> None:
        operator(
            "POST", "global/enable", reason="Deploying v3", exempt_paths=["/transactions", "/catalogue/"]
        )
        fleet.shows("payments", "/payments", 503)
        fleet.shows("shop", "/orders/1/", 503)
        assert '"reason":"Deploying v3"' in fleet.ask("shop", "/orders/1/").body
        assert fleet.ask("payments", "/transactions").status == 200
        assert fleet.ask("shop", "/catalogue/").status == 200
        assert fleet.ask("payments", "/health").status == fleet.ask("shop", "/health/").status == 200
        operator("POST", "global/disable")
        fleet.shows("payments", "/payments", 200)
        fleet.shows("shop", "/orders/1/", 200)

    def test_arrives_and_is_acknowledged(self, operator: Operator) -> None:
        operator("POST", "global/exempt", path="/health")
        newest = operator("GET", "sdk/snapshot")["revision"]
        eventually(lambda: {one["revision"] for one in instances(operator)} == {newest})
        operator("DELETE", "global/exempt", path="/health")


class TestItsLife:
    def test_a_port_that_is_taken_is_said_in_one_line(self, fleet: Fleet, data: Path) -> None:
        taken = str(fleet.ports["shop"])
        ran = subprocess.run(
            [sys.executable, "fleet.py", "--shop-port", taken],
            cwd=PROJECT,
            env=environment(data),
            capture_output=True,
            text=True,
        )
        assert (ran.returncode, ran.stdout) == (1, "")
        assert ran.stderr.count("\n") == 1
        assert f"Port {taken} on 127.0.0.1" in ran.stderr

    def test_ctrl_c_ends_all_and_a_second_run_begins_with_what_was_set(self, tmp_path: Path) -> None:
        first = Fleet(tmp_path)  # takes other ports where 9000, 8000 or 8001 are taken
        try:
            address = f"http://127.0.0.1:{first.ports['server']}"
            with Operator(address, "admin", "secret") as operator:
                operator("POST", f"services/{PAYMENTS}/maintenance/enable", reason="over night")
            assert first.interrupt() == 0
            assert first.listening() == []
            assert not re.search(r"Traceback|Error|Forbidden|does not answer", first.said)
        finally:
            first.close()

        second = Fleet(tmp_path)
        try:
            assert second.ask("payments", "/payments").status == 503
            pid = pid_of("services.payments:app", second.process.pid)
            os.kill(pid, signal.SIGKILL)
            assert second.process.wait(20) == 1
            second.close()
            assert second.listening() == []
            assert f"because of the payments with {-signal.SIGKILL}" in second.said
        finally:
            second.close()


def pid_of(app: str, parent: int) -> int:
    """Return the process that serves ``app``, of those that ``parent`` has started."""
    listed = ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(parent)]
    lines = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.splitlines()
    return int(next(line for line in lines if app in line).split()[0])
