"""What is always open: the way of the operator to the controls, and SHIELD_EXEMPT.

Views are recognised by what they are, not by their URL, so that a project may mount the admin
anywhere, and a forged path opens nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.views import serve as serve_staticfiles
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, Resolver404, get_script_prefix, resolve
from django.utils import translation
from django.views import i18n
from django.views.static import serve as serve_directory

from shield_core.keys import ExemptEntry, RouteKey, without_slash

if TYPE_CHECKING:
    from shield_django.discovery import Leaf

_ADMIN_DOORS = frozenset({"index", "login", "logout", "i18n_javascript", "app_index"})


@dataclass(frozen=True, slots=True)
class Openness:
    """Which routes of a URLconf are never decided upon."""

    entries: frozenset[ExemptEntry]
    names: frozenset[str]
    login: Sequence[tuple[Any, str]]

    @classmethod
    def of(cls, exempt: Iterable[str], placed: Sequence[tuple[Leaf, str]]) -> Openness:
        return cls(_entries(exempt), frozenset(text for text in exempt if "/" not in text), list(_login()))

    def is_open(self, leaf: Leaf, key: RouteKey) -> bool:
        """Whether the route is never blocked."""
        path = without_slash(key.path)
        return (
            leaf.name in self.names
            or ExemptEntry(None, path) in self.entries
            or (key.method is not None and ExemptEntry(key.method, path) in self.entries)
            or self._is_login(leaf, key.path)
            or _is_door(leaf.view, leaf.pattern.default_args or {})
        )

    def methods(self, path: str) -> list[str]:
        """Return the methods of a template that are exempt by themselves."""
        return [entry.method for entry in self.entries if entry.method and entry.path == without_slash(path)]

    def _is_login(self, leaf: Leaf, template: str) -> bool:
        """Whether LOGIN_URL leads here. A pattern that takes any path, as of a front end, is no login."""
        return any(
            view is leaf.view and _last_part(path) == _last_part(template) for view, path in self.login
        )


def is_exempt(exempt: Iterable[str], method: str, path: str) -> bool:
    """Whether SHIELD_EXEMPT names a path that no route has."""
    path = without_slash(path)
    return not {ExemptEntry(None, path), ExemptEntry(method, path)}.isdisjoint(_entries(exempt))


def _entries(exempt: Iterable[str]) -> frozenset[ExemptEntry]:
    return frozenset(ExemptEntry.parse(text) for text in exempt if "/" in text)


def _last_part(path: str) -> str:
    return without_slash(path).rpartition("/")[2]


def is_admin_page(view: Any) -> bool:
    """Whether the view is a page of a Django admin, or belongs to Shield's own API."""
    marked = hasattr(view, "admin_site") or hasattr(view, "model_admin") or _is_control(view)
    return marked or any(_is_admin(_owner(link)) for link in _chain(view))


def _is_door(view: Any, arguments: dict[str, Any]) -> bool:
    """Whether the view leads an operator to the controls, or belongs to them."""
    if is_own(view):
        return True
    chain = list(_chain(view))
    if any(_is_admin_site(_owner(link)) and link.__name__ in _ADMIN_DOORS for link in chain):
        return True
    original = chain[-1]
    if original in (i18n.set_language, serve_staticfiles):
        return True
    if original is serve_directory:
        return bool(settings.STATIC_ROOT) and str(arguments.get("document_root")) == str(settings.STATIC_ROOT)
    view_class = getattr(view, "view_class", None)
    doors = (*_login_views(), i18n.JavaScriptCatalog)
    return isinstance(view_class, type) and issubclass(view_class, doors)


def is_own(view: Any) -> bool:
    """Whether the view is one of Shield's: a page of its own in an admin, or of its API."""
    return getattr(getattr(view, "model_admin", None), "always_open", False) or _is_control(view)


def _is_control(view: Any) -> bool:
    """Whether the view is one of Shield's API."""
    return bool(getattr(getattr(view, "view_class", None), "always_open", False))


def _login_views() -> tuple[type[Any], ...]:
    if not apps.is_installed("django.contrib.auth"):
        return ()
    # Not imported above: it has models, and an ASGI module imports Shield before Django is set up.
    from django.contrib.auth.views import LoginView, LogoutView

    return (LoginView, LogoutView)


def _chain(view: Any) -> Iterator[Any]:
    """Yield a view and all that it wraps; a bound method may itself wrap a plain function."""
    yield view
    while hasattr(view, "__wrapped__"):
        view = view.__wrapped__
        yield view


def _owner(view: Any) -> Any:
    return getattr(view, "__self__", None)


def _is_admin_site(owner: Any) -> bool:
    from django.contrib.admin.sites import AdminSite

    return isinstance(owner, AdminSite)


def _is_admin(owner: Any) -> bool:
    from django.contrib.admin.options import BaseModelAdmin

    return isinstance(owner, BaseModelAdmin) or _is_admin_site(owner)


def _login() -> Iterator[tuple[Any, str]]:
    """Yield the view and path of LOGIN_URL in each language, also where a single sign-on begins there."""
    for language, _ in settings.LANGUAGES:
        with translation.override(language):
            try:
                url = urlsplit(resolve_url(settings.LOGIN_URL))
                prefix = settings.FORCE_SCRIPT_NAME or get_script_prefix()
                path = "/" + url.path.removeprefix(prefix).lstrip("/")
                if not url.netloc:
                    yield resolve(path).func, path
            except (Resolver404, NoReverseMatch, ValueError):  # not ours, or nothing that Django can reverse
                continue
