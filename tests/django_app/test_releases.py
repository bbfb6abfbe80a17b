"""Two releases side by side on one store: each serves its own decorators, under any override."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.http import HttpResponse
from django.urls import path

from shield_core.engine import ShieldEngine
from shield_core.exceptions import RouteProtectedException
from shield_django.backends import ModelsBackend
from shield_django.decorators import disabled, env_only, force_active, maintenance
from shield_django.discovery import Catalog
from shield_django.models import StoreRevision
from tests.conftest import eventually
from tests.django_app.conftest import urlconf

pytestmark = pytest.mark.django_db(transaction=True)

Stamp = Callable[[Any], Any]


def view(*stamps: Stamp) -> Any:
    def answer(request: Any) -> HttpResponse:
        return HttpResponse("answer")

    for stamp in stamps:
        stamp(answer)
    return answer


class Release:
    """One process: its own URLconf with its own decorators, on the shared database."""

    def __init__(self, *stamps: Stamp, name: str = "", env: str = "prod") -> None:
        self.engine = ShieldEngine(ModelsBackend(), env, refresh_interval=0.03, release=name)
        Catalog().learn(urlconf(path("pay/", view(*stamps)), path("other/", view())), self.engine.declare)
        self.engine.sync.start()
        eventually(lambda: not self.engine.replica.unregistered)

    @property
    def says(self) -> str:
        return str(self.engine.decide("GET", "/pay/").cause or "open")

    def follows(self, other: Release) -> bool:
        revision = max(state.revision for state in other.engine.sync.list_states())
        return bool(eventually(lambda: self.engine.status().revision >= revision))

    def stop(self) -> None:
        self.engine.sync.stop()


@pytest.fixture
def release(transactional_db: None) -> Iterator[Callable[..., Release]]:
    started: list[Release] = []

    def start(*stamps: Stamp, **options: Any) -> Release:
        started.append(Release(*stamps, **options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


STAMPS: dict[str, list[Stamp]] = {
    "open": [],
    "maintenance": [maintenance(reason="v2")],
    "disabled": [disabled()],
    "env_gated": [env_only("dev")],
    "open, protected": [force_active],
}


@pytest.mark.parametrize("old", STAMPS)
@pytest.mark.parametrize("new", STAMPS)
def test_each_serves_its_own(release: Any, old: str, new: str) -> None:
    first, second = release(*STAMPS[old], name="v1"), release(*STAMPS[new], name="v2")
    first.follows(second)

    assert (first.says, second.says) == (old.split(",")[0], new.split(",")[0])


def test_ten_restarts_and_a_rollback(release: Any) -> None:
    v1 = release(name="v1")
    for _ in range(10):
        v2 = release(maintenance(reason="v2"), name="v2")
        assert (v1.says, v2.says) == ("open", "maintenance")
        v2.stop()
    back = release(name="v1")

    assert (v1.says, back.says) == ("open", "open")
    assert back.engine.sync.get_audit_log() == []


def test_restarts_of_an_unchanged_release_write_nothing(release: Any) -> None:
    release(maintenance(reason="v2"), name="v2")
    revision = StoreRevision.objects.get().revision
    for _ in range(3):
        release(maintenance(reason="v2"), name="v2")

    assert StoreRevision.objects.get().revision == revision


def test_an_operators_override_rules_both_and_survives_every_release(release: Any) -> None:
    v1, v2 = release(name="v1"), release(maintenance(reason="v2"), name="v2")
    v1.engine.sync.disable("/pay/", reason="operator")
    v2.follows(v1)
    v3 = release(name="v3")

    assert [one.says for one in (v1, v2, v3)] == ["disabled"] * 3
    assert release(maintenance(reason="v4")).engine.decide("GET", "/pay/").reason == "operator"


def test_reset_returns_to_each_ones_code(release: Any) -> None:
    v1, v2 = release(name="v1"), release(maintenance(reason="v2"), name="v2")
    v1.engine.sync.disable("/pay/")
    v2.follows(v1)

    v1.engine.sync.clear_override("/pay/")
    v2.follows(v1)

    assert (v1.says, v2.says) == ("open", "maintenance")


def test_a_release_that_drops_force_active_can_be_blocked(release: Any) -> None:
    v1 = release(force_active, name="v1")
    with pytest.raises(RouteProtectedException):
        v1.engine.sync.disable("/pay/")

    v2 = release(name="v2")
    v2.engine.sync.disable("/pay/")
    v1.follows(v2)

    assert (v1.says, v2.says) == ("open", "disabled")


def test_a_release_that_adds_force_active_is_open_under_an_older_override(release: Any) -> None:
    v1 = release(name="v1")
    v1.engine.sync.disable("/pay/")
    v2 = release(force_active, name="v2")

    assert (v1.says, v2.says) == ("disabled", "open")


def test_a_release_that_changes_its_maintenance_takes_effect_at_its_start(release: Any) -> None:
    release(maintenance(reason="old"), name="v1").stop()
    v2 = release(maintenance(reason="new"), name="v2")

    assert v2.engine.decide("GET", "/pay/").reason == "new"
    assert v2.engine.sync.get_state("/pay/").reason == "new"


def test_enable_over_a_maintenance_of_the_code_opens_both(release: Any) -> None:
    v1, v2 = release(name="v1"), release(maintenance(reason="v2"), name="v2")
    v2.engine.sync.enable("/pay/")
    v1.follows(v2)

    assert (v1.says, v2.says) == ("open", "open")


def test_disable_and_enable_leave_a_gate_closed(release: Any) -> None:
    gated = release(env_only("dev"))
    gated.engine.sync.disable("/pay/")
    assert gated.says == "disabled"
    gated.engine.sync.enable("/pay/")

    assert gated.says == "env_gated"


def test_a_route_that_a_release_removed_stays_known_to_operators(release: Any) -> None:
    release(disabled(), name="v1").stop()
    only_other = ShieldEngine(ModelsBackend(), "prod")
    Catalog().learn(urlconf(path("other/", view())), only_other.declare)

    assert "/pay/" in [state.path for state in only_other.sync.list_states()]
