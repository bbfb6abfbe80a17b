"""The list that stands for a QuerySet: what Django's admin and its filters ask of one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import FieldError, ValidationError
from django.core.paginator import Paginator
from django.db.models import Q

from shield_core.models import RouteState
from shield_django.admin.audit import AuditListing
from shield_django.admin.listing import Listing
from shield_django.admin.records import route_of
from shield_django.models import Route

NOW = datetime(2026, 3, 1, tzinfo=UTC)
STATES = [
    RouteState(path="GET:/a", reason="Alpha", revision=3, updated_at=NOW),
    RouteState(path="GET:/b", status="disabled", reason="beta", revision=1, updated_at=NOW + timedelta(1)),
    RouteState(path="POST:/a", status="disabled", revision=2),
]


@pytest.fixture
def listing():
    return Listing(Route, lambda: [route_of(state) for state in STATES])


def keys(rows) -> list[str]:
    return [row.key for row in rows]


@pytest.mark.parametrize(
    "lookups, expected",
    [
        ({"pk": "GET:/a"}, ["GET:/a"]),
        ({"key__in": ["GET:/a", "POST:/a"]}, ["GET:/a", "POST:/a"]),
        ({"status__exact": "disabled"}, ["GET:/b", "POST:/a"]),
        ({"status": "disabled", "method": "POST"}, ["POST:/a"]),
        ({"reason__contains": "lph"}, ["GET:/a"]),
        ({"reason__icontains": "BETA"}, ["GET:/b"]),
        ({"reason__iexact": "ALPHA"}, ["GET:/a"]),
        ({"key__startswith": "POST"}, ["POST:/a"]),
        ({"key__istartswith": "post"}, ["POST:/a"]),
        ({"key__endswith": "/a"}, ["GET:/a", "POST:/a"]),
        ({"revision__gt": "1", "revision__lte": 3}, ["GET:/a", "POST:/a"]),
        ({"updated_at__isnull": True}, ["POST:/a"]),
        ({"updated_at__gte": "2026-03-01T12:00"}, ["GET:/b"]),
        ({"updated_at__lt": NOW + timedelta(hours=1)}, ["GET:/a"]),
    ],
)
def test_lookups(listing, lookups, expected):
    assert keys(listing.filter(**lookups)) == expected


@pytest.mark.parametrize(
    "condition, expected",
    [
        (Q(method="POST") | Q(reason="beta"), ["GET:/b", "POST:/a"]),
        (Q(method="GET") & ~Q(reason="beta"), ["GET:/a"]),
        (Q(method="GET") ^ Q(status="disabled"), ["GET:/a", "POST:/a"]),
        (~(Q(method="POST") | Q(reason="beta")), ["GET:/a"]),
        (Q(), ["GET:/a", "GET:/b", "POST:/a"]),
    ],
)
def test_conditions(listing, condition, expected):
    assert keys(listing.filter(condition)) == expected


@pytest.mark.parametrize(
    "lookups, error",
    [
        ({"nonsense": 1}, FieldError),
        ({"key__regex": "x"}, FieldError),
        ({"service__name__exact": "x"}, FieldError),
        ({"revision": "many"}, ValidationError),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(listing, lookups, error):
    with pytest.raises(error):
        listing.filter(**lookups)


def test_it_is_narrowed_without_changing_what_it_came_from(listing):
    narrowed = listing.exclude(method="POST").order_by("-revision")
    assert keys(narrowed) == ["GET:/a", "GET:/b"]
    assert keys(narrowed.all()) == keys(narrowed._clone()) == keys(narrowed.select_related("x"))
    assert len(listing) == listing.count() == 3


def test_order_is_by_several_names_and_puts_nothing_first(listing):
    assert keys(listing.order_by("path", "-method")) == ["POST:/a", "GET:/a", "GET:/b"]
    assert keys(listing.order_by("updated_at"))[0] == "POST:/a"
    assert keys(listing.order_by("-updated_at"))[-1] == "POST:/a"


def test_one_many_none(listing):
    assert listing.get(key="GET:/b").reason == "beta"
    with pytest.raises(Route.DoesNotExist):
        listing.get(key="GET:/c")
    assert listing.first().key == "GET:/a"
    assert listing.none().first() is None
    assert not listing.none().exists()
    assert listing[1].key == "GET:/b"
    assert keys(listing[1:]) == ["GET:/b", "POST:/a"]


def test_values_are_distinct_when_asked(listing):
    assert listing.values_list("status", flat=True) == ["active", "disabled", "disabled"]
    assert listing.distinct().order_by("status").values_list("status", flat=True) == ["active", "disabled"]
    assert listing.values_list("method", "path")[2] == ("POST", "/a")


def test_the_paginator_takes_it_as_ordered(listing):
    assert keys(Paginator(listing, 2).page(2).object_list) == ["POST:/a"]


def test_rows_are_loaded_once_for_all_that_is_derived():
    loads = []
    listing = Listing(Route, lambda: loads.append(1) or [])
    assert list(listing) == list(listing.filter(key="x")) == list(listing.order_by("key"))
    assert loads == [1]


def test_the_audit_log_refuses_what_it_cannot_hand_to_the_store(sync):
    listing = AuditListing(sync)
    sync.disable("/shop/cart/", actor="bob")
    assert len(list(listing.filter(Q(actor="bob") & Q(action__exact="disable")))) == 1
    for condition in (Q(actor="bob") | Q(actor="eve"), ~Q(actor="bob"), Q(note="x")):
        with pytest.raises(FieldError):
            listing.filter(condition)
