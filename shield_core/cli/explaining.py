"""``explain``: what a request gets, at any moment, and which layer says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any
from urllib.parse import unquote

import click

from shield_core.cli import limit_wording, output
from shield_core.cli.group import AliasGroup
from shield_core.cli.options import Reading, reading, service_option
from shield_core.cli.params import METHOD, MOMENT
from shield_core.cli.session import OwnCode
from shield_core.cli.times import shown
from shield_core.exceptions import AmbiguousRouteError, InvalidKeyError
from shield_core.explain import LIFECYCLE, LIMIT, Explanation, Finding, explain
from shield_core.keys import RouteKey
from shield_core.matching import matching, specificity
from shield_core.snapshot import Snapshot

group = AliasGroup()

_HEADS = ("LAYER", "SAYS", "SET BY", "UNTIL", "REASON")
_SAYS = {
    "off": "not in maintenance",
    "block": "blocks",
    "force_active": "lets it pass: @force_active",
    "exempt": "lets it pass: exempt",
    "read_only": "lets it pass: only writes are blocked",
    "pass": "lets it pass",
    "always_open": "always open",
    "maintenance": "blocks: maintenance",
    "disabled": "blocks: disabled",
    "env_gated": "blocks: not in this environment",
    "unknown": "no such route is known",
    "none": "no limit",
    "paused": "paused",
    "unlimited": "unlimited",
    "not asked": "not asked",
    "passed over": "passed over",
}


@dataclass(frozen=True)
class _Found:
    """The route of a URL. ``is_known`` False: ``path`` is the URL's own. ``notes`` are doubts."""

    service: str | None
    path: str
    is_known: bool = True
    notes: tuple[str, ...] = ()


@group.command("explain", example="explain GET /shop/items/42/ --at 'in 2h'")
@click.argument("method", type=METHOD)
@click.argument("url")
@click.option("--at", type=MOMENT, help="When the request comes: 2026-03-01T14:30, 'in 2h' or '2h ago'.")
@click.option("--env", metavar="NAME", help="In which environment; that of the target, if left out.")
@service_option
@reading
def explain_(reading: Reading, method: str, url: str, at: datetime | None, env: str | None) -> None:
    """Show what a request gets, layer by layer, by the rules as they are now."""
    session = reading.session
    snapshot = reading.snapshot()
    found = _find(reading, snapshot, url)
    is_own = session.code is not None and found.service == session.code.service
    explained = explain(
        snapshot,
        method,
        found.path,
        at=at or datetime.now(UTC),
        service=found.service,
        env=env or session.acted_on,
        declared=session.code.declared() if session.code is not None and is_own else None,
        is_known=found.is_known,
    )
    for note in (*found.notes, *_doubts(explained)):
        reading.say(f"Note: {note}")
    if reading.as_json:
        output.print_json(session, _data(explained, url))
    else:
        output.print_fields(session, _fields(explained, url, session.zone))
        output.print_table(session, _HEADS, [_row(one, session.zone) for one in explained.findings])


def _find(reading: Reading, snapshot: Snapshot, url: str) -> _Found:
    """Return the route of ``url``: by this process's own resolver, else by the templates that are known.

    Raises AmbiguousRouteError where several services have one.
    """
    code = reading.session.code
    if code is not None and "/" not in url and (template := code.template(url)) is not None:
        return _Found(code.service, template)
    key = RouteKey.parse(_path_of(url))
    key = key._replace(path=unquote(key.path))
    service = key.service or reading.service
    if code is not None and service in (None, code.service):
        own = _own(code, key.path)
        if own is not None:
            return own
    matches = dict(_stored(snapshot, key._replace(service=service), besides=code))
    if len(matches) > 1:
        keys = sorted(str(RouteKey(name, None, templates[0])) for name, templates in matches.items())
        sentence = f"{url!r} is a URL of several services: {', '.join(keys)}. Choose one with --service."
        raise AmbiguousRouteError(url, keys, sentence)
    for name, templates in matches.items():
        return _Found(name, templates[0], notes=tuple(_ambiguities(key.path, templates)))
    if service is None and code is not None:
        service = code.service
    return _Found(service, key.path, is_known=False)


def _stored(
    snapshot: Snapshot, key: RouteKey, *, besides: OwnCode | None
) -> Iterator[tuple[str | None, list[str]]]:
    """Yield the services that have templates for a URL, and these templates, the most specific first."""
    templates: dict[str | None, set[str]] = {}
    for known in map(RouteKey.parse, snapshot.routes):
        if key.service in (None, known.service) and (besides is None or known.service != besides.service):
            templates.setdefault(known.service, set()).add(known.path)
    for service, paths in templates.items():
        if found := matching(paths, key.path):
            yield service, found


def _own(code: OwnCode, path: str) -> _Found | None:
    template = code.template(path)
    if template is None:
        return None
    return _Found(code.service, template, notes=tuple(_slash(path, template)))


