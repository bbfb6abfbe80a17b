"""``rl`` for the rate limits of routes; ``grl`` and ``srl``: the same commands for wider scopes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import click

from shield_core.cli import limit_wording as wording
from shield_core.cli import output
from shield_core.cli.group import AliasGroup
from shield_core.cli.options import Edit, Function, Reading, asking, mutation, reading, service_option
from shield_core.cli.params import EXEMPT_OR_NONE, LIMIT, LINE, ROUTE, TIER
from shield_core.cli.scoped import ScopedCommand, scoped_group
from shield_core.cli.wording import subject
from shield_core.exceptions import AmbiguousRouteError, InvalidKeyError
from shield_core.keys import EVERYTHING, RouteKey, Scope
from shield_core.models import Algorithm, KeyStrategy
from shield_core.rate_limit.grammar import MAX_AMOUNT

group = AliasGroup("rl", help="Rate limits of routes.")


def limit_group(name: str, scope: Scope | None) -> AliasGroup:
    """Return the commands for the rate limit of ``scope``; None is a service that each command names."""
    return scoped_group(name, scope, "The rate limit of SCOPE, beside those of its routes.", _COMMANDS)


# -- options --------------------------------------------------------------------------------------

_replaces = "; may be repeated, and replaces those there are ('': none)."
_limit_argument = click.argument("limit", type=LIMIT, required=False)
_method_option = click.option(
    "--method", "-m", type=str.upper, metavar="METHOD", help="The method, where ROUTE is a mere path."
)
_OF_ANY_SCOPE = (
    click.option(
        "--algorithm",
        "-a",
        type=click.Choice([*map(str, Algorithm), "moving_window"]),
        help="How requests are counted; moving_window is sliding_window.",
    ),
    click.option(
        "--key",
        "-k",
        "key_strategy",
        type=click.Choice([*map(str, KeyStrategy)]),
        help="Who is counted together; custom is the function of the code.",
    ),
    click.option(
        "--on-missing-key",
        type=click.Choice(["exempt", "fallback_ip", "block"]),
        help="What a caller without such a key meets.",
    ),
    click.option("--burst", "-b", type=click.IntRange(0, MAX_AMOUNT), help="So many requests more at once."),
    click.option("--shadow/--no-shadow", default=None, help="Count and report, and block nobody."),
)
_OF_WIDE_SCOPES = (
    click.option(
        "--exempt",
        "-e",
        "exempt_routes",
        type=EXEMPT_OR_NONE,
        multiple=True,
        help=f"A path to let through{_replaces}",
    ),
)
_OF_ROUTES = (
    click.option(
        "--tier", "tiers", type=TIER, multiple=True, help=f"The limit of a kind of callers{_replaces}"
    ),
    click.option("--exempt-ip", "exempt_ips", multiple=True, help=f"An address or a network{_replaces}"),
    click.option("--exempt-role", "exempt_roles", type=LINE, multiple=True, help=f"A role{_replaces}"),
)


def _fields(*options: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Give a change what a limit consists of, as ``named``, as far as it is given."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def command(*args: Any, **kwargs: Any) -> None:
            said = {name: _given(kwargs.pop(name)) for name in names}
            named = {name: value for name, value in said.items() if value is not None}
            if not named:
                raise click.UsageError("Say what to set: a limit such as 100/minute, or an option.")
            function(*args, named=named, **kwargs)

        before = {param.name for param in getattr(command, "__click_params__", ())}
        for option in reversed(options):
            option(command)
        params = command.__click_params__  # type: ignore[attr-defined]
        names = [param.name for param in params if param.name not in before]
        return command

    return decorate


def _given(value: Any) -> Any:
    """Return the value of an option, None where it was not given; '' alone empties a list."""
    if not isinstance(value, tuple):
        return value
    return tuple(filter(None, value)) if value else None


# -- routes ---------------------------------------------------------------------------------------


@group.command("list", example="rl list --service payments-service")
@service_option
@reading
def list_(reading: Reading) -> None:
    """List the limits of routes: the operators' and the code's."""
    policies = reading.client.list_limits(reading.service)
    if reading.as_json:
        output.print_json(reading.session, [wording.policy_data(policy) for policy in policies])
    elif policies:
        rows = [wording.policy_row(policy) for policy in policies]
        output.print_table(reading.session, wording.POLICY_HEADS, rows)
    else:
        reading.say("No route has a rate limit. Set one: rl set GET:/path 100/minute.")
    services = {reading.service, *(policy.key.service for policy in policies)}
    for sentence in wording.wider_limits(reading.client, services):
        reading.say(sentence)


def _on_route(function: Function) -> Function:
    """Give a change its ROUTE with a method, and the service that a bare path belongs to."""
    return click.argument("route", type=ROUTE)(_method_option(service_option(mutation(asking(function)))))


@group.command("set", example="rl set GET:/payments/ 100/minute --key user --tier pro=1000/minute")
@_on_route
@_fields(_limit_argument, *_OF_ANY_SCOPE, *_OF_ROUTES)
def set_(edit: Edit, route: str, method: str | None, named: Mapping[str, Any]) -> None:
    """Limit a route, or change what is named of its limit.

    LIMIT is an amount and a period: 100/minute, 10/10s, 100/5m, or unlimited. What is not named stays,
    at first as the code has it.
    """
    target = edit.target(route)
    policy = edit.client.set_rate_limit_policy(target, method, **named, reason=edit.reason, **edit.by)
    edit.report(wording.sentence(str(policy.key), policy), wording.policy_data(policy))


@group.command(example="rl delete GET:/payments/")
@_on_route
def delete(edit: Edit, route: str, method: str | None) -> None:
    """Take an operator's limit away; what the code says counts again."""
    target = edit.target(route)
    edit.client.delete_rate_limit_policy(target, method, edit.reason, **edit.by)
    left = edit.client.get_rate_limit_policy(target, method)
    data = wording.policy_data(left) if left else None
    edit.report(wording.sentence(_key(target, method), left), data)


