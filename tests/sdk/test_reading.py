"""What a server tells, read back: the same objects, and nothing that is broken."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shield_core.events import FULL, Audience, change_events, cut, encoded, opening_events
from shield_core.exceptions import ServerError
from shield_core.keys import ACCEPTED_KEY, EVERYTHING, RESTORE_KEY, Facet, RouteKey, Scope, parse_store_key
from shield_core.models import (
    Baseline,
    GlobalMaintenanceConfig,
    GlobalRateLimitPolicy,
    MaintenanceWindow,
    RateLimitPolicy,
    RateLimitReset,
    RouteState,
    RouteStatus,
    StoredObject,
    TokenRecord,
    value_type,
)
from shield_core.remote.reading import Feed, Reader
from shield_core.snapshot import Changes, Cursor, Snapshot, Write
from tests.heavy import HEAVY

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SERVICES = (None, "payments", "orders")
MARKS = (ACCEPTED_KEY, RESTORE_KEY)
EXAMPLES = 1000 if HEAVY else 60

# -- what there may be in a store ---------------------------------------------------------------

texts = st.text(max_size=8)
moments = st.datetimes(
    datetime(1990, 1, 1),
    datetime(2200, 1, 1),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]),
)
windows = st.builds(
    lambda start, seconds, **fields: MaintenanceWindow(
        start=start, end=start + timedelta(seconds=seconds), **fields
    ),
    moments,
    st.integers(1, 10**9),
    reason=texts,
    status=st.sampled_from(["maintenance", "disabled"]),
    read_only=st.booleans(),
)
rule = {
    "status": st.sampled_from(RouteStatus),
    "reason": texts,
    "allowed_envs": st.lists(texts, max_size=2).map(tuple),
    "window": st.none() | windows,
    "sunset_date": st.none() | moments,
    "successor_path": st.none() | texts,
    "read_only": st.booleans(),
}
stamp = {"updated_at": st.none() | moments, "updated_by": texts}
route_keys = st.builds(
    RouteKey,
    st.sampled_from(SERVICES),
    st.sampled_from([None, "GET", "POST", "WS"]),
    st.sampled_from(["/", "/x", "/x/{id}", "/a:b", "/ü/"]),
)
limit = {
    "limit": st.sampled_from(["1/minute", "10/10s", "unlimited"]),
    "algorithm": st.sampled_from(["fixed_window", "sliding_window", "token_bucket"]),
    "key_strategy": st.sampled_from(["ip", "user", "api_key", "global", "custom"]),
    "on_missing_key": st.sampled_from([None, "exempt", "block"]),
    "burst": st.integers(0, 10**9),
    "shadow": st.booleans(),
    **stamp,
}


def limits_of(key: RouteKey) -> st.SearchStrategy[RateLimitPolicy]:
    return st.builds(
        RateLimitPolicy,
        path=st.just(str(key._replace(method=None))),
        method=st.just(key.method or ""),
        tiers=st.lists(st.sampled_from(["pro", "free"]), unique=True).map(
            lambda names: tuple({"name": name, "limit": "5/s"} for name in names)
        ),
        exempt_ips=st.just(("10.0.0.0/8",)),
        **limit,
    )


def states_of(key: RouteKey) -> st.SearchStrategy[RouteState]:
    return st.builds(
        RouteState,
        path=st.just(str(key)),
        service=st.just(key.service),
        note=texts,
        force_active=st.booleans(),
        origin=st.sampled_from(["code", "operator"]),
        baseline=st.none() | st.builds(Baseline, **rule),
        rate_limit=st.none() | limits_of(key),
        release=texts,
        of_a_newer_version=st.none() | st.lists(texts, max_size=2),
        **rule,
        **stamp,
    )


maintenances = st.builds(
    GlobalMaintenanceConfig,
    enabled=st.booleans(),
    reason=texts,
    note=texts,
    exempt_paths=st.lists(st.sampled_from(["/x", "GET:/y/"])).map(tuple),
    include_force_active=st.booleans(),
    read_only=st.booleans(),
    window=st.none() | windows,
    **stamp,
)
wide_limits = st.builds(GlobalRateLimitPolicy, enabled=st.booleans(), exempt_routes=st.just(("/x",)), **limit)
wide_scopes = st.sampled_from([EVERYTHING, Scope.service("payments"), Scope.service("orders")])
resets = st.builds(RateLimitReset, **stamp)
tokens = st.builds(TokenRecord, id=st.just("t1"), service=st.sampled_from(SERVICES), expires_at=moments)


def writes_of(key: RouteKey) -> st.SearchStrategy[tuple[str, StoredObject]]:
    scope = Scope("route", str(key))
    return st.one_of(
        states_of(key).map(lambda value: (scope.store_key, value)),
        limits_of(key).map(lambda value: (scope.limit_key, value)),
        resets.map(lambda value: (scope.reset_key, value)),
    )


def wide_writes_of(scope: Scope) -> st.SearchStrategy[tuple[str, StoredObject]]:
    return st.one_of(
        maintenances.map(lambda value: (scope.store_key, value)),
        wide_limits.map(lambda value: (scope.limit_key, value)),
        resets.map(lambda value: (scope.reset_key, value)),
    )


objects = st.one_of(
    route_keys.flatmap(writes_of),
    wide_scopes.flatmap(wide_writes_of),
    st.tuples(st.sampled_from(MARKS), maintenances),
    tokens.map(lambda value: (Scope("token", value.id).store_key, value)),
)
contents = st.lists(objects, max_size=8).map(dict)
listeners = st.sampled_from(SERVICES)


def store_of(found: dict[str, StoredObject], revision: int = 7) -> Snapshot:
    return Snapshot("e", revision, {key: value.replace(revision=revision) for key, value in found.items()})


# -- what a listener knows of it ------------------------------------------------------------------


def heard(snapshot: Snapshot, service: str | None) -> dict[str, Any]:
    """Return what ``service`` is to know; of a reset only its number."""
    found: dict[str, Any] = {}
    for key, value in snapshot.objects.items():
        facet, scope = parse_store_key(key)
        if scope.kind == "token" or (service is not None and scope.owner not in (service, None)):
            continue
        if scope.kind == "route" and service is not None and scope.owner is None:
            continue
        note = getattr(value, "note", "")
        told = value.replace(note="") if note and service is not None else value
        found[key] = told.revision if facet is Facet.RESET else told
    return found


def known(snapshot: Snapshot) -> dict[str, Any]:
    return {
        key: value.revision if isinstance(value, RateLimitReset) else value
        for key, value in snapshot.objects.items()
    }


def sent(value: Any) -> Any:
    return json.loads(json.dumps(value))


def frames(told: bytes) -> list[Any]:
    return [json.loads(one.split("\ndata: ", 1)[1]) for one in told.decode().split("\n\n")[:-1]]


@settings(max_examples=EXAMPLES, deadline=None)
@given(contents, listeners)
def test_a_snapshot_is_read_as_what_was_told(found, service):
    store = store_of(found)
    reader = Reader(service)
    read = reader.snapshot(sent(cut(store, service)), Snapshot())
    assert (read.cursor, known(read)) == (store.cursor, heard(store, service))
    assert reader.reports() == []


@settings(max_examples=EXAMPLES, deadline=None)
@given(contents, listeners)
def test_a_whole_state_may_come_by_the_stream(found, service):
    store = store_of(found)
    audience = Audience(FULL, service)
    feed = Feed(Reader(service), Snapshot("another", 99, {"/gone": RouteState(path="/gone")}))
    told = [feed.take(one) for one in frames(encoded(opening_events(store, audience, NOW), audience, *_AT))]
    assert told == [None, Changes(store.cursor, reset=True)]
    assert (feed.snapshot.cursor, known(feed.snapshot)) == (store.cursor, heard(store, service))


_AT = (Cursor("e", 0), Cursor("e", 7))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(contents, st.data(), listeners)
def test_following_the_changes_leads_to_the_same_objects(found, data, service):
    before = store_of(found)
    gone = data.draw(st.lists(st.sampled_from(sorted(found)), unique=True)) if found else []
    # An object that is deleted in a commit is not also written in it.
    changed = {key: value for key, value in data.draw(contents).items() if key not in gone}
    writes = [Write(key, value.replace(revision=8)) for key, value in changed.items()]
    writes += [Write(key, None) for key in gone]
    changes = Changes(Cursor("e", 8), tuple(data.draw(st.permutations(writes))))
    after = before.apply(changes, advance=True)

    reader, audience = Reader(service), Audience(FULL, service)
    feed = Feed(reader, reader.snapshot(sent(cut(before, service)), Snapshot()))
    known_before = known(feed.snapshot)
    told = encoded(change_events(changes.writes, after, audience, NOW), audience, before.cursor, after.cursor)
    *parts, last = frames(told)
    assert [feed.take(one) for one in parts] == [None] * len(parts)
    assert (feed.snapshot.cursor, known(feed.snapshot)) == (before.cursor, known_before)
    assert feed.take(last) is not None
    assert (feed.snapshot.cursor, known(feed.snapshot)) == (after.cursor, heard(after, service))
    assert reader.reports() == []


# -- what cannot be read ----------------------------------------------------------------------------

junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.sampled_from(["/x", "GET:/x", "::"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "payload", "key", "path", "policy", "action", "epoch", "revision", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
kinds = st.sampled_from(
    ["hello", "snapshot", "state", "state_delete", "config", "rl_policy", "sync", "goodbye"]
)


def spoilt(payload: Any, data: st.DataObject) -> Any:
    """Put something else in one place of a payload."""
    match payload:
        case dict() if payload and data.draw(st.booleans()):
            key = data.draw(st.sampled_from(sorted(payload)))
            return {**payload, key: spoilt(payload[key], data)}
        case [*items] if items and data.draw(st.booleans()):
            place = data.draw(st.integers(0, len(items) - 1))
            return [*items[:place], spoilt(items[place], data), *items[place + 1 :]]
    return data.draw(junk)


@settings(max_examples=EXAMPLES, deadline=None)
@given(contents, st.data(), listeners)
def test_a_spoilt_snapshot_is_refused_or_spoilt_in_that_place_alone(found, data, service):
    store = store_of(found)
    reader = Reader(service)
    good = reader.snapshot(sent(cut(store, service)), Snapshot())
    payload = spoilt(sent(cut(store, service)), data)
    try:
        read = reader.snapshot(payload, good)
    except ServerError:
        return
    for key, value in read.objects.items():
        assert isinstance(value, value_type(key))


@settings(max_examples=2 * EXAMPLES, deadline=None)
@given(
    st.lists(
        st.one_of(junk, st.fixed_dictionaries({"type": kinds}, optional={"revision": st.integers()}))
        | st.builds(
            lambda kind, rest: {**rest, "type": kind} if isinstance(rest, dict) else rest, kinds, junk
        )
    )
)
def test_no_event_breaks_the_feed(events):
    feed = Feed(Reader("payments"), Snapshot("e", 7, {}))
    for event in events:
        before = feed.snapshot
        try:
            told = feed.take(event)
        except ServerError:
            return
        if told is None:
            assert feed.snapshot is before
        elif not told.reset:
            assert told.cursor.epoch == before.epoch
            assert told.cursor.revision >= before.revision


def state(status: str = "disabled", **fields: Any) -> dict[str, Any]:
    return {"path": "payments:GET:/x", "origin": "operator", "status": status, "revision": 8, **fields}


def sync(revision: int, epoch: str = "e") -> dict[str, Any]:
    return {"type": "sync", "epoch": epoch, "revision": revision}


@pytest.fixture
def feed() -> Feed:
    known = RouteState(path="payments:GET:/x", status="maintenance", origin="operator", revision=7)
    return Feed(Reader("payments"), Snapshot("e", 7, {known.path: known}))


def status_of(feed: Feed) -> str:
    found = feed.snapshot.route("payments:GET:/x")
    return found.status if found else "gone"


@pytest.mark.parametrize(
    "broken", [state("asleep"), state(window={"start": 1}), state(path="payments:GET:/x", reason=7)]
)
def test_what_cannot_be_read_keeps_the_last_rule_and_is_reported(feed, caplog, broken):
    reader = feed._reader
    assert feed.take({"type": "state", "payload": broken}) is None
    assert feed.take(sync(8)) == Changes(Cursor("e", 8), ())
    assert status_of(feed) == "maintenance"
    assert "payments:GET:/x" in caplog.text
    (report,) = reader.reports()
    assert report.startswith("payments:GET:/x: ")
    payload = {**sent(cut(feed.snapshot, "payments")), "routes": [broken], "revision": 9}
    feed.take({"type": "snapshot", "payload": payload})
    feed.take(sync(9))
    assert (status_of(feed), feed.snapshot.revision) == ("maintenance", 9)


def test_a_snapshot_deletes_what_it_does_not_name(feed):
    payload = {**sent(cut(feed.snapshot, "payments")), "routes": [], "revision": 9}
    feed.take({"type": "snapshot", "payload": payload})
    assert status_of(feed) == "maintenance"
    assert feed.take(sync(9)) == Changes(Cursor("e", 9), reset=True)
    assert status_of(feed) == "gone"


def test_a_snapshot_forgets_what_was_told_before_it_and_no_sync_ended(feed):
    feed.take({"type": "state_delete", "key": "payments:GET:/x"})
    feed.take({"type": "snapshot", "payload": {**sent(cut(feed.snapshot, "payments")), "revision": 9}})
    feed.take(sync(9))
    assert status_of(feed) == "maintenance"


@pytest.mark.parametrize(
    "event",
    [
        {"type": "of a newer version", "payload": state()},
        {"type": "rl_policy", "action": "pause", "key": "GET:/x"},
        {"type": "config", "key": "__shield:of_a_newer_version__", "payload": {}},
        {"type": "config", "key": Scope("token", "t1").store_key, "payload": {}},
        {"payload": state()},
        "state",
        None,
        [],
    ],
)
def test_what_a_newer_server_says_is_passed_over(feed, event):
    assert feed.take(event) is None
    assert feed.take(sync(8)) == Changes(Cursor("e", 8), ())
    assert status_of(feed) == "maintenance"
    assert feed._reader.reports() == []


def test_fields_of_a_newer_server_are_kept(feed):
    feed.take({"type": "state", "payload": state(mood="fine"), "hint": 1})
    feed.take({**sync(8), "hint": 1})
    found = feed.snapshot.route("payments:GET:/x")
    assert (found.status, found.model_extra) == ("disabled", {"mood": "fine"})


@pytest.mark.parametrize(
    "position", [sync(6), sync(8, "another"), {"type": "sync"}, sync("x"), sync(float("inf"))]
)
def test_a_position_that_does_not_follow_is_refused(feed, position):
    with pytest.raises(ServerError):
        feed.take(position)
    assert feed.snapshot.cursor == Cursor("e", 7)


def test_a_heartbeat_at_the_same_place_changes_nothing(feed):
    before = feed.snapshot
    assert feed.take(sync(7)) == Changes(Cursor("e", 7), ())
    assert feed.snapshot is before


def test_an_older_write_of_a_later_commit_does_not_go_back(feed):
    feed.take({"type": "state", "payload": state("active", revision=3)})
    feed.take(sync(8))
    assert status_of(feed) == "maintenance"


@pytest.mark.parametrize("proto", [1, 3, "2", None])
def test_another_major_version_is_refused(feed, proto):
    with pytest.raises(ServerError, match="version"):
        feed.take({"type": "hello", "proto": proto})


def test_a_newer_minor_version_greets_as_well(feed):
    assert feed.take({"type": "hello", "proto": 2, "minor": 9, "durable": False, "mood": "fine"}) is None
    assert feed.durable is False
    feed.take({"type": "hello", "proto": 2, "minor": 0})
    assert feed.durable is True


@pytest.mark.parametrize(
    ("retry", "seconds"), [(1500, 1.5), (0, 0.0), (-1, None), ("soon", None), (None, None)]
)
def test_goodbye_tells_when_to_come_back(feed, retry, seconds):
    feed.take({"type": "goodbye", "retry": retry})
    assert feed.retry_after == seconds


def test_reports_are_few_and_each_is_told_once():
    reader = Reader("payments")
    for number in range(100):
        for _ in range(2):
            reader.write({"type": "state", "payload": {"path": f"payments:/{number}", "status": "asleep"}})
    reports = reader.reports()
    assert [one.partition(" ")[0] for one in reports] == [f"payments:/{number}:" for number in range(90, 100)]
    assert reader.reports() == []
    reader.keep_reports(reports[:1])
    assert reader.reports() == reports[:1]
