"""The page of the instances: who enforces the rules, and how far each has come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shield_core.models import Instance
from shield_django import project
from tests.admin.conftest import address, client_of, text_of

PAGE = address("serviceinstance_changelist")


@pytest.fixture
def alive(sync, billing):
    """``alive(name, behind=…)`` lets a process of the service billing give a sign of life."""

    def beat(name: str, behind: int = 0, seconds_ago: float = 0, **known) -> None:
        store = sync.current().cursor
        told = {
            "id": f"{name}:7",
            "service": "billing",
            "host": name,
            "pid": 7,
            "epoch": store.epoch,
            "revision": store.revision - behind,
            "seen_at": datetime.now(UTC) - timedelta(seconds=seconds_ago),
        }
        project.current().engine.backend.beat_sync(Instance(**told | known))

    return beat


def rows(response) -> list[str]:
    return [row.host for row in response.context["cl"].result_list if row.service]


def test_each_live_process_is_shown_with_what_it_enforces(viewer, alive, sync):
    alive("web-1", release="v41")
    alive("web-2", behind=1)
    alive("web-3", epoch="before")
    response = viewer.get(PAGE)
    assert rows(response) == ["web-1", "web-2", "web-3"]
    revision = sync.current().cursor.revision
    for said in (
        f"billing web-1 process 7 v41 up to date revision {revision}",
        f"web-2 process 7 - 1 change behind revision {revision - 1}",
        "web-3 process 7 - of another history of the store",
    ):
        assert said in text_of(response)


def test_who_has_been_silent_is_gone_and_his_service_is_named(viewer, alive):
    alive("web-1", seconds_ago=600)
    response = viewer.get(PAGE)
    assert rows(response) == []
    assert "No live instance of the service billing is known." in text_of(response)
    alive("web-2")
    assert "No live instance" not in text_of(viewer.get(PAGE))


def test_they_are_filtered_searched_and_ordered(viewer, alive):
    alive("web-1", release="v41")
    alive("web-2", behind=1, release="v40")
    assert rows(viewer.get(PAGE, {"service": "billing"})) == ["web-1", "web-2"]
    assert rows(viewer.get(PAGE, {"service": "nobody"})) == []
    assert rows(viewer.get(PAGE, {"q": "v40"})) == ["web-2"]
    assert rows(viewer.get(PAGE, {"o": "-4"})) == ["web-2", "web-1"]


def test_whoever_may_view_routes_may_look_and_nobody_may_change(store, alive):
    alive("web-1")
    assert client_of("nobody", ["view_auditlogentry"]).get(PAGE).status_code == 403
    assert client_of("carl", ["change_route"]).get(PAGE).status_code == 200
    viewer = client_of("vera", ["view_route"])
    body = viewer.get(PAGE).content.decode()
    assert 'name="action"' not in body
    assert address("serviceinstance_change", "web-1:7") not in body
    assert viewer.get(address("serviceinstance_change", "web-1:7")).status_code == 404
    assert viewer.get(address("serviceinstance_history", "web-1:7")).status_code == 404
    assert viewer.get(address("serviceinstance_add")).status_code == 403
    assert viewer.post(address("serviceinstance_delete", "web-1:7"), {"post": "yes"}).status_code == 403
