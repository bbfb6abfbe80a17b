"""Checks of the project's routes: stamps that are lost, that contradict each other, and what stays open."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.management import get_commands
from django.urls import get_resolver

from shield_core.declarations import Declaration
from shield_core.decorators import STAMPED_AT, is_stamped, meta_of, stamped_objects
from shield_core.keys import RouteKey
from shield_django.conf import ShieldSettings
from shield_django.discovery import Leaf, declarations, handlers, place, walk
from shield_django.openness import Openness, is_own

_HINT_WRAPPER = (
    "Decorate above @api_view, or let the wrapper copy the view's attributes with functools.wraps."
)
Placed = list[tuple[Leaf, str]]


def check_routes(**_: Any) -> list[checks.CheckMessage]:
    """Check the routes of ROOT_URLCONF; a URLconf that cannot be imported is Django's to report."""
    try:
        placed = list(place(list(walk(get_resolver(settings.ROOT_URLCONF)))))
        read = ShieldSettings.read()
        gates = Openness.of(read.exempt, placed)
    except Exception:  # noqa: BLE001 - other checks report a broken URLconf or setting, better
        return []
    return [
        *_contradictions(placed, gates),
        *_hidden_stamps(placed),
        *_stamps_on_shared_views(placed),
        *_lost_stamps(placed),
        *_forgotten_environment(placed, gates, read),
        *_unknown_names(placed, read),
        *_open_routes(placed, gates),
    ]


def limited_routes(read: ShieldSettings) -> list[str]:
    """Return the routes that have a limit in the code."""
    placed = list(place(list(walk(get_resolver(settings.ROOT_URLCONF)))))
    gates = Openness.of(read.exempt, placed)
    found = (one for leaf, template in placed for one in declarations(leaf, template, gates))
    return sorted({str(one.key) for one in found if one.rate_limit is not None})


def _contradictions(placed: Placed, gates: Openness) -> Iterator[checks.CheckMessage]:
    seen: dict[RouteKey, tuple[Declaration, Any]] = {}
    for leaf, template in placed:
        for found in declarations(leaf, template, gates):
            first, view = seen.setdefault(found.key, (found, leaf.view))
            if first != found and view is not leaf.view:
                yield checks.Error(
                    f"{found.key} stands for two views with different stamps: "
                    f"{_name(view)} and {_name(leaf.view)}.",
                    hint="Stamp both alike, or give them different URL patterns.",
                    id="shield.E021",
                )


def _hidden_stamps(placed: Placed) -> Iterator[checks.CheckMessage]:
    for leaf, template in placed:
        hidden = {
            id(inner): inner
            for _, owners in handlers(leaf.view)
            for owner in owners
            for inner in _hidden_in(owner, meta_of(*owners))
        }
        for inner in hidden.values():
            yield checks.Error(
                f"The stamp on {_name(inner)} is lost: {_name(leaf.view)}, the view of {template}, "
                "wraps it without its attributes.",
                hint=_HINT_WRAPPER,
                id="shield.E022",
            )


def _stamps_on_shared_views(placed: Placed) -> Iterator[checks.CheckMessage]:
    templates: dict[int, set[str]] = {}
    for leaf, template in placed:
        templates.setdefault(id(leaf.view), set()).add(template)
    reported = set()
    for leaf, _ in placed:
        shared, view = templates[id(leaf.view)], leaf.view
        if len(shared) < 2 or id(view) in reported or not is_stamped(view):
            continue
        if _stamped_elsewhere(view):
            reported.add(id(view))
            yield checks.Error(
                f"{_name(view)} was stamped in {getattr(view, STAMPED_AT)[0]} after its definition, which "
                f"marks the view itself and so every URL that uses it: {', '.join(sorted(shared))}.",
                hint="Decorate it where it is defined, or stamp a view of its own for the one URL.",
                id="shield.E023",
            )


def _stamped_elsewhere(view: Any) -> bool:
    """Whether a decorator was called on the finished view, as in a URLconf, not written above it."""
    module, line = getattr(view, STAMPED_AT)
    code = getattr(inspect.unwrap(view), "__code__", None)
    if module != view.__module__ or code is None:
        return bool(module != view.__module__)
    lines = [number for _, _, number in code.co_lines() if number is not None]
    return not code.co_firstlineno <= line <= max(lines)


