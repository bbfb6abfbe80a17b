"""How servers are made: their arguments, and the Django settings that they use."""

from __future__ import annotations

import itertools

import pytest
from django.core.exceptions import ImproperlyConfigured

from shield_core.engine import ShieldEngine
from shield_django.auth.tokens import InvalidToken
from shield_django.control import of_project
from shield_django.server import ShieldServer, application, configuration
from shield_django.server.configuration import database_of, own_settings
from tests.shield_server.test_guards import MAINTENANCE, Visitor


@pytest.mark.parametrize(
    "options, said",
    [
        ({"backend": "memory", "engine": ShieldEngine(threads=False)}, "a backend or an engine, not both"),
        ({"backend": "cloud"}, "'cloud' cannot be used"),
        ({"auth": "olga"}, "auth= is None"),
        ({"auth": ("olga", "")}, "not empty"),
        ({"auth": [("olga", "a"), ("olga", "b")]}, "names 'olga' twice"),
        ({"auth": []}, "names nobody"),
        ({"secret_key": ""}, "secret_key is empty"),
        ({"secret_key": ["new", ""]}, "secret_key is empty"),
        ({"public_url": "ops"}, "write the whole address"),
        ({"allowed_hosts": ["https://ops"]}, "no host name"),
        ({"name": "red shield"}, "use letters, digits, - and _"),
        ({"token_expiry": "600"}, "token_expiry is '600': it is a number of seconds"),
        ({"sdk_token_expiry": 0}, "sdk_token_expiry is 0"),
        ({"sdk_token_expiry": 10**12}, "315360000 at most"),
        ({"database": "sqlite:///elsewhere.sqlite3"}, "database= comes too late"),
    ],
)
def test_a_wrong_argument_says_what_to_do(options, said):
    with pytest.raises(ImproperlyConfigured, match=said):
        ShieldServer(**options)


def test_without_a_project_there_are_no_users_of_one(monkeypatch):
    monkeypatch.setattr(configuration, "_made_here", True)
    with pytest.raises(ImproperlyConfigured, match="name its settings in DJANGO_SETTINGS_MODULE"):
        ShieldServer("memory", auth="django")


@pytest.mark.parametrize(
    "url, found",
    [
        ("sqlite:///shield.sqlite3", {"ENGINE": "django.db.backends.sqlite3", "NAME": "shield.sqlite3"}),
        (
            "sqlite:////srv/shield.sqlite3",
            {"ENGINE": "django.db.backends.sqlite3", "NAME": "/srv/shield.sqlite3"},
        ),
        (
            "postgresql://olga:p%40ss@db:5433/ops",
            {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": "ops",
                "USER": "olga",
                "PASSWORD": "p@ss",
                "HOST": "db",
                "PORT": "5433",
            },
        ),
        ({"ENGINE": "x", "NAME": "y"}, {"ENGINE": "x", "NAME": "y"}),
    ],
)
def test_a_database_is_named_by_url(url, found):
    assert database_of(url) == found


@pytest.mark.parametrize("url", ["oracle://db/ops", "ops.sqlite3", "sqlite://", "postgresql://db"])
def test_another_database_url_is_refused(url):
    with pytest.raises(ImproperlyConfigured, match="database URL"):
        database_of(url)


def test_without_models_there_is_no_database():
    found = own_settings("key")
    assert found["DATABASES"] == {}
    assert found["MIDDLEWARE"] == []
    assert "django.contrib.sessions" not in found["INSTALLED_APPS"]


