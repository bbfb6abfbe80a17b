"""A closed gate must not be told from a URL that does not exist."""

import pytest

from shield_core.decorators import disabled, env_only, force_active, maintenance

from .rules import FUTURE, NOW, OVER, RUNNING, answers, declare, override, rules

GATED = declare("GET:/beta", env_only("dev", "qa"))


@pytest.mark.parametrize(
    ("env", "expected"),
    [("dev", "open"), ("qa", "open"), ("prod", "env_gated"), ("", "env_gated"), (None, "env_gated")],
)
def test_a_gate_is_open_in_its_environments_only(env, expected):
    assert answers(rules(GATED, env=env), "GET", "/beta") == expected


@pytest.mark.parametrize(
    "contents",
    [
        [GATED],
        [declare("GET:/beta"), override("GET:/beta", "env_gated", allowed_envs=["dev"])],
        [declare("GET:/beta", env_only("prod")), override("GET:/beta", allowed_envs=["dev"])],
    ],
    ids=["code", "operator", "operator over code"],
)
@pytest.mark.parametrize(("env", "expected"), [("dev", "open"), ("prod", "env_gated"), (None, "env_gated")])
def test_gates_of_the_code_and_of_an_operator_are_alike(contents, env, expected):
    assert answers(rules(*contents, env=env), "GET", "/beta") == expected


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "DELETE", "BREW"])
def test_every_method_of_a_closed_gate_looks_unknown(method):
    ruleset = rules(GATED, env="prod")
    assert answers(ruleset, method, "/beta") == "env_gated"
    assert ruleset.hides("/beta")


def test_an_open_gate_hides_nothing():
    ruleset = rules(GATED, env="dev")
    assert not ruleset.hides("/beta")
    assert answers(ruleset, "POST", "/beta") == "open"


def test_a_path_with_an_open_method_is_not_hidden():
    ruleset = rules(GATED, declare("POST:/beta"), env="prod")
    assert not ruleset.hides("/beta")
    assert [answers(ruleset, method, "/beta") for method in ("GET", "POST", "PUT")] == [
        "env_gated",
        "open",
        "open",
    ]


def test_an_unknown_path_is_not_hidden():
    assert not rules().hides("/nowhere")


@pytest.mark.parametrize("window", [FUTURE, RUNNING, OVER], ids=["future", "running", "over"])
@pytest.mark.parametrize("by", ["code", "operator"])
def test_a_window_beside_a_gate_does_not_give_its_other_methods_away(window, by):
    stamp = maintenance("m", start=window.start, end=window.end)
    state = override("GET:/beta", "env_gated", allowed_envs=["dev"], window=window)
    gated = declare("GET:/beta", env_only("dev"), stamp) if by == "code" else state
    ruleset = rules(gated, env="prod")
    assert answers(ruleset, "POST", "/beta") != "open"
    assert answers(ruleset, "POST", "/beta", at=FUTURE.end) == "env_gated"
    assert ruleset.hides("/beta") is (answers(ruleset, "GET", "/beta") == "env_gated")


def test_a_block_beside_a_gate_does_not_give_its_other_methods_away():
    gates = [declare(f"{method}:/beta", env_only("dev")) for method in ("GET", "POST")]
    blocked = override("GET:/beta", "disabled", allowed_envs=["dev"])
    ruleset = rules(*gates, blocked, env="prod")
    told = [answers(ruleset, method, "/beta") for method in ("GET", "POST", "DELETE")]
    assert told == ["disabled", "env_gated", "env_gated"]


def test_a_gate_of_one_method_beside_an_open_bare_key_hides_nothing():
    ruleset = rules(GATED, declare("/beta"), env="prod")
    assert not ruleset.hides("/beta")
    assert [answers(ruleset, method, "/beta") for method in ("GET", "POST")] == ["env_gated", "open"]


def test_a_gate_with_an_answer_of_its_own_is_not_hidden():
    ruleset = rules(declare("GET:/beta", env_only("dev", response=lambda request, exc: None)), env="prod")
    assert not ruleset.hides("/beta")


def test_a_forced_active_route_is_never_hidden():
    ruleset = rules(declare("GET:/beta", env_only("dev"), force_active), env="prod")
    assert answers(ruleset, "GET", "/beta") == "open"
    assert not ruleset.hides("/beta")


@pytest.mark.parametrize(("stamp", "expected"), [(maintenance(), "maintenance"), (disabled(), "disabled")])
def test_what_is_stricter_than_a_gate_answers_before_it(stamp, expected):
    assert answers(rules(declare("/beta", env_only("dev"), stamp), env="prod"), "GET", "/beta") == expected


def test_lifting_the_block_leaves_the_gate():
    ruleset = rules(
        declare("/beta", env_only("dev"), disabled()),
        override("/beta", "env_gated", allowed_envs=["dev"]),
        env="prod",
    )
    assert answers(ruleset, "GET", "/beta", at=NOW) == "env_gated"
