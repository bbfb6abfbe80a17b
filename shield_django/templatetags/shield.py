"""``{% load shield %}{% shield_banner %}``: tells visitors of maintenance, running or announced."""

from __future__ import annotations

from typing import Any

from django import template

from shield_django.notices import notices

register = template.Library()


@register.inclusion_tag("shield/banner.html", takes_context=True)
def shield_banner(context: template.Context) -> dict[str, Any]:
    """Render ``shield/banner.html``, empty when there is nothing to tell."""
    return {"notices": notices(context.get("request"))}
