"""``make_engine()``: where each value comes from, and what a bad one says."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from shield_core.backends.file import FileBackend
from shield_core.backends.memory import MemoryBackend
from shield_core.backends.redis import RedisBackend
from shield_core.backends.server import ShieldServerBackend
from shield_core.backends.sync import AwaitedBackend
from shield_core.config import make_engine, make_server_backend
from shield_core.exceptions import InvalidInputError
from shield_core.rate_limit.counters import Counter
from shield_core.rate_limit.grammar import Rate
from tests.backends.custom import Ledger

CUSTOM = "tests.backends.custom:Ledger"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with nothing in it, below another one."""
    names = ("BACKEND", "FILE_PATH", "REDIS_URL", "CUSTOM_PATH", "ENV", "APP_ID", "SERVICE")
    server = ("SERVER_URL", "TOKEN", "TOKEN_FILE", "USERNAME", "PASSWORD", "OFFLINE", "SNAPSHOT_PATH")
    for name in (*names, *server, "RATE_LIMIT_STORAGE", "FAIL_OPEN", "NUM_PROXIES", "DRAFT_HEADERS"):
        monkeypatch.delenv(f"SHIELD_{name}", raising=False)
    folder = tmp_path / "project" / "src"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def write(folder: Path, *lines: str) -> None:
    (folder / ".shield").write_text("\n".join(lines))


# -- precedence ------------------------------------------------------------------------------


def test_without_any_word_the_backend_is_in_memory() -> None:
    assert isinstance(make_engine().backend, MemoryBackend)


def test_an_argument_is_stronger_than_the_environment_and_that_than_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, "SHIELD_BACKEND=file", "SHIELD_ENV=from-file", "SHIELD_FILE_PATH=from-file.json")
    engine = make_engine()
    assert (engine.current_env, engine.backend.path.name) == ("from-file", "from-file.json")

    monkeypatch.setenv("SHIELD_ENV", "from-environment")
    monkeypatch.setenv("SHIELD_FILE_PATH", "from-environment.json")
    engine = make_engine()
    assert (engine.current_env, engine.backend.path.name) == ("from-environment", "from-environment.json")

    engine = make_engine(current_env="argument", file_path="argument.json")
    assert (engine.current_env, engine.backend.path.name) == ("argument", "argument.json")
    assert isinstance(make_engine(backend="memory").backend, MemoryBackend)


def test_the_nearest_file_upwards_counts(folder: Path) -> None:
    write(folder.parent, "SHIELD_ENV=above", "SHIELD_APP_ID=orders")
    assert (make_engine().current_env, make_engine().service) == ("above", "orders")
    write(folder, "SHIELD_ENV=here")
    assert (make_engine().current_env, make_engine().service) == ("here", None)


def test_an_empty_variable_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "SHIELD_ENV=from-file")
    monkeypatch.setenv("SHIELD_ENV", "")
    assert make_engine().current_env == "from-file"


def test_comments_quotes_and_export_are_understood(folder: Path) -> None:
    write(folder, "# a comment", "", "export SHIELD_ENV = 'staging'", 'SHIELD_APP_ID="orders"')
    engine = make_engine()
    assert (engine.current_env, engine.service) == ("staging", "orders")


def test_the_service_is_the_processs_own_and_not_the_command_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIELD_SERVICE", "billing")
    assert make_engine().service is None
    monkeypatch.setenv("SHIELD_APP_ID", "orders")
    assert make_engine().service == "orders"


def test_a_forgotten_environment_opens_no_gate_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    engine = make_engine()
    engine.sync.register("GET:/x", {"allowed_envs": ["dev"], "status": "env_gated"})
    assert not engine.decide("GET", "/x").allowed
    engine.sync.stop()
    assert caplog.text.count("SHIELD_ENV") == 1


def test_with_an_environment_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    make_engine(current_env="dev")
    assert not caplog.records


# -- backends ---------------------------------------------------------------------------------


def test_each_backend_is_made_of_its_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(make_engine(backend="file").backend, FileBackend)
    assert make_engine(backend="file").backend.path.name == "shield-state.json"
    engine = make_engine(backend="redis", redis_url="redis://localhost:1/0")
    assert isinstance(engine.backend, RedisBackend)
    engine = make_engine(backend="custom", custom_path=CUSTOM)
    assert isinstance(engine.backend, AwaitedBackend)
    assert isinstance(engine.backend.plain, Ledger)


