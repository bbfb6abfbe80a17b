"""The middleware's place is checked."""

from __future__ import annotations

import pytest
from django.core import checks

SECURITY = "django.middleware.security.SecurityMiddleware"
CORS = "corsheaders.middleware.CorsMiddleware"
COMMON = "django.middleware.common.CommonMiddleware"
CACHE = "django.middleware.cache.FetchFromCacheMiddleware"
SHIELD = "shield_django.middleware.ShieldMiddleware"


def ids() -> set[str]:
    return {one.id for one in checks.run_checks(tags=["shield"])} & {f"shield.W00{n}" for n in range(2, 6)}


@pytest.mark.parametrize(
    ("middleware", "expected"),
    [
        ([SECURITY, SHIELD, COMMON], set()),
        ([SECURITY, CORS, SHIELD, COMMON], set()),
        ([SECURITY, COMMON], {"shield.W002"}),
        ([SHIELD, SECURITY], {"shield.W003"}),
        ([SECURITY, SHIELD, CORS], {"shield.W003"}),
        ([SECURITY, COMMON, SHIELD], {"shield.W004"}),
        ([SECURITY, CACHE, SHIELD], {"shield.W004"}),
        ([SECURITY, SHIELD, COMMON, SHIELD], {"shield.W005"}),
        ([SECURITY, "tests.checks.test_middleware.OwnShield", COMMON], set()),
    ],
)
def test_a_wrong_place_is_a_warning_with_an_id(settings, middleware, expected):
    settings.MIDDLEWARE = middleware
    assert ids() == expected


def __getattr__(name: str):
    if name == "OwnShield":
        from shield_django.middleware import ShieldMiddleware

        return type("OwnShield", (ShieldMiddleware,), {})
    raise AttributeError(name)