@pytest.mark.django_db(transaction=True)
def test_in_a_project_its_users_and_their_permissions_may_count():
    from django.contrib.auth.models import Permission, User

    users = {
        name: User.objects.create_user(name, password="secret", is_staff=name != "guest")
        for name in ("olga", "viktor", "guest")
    }
    of_app = Permission.objects.filter(content_type__app_label="shield")
    users["olga"].user_permissions.set(of_app)
    users["viktor"].user_permissions.set(of_app.filter(codename="view_route"))
    server = ShieldServer("memory", auth="django")

    def visitor(name):
        found = Visitor(server)
        found.post("/login", found.form("/login", username=name, password="secret"))
        return found

    olga, viktor, guest = map(visitor, users)
    assert guest.get("/routes/").status_code == 302
    assert viktor.get("/routes/").status_code == 200
    assert viktor.get("/audit/").status_code == 403
    form = olga.form(MAINTENANCE, status="maintenance", reason="x")
    assert viktor.post(MAINTENANCE, {**form, **viktor.form(MAINTENANCE)}).status_code == 403
    assert olga.post(MAINTENANCE, form).status_code == 302
    users["olga"].set_password("another")
    users["olga"].save()
    assert olga.get("/").status_code == 302
    server.engine.sync.stop()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("auth", [None, ("olga", "secret"), "django"])
@pytest.mark.parametrize("key", [None, "the project's"])
def test_tokens_of_a_server_count_not_in_the_project_nor_the_projects_here(auth, key, monkeypatch, settings):
    monkeypatch.setattr(application, "_numbers", itertools.count(1))  # the first of its process
    server = ShieldServer("memory", auth=auth, secret_key=key and settings.SECRET_KEY)
    for one, other in ((server.control, of_project()), (of_project(), server.control)):
        _, token = one.issue_token("payments")
        assert one.principal_of(token).service == "payments"
        with pytest.raises(InvalidToken):
            other.principal_of(token)
        assert one.session_cookie != other.session_cookie
    server.engine.sync.stop()


@pytest.mark.django_db(transaction=True)
def test_in_a_project_it_may_use_the_projects_tables():
    server = ShieldServer("models", auth=("olga", "secret"))
    olga = Visitor(server, "http://testserver").log_in()
    form = olga.form(MAINTENANCE, status="maintenance", reason="in the table")
    assert olga.post(MAINTENANCE, form).status_code == 302
    from shield_django.models import StoredAuditEntry

    assert StoredAuditEntry.objects.filter(reason="in the table").exists()
    server.engine.sync.stop()


@pytest.mark.parametrize("use_sessions", [True, False])
def test_a_projects_own_settings_for_forms_do_not_matter(settings, use_sessions):
    settings.CSRF_USE_SESSIONS = use_sessions
    settings.CSRF_COOKIE_NAME = "project"
    server = ShieldServer("memory", auth=("olga", "secret"))
    olga = Visitor(server)
    olga.cookies.set("project", "a" * 32)
    olga.log_in()
    form = olga.form(MAINTENANCE, status="maintenance")
    answer = olga.post(MAINTENANCE, form)
    assert answer.status_code == 302
    assert "project=" not in str(answer.headers)
    server.engine.sync.stop()


def test_static_files_come_from_where_the_project_has_them(settings):
    settings.STATIC_URL = "https://cdn.example.com/static/"
    from shield_django.server import headers, static

    headers._policy.cache_clear()
    assert "script-src 'self' https://cdn.example.com;" in headers._policy()
    assert static.prefixes() == {"static/"}
    settings.STATIC_URL = "/assets/"
    assert static.prefixes() == {"static/", "assets/"}
    headers._policy.cache_clear()


def test_a_found_token_is_nothing_to_try_passwords_on():
    from shield_core.snapshot import Snapshot
    from shield_django.auth.authorities import Passwords
    from shield_django.auth.tokens import Tokens

    authority, old, new = Passwords([("olga", "secret")]), Tokens(["old"]), Tokens(["new", "old"])
    known = authority.fingerprint("olga")
    made = [old.make("olga", "cli", fingerprint=known) for _ in range(2)]
    read = [new.read(old.sign(one), Snapshot()) for one in made]
    assert len({known, *(one.fingerprint for one in read)}) == 3
    assert all(new.is_of(one, [known]) for one in read)
    assert not any(new.is_of(one, [other]) for one in read for other in ("", "another"))
