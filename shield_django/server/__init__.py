"""The Shield Server: the control plane as an ASGI application of its own, without a Django project.

    shield_app = ShieldServer(backend="redis", auth=("admin", "secret"), secret_key="…")

``uvicorn shield_django.server:app`` makes one from the variables ``SHIELD_*``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shield_django.server.application import ShieldServer

if TYPE_CHECKING:
    app: ShieldServer

__all__ = ["ShieldServer"]


def __getattr__(name: str) -> Any:
    # Not made above: whoever imports ShieldServer wants none from the environment.
    if name == "app":
        from shield_django.server.environment import server_for_a_command_line

        globals()["app"] = made = server_for_a_command_line()
        return made
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
