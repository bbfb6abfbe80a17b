"""Checks of the middleware's place."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import checks
from django.utils.module_loading import import_string

from shield_django.middleware import ShieldMiddleware

#: What must see a blocked answer on its way out, and so stands before Shield.
_OUTSIDE = {
    "django.middleware.security.SecurityMiddleware": "a blocked answer would lack its security headers",
    "whitenoise.middleware.WhiteNoiseMiddleware": "static files would be blocked by global maintenance",
    "corsheaders.middleware.CorsMiddleware": "browsers on another origin could not read the 503",
}
#: What answers requests by itself, and so stands after Shield.
_INSIDE = {
    "django.middleware.cache.UpdateCacheMiddleware": "would cache and serve answers past Shield",
    "django.middleware.cache.FetchFromCacheMiddleware": "would serve cached answers past Shield",
    "django.middleware.locale.LocaleMiddleware": "redirects by itself",
    "django.middleware.common.CommonMiddleware": "redirects by itself",
    "django.contrib.auth.middleware.LoginRequiredMiddleware": "redirects by itself",
    "django.contrib.flatpages.middleware.FlatpageFallbackMiddleware": "answers unknown URLs by itself",
    "django.contrib.redirects.middleware.RedirectFallbackMiddleware": "redirects by itself",
}


def check_middleware(**_: Any) -> list[checks.CheckMessage]:
    """Check that the middleware is there, once, and where its answers can be seen."""
    places = [index for index, path in enumerate(settings.MIDDLEWARE) if _is_ours(path)]
    if not places:
        return [
            checks.Warning(
                "Shield's middleware is not installed, so no request is ever blocked.",
                hint='Add "shield_django.middleware.ShieldMiddleware" to MIDDLEWARE.',
                id="shield.W002",
            )
        ]
    place = places[0]
    hint = "Place it after SecurityMiddleware, WhiteNoise and CorsMiddleware, and before all others."
    messages: list[checks.CheckMessage] = [
        checks.Warning(f"ShieldMiddleware stands before {path}: {why}.", hint=hint, id="shield.W003")
        for path, why in _OUTSIDE.items()
        if path in settings.MIDDLEWARE[place:]
    ]
    messages += [
        checks.Warning(f"ShieldMiddleware stands after {path}, which {why}.", hint=hint, id="shield.W004")
        for path, why in _INSIDE.items()
        if path in settings.MIDDLEWARE[:place]
    ]
    if len(places) > 1:
        messages.append(
            checks.Warning(
                "ShieldMiddleware is installed several times.", hint="Keep the first.", id="shield.W005"
            )
        )
    return messages


def _is_ours(path: str) -> bool:
    try:
        found = import_string(path)
    except ImportError:
        return False
    return isinstance(found, type) and issubclass(found, ShieldMiddleware)


CHECKS = [check_middleware]
