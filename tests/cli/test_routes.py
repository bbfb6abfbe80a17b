"""Commands about routes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from shield_core.engine import ShieldEngine
from shield_core.models import MaintenanceWindow, RouteStatus
from tests.cli.conftest import ROUTES, Shield

LONG = next(key for key, _ in ROUTES if "long" in key)
CHANGES = [
    ("maintenance GET:/payments/ -r migration", RouteStatus.MAINTENANCE, "maintenance_on"),
    ("maintenance GET:/payments/ -r migration --for 30m", RouteStatus.MAINTENANCE, "maintenance_on"),
    ("maintenance GET:/payments/ -r migration --until 'in 2h'", RouteStatus.MAINTENANCE, "maintenance_on"),
    ("disable GET:/payments/ -r migration", RouteStatus.DISABLED, "disable"),
    ("disable GET:/payments/ -r migration --end 2h", RouteStatus.DISABLED, "disable"),
    ("env set GET:/payments/ staging production -r migration", RouteStatus.ENV_GATED, "env_gate"),
    ("schedule GET:/payments/ --start 2h --end 3h -r migration", RouteStatus.ACTIVE, "schedule"),
    ("enable GET:/payments/ -r migration", RouteStatus.ACTIVE, "enable"),
    ("reset GET:/payments/ -r migration", RouteStatus.ACTIVE, "override_cleared"),
]


@pytest.mark.parametrize("line, status, action", CHANGES)
def test_a_change_is_made_told_and_audited(
    shield: Shield, engine: ShieldEngine, line: str, status: RouteStatus, action: str
) -> None:
    result = shield(f"{line} --note 'ticket 12'")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith(f"GET:/payments/ is now {status}")
    assert result.stderr.endswith("[the test store, environment dev]\n")
    assert engine.sync.get_state("GET:/payments/").effective() == status
    [entry] = engine.sync.get_audit_log(limit=1)
    assert (entry.action, entry.path, entry.actor, entry.platform) == (
        action,
        "GET:/payments/",
        "ann@desk",
        "cli",
    )
    assert (entry.reason, entry.note) == ("migration", "ticket 12")


@pytest.mark.parametrize("line, status, action", CHANGES)
def test_json_prints_the_new_state_on_stdout(
    shield: Shield, line: str, status: RouteStatus, action: str
) -> None:
    result = shield(f"{line} --format json")

    state = json.loads(result.stdout)
    assert (state["path"], state["effective"]) == ("GET:/payments/", status)
    assert result.stderr.startswith("GET:/payments/ is now")


@pytest.mark.parametrize("line, status, action", CHANGES)
def test_where_it_would_reach_nobody_a_change_is_refused(
    shield: Shield, engine: ShieldEngine, line: str, status: RouteStatus, action: str
) -> None:
    before = engine.sync.list_states()

    result = shield(line, refuses="the state lives in the server's memory. Use a database.")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "it would reach nobody: the state lives in the server's memory. Use a database." in result.stderr
    assert engine.sync.list_states() == before
    assert engine.sync.get_audit_log() == []


def test_for_opens_the_route_again_by_itself(shield: Shield, engine: ShieldEngine) -> None:
    shield("maintenance GET:/payments/ --for 30m --read-only")

    state = engine.sync.get_state("GET:/payments/")
    assert state.status is RouteStatus.ACTIVE
    assert state.window is not None
    assert state.window.end - state.window.start == pytest.approx(
        timedelta(minutes=30), abs=timedelta(seconds=1)
    )
    assert state.window.read_only


@pytest.mark.parametrize("option", ["--for", "--until", "--end"])
@pytest.mark.parametrize("when", ["2h", "in 2h", None])
def test_each_end_takes_spans_and_dates(
    shield: Shield, engine: ShieldEngine, option: str, when: str | None
) -> None:
    wanted = datetime.now(UTC) + timedelta(hours=2)

    assert shield(f"disable GET:/payments/ {option} '{when or wanted.isoformat()}'").exit_code == 0

    window = engine.sync.get_state("GET:/payments/").window
    assert window is not None
    assert window.end == pytest.approx(wanted, abs=timedelta(seconds=5))


ON_ALL_METHODS = [line.replace("GET:/payments/", "/payments/") for line, _, _ in CHANGES]


@pytest.mark.parametrize("line", ON_ALL_METHODS)
def test_all_methods_of_a_path_are_changed_in_one_commit(
    shield: Shield, engine: ShieldEngine, line: str
) -> None:
    before = engine.sync.current().revision

    result = shield(f"{line} --all-methods --format json")

    assert [state["path"] for state in json.loads(result.stdout)] == ["GET:/payments/", "POST:/payments/"]
    assert engine.sync.current().revision == before + 1
    assert [line.split()[0] for line in result.stderr.splitlines()] == ["GET:/payments/", "POST:/payments/"]


def test_when_one_method_refuses_none_is_changed(shield: Shield, engine: ShieldEngine) -> None:
    engine.sync.register_batch([("GET:/probe", {"force_active": True}), ("POST:/probe", {})])

    result = shield("disable /probe --all-methods")

    assert result.exit_code == 1
    assert "Nothing was changed. GET:/probe is protected by @force_active" in result.stderr
    assert engine.sync.get_state("POST:/probe").status is RouteStatus.ACTIVE


def test_disable_for_is_a_window_that_disables(shield: Shield, engine: ShieldEngine) -> None:
    shield("disable GET:/payments/ --start 2035-06-01 --end 2035-06-02")

    window = engine.sync.get_state("GET:/payments/").window
    assert window == MaintenanceWindow(
        start=datetime(2035, 5, 31, 22, tzinfo=UTC),
        end=datetime(2035, 6, 1, 22, tzinfo=UTC),
        status=RouteStatus.DISABLED,
    )


def test_a_time_without_a_zone_is_local_and_is_shown_so(shield: Shield, engine: ShieldEngine) -> None:
    result = shield("schedule GET:/payments/ --start 2035-01-01T22:00 --for 90m")

    assert "from 2035-01-01 22:00:00 CET until 2035-01-01 23:30:00 CET" in result.stderr
    window = engine.sync.get_state("GET:/payments/").window
    assert window is not None
    assert window.start == datetime(2035, 1, 1, 21, tzinfo=UTC)
    shown = json.loads(shield("status GET:/payments/ --format json").stdout)
    assert shown["window"]["start"] == "2035-01-01T21:00:00Z"


def test_schedule_cancel_takes_the_window_away(shield: Shield, engine: ShieldEngine) -> None:
    shield("schedule GET:/payments/ --start 1h --end 2h")

    assert shield("schedule-cancel GET:/payments/").exit_code == 0
    assert engine.sync.get_state("GET:/payments/").window is None


def test_a_window_over_a_block_for_good_is_said_to_lift_nothing(shield: Shield) -> None:
    shield("disable GET:/payments/ -r broken")

    result = shield("maintenance GET:/payments/ --for 1h -r migration")

    assert "lifts nothing: the disabled under it stays" in result.stderr
    assert 'reason "broken"' in result.stderr


def test_env_clear_lifts_the_gate(shield: Shield, engine: ShieldEngine) -> None:
    assert shield("env clear GET:/beta").exit_code == 0
    assert engine.sync.get_state("GET:/beta").allowed_envs == ()


def test_enable_leaves_a_gated_route_gated_and_says_so(shield: Shield) -> None:
    shield("disable GET:/beta")

    assert "GET:/beta is now env_gated (only in staging)" in shield("enable GET:/beta").stderr


def test_enable_says_what_still_stands_above(shield: Shield) -> None:
    shield("global enable -r deploy")

    result = shield("enable GET:/payments/")

    assert 'Note: everything is in maintenance, reason "deploy", whatever the routes say.' in result.stderr


@pytest.mark.parametrize(
    "line, sentence",
    [
        ("enable GET:/paymets/", "No route 'GET:/paymets/' is registered. Did you mean GET:/payments/"),
        ("disable /payments/", "could be any of GET:/payments/, POST:/payments/: name one of them."),
        ("maintenance /health", "/health is protected by @force_active in the code: it cannot be blocked."),
        ("schedule-cancel GET:/payments/", "GET:/payments/ has no window that could be cancelled."),
        ("status payments", "'payments' is not a route key: it has no path such as '/payments'."),
        ("status payments -s shop", "'payments' is not a route key"),
        ("disable /cart", "could be any of archive:GET:/cart, shop:GET:/cart"),
    ],
)
def test_a_refusal_is_one_sentence_on_stderr(shield: Shield, line: str, sentence: str) -> None:
    result = shield(line)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "line",
    [
        "maintenance",
        "bogus",
        "maintenance GET:/payments/ --for soon",
        "maintenance GET:/payments/ --for 0m",
        "maintenance GET:/payments/ --for 999999999w",
        "maintenance GET:/payments/ --until '2h ago'",
        "maintenance GET:/payments/ --until 2020-01-01",
        "maintenance GET:/payments/ --for 1h --until 2h",
        "maintenance GET:/payments/ --start 1h",
        "maintenance GET:/payments/ --start 2h --end 1h",
        "maintenance GET:/payments/ --start 9999-12-31 --for 9w",
        "schedule GET:/payments/ --end 2h",
        "schedule GET:/payments/",
        "env set GET:/payments/",
        "env set GET:/payments/ ''",
        "enable ''",
        "rl reset ' '",
        "rl set GET:/payments/ 5/m --burst 1000000001",
        "audit --route ''",
        "token revoke ../routes",
        "disable GET:/payments/ --reason 'two\nlines'",
        "disable GET:/payments/ --note '\x1b[2J'",
        "env set GET:/payments/ 'two\nlines'",
        "enable GET:/payments/ --actor 'ann\nbob'",
        f"disable GET:/payments/ --reason {1001 * 'x'}",
        f"enable GET:/payments/ --actor {256 * 'x'}",
        "status GET:/\udcff",
        "disable GET:/payments/ --reason \udcff",
        "enable GET:/payments/ --actor system",
        "enable GET:/payments/ --actor ' '",
        "enable GET:/payments/ --service 'no/service'",
        "status --format yaml",
        "status --status broken",
    ],
)
def test_wrong_usage_is_exit_2_and_changes_nothing(shield: Shield, engine: ShieldEngine, line: str) -> None:
    result = shield(line)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr
    assert engine.sync.get_audit_log() == []


def test_the_actor_is_the_option_else_the_variable_else_the_person(
    shield: Shield, engine: ShieldEngine
) -> None:
    shield("enable GET:/payments/", env={"SHIELD_ACTOR": "bot@ci"})
    shield("enable GET:/payments/ --actor eve@pager", env={"SHIELD_ACTOR": "bot@ci"})
    shield("enable GET:/payments/")

    assert [entry.actor for entry in engine.sync.get_audit_log()] == ["ann@desk", "eve@pager", "bot@ci"]


@pytest.mark.parametrize(
    "line, env, key",
    [
        ("disable /cart --service shop", {}, "shop:GET:/cart"),
        ("disable /cart", {"SHIELD_SERVICE": "shop"}, "shop:GET:/cart"),
        ("disable GET:/cart -s archive", {"SHIELD_SERVICE": "shop"}, "archive:GET:/cart"),
        ("disable archive:/cart", {"SHIELD_SERVICE": "shop"}, "archive:GET:/cart"),
        ("disable /invoices", {}, "billing:GET:/invoices"),
        ("disable /invoices -s ''", {"SHIELD_SERVICE": "shop"}, "billing:GET:/invoices"),
    ],
)
def test_a_bare_path_belongs_to_the_chosen_service(
    shield: Shield, engine: ShieldEngine, line: str, env: dict[str, str], key: str
) -> None:
    assert shield(line, env=env).exit_code == 0
    assert engine.sync.get_state(key).status is RouteStatus.DISABLED


def test_status_lists_all_routes_with_their_keys_uncut(shield: Shield) -> None:
    result = shield("status")

    heads, *lines = result.stdout.splitlines()
    assert heads.split() == ["ROUTE", "STATUS", "REASON", "WINDOW", "SET", "BY", "ENVS"]
    assert [line.split()[0] for line in lines] == sorted(key for key, _ in ROUTES)
    assert any(line.split() == [LONG, "active", "code"] for line in lines)
    assert "\x1b" not in result.stdout


def test_status_shows_what_callers_meet_now(shield: Shield) -> None:
    shield("maintenance GET:/payments/ -r 'DB migration' --until 2035-01-01T10:00")

    [line] = [line for line in shield("status").stdout.splitlines() if line.startswith("GET:/payments/")]

    assert line.split("  ")[0] == "GET:/payments/"
    assert "maintenance" in line
    assert "DB migration" in line
    assert "until 2035-01-01 10:00:00 CET" in line
    assert line.endswith("operator")


def test_status_can_be_filtered(shield: Shield) -> None:
    shield("disable GET:/payments/")

    shown = json.loads(shield("status --status disabled --status deprecated --format json").stdout)
    of_service = json.loads(shield("status --format json", env={"SHIELD_SERVICE": "shop"}).stdout)

    assert [state["path"] for state in shown] == ["GET:/old", "GET:/payments/"]
    assert [state["path"] for state in of_service] == ["shop:GET:/cart"]


def test_status_without_routes_says_so_on_stderr(shield: Shield) -> None:
    empty = ShieldEngine().sync

    assert shield("status", client=empty).stderr == "No routes are registered.\n"
    assert shield("status --format json", client=empty).stdout == "[]\n"
    assert shield("status --status disabled").stderr == "No such routes.\n"


def test_status_of_one_route_tells_everything(shield: Shield) -> None:
    shield("maintenance GET:/old -r 'DB migration' --note 'ticket 12' --read-only")

    result = shield("status GET:/old")

    fields = dict(line.split("  ", 1) for line in result.stdout.splitlines())
    fields = {name: value.strip() for name, value in fields.items()}
    assert fields["status"] == "maintenance"
    assert fields["reason"] == "DB migration"
    assert fields["note"] == "ticket 12"
    assert fields["read-only"] == "yes, only writes are blocked"
    assert fields["set by"] == "the operator ann@desk"
    assert fields["the code says"] == "deprecated"
    assert fields["sunset"] == "2030-01-01 01:00:00 CET"
    assert fields["successor"] == "/new"


def test_status_json_has_all_fields_and_the_effective_status(shield: Shield) -> None:
    shield("disable GET:/payments/ --for 1h -r x")

    [state] = [
        one for one in json.loads(shield("status --format json").stdout) if one["path"] == "GET:/payments/"
    ]

    assert (state["status"], state["effective"]) == ("active", "disabled")
    assert state["window"]["end"].endswith("Z")
    assert state["origin"] == "operator"


def test_status_tells_of_maintenance_above_the_routes(shield: Shield) -> None:
    shield("sm enable shop -r 'new prices'")

    assert 'Note: service shop is in maintenance, reason "new prices"' in shield("status").stderr


def test_reading_on_a_memory_backend_notes_what_it_sees(shield: Shield) -> None:
    result = shield("status", refuses="the state lives in the server's memory.")

    assert result.exit_code == 0
    assert "of this process alone: the state lives in the server's memory." in result.stderr
    assert "GET:/payments/" in result.stdout


def test_a_reason_cannot_draw_on_the_terminal(shield: Shield, engine: ShieldEngine) -> None:
    engine.sync.disable("GET:/payments/", "[red]a\x1b[31mb\nc")

    assert "[red]a [31mb c" in shield("status").stdout
    assert "[red]a [31mb c" in shield("status GET:/payments/").stdout


def test_a_conflict_is_told(shield: Shield, engine: ShieldEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    from shield_core.exceptions import ConflictError

    def overtaken(*_: object, **__: object) -> None:
        raise ConflictError("GET:/payments/", 3, 4)

    monkeypatch.setattr(type(engine.sync), "change_routes", overtaken)

    result = shield("enable GET:/payments/")

    assert result.exit_code == 1
    assert "was changed by somebody else" in result.stderr
