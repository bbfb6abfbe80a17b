"""Logging in and out, tokens, and those who guess passwords."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from shield_django.api import throttle
from shield_django.api.throttle import ACCOUNT, PAIR, SOURCE
from shield_django.auth.authorities import Passwords, Services
from shield_django.control import ControlPlane
from tests.api.conftest import PASSWORD, SECRET, USERS, Plane
from tests.conftest import eventually


@pytest.fixture
def clock(monkeypatch):
    """The time by which failed logins are counted."""
    found = SimpleNamespace(now=1_800_000_000.0)
    monkeypatch.setattr("django_ratelimit.core.time", SimpleNamespace(time=lambda: found.now))
    return found


def log_in(plane, username="olga", password=PASSWORD, *, source="192.0.2.1", **more):
    body = {"username": username, "password": password, **more}
    return plane.caller()("POST", "auth/login", body, REMOTE_ADDR=source)


def test_a_login_gives_a_token_that_is_who_it_says(plane):
    answer = log_in(plane)
    assert answer.status_code == 200
    assert set(answer.json()) == {"token", "username", "expires_at"}
    expires = datetime.fromisoformat(answer.json()["expires_at"])
    assert abs(expires - datetime.now(UTC) - timedelta(days=1)) < timedelta(minutes=1)
    assert answer["Cache-Control"] == "no-store"
    me = plane.caller(answer.json()["token"])("GET", "auth/me")
    assert me.json() == {"username": "olga", "platform": "cli"}


def test_a_token_is_taken_from_either_header(plane):
    token = log_in(plane).json()["token"]
    for headers in ({"Authorization": f"bearer {token}"}, {"X-Shield-Token": token}):
        assert plane.caller()("GET", "auth/me", headers=headers).status_code == 200
    other = {"Authorization": "Basic b2xnYTp4", "X-Shield-Token": token}
    assert plane.caller()("GET", "auth/me", headers=other).status_code == 200


def test_a_stale_token_does_not_keep_anybody_from_logging_in(plane):
    answer = plane.caller("stale")("POST", "auth/login", {"username": "olga", "password": PASSWORD})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"username": "olga"},
        {"username": "", "password": "x"},
        {"username": "olga", "password": 7},
        {"username": ["olga"], "password": "x"},
        {"username": "olga\r\nX: y", "password": "x"},
        {"username": "o" * 1000, "password": "x"},
        {"username": "olga", "password": "x", "platform": "dashboard"},
        {"username": "olga", "password": "x", "platform": "sdk", "app_id": "No Service"},
        [],
    ],
)
def test_a_login_that_is_none_is_refused(memory_plane, body):
    answer = memory_plane.caller()("POST", "auth/login", body)
    assert (answer.status_code, set(answer.json())) == (400, {"error"})


@pytest.mark.parametrize("username, password", [("olga", "wrong"), ("nobody", PASSWORD), ("OLGA", PASSWORD)])
@pytest.mark.parametrize("platform", ["cli", "sdk"])
def test_wrong_credentials_are_told_alike(memory_plane, username, password, platform):
    answer = log_in(memory_plane, username, password, platform=platform)
    assert (answer.status_code, answer.json()) == (401, {"error": "Invalid credentials"})
    assert answer["WWW-Authenticate"]


def test_an_unknown_user_costs_one_check_of_a_password_as_a_known_one_does(started):
    checked = []

    class Noting(Passwords):
        def check(self, request, username, password):
            checked.append(username)
            return super().check(request, username, password)

    plane = started(auth=Noting(USERS))
    for username in ("olga", "nobody"):
        log_in(plane, username, "wrong")
    assert checked == ["olga", "nobody"]


def test_an_open_server_has_no_login_and_everybody_operates_it(started):
    plane = started(auth=None)
    assert log_in(plane).status_code == 501
    for caller in (plane.caller(), plane.caller("left over from another server")):
        assert caller("GET", "auth/me").json() == {"username": "anonymous", "platform": "api"}
    plane.caller()("POST", "global/enable", {"reason": "v3"})
    entry = plane.caller()("GET", "audit?limit=1").json()[0]
    assert (entry["actor"], entry["platform"]) == ("anonymous", "api")
    assert plane.caller()("POST", "auth/logout").json() == {"ok": True}


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://testserver"}, 200),
        ({"Origin": "http://testserver"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_no_page_of_another_site_changes_an_open_server(started, headers, status):
    plane = started(auth=None)
    answer = plane.caller()("POST", "global/enable", {}, headers=headers)
    assert answer.status_code == status
    assert plane.sync.get_global_maintenance().enabled is (status == 200)


class Directory:
    """People whom something else knows."""

    def __init__(self) -> None:
        self.passwords = {"olga": PASSWORD}

    def authenticate_user(self, username, password):
        return self.passwords.get(username) == password


class SlowDirectory(Directory):
    async def authenticate_user(self, username, password):
        return super().authenticate_user(username, password)


class DirectoryThatTells(Directory):
    def fingerprint(self, username):
        return str(hash(self.passwords[username]))


@pytest.mark.parametrize(
    "directory, ends", [(Directory, False), (SlowDirectory, False), (DirectoryThatTells, True)]
)
def test_something_else_may_know_the_operators(started, directory, ends):
    people = directory()
    plane = started(auth=people)
    assert log_in(plane, password="wrong").status_code == 401
    assert log_in(plane, "nobody").status_code == 401
    token = log_in(plane).json()["token"]
    assert plane.caller(token)("GET", "routes").status_code == 200
    people.passwords["olga"] = "another one"
    assert plane.caller(token)("GET", "routes").status_code == (401 if ends else 200)


# -- services -------------------------------------------------------------------------------


def test_a_service_logs_in_for_the_service_it_names(plane):
    for more, headers in (({"app_id": "payments"}, {}), ({}, {"X-Shield-App-Id": "payments"})):
        body = {"username": "olga", "password": PASSWORD, "platform": "sdk", **more}
        answer = plane.caller()("POST", "auth/login", body, headers=headers)
        expires = datetime.fromisoformat(answer.json()["expires_at"])
        assert expires - datetime.now(UTC) > timedelta(days=364)
        sdk = plane.caller(answer.json()["token"])
        assert sdk("GET", "auth/me").json() == {"username": "olga", "platform": "sdk"}
        assert {one["service"] for one in sdk("GET", "routes").json()} == {"payments"}


@pytest.fixture
def with_services(started):
    return started(services={"payments": "for payments"})


def test_credentials_of_a_service_log_in_that_service(with_services):
    answer = log_in(with_services, "payments", "for payments", platform="sdk")
    sdk = with_services.caller(answer.json()["token"])
    assert sdk("POST", "sdk/register", {"app_id": "payments", "states": []}).status_code == 200
    assert sdk("POST", "sdk/register", {"app_id": "orders", "states": []}).status_code == 403


def test_credentials_of_a_service_log_in_no_operator_and_no_other_service(with_services):
    assert log_in(with_services, "payments", "for payments").status_code == 401
    other = log_in(with_services, "payments", "for payments", platform="sdk", app_id="orders")
    assert other.status_code == 403


@pytest.mark.parametrize(
    "passwords, said",
    [
        ({"payments": "x", "No Service": "x"}, "services= names no service: 'No Service'"),
        ({"": "x"}, "services= names no service"),
        ({"payments": ""}, "services= needs a name and a password"),
    ],
)
def test_credentials_of_no_service_are_refused_at_the_start(passwords, said):
    with pytest.raises(ImproperlyConfigured, match=said):
        Services(passwords)


# -- the end of tokens ----------------------------------------------------------------------


def test_after_logout_the_token_is_refused_on_every_node_and_after_a_restart(started, store):
    nodes = [started(store()), started(store())]
    token = log_in(nodes[0]).json()["token"]
    assert [node.caller(token)("GET", "auth/me").status_code for node in nodes] == [200, 200]
    assert nodes[0].caller(token)("POST", "auth/logout").json() == {"ok": True}
    assert nodes[0].caller(token)("GET", "auth/me").status_code == 401
    eventually(lambda: nodes[1].caller(token)("GET", "auth/me").status_code == 401)
    assert started(store()).caller(token)("GET", "auth/me").status_code == 401
    assert nodes[0].operator()("GET", "audit?action=token_revoked").json()[0]["actor"] == "olga"


@pytest.mark.parametrize("now", [("olga", "another one"), ("viktor", PASSWORD)])
def test_a_changed_password_ends_an_operators_tokens_and_no_services(plane, now):
    """Neither does the end of the operator. A token that no service has taken yet is the operator's."""
    operator = log_in(plane).json()["token"]
    named = log_in(plane, platform="sdk", app_id="payments").json()["token"]
    bound, unbound = (log_in(plane, platform="sdk").json()["token"] for _ in range(2))
    registration = {"app_id": "shipping", "states": []}
    assert plane.caller(bound)("POST", "sdk/register", registration).status_code == 200
    changed = Plane(ControlPlane(plane.control.engine, Passwords([now]), [SECRET]))
    for token, status in ((operator, 401), (named, 200), (bound, 200), (unbound, 401)):
        assert changed.caller(token)("GET", "auth/me").status_code == status
    assert changed.caller(unbound)("POST", "sdk/register", registration).status_code == 401


