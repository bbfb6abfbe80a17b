"""A service that reaches something else than its Shield Server: every answer is an error of the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from shield_core.audit import AuditQuery
from shield_core.backends.server import ShieldServerBackend
from shield_core.exceptions import BackendError
from shield_core.models import AuditEntry, Instance, RouteState
from shield_core.remote.reading import Reader
from shield_core.remote.stream import Stream
from shield_core.snapshot import Commit, Snapshot, Write
from tests.conftest import eventually
from tests.sdk.site import Site

STATE = RouteState(path="payments:GET:/x", status="disabled", origin="operator")
COMMIT = Commit((Write(STATE.path, STATE),), (AuditEntry(action="disable", path=STATE.path),))
INSTANCE = Instance(id="a", revision=1, seen_at=datetime(2030, 1, 1, tzinfo=UTC))
ASKED: dict[str, Callable[[ShieldServerBackend], Any]] = {
    "load": lambda backend: backend.load_sync(),
    "commit": lambda backend: backend.commit_sync(COMMIT),
    "instances": lambda backend: backend.instances_sync(),
    "audit": lambda backend: backend.read_audit_sync(AuditQuery(limit=5)),
}
ODD: list[Any] = [
    *(None, True, 7, "welcome", [7], ["x"], [None], {"ok": True}, {"error": "no"}),
    {"epoch": "e", "revision": "many", "writes": [], "routes": [], "rate_limits": []},
    {"epoch": "e", "revision": 1e400, "writes": [], "routes": [], "rate_limits": []},
    {"epoch": "e", "revision": 1, "writes": 7, "routes": 7, "rate_limits": []},
    {"epoch": "e", "revision": 1, "writes": [7], "routes": [], "rate_limits": 7},
    [{"instances": 7}],
    [{"instances": [{"id": 7}]}],
]


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture
def backend(site: Site) -> Iterator[ShieldServerBackend]:
    made = ShieldServerBackend(site.address, "payments", token="t", snapshot_path="")
    yield made
    made.close_sync()


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("answer", ODD, ids=json.dumps)
def test_json_of_somebody_else_is_an_error_of_the_store(site, backend, asked, answer):
    site.answers(200, answer)
    with pytest.raises(BackendError):
        ASKED[asked](backend)


@pytest.mark.parametrize("status", [200, 302, 401, 403, 429, 500, 502, 503])
@pytest.mark.parametrize("asked", [*ASKED, "beat"])
def test_a_page_is_an_error_of_the_store(site, backend, asked, status):
    site.answers(status, b"<html>", Content_Type="text/html", Location="/login")
    with pytest.raises(BackendError):
        ASKED.get(asked, lambda backend: backend.beat_sync(INSTANCE))(backend)


@pytest.mark.parametrize("status", [400, 404, 409, 413])
def test_a_refusal_of_somebody_else_in_our_words_is_one_of_the_store_for_who_follows(site, backend, status):
    site.answers(status, {"error": "nothing here", "ambiguous_matches": ["a", "b"]})
    with pytest.raises(BackendError, match="nothing here"):
        backend.load_sync()
    stream = Stream(backend.connection, Reader("payments"), Snapshot(), "payments")
    error = eventually(lambda: stream.error)
    assert isinstance(error, BackendError)
    assert "nothing here" in str(error)


def test_the_revision_that_was_acknowledged_is_known_only_when_the_server_has_taken_it(site, backend):
    site.answers(503, {"error": "later"})
    with pytest.raises(BackendError):
        backend.beat_sync(INSTANCE)
    assert backend.acknowledged is None
    site.answers(200, {"ok": True})
    backend.beat_sync(INSTANCE)
    assert backend.acknowledged == 1


def test_what_an_answer_says_of_another_kind_of_object_is_passed_over(site, backend):
    writes = [
        {"key": "__shield:token:t1__", "value": {"id": "t1", "expires_at": "2030-01-01T00:00:00Z"}},
        {"key": STATE.path, "value": {"path": STATE.path, "status": "asleep"}},
        {"key": STATE.path, "value": STATE.replace(revision=3).model_dump(mode="json")},
    ]
    site.answers(200, {"epoch": "e", "revision": 3, "writes": writes})
    changes = backend.commit_sync(COMMIT)
    assert [write.key for write in changes.writes] == [STATE.path]
    assert (changes.cursor.epoch, changes.cursor.revision) == ("e", 3)
