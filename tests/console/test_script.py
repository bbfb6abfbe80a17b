"""The console script in processes: logins, terminals, stores, and working directories that mean no good."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from shield_core.backends.file import FileBackend
from shield_core.engine import ShieldEngine
from shield_core.keys import encode_key
from tests.clients.conftest import Operator
from tests.conftest import eventually
from tests.console.conftest import ORDERS, PAYMENTS, PROGRAM, Script
from tests.console.listening import Stranger
from tests.shield_server.conftest import ServerProcess

pytestmark = pytest.mark.servers

KEY = f"{PAYMENTS}:GET:/api/payments"


class Terminal:
    """A process of the script that talks to a terminal."""

    def __init__(self, script: Script, *args: str, **env: str) -> None:
        self._end, inner = pty.openpty()
        environment = {**script.environment, "TERM": "xterm-256color", **env}
        self.process = subprocess.Popen(
            [str(PROGRAM), *args],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env=environment,
            cwd=script.cwd,
            start_new_session=True,
        )
        os.close(inner)
        self.said = ""

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 30
        while text not in self.said:
            assert time.monotonic() < deadline, self.said
            assert self._hears(), f"it ended after {self.said!r}"

    def type(self, text: str) -> None:
        os.write(self._end, text.encode())

    def close(self) -> int:
        """Hear it out; return its exit status."""
        while self._hears():
            pass
        os.close(self._end)
        return self.process.wait(30)

    def _hears(self) -> bool:
        if not select.select([self._end], [], [], 30)[0]:
            return False
        try:
            found = os.read(self._end, 65536)
        except OSError:  # EIO: the other end is closed
            return False
        self.said += found.decode()
        return bool(found)


# -- logins -------------------------------------------------------------------------------------------


def test_from_the_first_login_to_the_logout(
    script: Script, operator: Operator, server: ServerProcess
) -> None:
    assert "run 'shield config set-url http://host:9000'" in script("status").stderr
    assert script("config", "set-url", f"{server.address}/").returncode == 0
    before = script("status")
    assert (before.returncode, before.stdout) == (1, "")
    assert before.stderr == f"Error: You are not logged in at {server.address}: run 'shield login'.\n"

    wrong = script("login", "admin", "-p", "wrong")
    assert wrong.returncode == 1
    assert "knows no such name and password" in wrong.stderr
    assert script("login", "admin", typed="secret\n").returncode == 0
    done = script("disable", "/api/payments", "--reason", "hotfix")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.endswith(f"[{server.address}, environment staging]\n")
    assert operator("GET", "audit?limit=1")[0]["actor"] == "admin"

    config = script.home / ".shield" / "config.json"
    token = json.loads(config.read_text())["tokens"][server.address]["token"]
    assert server.status("/api/routes", Authorization=f"Bearer {token}") == 200
    assert "Logged out" in script("logout").stderr
    assert server.status("/api/routes", Authorization=f"Bearer {token}") == 401
    assert token not in config.read_text()
    assert "You are not logged in" in script("logout").stderr


def test_a_password_is_typed_and_not_shown(script: Script, server: ServerProcess) -> None:
    terminal = Terminal(script, "login", SHIELD_SERVER_URL=server.address)
    terminal.wait_for("Username: ")
    terminal.type("admin\n")
    terminal.wait_for("Password: ")
    terminal.type("secret\n")

    assert terminal.close() == 0
    assert "Logged in at" in terminal.said
    assert "secret" not in terminal.said


def test_colour_is_for_terminals_that_want_it(logged_in: Script) -> None:
    coloured, plain = Terminal(logged_in, "status"), Terminal(logged_in, "status", NO_COLOR="1")

    assert (coloured.close(), plain.close()) == (0, 0)
    assert "\x1b[33mmaintenance" in coloured.said
    assert "\x1b[3" not in plain.said
    assert "maintenance" in plain.said
    assert "\x1b" not in logged_in("status").stdout


@pytest.mark.parametrize(
    "words, answer, changed",
    [
        (("disable", "/api/orders"), "2", ["POST:/api/orders"]),
        (("disable", "/api/orders"), "all", ["GET:/api/orders", "POST:/api/orders"]),
        (("rl", "set", "/api/orders", "5/minute"), "1", ["GET:/api/orders"]),
    ],
)
def test_a_person_is_asked_which_route_is_meant(
    logged_in: Script, operator: Operator, words: tuple[str, ...], answer: str, changed: list[str]
) -> None:
    terminal = Terminal(logged_in, *words)
    terminal.wait_for("Which one")
    terminal.type(f"{answer}\n")

    assert terminal.close() == 0
    assert re.search(r"1 +orders-service:GET:/api/orders", terminal.said)
    whose = f"audit?limit={len(changed)}&service={ORDERS}"
    assert sorted(entry["path"] for entry in operator("GET", whose)) == [f"{ORDERS}:{one}" for one in changed]


def test_a_person_chooses_the_route_to_look_at(logged_in: Script) -> None:
    terminal = Terminal(logged_in, "status", "/health")
    terminal.wait_for("Which one")
    terminal.type("7\n2\n")

    assert terminal.close() == 0
    assert re.search(rf"route +{PAYMENTS}:GET:/health", terminal.said)


def test_data_goes_to_stdout_and_everything_else_to_stderr(logged_in: Script) -> None:
    done = logged_in("disable", "/api/payments", "--format", "json")

    assert json.loads(done.stdout)["status"] == "disabled"
    assert done.stderr.startswith(f"{KEY} is now disabled")
    assert logged_in("status", "--bogus").returncode == 2


# -- the store itself ---------------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A file that a service has registered its routes in."""
    path = tmp_path / "shield-state.json"
    engine = ShieldEngine(FileBackend(str(path)), service=PAYMENTS, threads=False)
    engine.sync.register_batch([("GET:/api/payments", {})])
    engine.sync.stop()
    return path


