"""From URLconfs to routes: which templates there are, which views answer them, what stamps they bear.

A route's identity is the pattern that Django resolved, never the URL string. ``Catalog.templates``
maps a resolved pattern (``resolver_match.route``) to its template: without language prefix and
DRF format suffix, converters and regular expressions reduced to ``{name}``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.urls import Resolver404, URLPattern, URLResolver, get_resolver, resolve
from django.urls.resolvers import LocalePrefixPattern
from django.utils import translation
from django.utils.functional import Promise

from shield_core import forking
from shield_core.declarations import Declaration
from shield_core.decorators import meta_of
from shield_core.exceptions import AmbiguousRouteError, InvalidKeyError, RouteNotFoundException
from shield_core.keys import RouteKey
from shield_core.models import strictness
from shield_django import openness, patterns


@dataclass(frozen=True, slots=True)
class Leaf:
    """One URL pattern: its chain from the root, its view, and the name people give it.

    ``top`` is the include() of the root URLconf that leads to it, None when there is none.
    """

    chain: tuple[Any, ...]
    pattern: URLPattern
    name: str | None
    top: URLResolver | None

    @property
    def view(self) -> Any:
        return self.pattern.callback

    @property
    def depends_on_language(self) -> bool:
        return any(isinstance(one, LocalePrefixPattern) or _is_lazy(one) for one in self.chain)

    def route(self) -> str:
        """Return what ``resolver_match.route`` is in the active language."""
        route = ""
        for one in reversed(self.chain):
            route = URLResolver._join_route(str(one), route)  # type: ignore[attr-defined]
        return route

    @property
    def template(self) -> str:
        return patterns.template_of(self.chain)

    @property
    def has_suffix(self) -> bool:
        return patterns.has_format_suffix(self.chain)


@dataclass(slots=True, weakref_slot=True, eq=False)
class Catalog:
    """The routes of the project's URLconfs; ``exempt`` is SHIELD_EXEMPT."""

    exempt: Iterable[str] = ()
    templates: dict[str, str] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)
    patterns: dict[str, list[URLPattern]] = field(default_factory=dict)
    includes: dict[str, list[URLResolver]] = field(default_factory=dict)
    declarations: dict[RouteKey, Declaration] = field(default_factory=dict)
    _templates_of: dict[int, set[str]] = field(default_factory=dict)
    _known: set[int] = field(default_factory=set)
    _keep: list[Any] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        forking.watch(self)

    def after_fork(self) -> None:
        self._lock = threading.RLock()  # what another thread was learning is not known yet, and learnt anew

    def learn(self, urlconf: Any, declare: Callable[[Collection[Declaration]], None]) -> None:
        """Walk a URLconf that is not known yet, and ``declare`` what is new in it before it is known."""
        resolver = get_resolver(urlconf)
        # A fork waits: a child that begins in the middle of it would wait for an import for ever.
        with forking.held_off(), self._lock:
            if id(resolver) in self._known:
                return
            leaves = list(walk(resolver))
            languages = _languages() if any(leaf.depends_on_language for leaf in leaves) else []
            placed = list(place(leaves))
            templates = {route: template for leaf, template in placed for route in _routes(leaf, languages)}
            for leaf, template in placed:
                if leaf.name and template not in self.names.setdefault(leaf.name, []):
                    self.names[leaf.name].append(template)
                self.patterns.setdefault(template, []).append(leaf.pattern)
                if leaf.top is not None:
                    self.includes.setdefault(template, []).append(leaf.top)
                self._templates_of.setdefault(id(leaf.pattern), set()).add(template)
            gates = openness.Openness.of(self.exempt, placed)
            found = united(
                self.declarations.values(),
                *(list(declarations(leaf, template, gates)) for leaf, template in reachable(placed)),
            )
            new = {key: one for key, one in found.items() if self.declarations.get(key) != one}
            self.declarations.update(new)
            declare(new.values())
            self.templates.update({**templates, **self.templates})
            self._known.add(id(resolver))
            self._keep.append(resolver)

    def templates_of(self, pattern: URLPattern) -> set[str]:
        """Return the templates of a pattern: several, when its module is included several times."""
        return self._templates_of.get(id(pattern), set())

    def resolve(self, text: str) -> list[str]:
        """Return the keys that a person means by a view name, a URL path or a key."""
        if "/" not in text:
            return self._by_name(text)
        if "://" in text:
            text = urlsplit(text).path
        key = RouteKey.parse(text)
        if any(found.path == key.path for found in self.declarations):
            return [text]
        template = self._template_of_url(key.path)
        return [str(key._replace(path=template))] if template else [text]

    def one_key(self, text: str) -> RouteKey:
        """Return the one route key that ``text`` means. Raises when there is none, or several."""
        keys = self.resolve(text)
        if len(keys) > 1:
            raise AmbiguousRouteError(text, keys)
        key = RouteKey.parse(keys[0])
        if key.path not in self.patterns:
            raise RouteNotFoundException(text, get_close_matches(text, map(str, self.declarations)))
        return key

    def _by_name(self, text: str) -> list[str]:
        method, _, name = text.partition(":")
        templates = self.names.get(text)
        if templates is not None:
            return list(templates)
        if method.isupper() and name in self.names:
            return [f"{method}:{template}" for template in self.names[name]]
        if not self.names:
            raise InvalidKeyError(
                f"{text!r} is neither a route key such as 'GET:/payments/' nor a view name."
            )
        raise RouteNotFoundException(text, get_close_matches(text, self.names))

    def _template_of_url(self, path: str) -> str | None:
        for candidate in (path, path + "/"):
            try:
                return self.templates.get(resolve(candidate).route)
            except Resolver404:
                continue
        return None