@group.command(example="rl reset GET:/payments/")
@_on_route
@click.option("--all-methods", is_flag=True, help="Those of every method of the route's path.")
def reset(edit: Edit, route: str, method: str | None, all_methods: bool) -> None:
    """Let the counters of a route begin anew, in every process; a bare path means all its methods."""
    target = edit.target(route)
    if all_methods:
        if method:
            raise click.UsageError("Give only one of --method and --all-methods.")
        target = _replaced(target, None)
    edit.client.reset_rate_limit(target, method, edit.reason, **edit.by)
    edit.report(f"The counters of {_key(target, method)} begin anew", {})


@group.command(example="rl hits GET:/payments/ --limit 20")
@click.argument("route", type=ROUTE, required=False)
@_method_option
@service_option
@click.option("--limit", "-n", type=click.IntRange(min=1), default=50, show_default=True)
@reading
def hits(reading: Reading, route: str | None, method: str | None, limit: int) -> None:
    """Show requests that limits have blocked, newest first."""
    if route is None and method is not None:
        raise click.UsageError("--method needs a ROUTE.")
    if route is not None:
        target = _key(reading.target(route), method)
        found = reading.client.get_rate_limit_hits(target, limit)
        if not found:
            with suppress(AmbiguousRouteError):
                reading.client.get_state(target)  # or there is no such route, which is told
    else:
        found = reading.client.get_rate_limit_hits(None, None if reading.service else limit)
        if reading.service:
            found = [hit for hit in found if hit.path.startswith(f"{reading.service}:")][:limit]
    if reading.as_json:
        output.print_json(reading.session, [hit.model_dump() for hit in found])
    elif found:
        rows = [wording.hit_row(hit, reading.session.zone) for hit in found]
        output.print_table(reading.session, wording.HIT_HEADS, rows)
    else:
        reading.say("No request was blocked by a rate limit.")


def _key(target: str, method: str | None) -> str:
    return _replaced(target, method) if method else target


def _replaced(target: str, method: str | None) -> str:
    """Return ``target`` with another method; a view's name, which only the client knows, as it is."""
    try:
        return str(RouteKey.parse(target)._replace(method=method))
    except InvalidKeyError:
        return target


# -- wider scopes ---------------------------------------------------------------------------------


def _get(reading: Reading, scope: Scope) -> None:
    """Show the rate limit of SCOPE."""
    policy = reading.client.get_limit(scope)
    if reading.as_json:
        output.print_json(reading.session, wording.policy_data(policy) if policy else None)
    elif policy:
        output.print_fields(reading.session, wording.fields(scope, policy, reading.session.zone))
    else:
        group = "grl set" if scope == EVERYTHING else f"srl set {scope.name}"
        reading.say(f"There is no rate limit of {scope.label}. Set one: {group} 1000/minute.")


def _set(edit: Edit, scope: Scope, named: Mapping[str, Any]) -> None:
    """Limit SCOPE as a whole, or change what is named of its limit.

    LIMIT is an amount and a period: 100/minute, 10/10s, 100/5m. What is not named stays.
    """
    _report(edit, scope, edit.client.set_limit(scope, named, edit.reason, **edit.by))


def _delete(edit: Edit, scope: Scope) -> None:
    """Take the rate limit of SCOPE away."""
    edit.client.delete_limit(scope, edit.reason, **edit.by)
    edit.report(wording.sentence(subject(scope), None), None)


def _reset(edit: Edit, scope: Scope) -> None:
    """Let the counters of SCOPE begin anew, in every process."""
    edit.client.reset_limit(scope, edit.reason, **edit.by)
    edit.report(f"The counters of {scope.label} begin anew", {})


def _enable(edit: Edit, scope: Scope) -> None:
    """Take up the rate limit of SCOPE again."""
    _report(edit, scope, edit.client.switch_limit(scope, True, edit.reason, **edit.by))


def _disable(edit: Edit, scope: Scope) -> None:
    """Pause the rate limit of SCOPE, without losing it."""
    _report(edit, scope, edit.client.switch_limit(scope, False, edit.reason, **edit.by))


def _report(edit: Edit, scope: Scope, policy: wording.Policy) -> None:
    edit.report(wording.sentence(subject(scope), policy), wording.policy_data(policy))


_COMMANDS = (
    ScopedCommand("get", _get, (reading,)),
    ScopedCommand(
        "set",
        _set,
        (_fields(_limit_argument, *_OF_ANY_SCOPE, *_OF_WIDE_SCOPES), mutation),
        ("1000/minute", "--burst 50", "--exempt /health"),
    ),
    ScopedCommand("delete", _delete, (mutation,)),
    ScopedCommand("reset", _reset, (mutation,)),
    ScopedCommand("enable", _enable, (mutation,)),
    ScopedCommand("disable", _disable, (mutation,), ('--reason "load test"',)),
)
