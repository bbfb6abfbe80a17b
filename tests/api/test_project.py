"""The API inside a Django project: always open, not among its routes, and deaf to its REST settings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out

from shield_django import project
from shield_django.api.keys import encode_key
from tests.api.conftest import PASSWORD, Caller

HERE = Path(__file__).parents[2]


@pytest.fixture
def operator(admin_user):
    caller = Caller()
    caller.force_login(admin_user)
    caller.cookies["csrftoken"] = "a" * 32
    caller.defaults["HTTP_X_CSRFTOKEN"] = "a" * 32
    return caller


def test_a_route_may_be_called_by_the_name_of_its_view(operator):
    assert operator("POST", f"routes/{encode_key('page')}/disable", {}).json()["path"] == "/page/"
    assert operator.get("/page/").status_code == 503


def test_the_api_works_under_maintenance_and_is_no_route_itself(operator):
    body = {"include_force_active": True, "reason": "v3"}
    assert operator("POST", "global/enable", body).status_code == 200
    assert operator.get("/page/").status_code == 503
    assert [state["path"] for state in operator("GET", "routes").json()] == ["/page/"]
    assert operator.get("/shield/healthz").json() == {"status": "ok"}
    assert operator("POST", "global/disable").status_code == 200
    assert operator.get("/page/").status_code == 200


def test_health_and_readiness_need_no_login(client, db):
    assert client.get("/shield/healthz").json() == {"status": "ok"}
    ready = client.get("/shield/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")


def test_a_change_is_committed_although_the_answer_is_an_error(settings, transactional_db):
    """A failed login is written down also where the project runs each request in a transaction."""
    settings.DATABASES["default"]["ATOMIC_REQUESTS"] = True
    try:
        Caller()("POST", "auth/login", {"username": "nobody", "password": "x"})
    finally:
        settings.DATABASES["default"]["ATOMIC_REQUESTS"] = False
    (entry,) = project.current().engine.sync.get_audit_log(action="login_failed")
    assert entry.actor == "nobody"


@pytest.fixture
def olga(db):
    """A user with permissions, a password and an address."""
    from django.contrib.auth.models import User

    return User.objects.create_superuser("olga", "olga@example.com", PASSWORD)


def bearer(caller, username="olga"):
    """Log in; return the headers of whoever has done it."""
    answer = caller("POST", "auth/login", {"username": username, "password": PASSWORD})
    assert answer.status_code == 200, answer.content
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def test_the_middleware_of_a_project_meets_users_of_the_project(settings, operator, olga):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.api.hostile_rest.last_seen"]
    caller = Caller()
    assert caller("GET", "routes", headers=bearer(caller)).status_code == 200
    olga.refresh_from_db()
    assert olga.last_name == ""  # a token is no session
    assert operator("GET", "routes").status_code == 200
    type(olga).objects.get(username="admin", last_name="seen")
    assert operator("POST", "auth/logout").status_code == 200


def test_who_logs_out_is_known_to_the_project(operator):
    heard = []

    def hear(user, **said):
        heard.append(user.pk)

    user_logged_out.connect(hear)
    try:
        operator("POST", "auth/logout")
    finally:
        user_logged_out.disconnect(hear)
    assert heard == [get_user_model().objects.get(username="admin").pk]


def test_a_project_that_asks_everybody_to_log_in_does_not_ask_here(settings, olga):
    required = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, required]
    caller = Caller()
    assert caller.get("/page/").status_code == 302
    assert caller.get("/shield/healthz").status_code == 200
    assert caller.get("/shield/readyz").status_code == 200
    assert caller("GET", "routes").status_code == 401
    assert caller("GET", "routes", headers=bearer(caller)).status_code == 200


def test_a_user_logs_in_by_whatever_the_project_knows_users_by(settings, olga):
    backends = ["tests.api.hostile_rest.ByEmail", "django.contrib.auth.backends.ModelBackend"]
    settings.AUTHENTICATION_BACKENDS = backends
    caller = Caller()
    for name in ("olga", "olga@example.com"):
        me = caller("GET", "auth/me", headers=bearer(caller, name))
        assert me.json() == {"username": "olga", "platform": "cli"}


def test_a_changed_password_ends_a_users_tokens_and_a_rotated_key_does_not(settings, monkeypatch, olga):
    caller = Caller()
    headers = bearer(caller)
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "a new one"
    monkeypatch.setattr("shield_django.control._of_project", None)
    assert caller("GET", "auth/me", headers=headers).status_code == 200
    olga.set_password("another one")
    olga.save()
    assert caller("GET", "auth/me", headers=headers).status_code == 401


def test_the_language_of_a_project_is_not_mixed_into_what_is_said(settings, db):
    settings.LANGUAGE_CODE = "de"
    for headers in ({}, {"Accept-Language": "fr"}):
        refused = Caller()("POST", "auth/login", {"username": 7}, headers=headers)
        said = "username: This must be a text.; password: This field is required."
        assert refused.json()["error"] == said


def test_a_hosts_rest_framework_changes_nothing(tmp_path):
    """One process with DRF's defaults, one with settings that would change or refuse everything."""
    answers = []
    for settings in ("tests.settings", "tests.api.hostile_rest_settings"):
        ran = subprocess.run(
            [sys.executable, "-m", "tests.api.walk"],
            cwd=HERE,
            env={"DJANGO_SETTINGS_MODULE": settings, "PATH": "", "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ran.returncode == 0, ran.stderr
        answers.append(json.loads(ran.stdout))
    assert answers[0] == answers[1]
    assert {answer["status"] for answer in answers[0]} >= {200, 201, 400, 401, 404, 405, 409}