def walk(
    resolver: URLResolver,
    before: tuple[Any, ...] = (),
    names: tuple[str, ...] = (),
    top: URLResolver | None = None,
) -> Iterator[Leaf]:
    """Yield the leaves of a resolver in Django's own order; the first that matches wins."""
    for entry in resolver.url_patterns:
        chain = (*before, entry.pattern)
        if isinstance(entry, URLResolver):
            namespaces = (*names, entry.namespace) if entry.namespace else names
            yield from walk(entry, chain, namespaces, top or entry)
        elif isinstance(entry, URLPattern):
            name = ":".join((*names, entry.name)) if entry.name else None
            yield Leaf(chain, entry, name, top)


def declarations(leaf: Leaf, template: str, gates: openness.Openness) -> Iterator[Declaration]:
    """Yield what a view declares: one key a method for class-based views, else one for all methods."""
    for method, owners in handlers(leaf.view):
        unlisted = openness.is_admin_page(leaf.view)
        for one in [None, *gates.methods(template)] if method is None else [method]:
            key = RouteKey(None, one, template)
            is_open = gates.is_open(leaf, key)
            yield Declaration.from_meta(key, meta_of(*owners), always_open=is_open, unlisted=unlisted)


def reachable(placed: Iterable[tuple[Leaf, str]]) -> Iterator[tuple[Leaf, str]]:
    """Leave out leaves that Django never reaches, because an equal pattern stands before them."""
    seen = set()
    for leaf, template in placed:
        kinds = frozenset(type(one) for one in leaf.chain)
        if (leaf.route(), kinds) not in seen:
            seen.add((leaf.route(), kinds))
            yield leaf, template


def united(*groups: Iterable[Declaration]) -> dict[RouteKey, Declaration]:
    """Unite what several views declare. Where they meet under one key, the strictest stamp counts.

    A check tells of it (shield.E021); until somebody reads that, nothing must be open by accident.
    """
    found: dict[RouteKey, Declaration] = {}
    of_all_methods: set[RouteKey] = set()
    for group in groups:
        own = {one.key: one for one in group}
        of_all_methods.update(key for key in own if key._replace(method=None) in own)
        for key, one in own.items():
            found[key] = _stricter(found.get(key), one)
    for key in found.keys() - of_all_methods:
        found[key] = _stricter(found[key], found.get(key._replace(method=None)))
    return found


def _stricter(one: Declaration | None, other: Declaration | None) -> Declaration:
    """Return the stricter of two, the first of equals, under the key of ``one`` when there is one."""
    if one is None or other is None:
        found = one or other
        assert found is not None
        return found
    return replace(max(one, other, key=_strictness), key=one.key)


def _strictness(one: Declaration) -> tuple[bool, bool, int, bool]:
    said = one.baseline
    return not one.always_open, not one.force_active, strictness(said.status), said.window is not None


def handlers(view: Any) -> Iterator[tuple[str | None, tuple[Any, ...]]]:
    """Yield the methods that a view answers and what may bear stamps for each, outermost first."""
    view_class = getattr(view, "view_class", None) or getattr(view, "cls", None)
    actions = getattr(view, "actions", None)
    if view_class is None:
        yield None, (view,)
        return
    if not isinstance(actions, dict):
        names = [name for name in view_class.http_method_names if hasattr(view_class, name)]
        actions = {name: name for name in names if name not in ("options", "head", "trace")}
    if not actions:
        yield None, (view, view_class)
    for method, handler in actions.items():
        if method != "head":
            owners = (
                view,
                view_class,
                getattr(view_class, "dispatch", None),
                getattr(view_class, handler, None),
            )
            yield method.upper(), owners


def place(leaves: list[Leaf]) -> Iterator[tuple[Leaf, str]]:
    """Give each leaf its template; a format suffix leads to the route without it."""
    with translation.override(settings.LANGUAGE_CODE):
        plain = {leaf.template for leaf in leaves if not leaf.has_suffix}
        for leaf in leaves:
            template = leaf.template
            if leaf.has_suffix and template not in plain and template + "/" in plain:
                template += "/"
            yield leaf, template


def _routes(leaf: Leaf, languages: list[str]) -> set[str]:
    routes = {leaf.route()}
    if leaf.depends_on_language:
        for language in languages:
            with translation.override(language):
                routes.add(leaf.route())
    return routes


def _languages() -> list[str]:
    return [code for code, _ in settings.LANGUAGES]


def _is_lazy(pattern: Any) -> bool:
    return isinstance(getattr(pattern, "_route", getattr(pattern, "_regex", None)), Promise)
