"""Commands against a server, in detail: what they print, and what their errors say to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner, Result

from shield_core.cli.app import app
from shield_core.cli.console import Console
from shield_core.cli.home import Home, Login
from shield_core.cli.session import Session
from shield_django.auth.tokens import Tokens
from tests.clients.conftest import Operator
from tests.console.conftest import ORDERS, PAYMENTS, SECRET, Script
from tests.console.listening import Stranger
from tests.postgres import free_port
from tests.shield_server.conftest import ServerProcess

pytestmark = pytest.mark.servers

Run: TypeAlias = Callable[..., Result]
KEY = f"{PAYMENTS}:GET:/api/payments"
WINDOW = {"start": "2090-01-01T00:00:00Z", "end": "2090-01-02T00:00:00Z"}
MUTATIONS = [
    "enable /api/payments",
    "disable /api/payments --for 2h",
    "maintenance /api/payments --read-only",
    "schedule /api/payments --start 2090-01-01T00:00 --for 2h",
    "schedule-cancel /api/payments",
    "reset /api/payments",
    "reset --all",
    "env set /api/payments dev",
    "env clear /api/payments",
    "global enable --exempt /health",
    "global disable",
    "global exempt-add /health",
    "global exempt-remove /known",
    f"sm enable {PAYMENTS}",
    f"sm disable {PAYMENTS}",
    f"sm exempt-add {PAYMENTS} /health",
    "rl set /api/payments 5/minute",
    "rl delete GET:/api/payments",
    "rl reset GET:/api/payments",
    "grl set 5/minute",
    "grl disable",
    "grl enable",
    "grl reset",
    "grl delete",
    f"srl set {PAYMENTS} 5/minute",
    f"token create -s {PAYMENTS}",
]


def sentence(result: Result, code: int = 1) -> str:
    """Return the one sentence of an error."""
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert result.stderr.startswith("Error: "), result.stderr
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("Error: ").strip()


@pytest.fixture
def home(logged_in: Script) -> Home:
    return Home(logged_in.home / ".shield")


@pytest.mark.parametrize("line", MUTATIONS)
def test_each_change_says_on_which_server_and_in_which_environment(
    run: Run, operator: Operator, server: ServerProcess, line: str
) -> None:
    if line.startswith("schedule-cancel"):
        operator.change("schedule", "GET:/api/payments", **WINDOW)
    operator("POST", "global/exempt", path="/known")
    operator("POST", "global-rate-limit", limit="9/hour")
    operator("POST", "rate-limits", path=f"{PAYMENTS}:/api/payments", method="GET", limit="9/hour")

    result = run(*line.split())

    assert result.exit_code == 0, result.stderr
    assert f"[{server.address}, environment staging]" in result.stderr


def test_a_server_without_an_environment_is_named_alone() -> None:
    console = Console(Home(), {"SHIELD_SERVER_URL": "http://a:1/"})
    assert console.session.place == "http://a:1"
    console.close()


def test_a_request_is_explained_in_the_environment_of_the_server(run: Run, operator: Operator) -> None:
    operator.change("env", "GET:/api/payments", envs=["production"])
    operator.change("enable", "GET:/api/payments")
    words = ("explain", "GET", "/api/payments", "--format", "json")

    here, there = json.loads(run(*words).stdout), json.loads(run(*words, "--env", "production").stdout)

    assert (here["environment"], here["answer"]["status"]) == ("staging", 404)
    assert (there["environment"], there["answer"]["status"]) == ("production", None)


# -- errors -------------------------------------------------------------------------------------------


def test_a_route_that_is_not_known_is_told_with_the_closest(run: Run) -> None:
    assert sentence(run("disable", "/api/paymnts")) == (
        f"No route '/api/paymnts' is registered. Did you mean {KEY}?"
    )


def test_a_path_of_several_routes_is_told_with_all_of_them(run: Run) -> None:
    said = sentence(run("disable", "/health"))
    assert f"{ORDERS}:GET:/health, {PAYMENTS}:GET:/health" in said


def test_what_the_code_protects_is_told(run: Run) -> None:
    assert "protected by @force_active" in sentence(run("disable", "/health", "-s", PAYMENTS))


def test_an_expired_login_is_told_with_the_name_to_log_in_with(
    run: Run, home: Home, server: ServerProcess
) -> None:
    tokens = Tokens([SECRET])
    old = tokens.make("admin", "cli", lifetime=timedelta(seconds=-5))
    with home.changed() as kept:
        kept.tokens[server.address] = Login(
            token=tokens.sign(old), username="admin", expires_at=old.expires_at
        )

    expected = f"Your login at {server.address} has expired: run 'shield login admin' again."
    assert sentence(run("status")) == expected
    assert sentence(run("disable", "/api/payments")) == expected


def test_a_login_that_was_ended_elsewhere_is_told(run: Run, home: Home, server: ServerProcess) -> None:
    console = Console(home, {})
    console.log_in("admin", "secret")
    kept = home.read().tokens[server.address]
    assert console.log_out()
    with home.changed() as again:
        again.tokens[server.address] = kept

    assert sentence(run("status")) == (
        f"Your login at {server.address} is not valid any more: run 'shield login admin' again."
    )


def test_a_token_of_the_environment_stands_over_the_login(run: Run, server: ServerProcess) -> None:
    said = sentence(run("status", SHIELD_TOKEN="nonsense"))
    assert said.startswith(f"{server.address} does not let in with SHIELD_TOKEN: ")


def test_a_token_file_and_a_password_of_the_environment_let_in(
    run: Run, home: Home, server: ServerProcess, operator: Operator
) -> None:
    issued = operator("POST", "tokens", service=PAYMENTS)
    path = home.folder / "token"
    path.write_text(issued["token"])
    assert ORDERS not in run("status", SHIELD_TOKEN_FILE=str(path)).stdout

    home.path.unlink()
    pair = {"SHIELD_USERNAME": "admin", "SHIELD_PASSWORD": "secret"}
    assert run("services", SHIELD_SERVER_URL=server.address, **pair).exit_code == 0
    wrong = run("services", SHIELD_SERVER_URL=server.address, **{**pair, "SHIELD_PASSWORD": "x"})
    assert "does not let in with SHIELD_USERNAME and SHIELD_PASSWORD" in sentence(wrong)


def test_whoever_may_not_is_told_so(run: Run, operator: Operator, server: ServerProcess) -> None:
    token = operator("POST", "tokens", service=PAYMENTS)["token"]
    operator("POST", f"services/{PAYMENTS}/maintenance/enable")

    said = sentence(run("sm", "disable", PAYMENTS, SHIELD_TOKEN=token))

    assert said.startswith(f"{server.address} refuses this: ")
    assert said.endswith("or log in as somebody who has it: 'shield login USER'.")
    assert operator("GET", f"services/{PAYMENTS}/maintenance")["enabled"] is True


def test_a_server_that_is_not_there_is_told(run: Run) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    for words in (("status",), ("login", "admin", "-p", "x")):
        said = sentence(run(*words, SHIELD_SERVER_URL=address))
        assert said.startswith(f"The Shield Server at {address} cannot be reached: ")
        assert said.endswith("'shield config show' tells its address.")


def test_another_node_is_asked_where_one_is_not_there(
    run: Run, home: Home, server: ServerProcess, operator: Operator
) -> None:
    nodes = f"http://127.0.0.1:{free_port()},{server.address}"
    before = len(operator("GET", "audit?limit=1000"))

    assert run("login", "admin", "-p", "secret", SHIELD_SERVER_URL=nodes).exit_code == 0
    assert run("disable", "/api/payments", SHIELD_SERVER_URL=nodes).exit_code == 0

    assert len(operator("GET", "audit?limit=1000")) == before + 1
    assert nodes in home.read().tokens


def test_a_logout_that_the_server_does_not_hear_is_told(run: Run, home: Home) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    with home.changed() as kept:
        kept.tokens[address] = Login(token="t", username="admin")

    said = sentence(run("logout", SHIELD_SERVER_URL=address))

    assert "the server has not revoked it" in said
    assert address not in home.read().tokens


@pytest.mark.parametrize(
    "answer, said", [({"a": 1}, "shield cannot read"), ([{"path": 1}], "shield cannot read")]
)
def test_what_is_no_shield_server_is_told(run: Run, answer: Any, said: str) -> None:
    with Stranger(answer) as stranger:
        assert said in sentence(run("status", SHIELD_SERVER_URL=stranger.address))


@pytest.mark.parametrize("expires", ["3651d", "99999d", "999999w"])
def test_a_token_that_would_live_too_long_is_refused(logged_in: Script, run: Run, expires: str) -> None:
    said = sentence(run("token", "create", "--service", PAYMENTS, "--expires", expires))
    assert said == "A token lives 3650 days at most."


def test_what_a_server_says_to_a_login_is_told(run: Run, server: ServerProcess) -> None:
    said = sentence(run("login", "a" * 255, "-p", "x", SHIELD_SERVER_URL=server.address))
    assert said == "username: Ensure this field has no more than 254 characters."


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_server_that_fails_says_why_in_its_log(run: Run, status: int) -> None:
    with Stranger([], status) as stranger:
        said = sentence(run("status", SHIELD_SERVER_URL=stranger.address))
    assert said == f"{stranger.address} answered {status}. Try again; its log says why."


def test_a_token_that_cannot_be_read_is_no_matter_of_the_server(run: Run, server: ServerProcess) -> None:
    said = sentence(run("status", SHIELD_SERVER_URL=server.address, SHIELD_TOKEN_FILE="/nowhere/token"))
    assert said == (
        "The token file /nowhere/token cannot be read: [Errno 2] No such file or directory: '/nowhere/token'"
    )


def test_what_is_no_shield_server_lets_nobody_in(run: Run, home: Home) -> None:
    for answer in ({"token": 5}, {"token": "t", "expires_at": "soon"}, []):
        with Stranger(answer) as stranger:
            said = sentence(run("login", "admin", "-p", "x", SHIELD_SERVER_URL=stranger.address))
            assert "lets nobody in as a Shield Server does" in said
            assert stranger.address not in home.read().tokens


def test_an_address_is_kept_in_one_way_to_write_it(run: Run, home: Home) -> None:
    before = home.path.read_bytes()

    run("config", "set-url", "HTTPS://Shield.Example/sub/, https://b:9000/")

    assert home.read().server_url == "https://shield.example/sub,https://b:9000"
    home.path.write_bytes(before)


@pytest.mark.parametrize("url", ["localhost", "ftp://a", "http://", "http://u:p@a", "http://a?x=1"])
def test_an_address_that_is_none_is_told_and_not_kept(run: Run, home: Home, url: str) -> None:
    before = home.path.read_bytes()

    assert "ddress of a Shield Server" in sentence(run("config", "set-url", url))
    assert home.path.read_bytes() == before


def test_who_does_something_is_the_servers_to_say(run: Run, operator: Operator) -> None:
    refused = run("disable", "/api/payments", "--actor", "joe")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "knows you by your login" in refused.stderr

    assert run("disable", "/api/payments", SHIELD_ACTOR="joe").exit_code == 0
    newest = operator("GET", "audit?limit=1")[0]
    assert (newest["actor"], newest["platform"]) == ("admin", "cli")


def test_a_login_without_a_password_is_wrong_usage(run: Run) -> None:
    result = run("login", "admin")
    assert result.exit_code == 2
    assert "the first line of the standard input" in result.stderr


def test_a_token_goes_to_the_server_that_gave_it_and_to_no_other(
    run: Run, home: Home, server: ServerProcess
) -> None:
    token = home.read().tokens[server.address].token
    with Stranger([]) as other, Stranger([], 307, Location=server.address) as redirecting:
        for there in (other, redirecting):
            assert run("config", "set-url", there.address).exit_code == 0
            for words in (("status",), ("disable", "/api/payments"), ("logout",), ("login", "x", "-p", "y")):
                run(*words)
            run("status", SHIELD_SERVER_URL=f"{there.address}/{server.address}")
    assert min(len(other.requests), len(redirecting.requests)) >= 4
    assert not [one for one in other.requests + redirecting.requests if "authorization" in one.lower()]
    assert home.read().tokens[server.address].token == token


def test_a_token_does_not_follow_a_redirection(run: Run) -> None:
    with Stranger([]) as other, Stranger([], 307, Location=other.address) as redirecting:
        said = sentence(run("status", SHIELD_SERVER_URL=redirecting.address, SHIELD_TOKEN="t-o-k-e-n"))
    assert "redirects to" in said
    assert "t-o-k-e-n" in redirecting.requests[0]
    assert other.requests == []


# -- where commands go ------------------------------------------------------------------------------


def shown(run: Run, **env: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("config", "show", "--format", "json", **env).stdout)
    found.pop("configuration")
    return found


def test_where_commands_go_is_shown_without_secrets(run: Run, home: Home, server: ServerProcess) -> None:
    found = shown(run)
    assert datetime.fromisoformat(found.pop("expires")) > datetime.now(UTC)
    assert found == {"server": server.address, "credentials": "login", "username": "admin"}
    assert home.read().tokens[server.address].token not in run("config", "show").output
    with_token = {"server": server.address, "credentials": "SHIELD_TOKEN"}
    assert shown(run, SHIELD_TOKEN="s-e-c-r-e-t") == with_token
    assert shown(run, SHIELD_SERVER_URL="http://other:9") == {
        "server": "http://other:9",
        "credentials": None,
    }


def test_a_server_can_be_left_and_come_back_to(run: Run, server: ServerProcess) -> None:
    assert "No Shield Server is configured any more" in run("config", "set-url", "").stderr
    assert shown(run) == {"server": None, "store": None}
    assert "There is no Shield Server to talk to" in sentence(run("status"))
    assert "as admin" in run("config", "set-url", server.address).stderr
    assert run("services").exit_code == 0
    said = run("config", "set-url", server.address, SHIELD_SERVER_URL="http://over").stderr
    assert "SHIELD_SERVER_URL is set, and stands over this: http://over" in said


@pytest.mark.parametrize(
    "backend, said",
    [
        ("memory", "which only the process itself sees"),
        ("server", "is not taken from a .shield file"),
        ("models", "run 'python manage.py shield'"),
        ("redis", "needs SHIELD_REDIS_URL"),
    ],
)
def test_a_store_that_cannot_be_worked_on_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, backend: str, said: str
) -> None:
    run("config", "set-url", "")
    monkeypatch.setenv("SHIELD_BACKEND", backend)

    assert said in sentence(run("global", "enable"))


@pytest.mark.parametrize("user", ["", ":s-e-c-r-e-t@", "me:s-e-c-r-e-t@"])
def test_a_redis_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, user: str
) -> None:
    monkeypatch.setenv("SHIELD_BACKEND", "redis")
    monkeypatch.setenv("SHIELD_REDIS_URL", f"redis://{user}127.0.0.1:1/3")
    console = Console(Home(tmp_path / ".shield"), {})

    assert console.session.target == "redis 127.0.0.1:1/3"
    console.close()


def test_a_store_that_does_not_answer_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("config", "set-url", "")
    monkeypatch.setenv("SHIELD_BACKEND", "redis")
    monkeypatch.setenv("SHIELD_REDIS_URL", f"redis://:s-e-c-r-e-t@127.0.0.1:{free_port()}/3")

    said = sentence(run("status"))
    assert "s-e-c-r-e-t" not in said


def test_the_environment_is_the_context(run: Run) -> None:
    assert ORDERS not in run("status", SHIELD_SERVICE=PAYMENTS).stdout
    assert run("enable", "GET:/health", SHIELD_SERVICE=ORDERS).exit_code == 0
    assert run("current-service", SHIELD_SERVICE=ORDERS, COLUMNS="80").stdout.split() == ["SERVICE", ORDERS]


# -- tokens of services -----------------------------------------------------------------------------


def test_a_token_is_printed_alone_listed_and_revoked(run: Run, server: ServerProcess) -> None:
    created = run("token", "create", "-s", PAYMENTS, "--expires", "90d", "-r", "deployment")
    token = created.stdout.strip()
    assert server.status("/api/routes", X_Shield_Token=token) == 200
    assert token not in created.stderr

    listed = json.loads(run("token", "list", "--format", "json", SHIELD_SERVICE=PAYMENTS).stdout)
    assert token not in json.dumps(listed)
    [record] = [one for one in listed if one["id"] in created.stderr]
    assert (record["service"], record["state"], record["created_by"]) == (PAYMENTS, "valid", "admin")
    assert "No token was issued" in run("token", "list", "-s", ORDERS).stderr

    assert "is revoked" in run("token", "revoke", record["id"]).stderr
    assert server.status("/api/routes", X_Shield_Token=token) == 401
    assert "revoked" in run("token", "list").stdout
    assert sentence(run("token", "revoke", "none"))


def test_a_token_needs_a_service_and_a_key(run: Run, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("token", "create").exit_code == 2
    run("config", "set-url", "")
    monkeypatch.setenv("SHIELD_BACKEND", "file")
    monkeypatch.setenv("SHIELD_FILE_PATH", str(tmp_path / "state.json"))
    assert "a key that only the server has" in sentence(run("token", "create", "-s", PAYMENTS))


@pytest.mark.parametrize(
    "words", [["login", "x"], ["logout"], ["config", "show"], ["config", "set-url", "http://a"]]
)
def test_manage_py_needs_no_login(words: list[str]) -> None:
    session = Session(client=None, target="")  # type: ignore[arg-type]
    result = CliRunner().invoke(app, words, obj=session)

    assert "run the console script 'shield'" in sentence(result)