def _path_of(url: str) -> str:
    """Return the path of a URL, with the service before it that somebody may have written.

    Raises InvalidKeyError where there is none.
    """
    path = url.partition("?")[0].partition("#")[0]
    before, scheme, rest = path.partition("://")
    if scheme and "/" not in before:
        path = f"/{rest.partition('/')[2]}"
    if "/" not in path:
        raise InvalidKeyError(f"{url!r} is no URL: write its path, such as /payments/42.")
    return path


def _ambiguities(path: str, templates: list[str]) -> Iterator[str]:
    first, *others = templates
    equals = [one for one in others if specificity(one) == specificity(first)]
    if equals:
        yield f"{path} also matches {', '.join(equals)}: the service takes the one that its code has first."
    elif others:
        yield f"{path} also matches {', '.join(others)}; taken is the most specific."
    if path.strip("/").count("/") != first.strip("/").count("/"):
        yield f"{path} belongs to {first} only where a parameter of it takes several segments."
    yield from _slash(path, first)


def _slash(path: str, template: str) -> Iterator[str]:
    if path.endswith("/") != template.endswith("/") and not template.endswith("}"):
        yield f"{path} and {template} differ in the last slash, to which frameworks redirect at most."


def _doubts(explained: Explanation) -> Iterator[str]:
    if not explained.is_known:
        of = f" of service {explained.service}" if explained.service else ""
        yield f"no known route{of} has this URL: it is told as an unknown one."
    gated = explained.decision.cause == "env_gated"
    if gated and explained.env is None:
        yield "which environment it is, is not known: every gate is closed then. Name one with --env."


# -- words ----------------------------------------------------------------------------------------


def _fields(explained: Explanation, url: str, zone: tzinfo | None) -> list[tuple[str, str]]:
    return [
        ("request", f"{explained.method} {url}"),
        ("route", _route(explained) or "unknown"),
        ("service", explained.service or ""),
        ("environment", explained.env or "not known"),
        ("at", shown(explained.at, zone)),
        ("answer", _answer(explained, zone)),
    ]


def _route(explained: Explanation) -> str:
    found: Any = next(one for one in explained.findings if one.layer == LIFECYCLE)
    return str(found.scope.name) or (explained.path if explained.is_known else "")


def _answer(explained: Explanation, zone: tzinfo | None) -> str:
    decision, decider = explained.decision, explained.decider
    if decider is None:
        limited = [one for one in explained.findings if one.said == "limit"]
        return "the application's own" + (", or 429 over a limit" if limited else "")
    until = f", until {shown(decision.until, zone)}" if decision.until else ""
    reason = f', "{decision.reason}"' if decision.reason else ""
    return f"{explained.status} {decision.cause}{until}{reason}: by {_layer(decider)}"


def _layer(found: Finding) -> str:
    if found.layer == LIFECYCLE:
        return found.scope.name or "route"
    label = "route" if found.scope.kind == "route" else found.scope.label
    return f"{found.layer} of {label}"


def _row(found: Finding, zone: tzinfo | None) -> tuple[str, ...]:
    until = shown(found.until, zone) if found.until else ""
    if found.window is not None:
        coming = f"{shown(found.window.start, zone)} to {shown(found.window.end, zone)}"
        until = f"{until} (then {coming})" if until else f"(window from {coming})"
    return (_layer(found), _says(found), _author(found), until, found.reason)


def _says(found: Finding) -> str:
    said = _SAYS.get(found.said, found.said)
    if found.layer == LIMIT and found.policy is not None and found.said in ("limit", "shadow"):
        said = limit_wording.told(found.policy)
    return f"{said} <- decides" if found.decides else said


def _author(found: Finding) -> str:
    if found.origin == "operator":
        return found.by or "an operator"
    return "the code" if found.origin == "code" and found.said != "unknown" else ""


def _data(explained: Explanation, url: str) -> dict[str, Any]:
    decision, decider = explained.decision, explained.decider
    return {
        "method": explained.method,
        "url": url,
        "route": _route(explained) or None,
        "service": explained.service,
        "environment": explained.env,
        "at": explained.at,
        "answer": {
            "status": explained.status,
            "cause": str(decision.cause) if decision.cause else None,
            "reason": decision.reason,
            "until": decision.until,
        },
        "decided_by": _layer(decider) if decider else None,
        "layers": [_finding_data(one) for one in explained.findings],
    }


def _finding_data(found: Finding) -> dict[str, Any]:
    return {
        "layer": found.layer,
        "scope": found.scope.kind,
        "name": found.scope.name,
        "says": found.said,
        "decides": found.decides,
        "reason": found.reason,
        "until": found.until,
        "origin": found.origin,
        "by": found.by,
        "revision": found.revision,
        "window": found.window.model_dump() if found.window else None,
        "limit": found.policy.model_dump() if found.policy else None,
    }
