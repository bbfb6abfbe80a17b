"""Shield for Django: ``engine`` is the project's engine, ``decide`` answers anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shield_django.project import decide, engine

__all__ = ["decide", "engine"]


def __getattr__(name: str) -> Any:
    # Not imported above, because Django imports this package before its applications are ready.
    if name in __all__:
        from shield_django import project

        return getattr(project, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