def test_keys_are_rotated_by_putting_the_new_one_first(memory_plane):
    token = log_in(memory_plane).json()["token"]
    engine, authority = memory_plane.control.engine, memory_plane.control.authority
    rotated = Plane(ControlPlane(engine, authority, ["a new one", SECRET]))
    assert rotated.caller(token)("GET", "auth/me").status_code == 200
    assert memory_plane.caller(log_in(rotated).json()["token"])("GET", "auth/me").status_code == 401
    gone = Plane(ControlPlane(engine, authority, ["a new one"]))
    assert gone.caller(token)("GET", "auth/me").status_code == 401


def test_a_token_is_issued_used_listed_and_revoked(plane):
    olga = plane.operator()
    made = olga("POST", "tokens", {"service": "payments", "expires": "90d", "reason": "rollout"})
    assert made.status_code == 201
    token, issued = made.json().pop("token"), made.json()
    expires = datetime.fromisoformat(issued["expires_at"])
    assert abs(expires - datetime.now(UTC) - timedelta(days=90)) < timedelta(minutes=1)
    second = olga("POST", "tokens", {"service": "payments"}).json()
    listed = olga("GET", "tokens?service=payments").json()
    assert {one["id"] for one in listed} == {issued["id"], second["id"]}
    assert all("token" not in one for one in listed)
    assert olga("GET", "tokens?service=orders").json() == []
    sdk = plane.caller(token)
    assert {one["service"] for one in sdk("GET", "routes").json()} == {"payments"}
    revoked = olga("DELETE", f"tokens/{issued['id']}?reason=leaked")
    assert revoked.json()["revoked_at"]
    assert sdk("GET", "routes").status_code == 401
    assert plane.caller(second["token"])("GET", "routes").status_code == 200
    actions = [(one["action"], one["reason"]) for one in olga("GET", "audit?limit=3").json()]
    assert actions == [("token_revoked", "leaked"), ("token_issued", ""), ("token_issued", "rollout")]
    assert token not in str(olga("GET", "audit").json())


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"service": "No Service"},
        {"service": "payments", "expires": "soon"},
        {"service": "payments", "expires": "99999d"},
        {"service": "payments", "expires": 90},
    ],
)
def test_a_token_that_cannot_be_issued_is_refused(memory_plane, body):
    assert memory_plane.operator()("POST", "tokens", body).status_code == 400


