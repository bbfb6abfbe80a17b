"""The filters beside the lists; each narrows the listing by one exact value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from shield_core.keys import Scope
from shield_core.models import KeyStrategy
from shield_django.admin.display import key_text, scope_label
from shield_django.admin.moments import local, universal
from shield_django.admin.wording import ACTIONS, PLATFORMS
from shield_django.models import Origin, Status


class ValueFilter(admin.SimpleListFilter):
    """Rows whose ``field`` (the parameter's name, unless given) has the chosen value."""

    field = ""

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        value = self.value()
        return queryset if value is None else queryset.filter(**{self.column: value})

    @property
    def column(self) -> str:
        return self.field or str(self.parameter_name)


class CountedFilter(ValueFilter):
    """Says of each choice how many rows there are."""

    def choices(self, changelist: Any) -> Iterator[Any]:
        counts = Counter(getattr(row, self.column) for row in changelist.root_queryset)
        choices = super().choices(changelist)
        yield next(choices)
        for (value, label), choice in zip(self.lookup_choices, choices, strict=True):
            yield {**choice, "display": f"{label} ({counts[str(value)]})"}


class StatusFilter(CountedFilter):
    title = _("status")
    parameter_name = "status"
    field = "effective_status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return Status.choices


class OriginFilter(CountedFilter):
    title = _("origin")
    parameter_name = "origin"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return Origin.choices


class ServiceFilter(ValueFilter):
    """Shown where routes belong to services."""

    title = _("service")
    parameter_name = "service"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [(name, name) for name in model_admin.sync(request).list_services()]


class KeyFilter(ValueFilter):
    title = _("who is counted together")
    parameter_name = "key_strategy"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [(one.value, key_text(one)) for one in KeyStrategy]


class ActionFilter(ValueFilter):
    title = _("action")
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return ACTIONS.items()


class PlatformFilter(ValueFilter):
    title = _("platform")
    parameter_name = "platform"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return PLATFORMS.items()


class ChosenFilter(ValueFilter):
    """Shown when a value was chosen by a link in a row: the log knows no list of all values."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        value = self.value()
        return [(value, value)] if value is not None else []


class ActorFilter(ChosenFilter):
    title = _("person")
    parameter_name = "actor"


class PathFilter(ChosenFilter):
    title = _("route")
    parameter_name = "path"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        value = self.value()
        return [(value, scope_label(Scope.of(value)))] if value else []


class SinceFilter(admin.SimpleListFilter):
    """Entries of the last days; days begin at midnight in the project's zone."""

    title = _("time")
    parameter_name = "since"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [
            ("1", _("Today")),
            ("7", _("Past 7 days")),
            ("30", _("Past 30 days")),
            ("365", _("Past year")),
        ]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        known = dict(self.lookup_choices)
        value = self.value()
        return queryset.filter(timestamp__gte=_midnight(int(value) - 1)) if value in known else queryset


def _midnight(days_ago: int) -> datetime:
    today = local(datetime.now(UTC)).replace(hour=0, minute=0, second=0, microsecond=0)
    return universal(today - timedelta(days=days_ago))
