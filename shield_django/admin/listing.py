"""A list with the part of a QuerySet's interface that Django's admin asks for.

The pages show what the engine knows, whatever its backend, so their rows come from a function
and not from a table. Filters, search and ordering work on the rows in memory.
"""

from __future__ import annotations

import copy
import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Self, TypeAlias, cast

from django.conf import settings
from django.core.exceptions import FieldDoesNotExist, FieldError
from django.db import models
from django.db.models import Q
from django.utils import timezone

Lookup: TypeAlias = tuple[str, Any]
Predicate: TypeAlias = Callable[[Any], bool]


class Query:
    """What ChangeList reads of ``queryset.query``."""

    select_related = False
    order_by: tuple[str, ...] = ()


class Rows:
    """What every queryset of the admin's pages can do, wherever its rows come from."""

    #: The paginator asks, and ChangeList from Django 6.1 on.
    ordered = True
    totally_ordered = True
    query = Query()

    def __init__(self, model: type[models.Model]) -> None:
        self.model = model
        self.db = None

    def _clone(self) -> Self:
        raise NotImplementedError

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError

    def all(self) -> Self:
        return self._clone()

    def select_related(self, *names: str) -> Self:
        return self._clone()

    def get(self, *conditions: Q, **lookups: Any) -> Any:
        """Return the one row. Raises the model's DoesNotExist."""
        for found in self.filter(*conditions, **lookups):
            return found
        raise self.model.DoesNotExist  # type: ignore[attr-defined]

    def filter(self, *conditions: Q, **lookups: Any) -> Self:
        raise NotImplementedError


class Listing(Rows):
    """Rows that ``load`` returns, once for all that is derived from one listing."""

    def __init__(self, model: type[models.Model], load: Callable[[], Sequence[models.Model]]) -> None:
        super().__init__(model)
        self._load = functools.cache(load)
        self._conditions: tuple[Predicate, ...] = ()
        self._ordering: tuple[str, ...] = ()
        self._distinct = False
        self._found: list[Any] | None = None

    def _clone(self, **changes: Any) -> Self:
        clone = copy.copy(self)
        clone.__dict__.update(changes, _found=None)
        return clone

    def filter(self, *conditions: Q, **lookups: Any) -> Self:
        added = predicate(self.model, Q(*conditions, **lookups))
        return self._clone(_conditions=(*self._conditions, added))

    def exclude(self, *conditions: Q, **lookups: Any) -> Self:
        return self.filter(~Q(*conditions, **lookups))

    def order_by(self, *names: str) -> Self:
        return self._clone(_ordering=names)

    def distinct(self) -> Self:
        return self._clone(_distinct=True)

    def none(self) -> Self:
        return self.filter(pk__in=())

    def values_list(self, *names: str, flat: bool = False) -> list[Any]:
        rows = [tuple(getattr(row, name) for name in names) for row in self]
        values: list[Any] = [row[0] for row in rows] if flat else rows
        return list(dict.fromkeys(values)) if self._distinct else values

    def count(self) -> int:
        return len(self._rows())

    def exists(self) -> bool:
        return bool(self._rows())

    def first(self) -> Any:
        return next(iter(self), None)

    def __len__(self) -> int:
        return len(self._rows())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows())

    def __getitem__(self, which: int | slice) -> Any:
        return self._rows()[which]

    def _rows(self) -> list[Any]:
        if self._found is None:
            found = [row for row in self._load() if all(fits(row) for fits in self._conditions)]
            for name in reversed(self._ordering):
                found.sort(key=_sort_key(name.removeprefix("-")), reverse=name.startswith("-"))
            self._found = found
        return self._found


def predicate(model: type[models.Model], condition: Q) -> Predicate:
    """Return what tells whether a row fulfils a condition.

    Raises FieldError for an unknown field or lookup, ValidationError for an impossible value.
    """
    parts = [
        predicate(model, child) if isinstance(child, Q) else _comparison(model, *cast("Lookup", child))
        for child in condition.children
    ]
    connect = _CONNECTORS[condition.connector] if parts else all
    negated = condition.negated
    return lambda row: connect(part(row) for part in parts) is not negated


_CONNECTORS: Mapping[str, Callable[[Iterable[bool]], bool]] = {
    Q.AND: all,
    Q.OR: any,
    Q.XOR: lambda results: sum(results) % 2 == 1,
}
_TEXT: Mapping[str, Callable[[str, str], bool]] = {
    "contains": lambda found, wanted: wanted in found,
    "startswith": lambda found, wanted: found.startswith(wanted),
    "endswith": lambda found, wanted: found.endswith(wanted),
}
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def _comparison(model: type[models.Model], lookup: str, wanted: Any) -> Predicate:
    name, _, kind = lookup.partition("__")
    field = _field(model, name)
    value_of = operator.attrgetter(field.attname)
    if kind in ("", "exact"):
        value = _converted(field, wanted)
        return lambda row: bool(value_of(row) == value)
    if kind == "in":
        values = [_converted(field, one) for one in wanted]
        return lambda row: value_of(row) in values
    if kind == "isnull":
        return lambda row: (value_of(row) is None) is bool(wanted)
    if kind in _ORDER:
        fits, value = _ORDER[kind], _converted(field, wanted)
        return lambda row: value_of(row) is not None and fits(value_of(row), value)
    if kind == "iexact":
        return lambda row: str(value_of(row) or "").casefold() == str(wanted).casefold()
    if kind.removeprefix("i") in _TEXT:
        found_in, fold = _TEXT[kind.removeprefix("i")], str.casefold if kind[0] == "i" else str
        text = fold(str(wanted))
        return lambda row: found_in(fold(str(value_of(row) or "")), text)
    raise FieldError(f"The lookup {lookup!r} is not supported on the pages of Shield.")


def _field(model: type[models.Model], name: str) -> Any:
    try:
        return model._meta.pk if name == "pk" else model._meta.get_field(name)
    except FieldDoesNotExist as error:
        raise FieldError(str(error)) from error


def _converted(field: Any, wanted: Any) -> Any:
    value = field.to_python(getattr(wanted, "pk", wanted))
    if isinstance(value, datetime) and timezone.is_naive(value) and settings.USE_TZ:
        return timezone.make_aware(value)
    return value


def _sort_key(name: str) -> Callable[[Any], tuple[bool, Any]]:
    def key(row: Any) -> tuple[bool, Any]:
        value = getattr(row, name)
        return (value is not None, value if value is not None else 0)

    return key