def test_a_token_that_nobody_issued_is_not_found(memory_plane):
    assert memory_plane.operator()("DELETE", "tokens/0123").status_code == 404


# -- those who guess ------------------------------------------------------------------------


def fail(plane, times, *, username="olga", source="198.51.100.1"):
    return [log_in(plane, username, "guess", source=source).status_code for _ in range(times)]


def test_guesses_at_an_account_are_stopped_until_the_minute_is_over(memory_plane, clock):
    assert fail(memory_plane, PAIR[0] + 2) == [401] * PAIR[0] + [429] * 2
    stopped = log_in(memory_plane, source="198.51.100.1")
    assert stopped.status_code == 429  # also with the right password: a guess must not tell
    assert 1 <= int(stopped["Retry-After"]) <= PAIR[1]
    clock.now += PAIR[1]
    assert log_in(memory_plane, source="198.51.100.1").status_code == 200


def test_guesses_that_come_at_once_are_counted_as_those_one_after_the_other(started, clock, monkeypatch):
    monkeypatch.setattr(throttle, "PATIENCE", 60)
    tried = []

    class Slow(Passwords):
        def check(self, request, username, password):
            tried.append(password)
            time.sleep(0.05)
            return super().check(request, username, password)

    plane = started(auth=Slow(USERS))
    with ThreadPoolExecutor(4 * PAIR[0]) as guessers:
        codes = list(guessers.map(lambda _: fail(plane, 1)[0], range(4 * PAIR[0])))
    assert (codes.count(401), codes.count(429)) == (PAIR[0], 3 * PAIR[0])
    assert len(tried) == PAIR[0]


