"""The API inside a Django project: always open, not among its routes, and deaf to its REST settings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from shield_django import project
from shield_django.api.keys import encode_key
from tests.api.conftest import Caller

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
