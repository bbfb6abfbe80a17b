"""The addresses of the API, under ``api/``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, path, re_path

from shield_django.api import (
    audit,
    limits,
    maintenance,
    routes,
    schema,
    sdk,
    services,
    sessions,
    store,
    tokens,
)
from shield_django.api.base import ControlView, NotFound


def _of_both_scopes(tail: str, name: str, view: type[ControlView], **options: Any) -> Iterator[URLPattern]:
    """Yield a view's addresses for everything and for one service; ``{}`` in ``name`` is the scope."""
    for scope in ("global", "service"):
        endpoint = name.format(scope)
        where = tail.replace("{}-", "global-" if scope == "global" else "services/<str:service>/")
        yield path(where, view.as_view(endpoint=endpoint, **options), name=endpoint)


urlpatterns = [
    path("auth/login", sessions.Login.as_view(), name="login"),
    path("auth/logout", sessions.Logout.as_view(), name="logout"),
    path("auth/me", sessions.Me.as_view(), name="me"),
    path("schema", schema.Schema.as_view(), name="schema"),
    path("routes", routes.Routes.as_view(), name="routes"),
    path("routes/bulk", routes.Bulk.as_view(), name="routes-bulk"),
    *(
        path(f"routes/<path:key>/{action.verb}", action.as_view(), name=action.endpoint)
        for action in routes.ACTIONS
    ),
    path("routes/<path:key>", routes.Route.as_view(), name="route"),
    path("audit", audit.Audit.as_view(), name="audit"),
    path("global", maintenance.Maintenance.as_view(endpoint="global"), name="global"),
    path("global/enable", maintenance.Enable.as_view(endpoint="global-enable"), name="global-enable"),
    path("global/disable", maintenance.Disable.as_view(endpoint="global-disable"), name="global-disable"),
    path("global/exempt", maintenance.Exempt.as_view(endpoint="global-exempt"), name="global-exempt"),
    path("global/schedule", maintenance.Schedule.as_view(endpoint="global-schedule"), name="global-schedule"),
    path("services", services.Services.as_view(), name="services"),
    *(
        path(
            f"services/<str:service>/maintenance{tail and '/'}{tail}",
            view.as_view(endpoint=f"service-maintenance{tail and '-'}{tail}"),
            name=f"service-maintenance{tail and '-'}{tail}",
        )
        for tail, view in (
            ("", maintenance.Maintenance),
            ("enable", maintenance.Enable),
            ("disable", maintenance.Disable),
            ("exempt", maintenance.Exempt),
            ("schedule", maintenance.Schedule),
        )
    ),
    path("rate-limits", limits.RouteLimits.as_view(), name="rate-limits"),
    path("rate-limits/hits", limits.Hits.as_view(), name="rate-limit-hits"),
    path("rate-limits/<path:key>/reset", limits.RouteLimitReset.as_view(), name="rate-limit-reset"),
    path("rate-limits/<path:key>", limits.RouteLimit.as_view(), name="rate-limit"),
    *_of_both_scopes("{}-rate-limit", "{}-rate-limit", limits.WideLimit),
    *_of_both_scopes("{}-rate-limit/reset", "{}-rate-limit-reset", limits.WideLimitReset),
    *_of_both_scopes("{}-rate-limit/enable", "{}-rate-limit-enable", limits.WideLimitSwitch),
    *_of_both_scopes("{}-rate-limit/disable", "{}-rate-limit-disable", limits.WideLimitSwitch, enabled=False),
    path("store/restore", store.Restore.as_view(), name="store-restore"),
    path("store/reset", store.Reset.as_view(), name="store-reset"),
    path("tokens", tokens.Tokens.as_view(), name="tokens"),
    path("tokens/<str:token_id>", tokens.Token.as_view(), name="token"),
    path("sdk/events", sdk.Events.as_view(), name="sdk-events"),
    path("sdk/register", sdk.Register.as_view(), name="sdk-register"),
    path("sdk/commit", sdk.Commit.as_view(), name="sdk-commit"),
    path("sdk/hits", sdk.Hits.as_view(), name="sdk-hits"),
    path("sdk/audit", sdk.Report.as_view(), name="sdk-audit"),
    path("sdk/snapshot", sdk.Snapshot.as_view(), name="sdk-snapshot"),
    path("sdk/ack", sdk.Acknowledge.as_view(), name="sdk-ack"),
    re_path("", NotFound.as_view(), name="nothing"),
]