def _lost_stamps(placed: Placed) -> Iterator[checks.CheckMessage]:
    """Find stamped objects of the project that no route reaches."""
    reached: set[int] = set()
    for leaf, _ in placed:
        for _method, owners in handlers(leaf.view):
            for owner in owners:
                reached.update(map(id, _with_bases(owner)))
                reached.update(map(id, _hidden_in(owner, {})))
    for found in stamped_objects():
        module = getattr(found, "__module__", "") or ""
        if id(found) not in reached and not _belongs_to_class(found) and _is_view_module(module):
            yield checks.Warning(
                f"{_name(found)} is stamped, but no URL leads to it.",
                hint="Add it to the URLconf, or remove the decorator. " + _HINT_WRAPPER,
                id="shield.W021",
            )


def _forgotten_environment(
    placed: Placed, gates: Openness, read: ShieldSettings
) -> Iterator[checks.CheckMessage]:
    if read.env is not None:
        return
    gated = [
        str(found.key)
        for leaf, template in placed
        for found in declarations(leaf, template, gates)
        if found.baseline.allowed_envs
    ]
    if gated:
        yield checks.Warning(
            f"The environment is not named, so routes with @env_only stay closed: {', '.join(gated)}.",
            hint='Set SHIELD_ENV, for example "production", in the settings or in the environment.',
            id="shield.W022",
        )


def _unknown_names(placed: Placed, read: ShieldSettings) -> Iterator[checks.CheckMessage]:
    names = {leaf.name for leaf, _ in placed}
    for entry in read.exempt:
        if "/" not in entry and entry not in names:
            yield checks.Warning(
                f"SHIELD_EXEMPT names {entry!r}, and no URL has that name.",
                hint='Write the name as in reverse(): "shop:status", or a path.',
                id="shield.W023",
            )


def _open_routes(placed: Placed, gates: Openness) -> Iterator[checks.CheckMessage]:
    if _runs_another_command():
        return
    open_routes = {
        _beginning(template) if is_own(leaf.view) else template
        for leaf, template in placed
        for found in declarations(leaf, template, gates)
        if found.always_open
    }
    if open_routes:
        yield checks.Info(
            "These routes are never blocked, not even by global maintenance: "
            f"{', '.join(sorted(open_routes))}.",
            hint="They are the operator's way to the controls, and what SHIELD_EXEMPT names.",
            id="shield.I001",
        )


def _beginning(template: str) -> str:
    """Return where Shield's own pages begin that ``template`` is one of; they are too many for a list."""
    for part in ("/shield/", "/api/"):
        before, found, _ = template.rpartition(part)
        if found:
            return f"{before}{part}…"
    return template


def _runs_another_command() -> bool:
    """Whether the checks run as a side of another command, where a list of open routes is noise."""
    command = sys.argv[1:2]
    return bool(command) and command[0] != "check" and command[0] in get_commands()


def _hidden_in(view: Any, visible: Mapping[str, Any], depth: int = 4) -> Iterator[Any]:
    """Yield stamped callables in a view's closure whose stamps are not among the ``visible`` ones."""
    for inner in _closed_over(view):
        if is_stamped(inner):
            if not meta_of(inner).keys() <= visible.keys():
                yield inner
        elif depth:
            yield from _hidden_in(inner, visible, depth - 1)


def _closed_over(view: Any) -> Iterator[Any]:
    for cell in getattr(view, "__closure__", None) or ():
        try:
            content = cell.cell_contents
        except ValueError:  # a variable that has no value yet
            continue
        if callable(content) and not isinstance(content, type) and content is not view:
            yield content


def _with_bases(owner: Any) -> Iterable[Any]:
    yield owner
    if isinstance(owner, type):
        for base in owner.__mro__:
            yield base
            yield from vars(base).values()
    while hasattr(owner, "__wrapped__"):
        owner = owner.__wrapped__
        yield owner
    yield getattr(owner, "__func__", owner)
    if isinstance(owner, partial):
        yield from _with_bases(owner.func)


def _belongs_to_class(found: Any) -> bool:
    """Whether it is a method, which is reached through its class, or an abstract view's."""
    qualified = getattr(found, "__qualname__", "")
    return isinstance(found, type) or "." in qualified.replace("<locals>.", "")


def _is_view_module(module: str) -> bool:
    """Whether Django serves what this module defines: FastAPI handlers in the process are not ours."""
    return module in sys.modules and not module.startswith(("shield_", "fastapi", "starlette"))


def _name(view: Any) -> str:
    view_class = getattr(view, "view_class", None) or getattr(view, "cls", None)
    named = view_class if view_class is not None else view
    return f"{getattr(named, '__module__', '')}.{getattr(named, '__qualname__', repr(named))}"


CHECKS = [check_routes]
