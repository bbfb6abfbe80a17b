"""The decorators of ``shield_core``, which stamp views of any kind and never wrap them."""

from shield_core.decorators import deprecated, disabled, env_only, force_active, maintenance, rate_limit

__all__ = ["deprecated", "disabled", "env_only", "force_active", "maintenance", "rate_limit"]