def test_it_works_on_the_file_of_a_running_server(script: Script, state: Path) -> None:
    options = {
        "backend": {"BACKEND": "file", "OPTIONS": {"path": str(state)}},
        "auth": ["admin", "secret"],
    }
    store = {"SHIELD_BACKEND": "file", "SHIELD_FILE_PATH": str(state)}
    with (
        ServerProcess(options=options, app="tests.shield_server.apps:unstocked") as server,
        Operator(server.address, "admin") as operator,
    ):
        done = script("disable", "/api/payments", "-r", "hotfix", SHIELD_ENV="prod", **store)
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr.endswith(f"[file {state}, environment prod]\n")
        route = f"routes/{encode_key(KEY)}"
        eventually(lambda: operator("GET", route)["status"] == "disabled")
        operator("POST", f"{route}/enable")
        assert json.loads(script("status", KEY, "--format", "json", **store).stdout)["status"] == "active"
    assert script("audit", **store).stdout.count("\n") == 3


# -- a working directory that means no good -------------------------------------------------------------


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    with Stranger() as found:
        yield found


@pytest.fixture
def trap(script: Script, tmp_path: Path) -> Path:
    """Fill the working directory with modules that leave a mark when they are imported."""
    mark = tmp_path / "mark"
    code = f"open({str(mark)!r}, 'a').write(__name__ + ' ')\n"
    for name in ("json", "click", "rich", "httpx2", "pydantic", "sitecustomize", "usercustomize", "evil"):
        (script.cwd / f"{name}.py").write_text(code)
    for package in ("shield_core", "shield_django"):
        (script.cwd / package).mkdir()
        (script.cwd / package / "__init__.py").write_text(code)
    return mark


def settings(script: Script, **values: str) -> None:
    (script.cwd / ".shield").write_text("".join(f"{name}={value}\n" for name, value in values.items()))


def test_nothing_of_the_working_directory_is_imported(script: Script, trap: Path) -> None:
    assert script("--help").returncode == 0
    assert script("status", SHIELD_BACKEND="file").returncode == 0
    assert script("status", SHIELD_SERVER_URL="http://127.0.0.1:9").returncode == 1
    assert not trap.exists()


