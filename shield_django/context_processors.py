"""``shield_django.context_processors.shield`` for TEMPLATES."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from shield_django.notices import notices


def shield(request: HttpRequest) -> dict[str, Any]:
    """Offer ``shield_notices``, a list of ``shield_django.notices.Notice``, made when it is used."""
    return {"shield_notices": SimpleLazyObject(lambda: notices(request))}
