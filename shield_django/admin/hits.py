"""The requests that rate limits have blocked, the newest first."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _

from shield_core.exceptions import BackendError, ShieldException
from shield_core.models import RateLimitHit
from shield_django.admin.base import EngineAdmin
from shield_django.admin.display import when
from shield_django.admin.limit_forms import OFFERED, ROUTES_LIST

_SHOWN, _MOST = 100, 1000


class HitsPage(EngineAdmin):
    """See the module."""

    def hits_urls(self) -> list[URLPattern]:
        return [path("hits/", self.wrap(self.hits_view), name="shield_ratelimit_hits")]

    def hits_view(self, request: HttpRequest) -> HttpResponse:
        """Show the newest, of one route or of all."""
        self.check_view(request)
        route = request.GET.get("route", "").strip()
        most = _MOST if "more" in request.GET else _SHOWN
        found, refusal = self._hits(request, route, most + 1)
        more = request.GET.copy()
        more["more"] = ""
        return self.page(
            request,
            "ratelimit/hits.html",
            title=_("Blocked requests"),
            route=route,
            refusal=refusal,
            rows=[(when(hit.timestamp), hit) for hit in found[:most]],
            count=most,
            has_more=len(found) > most,
            more_url=f"?{more.urlencode()}" if most < _MOST else "",
            routes=list(self.states(request))[:OFFERED],
            routes_list=ROUTES_LIST,
        )

    def _hits(self, request: HttpRequest, route: str, limit: int) -> tuple[list[RateLimitHit], str]:
        """Return hits, or why there can be none of this route."""
        try:
            return self.sync(request).get_rate_limit_hits(route or None, limit), ""
        except BackendError:
            raise
        except ShieldException as error:
            return [], str(error)
