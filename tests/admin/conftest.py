"""The admin's pages as people with different permissions see them, over each backend."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.contrib.admin.utils import quote
from django.db import connection
from django.test import Client
from django.urls import reverse

from shield_core.engine import ShieldEngine
from shield_django import project
from shield_django.backends import ModelsBackend
from tests.admin import people
from tests.admin.browser_form import BrowserForm

HAS_DATABASE = not connection.settings_dict["ENGINE"].endswith("dummy")
ALL = ["view_route", "change_route", "view_auditlogentry"]


STORES = [
    pytest.param("memory", marks=pytest.mark.django_db),
    pytest.param("models", marks=pytest.mark.django_db(transaction=True)),
]


def threadless(*args, **options) -> ShieldEngine:
    return ShieldEngine(*args, **{**options, "threads": False})


@pytest.fixture(params=STORES if HAS_DATABASE else ["memory"])
def store(request, settings, monkeypatch):
    """The engine's store; ``models`` is the real one, over the test database."""
    if request.param == "models":
        # Without the thread that follows the store: SQLite's shared memory would refuse its reads.
        monkeypatch.setattr(ModelsBackend, "immediate", True)
        monkeypatch.setattr(project, "ShieldEngine", threadless)
        settings.SHIELD_TESTING = False
        settings.SHIELD_BACKEND = "models"
    yield request.param
    if request.param == "models":
        project.reset()


@pytest.fixture
def sync(store):
    """The project's engine, for what others do meanwhile and for looking at the result."""
    return project.current().engine.sync


@pytest.fixture
def billing(sync):
    """Another service on the same store."""
    engine = ShieldEngine(project.current().engine.backend, service="billing", threads=False)
    engine.sync.register("GET:/invoices", {"status": "active"})
    return engine.sync


def client_of(name: str, permissions: list[str]) -> Client:
    """Return a browser in which ``name`` is logged in."""
    if not HAS_DATABASE:
        return Client(headers={people.HEADER: f"{name}={','.join(permissions)}"})
    from django.contrib.auth.models import Permission, User

    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def operator(store):
    return client_of("olga", ALL)


@pytest.fixture
def viewer(store):
    return client_of("viktor", ["view_route"])


def address(page: str, *keys: str) -> str:
    """Return a page's address: ``route_changelist``, ``route_change`` with a key, …"""
    return reverse(f"admin:shield_{page}", args=[quote(key) for key in keys])


def text_of(response) -> str:
    """Return what a person reads of a page: no tags, one space between words."""
    body = re.sub(r"<(script|style|svg|head)\b.*?</\1>", " ", response.content.decode(), flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def form_of(response) -> dict[str, str]:
    """Return what a browser would send of the page's form, were nothing changed."""
    return BrowserForm(response.content.decode()).data


def messages_of(response) -> list[str]:
    return [str(message) for message in response.context["messages"]]