def test_who_waits_long_for_others_of_the_same_source_is_to_come_again(started, clock, monkeypatch):
    monkeypatch.setattr(throttle, "PATIENCE", 0.05)
    asked, answered = threading.Event(), threading.Event()

    class Hanging(Passwords):
        def check(self, request, username, password):
            if username == "olga":
                asked.set()
                answered.wait(60)
            return super().check(request, username, password)

    plane = started(auth=Hanging(USERS))
    with ThreadPoolExecutor(1) as others:
        first = others.submit(log_in, plane)
        try:
            assert asked.wait(60)
            second = log_in(plane, "viktor")
            assert (second.status_code, second["Retry-After"]) == (429, "1")
            assert log_in(plane, *USERS[1], source="192.0.2.2").status_code == 200
        finally:
            answered.set()
        assert first.result(60).status_code == 200


def test_who_writes_a_name_differently_tries_the_same_account(memory_plane, clock):
    names = ["olga", "OLGA", "Olga", "oLga", "ｏｌｇａ"]
    assert [log_in(memory_plane, name, "guess").status_code for name in names] == [401] * 5
    assert log_in(memory_plane, "olga", "guess").status_code == 429


def test_a_source_that_tries_many_accounts_is_stopped(memory_plane, clock):
    codes = [fail(memory_plane, 1, username=f"user{n}")[0] for n in range(SOURCE[0] + 1)]
    assert codes == [401] * SOURCE[0] + [429]
    assert fail(memory_plane, 1, username="olga", source="198.51.100.2") == [401]


def test_an_ipv6_network_is_one_source(memory_plane, clock):
    for n in range(PAIR[0]):
        fail(memory_plane, 1, source=f"2001:db8::{n + 1}")
    assert fail(memory_plane, 1, source="2001:db8::ffff") == [429]
    assert fail(memory_plane, 1, source="2001:db8:0:1::1") == [401]


def test_an_attack_from_everywhere_slows_guesses_down_and_locks_nobody_out(memory_plane, clock):
    for n in range(ACCOUNT[0]):
        fail(memory_plane, 1, source=f"198.51.100.{n}")
    assert log_in(memory_plane, source="192.0.2.1").status_code == 200
    assert fail(memory_plane, 2, source="203.0.113.7") == [401, 429]
    clock.now += PAIR[1]
    assert fail(memory_plane, 2, source="203.0.113.7") == [401, 429]
    assert log_in(memory_plane, source="192.0.2.1").status_code == 200


def test_right_passwords_are_not_counted(memory_plane, clock):
    assert {log_in(memory_plane).status_code for _ in range(3 * PAIR[0])} == {200}


def test_a_source_is_known_behind_trusted_proxies_and_not_taken_on_trust(started, clock):
    def guess(plane, forwarded):
        body = {"username": "olga", "password": "guess"}
        headers = {"X-Forwarded-For": forwarded}
        return plane.caller()("POST", "auth/login", body, headers=headers).status_code

    trusting = started(num_proxies=1)
    assert [guess(trusting, "203.0.113.1") for _ in range(PAIR[0] + 1)][-1] == 429
    assert guess(trusting, "203.0.113.1, 203.0.113.2") == 401
    cache.clear()
    alone = started()
    assert [guess(alone, f"203.0.113.{n}") for n in range(PAIR[0] + 1)][-1] == 429


def test_a_flood_of_guesses_writes_a_bounded_number_of_entries(memory_plane, clock, monkeypatch):
    before = memory_plane.revision
    fail(memory_plane, 20)
    entries = memory_plane.operator()("GET", "audit?action=login_failed").json()
    assert [(one["actor"], one["client_ip"]) for one in entries] == [("olga", "198.51.100.1")] * 2
    monkeypatch.setattr(throttle, "AUDITED", (3, 3600))
    for n in range(10):
        fail(memory_plane, 1, username=f"user{n}", source=f"198.51.100.{n + 2}")
    entries = memory_plane.operator()("GET", "audit?action=login_failed").json()
    assert len(entries) == 5
    assert memory_plane.revision == before + 5


def test_two_servers_of_different_names_count_apart(started, clock):
    one, other = started(name="one"), started(name="other")
    fail(one, PAIR[0] + 1)
    assert fail(other, 1) == [401]


def test_a_cache_that_cannot_be_used_locks_nobody_out(memory_plane, caplog):
    broken = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1",
        }
    }
    with override_settings(CACHES=broken):
        assert log_in(memory_plane).status_code == 200
        caplog.clear()
        assert log_in(memory_plane, password="wrong").status_code == 401
    assert caplog.text.count("not counted") == 1