@pytest.mark.parametrize(
    ("made_of", "told"),
    [
        ({"backend": "memory"}, "MemoryBackend"),
        ({"backend": "file"}, "file {folder}/shield-state.json"),
        ({"backend": "redis", "redis_url": "redis://me:pw@localhost:1/0?password=pw"}, "redis localhost:1/0"),
        (
            {"backend": "server", "server_url": "http://localhost:9000", "service": "shop"},
            "http://localhost:9000",
        ),
        ({"backend": "custom", "custom_path": CUSTOM}, "Ledger"),
    ],
)
def test_each_store_is_told_to_people_without_secrets(
    folder: Path, made_of: dict[str, Any], told: str
) -> None:
    assert make_engine(**made_of).backend.described() == told.format(folder=folder)


def test_options_go_to_the_engine() -> None:
    assert make_engine(release="1.2", refresh_interval=9.0).backend.refresh_interval == 9.0


# -- hostile and bad values ---------------------------------------------------------------------


def test_a_file_cannot_choose_what_code_runs(folder: Path) -> None:
    (folder / "evil.py").write_text("raise SystemExit('it ran')")
    write(folder, "SHIELD_BACKEND=custom", "SHIELD_CUSTOM_PATH=evil:Backend")
    with pytest.raises(InvalidInputError, match=r"not taken from a \.shield file"):
        make_engine()


LOGIN = ("SHIELD_USERNAME=payments", "SHIELD_PASSWORD=secret")
PLACE = "SHIELD_SERVER_URL=http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("in_file", "in_environment"),
    [
        ([PLACE], ["SHIELD_TOKEN=t"]),
        ([PLACE], LOGIN),
        ([PLACE, LOGIN[0]], LOGIN),
        ([PLACE, LOGIN[0]], LOGIN[1:]),
        ([PLACE], ["SHIELD_TOKEN_FILE=/run/secrets/token"]),
        ([PLACE, "SHIELD_TOKEN_FILE=/run/secrets/token"], []),
        ([PLACE, "SHIELD_TOKEN=t"], ["SHIELD_TOKEN=another"]),
    ],
)
def test_a_server_that_a_file_names_is_sent_nothing_from_elsewhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch, in_file: list[str], in_environment: list[str]
) -> None:
    write(folder, *in_file)
    for line in in_environment:
        monkeypatch.setenv(*line.split("="))
    with pytest.raises(InvalidInputError, match=r"\.shield, and would be sent credentials") as caught:
        make_engine(backend="server", service="payments")
    assert "secret" not in str(caught.value).replace("/run/secrets", "")


def test_credentials_of_an_argument_do_not_go_to_a_server_that_a_file_names(folder: Path) -> None:
    write(folder, PLACE, "SHIELD_TOKEN=t")
    with pytest.raises(InvalidInputError, match="would be sent credentials"):
        make_server_backend(app_id="payments", token="of the code")


@pytest.mark.parametrize(
    ("in_file", "in_environment"),
    [
        ([PLACE], []),
        ([PLACE, "SHIELD_TOKEN=t"], []),
        ([PLACE, *LOGIN], []),
        (["SHIELD_TOKEN=t"], [PLACE]),
        ([PLACE], [PLACE, "SHIELD_TOKEN=t"]),
    ],
)
def test_a_file_may_name_a_server_with_its_credentials_and_the_environment_any(
    folder: Path, monkeypatch: pytest.MonkeyPatch, in_file: list[str], in_environment: list[str]
) -> None:
    write(folder, *in_file)
    for line in in_environment:
        monkeypatch.setenv(*line.split("="))
    engine = make_engine(backend="server", service="payments")
    assert isinstance(engine.backend, ShieldServerBackend)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "mysql"}, "SHIELD_BACKEND is 'mysql': it is one of memory, file, redis, custom"),
        ({"backend": "file", "file_path": "nowhere/state.json"}, "no folder .*nowhere"),
        ({"backend": "file", "file_path": "."}, "cannot be read"),
        ({"backend": "redis"}, "needs SHIELD_REDIS_URL"),
        ({"backend": "redis", "redis_url": "http://localhost"}, "write redis://host:port/database"),
        ({"backend": "redis", "redis_url": "redis://localhost:many/0"}, "SHIELD_REDIS_URL"),
        ({"backend": "custom"}, "SHIELD_CUSTOM_PATH as module:factory"),
        ({"backend": "custom", "custom_path": "tests.backends.custom"}, "module:factory"),
        ({"backend": "custom", "custom_path": "not_there:Backend"}, "not_there"),
        ({"backend": "custom", "custom_path": "tests.backends.custom:NotThere"}, "NotThere"),
        ({"backend": "custom", "custom_path": "builtins:dict"}, "is no ShieldBackend"),
        ({"backend": "custom", "custom_path": "builtins:memoryview"}, "builtins:memoryview"),
        ({"service": "Not A Name"}, "cannot name a service"),
    ],
)
def test_a_bad_value_is_one_clear_message(options: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=message) as caught:
        make_engine(current_env="dev", **options)
    assert type(caught.value).__module__ == "shield_core.exceptions"
    assert "\n" not in str(caught.value)