@pytest.mark.parametrize("env", [{}, {"SHIELD_BACKEND": "custom"}], ids=["", "custom"])
def test_a_file_in_the_working_directory_chooses_no_code(
    script: Script, trap: Path, env: dict[str, str]
) -> None:
    settings(script, SHIELD_BACKEND="custom", SHIELD_CUSTOM_PATH="evil:make")

    done = script("status", **env)

    assert done.returncode == 1
    assert "SHIELD_CUSTOM_PATH" in done.stderr
    assert "not taken from a .shield file" in done.stderr
    assert not trap.exists()


@pytest.mark.parametrize("backend", [None, "server"])
def test_a_file_in_the_working_directory_chooses_no_server(
    script: Script, stranger: Stranger, backend: str | None
) -> None:
    settings(
        script,
        SHIELD_SERVER_URL=stranger.address,
        SHIELD_APP_ID=PAYMENTS,
        **({"SHIELD_BACKEND": backend} if backend else {}),
    )
    secrets = {"SHIELD_TOKEN": "t-0-k-e-n", "SHIELD_USERNAME": "admin", "SHIELD_PASSWORD": "s-e-c-r-e-t"}

    for words in (("status",), ("login", "admin"), ("logout",), ("disable", "/x")):
        done = script(*words, typed="s-e-c-r-e-t\n", **secrets)
        assert (done.returncode, done.stdout) == (1, "")
        assert "shield config set-url" in done.stderr
    assert stranger.requests == []


def test_a_file_in_the_working_directory_diverts_nobody_who_is_logged_in(
    logged_in: Script, server: ServerProcess, stranger: Stranger, state: Path
) -> None:
    settings(
        logged_in,
        SHIELD_SERVER_URL=stranger.address,
        SHIELD_BACKEND="file",
        SHIELD_FILE_PATH=str(state),
        SHIELD_TOKEN="theirs",
        SHIELD_SERVICE="orders-service",
    )
    before = state.read_bytes()

    done = logged_in("disable", "/api/payments")

    assert done.returncode == 0
    assert f"[{server.address}, environment staging]" in done.stderr
    assert stranger.requests == []
    assert state.read_bytes() == before


def test_an_answer_cannot_write_on_the_terminal(script: Script) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J"
    with Stranger({"error": f"no {evil}"}, 400) as stranger:
        done = script("status", SHIELD_SERVER_URL=stranger.address)
    assert done.returncode == 1
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", done.stdout + done.stderr)


def test_a_server_that_hangs_up_is_one_sentence(script: Script) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
        process = subprocess.Popen(
            [str(PROGRAM), "status"],
            env={**script.environment, "SHIELD_SERVER_URL": f"http://127.0.0.1:{port}"},
            cwd=script.cwd,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        listening.settimeout(30)
        listening.accept()[0].close()
        said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert said[0] == ""
    assert re.fullmatch(
        r"Error: The Shield Server at \S+ cannot be reached: .* tells its address\.\n", said[1]
    )


def test_output_that_cannot_be_written_is_one_sentence(logged_in: Script) -> None:
    for form in ("table", "json"):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [str(PROGRAM), "status", "--format", form],
                env=logged_in.environment,
                cwd=logged_in.cwd,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=60,
                check=False,
            )
        assert (done.returncode, done.stderr) == (
            1,
            "Error: The output cannot be written: No space left on device.\n",
        )


def test_a_working_directory_that_is_gone_is_no_trouble(script: Script, state: Path, tmp_path: Path) -> None:
    script.cwd = tmp_path / "gone"
    script.cwd.mkdir()
    done = subprocess.run(
        ["sh", "-c", f'rmdir {script.cwd} && exec "$0" status --format json', str(PROGRAM)],
        env={**script.environment, "SHIELD_BACKEND": "file", "SHIELD_FILE_PATH": str(state)},
        cwd=script.cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [one["path"] for one in json.loads(done.stdout)] == [KEY]
