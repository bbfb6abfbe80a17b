"""Shield for FastAPI and Starlette, over the same engine as Django."""

try:
    import fastapi  # noqa: F401
except ImportError as error:
    raise ImportError("shield_fastapi needs FastAPI: pip install 'shield-django[fastapi]'") from error

from shield_fastapi.admin import ShieldAdmin
from shield_fastapi.decorators import deprecated, disabled, env_only, force_active, maintenance, rate_limit
from shield_fastapi.guard import ShieldGuard
from shield_fastapi.middleware import ShieldMiddleware
from shield_fastapi.router import ShieldRouter
from shield_fastapi.sdk import ShieldSDK

__all__ = [
    "ShieldAdmin",
    "ShieldGuard",
    "ShieldMiddleware",
    "ShieldRouter",
    "ShieldSDK",
    "deprecated",
    "disabled",
    "env_only",
    "force_active",
    "maintenance",
    "rate_limit",
]