def test_a_secret_in_a_url_is_not_repeated() -> None:
    with pytest.raises(InvalidInputError) as caught:
        make_engine(backend="redis", redis_url="redis://user:secret@localhost:many/0")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("line", ["SHIELD_ENV", "= dev", "not a key=1"])
def test_a_line_that_is_none_is_named_with_its_number(folder: Path, line: str) -> None:
    write(folder, "SHIELD_BACKEND=memory", line)
    with pytest.raises(InvalidInputError, match=r"\.shield, line 2: write KEY=value"):
        make_engine()


def test_an_unreadable_file_is_named(folder: Path) -> None:
    (folder / ".shield").write_bytes(b"SHIELD_ENV=\xff")
    with pytest.raises(InvalidInputError, match=r"\.shield cannot be read"):
        make_engine()


def test_a_damaged_state_file_is_an_error_at_the_start(folder: Path) -> None:
    (folder / "shield-state.json").write_text("{")
    with pytest.raises(Exception, match=r"shield-state\.json is not valid"):
        make_engine(backend="file")


# -- rate limits ------------------------------------------------------------------------------


def test_rate_limits_are_configured_by_variables_and_arguments_are_stronger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHIELD_NUM_PROXIES", "2")
    monkeypatch.setenv("SHIELD_DRAFT_HEADERS", "yes")
    limiter = make_engine().limiter
    assert (limiter.num_proxies, limiter.draft_headers) == (2, True)

    limiter = make_engine(num_proxies=0, draft_headers=False).limiter
    assert (limiter.num_proxies, limiter.draft_headers) == (0, False)


def test_requests_are_counted_where_the_backend_is_or_where_a_variable_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHIELD_REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("SHIELD_RATE_LIMIT_STORAGE", "auto")
    assert make_engine().limiter.storage.immediate
    assert not make_engine(backend="redis").limiter.storage.immediate

    monkeypatch.setenv("SHIELD_RATE_LIMIT_STORAGE", "redis")
    assert not make_engine(backend="memory").limiter.storage.immediate
    monkeypatch.setenv("SHIELD_RATE_LIMIT_STORAGE", "memory")
    assert make_engine(backend="redis").limiter.storage.immediate


@pytest.mark.parametrize("word, status", [("true", True), ("0", False), ("No", False)])
def test_fail_open(monkeypatch: pytest.MonkeyPatch, word: str, status: bool) -> None:
    monkeypatch.setenv("SHIELD_FAIL_OPEN", word)
    storage = make_engine(backend="redis", redis_url="redis://127.0.0.1:1").limiter.storage
    counter = Counter.make("x", Rate(1, 60), text="1/minute")

    try:
        ((allowed, *_),) = storage.take([counter], ["k"])
    finally:
        storage.stop()

    assert allowed is status


@pytest.mark.parametrize(
    "name, text, said",
    [
        ("NUM_PROXIES", "one", "it is a number, 0 or more"),
        ("NUM_PROXIES", "-1", "it is a number, 0 or more"),
        ("FAIL_OPEN", "maybe", "it is true or false"),
        ("RATE_LIMIT_STORAGE", "disk", "it is one of auto, memory, file, redis"),
        ("RATE_LIMIT_STORAGE", "redis", "needs SHIELD_REDIS_URL"),
    ],
)
def test_what_is_wrong_with_a_variable_for_rate_limits(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, said: str
) -> None:
    monkeypatch.setenv(f"SHIELD_{name}", text)

    with pytest.raises(InvalidInputError, match=said):
        make_engine()
