"""Limits: Django sync, Django async and FastAPI count alike and answer with the same bytes."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.parity.conftest import SERVICE, Answer, Shop, own_answer, own_answer_awaited


def settled(answer: Answer) -> Answer:
    """An answer with its times taken out, after a look at them."""
    headers, body = dict(answer.headers), answer.body
    if reset := headers.get("x-ratelimit-reset"):
        assert time.time() <= int(reset) <= time.time() + 2 * 3600 + 1
        headers["x-ratelimit-reset"] = "T"
    if "retry-after" in headers:
        assert 1 <= int(headers["retry-after"]) <= 3600
    if answer.status == 429 and body:
        error = json.loads(body)["error"]
        assert headers["retry-after"] == str(error["retry_after_seconds"])
        assert reset is not None
        assert datetime.fromisoformat(error["reset_at"]) == datetime.fromtimestamp(int(reset), UTC)
        body = body.replace(b'"retry_after_seconds":%d' % error["retry_after_seconds"], b'"wait":"N"')
        body = body.replace(json.dumps(error["reset_at"]).encode(), b'"T"')
    if "retry-after" in headers:
        headers["retry-after"] = "N"
    return Answer(answer.status, headers, body)


def denied(path: str, limit: str, capacity: int) -> Answer:
    body = (
        '{"error":{"code":"RATE_LIMIT_EXCEEDED","message":"Too many requests",'
        f'"limit":"{limit}","wait":"N","reset_at":"T","path":"{path}"}}}}'
    )
    headers = {
        "content-type": "application/json",
        "cache-control": "no-store",
        "retry-after": "N",
        "x-ratelimit-limit": str(capacity),
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": "T",
    }
    return Answer(429, headers, body.encode())


def limits(answer: Answer) -> tuple[int, str | None, str | None]:
    """Status, limit and what remains of it."""
    headers = answer.headers
    return answer.status, headers.get("x-ratelimit-limit"), headers.get("x-ratelimit-remaining")


def statuses(shop: Shop, path: str, *callers: dict[str, str]) -> list[int]:
    return [shop.ask("GET", path, **headers).status for headers in callers]


def user(said: str) -> dict[str, str]:
    return {"X_User": said}


ANN, BOB, NOBODY = user("ann"), user("bob"), dict[str, str]()


@pytest.mark.parametrize(
    "path, key, limit, capacity",
    [
        ("/limited", "GET:/limited", "2/hour", 2),
        ("/limited/7", "GET:/limited/{item}", "2/hour", 2),
        ("/bucket", "GET:/bucket", "1/hour", 2),
    ],
)
def test_allowed_headers_then_429(shop: Shop, path: str, key: str, limit: str, capacity: int) -> None:
    allowed = [settled(shop.ask("GET", path)) for _ in range(2)]

    for answer, remaining in zip(allowed, ("1", "0"), strict=True):
        assert answer.status == 200
        assert answer.headers == {
            "content-type": "application/json",
            "x-ratelimit-limit": str(capacity),
            "x-ratelimit-remaining": remaining,
            "x-ratelimit-reset": "T",
        }
    assert settled(shop.ask("GET", path)) == denied(key, limit, capacity)
    assert limits(shop.ask("POST", "/limited")) == (200, None, None)


def test_head_follows_get(shop: Shop) -> None:
    assert shop.ask("HEAD", "/limited").headers["x-ratelimit-remaining"] == "1"
    assert limits(shop.ask("GET", "/limited")) == (200, "2", "0")

    blocked = settled(shop.ask("HEAD", "/limited"))

    assert (blocked.status, blocked.headers) == (429, denied("", "", 2).headers)


def test_options_is_no_get_and_a_preflight_is_never_limited(shop: Shop) -> None:
    shop.operator.set_global_rate_limit("2/hour")
    preflight = {"Origin": "https://a.example", "Access_Control_Request_Method": "GET"}

    for _ in range(4):
        assert limits(shop.ask("OPTIONS", "/limited", **preflight))[1:] == (None, None)
        assert limits(shop.ask("OPTIONS", "/nowhere", **preflight))[1:] == (None, None)
    assert [limits(shop.ask("OPTIONS", "/limited"))[1:] for _ in range(2)] == [("2", "1"), ("2", "0")]
    assert shop.ask("OPTIONS", "/limited").status == 429
    shop.operator.delete_global_rate_limit()
    assert limits(shop.ask("GET", "/limited")) == (200, "2", "1")


@pytest.mark.parametrize("path", ["/own-answer", "/own-answer-awaited"])
def test_an_answer_of_the_routes_own(shop: Shop, path: str) -> None:
    assert shop.ask("GET", path).status == 200

    answer = settled(shop.ask("GET", path))

    assert (answer.status, answer.body) == (420, b"1/hour 0 127.0.0.1")
    own = {"content-type": "text/x-own", "cache-control": "private"}
    assert answer.headers == {**denied("", "", 1).headers, **own}


@pytest.mark.parametrize(
    "responses", [{"rate_limited": own_answer}, {"rate_limited": own_answer_awaited}], ids=["def", "async"]
)
def test_an_answer_for_the_whole_shop(shop: Shop) -> None:
    assert statuses(shop, "/for-all", ANN, BOB) == [200, 420]
    shop.operator.set_global_rate_limit("1/hour")
    assert statuses(shop, "/nowhere", ANN, ANN) == [404, 420]


@pytest.mark.parametrize(
    "path, callers, expected",
    [
        ("/limited", [NOBODY, ANN, BOB], [200, 200, 429]),
        ("/for-all", [ANN, BOB], [200, 429]),
        ("/by-user", [ANN, ANN, BOB, NOBODY, NOBODY], [200, 429, 200, 200, 200]),
        ("/users-only", [ANN, ANN, NOBODY], [200, 429, 429]),
        ("/user-or-address", [ANN, NOBODY, NOBODY, BOB], [200, 200, 429, 200]),
        ("/by-api-key", [{"X_API_Key": "a"}, {"X_API_Key": "a"}, {"X_API_Key": "b"}], [200, 429, 200]),
        ("/by-api-key", [NOBODY, NOBODY, {"X_API_Key": "b"}], [200, 429, 200]),
    ],
)
def test_who_is_asking(shop: Shop, path: str, callers: list[dict[str, str]], expected: list[int]) -> None:
    assert statuses(shop, path, *callers) == expected


@pytest.mark.parametrize("path", ["/by-tenant", "/by-tenant-awaited"])
def test_functions_as_keys(shop: Shop, path: str) -> None:
    red, blue = {"X_Tenant": "red"}, {"X_Tenant": "blue"}

    assert statuses(shop, path, red, red, blue, NOBODY, NOBODY) == [200, 429, 200, 200, 200]


def test_tiers_by_an_attribute_of_the_user(shop: Shop) -> None:
    free, pro, staff = user("ann plan=free"), user("bob plan=pro"), user("cid plan=staff")

    assert statuses(shop, "/tiers", free, free) == [200, 429]
    assert statuses(shop, "/tiers", pro, pro, pro) == [200, 200, 429]
    assert statuses(shop, "/tiers", *[staff] * 4) == [200] * 4
    unknown = user("dan plan=unheard-of")
    assert statuses(shop, "/tiers", unknown, unknown) == [200, 429]
    assert settled(shop.ask("GET", "/tiers", **pro)) == denied("GET:/tiers", "2/hour", 2)


@pytest.mark.parametrize("path", ["/tiers-by-code", "/tiers-by-code-awaited"])
def test_tiers_by_a_function(shop: Shop, path: str) -> None:
    free, pro, staff = ({"X_Tenant": name} for name in ("free", "pro", "staff"))

    assert statuses(shop, path, free, free, pro, pro, pro) == [200, 429, 200, 200, 429]
    assert statuses(shop, path, *[staff] * 4) == [200] * 4


def forwarded(addresses: str) -> dict[str, str]:
    return {"X_Forwarded_For": addresses}


def test_exempt_addresses_behind_a_trusted_proxy(shop: Shop) -> None:
    inside, outside = forwarded("10.1.2.3"), forwarded("192.0.2.1")

    assert statuses(shop, "/spares-addresses", *[inside] * 3) == [200] * 3
    assert statuses(shop, "/spares-addresses", outside, outside) == [200, 429]
    assert statuses(shop, "/spares-addresses", *[forwarded("10.1.2.3, 192.0.2.1")] * 2) == [429, 429]


def test_an_ipv6_network_is_one_caller(shop: Shop) -> None:
    same = [forwarded("2001:db8::1"), forwarded("[2001:db8::2]:443"), forwarded("2001:db8:0:0:9::3")]

    assert statuses(shop, "/limited", *same, forwarded("2001:db8:0:1::1")) == [200, 200, 429, 200]


def test_exempt_roles(shop: Shop) -> None:
    support, guest = user("ann roles=guest,support"), user("bob roles=guest")

    assert statuses(shop, "/spares-roles", *[support] * 3) == [200] * 3
    assert statuses(shop, "/spares-roles", guest, guest) == [200, 429]


def test_shadow(shop: Shop) -> None:
    answers = [shop.ask("GET", "/shadow") for _ in range(3)]

    assert {limits(one) for one in answers} == {(200, None, None)}
    hits = shop.operator.get_rate_limit_hits("GET:/shadow")
    assert [(hit.path, hit.method, hit.shadow) for hit in hits] == [(f"{SERVICE}:/shadow", "GET", True)] * 2


def test_hits(shop: Shop) -> None:
    statuses(shop, "/limited", *[forwarded("192.0.2.1")] * 3)

    (hit,) = shop.operator.get_rate_limit_hits("GET:/limited")

    assert (hit.path, hit.method, hit.key) == (f"{SERVICE}:/limited", "GET", "192.0.2.1")
    assert (hit.limit, hit.tier, hit.shadow) == ("2/hour", None, False)


@pytest.mark.parametrize("scope", ["global", "service"])
def test_the_limit_of_a_scope(shop: Shop, scope: str) -> None:
    arguments = () if scope == "global" else (SERVICE,)
    getattr(shop.operator, f"set_{scope}_rate_limit")(*arguments, "3/hour", exempt_routes=["/items/{item}"])

    assert limits(shop.ask("GET", "/payments")) == (200, "3", "2")
    assert limits(shop.ask("GET", "/nowhere")) == (404, "3", "1")
    assert limits(shop.ask("GET", "/limited")) == (200, "3", "0")
    for method, path in [
        ("GET", "/payments"),
        ("POST", "/payments"),
        ("GET", "/nowhere"),
        ("GET", "/limited"),
    ]:
        assert settled(shop.ask(method, path)) == denied(f"{method}:{path}", "3/hour", 3)
    for path in ("/items/7", "/health", "/login"):
        assert limits(shop.ask("GET", path)) == (200, None, None)
    assert shop.ask("POST", "/health").status == 429
    assert [shop.ask("GET", "/probe").status for _ in range(3)] == [200, 200, 429]


def test_layers_are_charged_together_or_not_at_all(shop: Shop) -> None:
    shop.operator.set_global_rate_limit("4/hour")
    shop.operator.set_service_rate_limit(SERVICE, "5/hour")

    assert statuses(shop, "/limited", *[NOBODY] * 5) == [200, 200, 429, 429, 429]
    assert limits(shop.ask("GET", "/payments")) == (200, "4", "1")


def test_a_scopes_limit_is_paused_and_taken_up_again(shop: Shop) -> None:
    shop.operator.set_global_rate_limit("1/hour")
    assert statuses(shop, "/payments", NOBODY, NOBODY) == [200, 429]

    shop.operator.disable_global_rate_limit()
    assert limits(shop.ask("GET", "/payments")) == (200, None, None)
    shop.operator.enable_global_rate_limit()
    assert shop.ask("GET", "/payments").status == 429
    shop.operator.reset_global_rate_limit()
    assert shop.ask("GET", "/payments").status == 200
    shop.operator.delete_global_rate_limit()
    assert limits(shop.ask("GET", "/payments")) == (200, None, None)


def test_an_operators_policy(shop: Shop) -> None:
    key = {"X_API_Key": "a"}
    assert statuses(shop, "/by-api-key", key, key) == [200, 429]

    # What it does not name stays: the key is still the API key, and what was counted is counted.
    shop.operator.set_rate_limit_policy("/by-api-key", "GET", "3/hour")
    answers = [shop.ask("GET", "/by-api-key", **key) for _ in range(3)]
    assert [limits(one) for one in answers[:2]] == [(200, "3", "1"), (200, "3", "0")]
    assert settled(answers[2]) == denied("GET:/by-api-key", "3/hour", 3)

    shop.operator.reset_rate_limit("/by-api-key", "GET")
    assert limits(shop.ask("GET", "/by-api-key", **key)) == (200, "3", "2")
    shop.operator.delete_rate_limit_policy("/by-api-key", "GET")
    assert shop.ask("GET", "/by-api-key", **key).status == 429
    shop.operator.set_rate_limit_policy("/by-api-key", "GET", "unlimited")
    assert limits(shop.ask("GET", "/by-api-key", **key)) == (200, None, None)


def test_a_policy_for_a_route_that_the_code_does_not_limit(shop: Shop) -> None:
    shop.operator.set_rate_limit_policy("/payments", "POST", "1/hour")

    assert [shop.ask("POST", "/payments").status for _ in range(2)] == [200, 429]
    assert limits(shop.ask("GET", "/payments")) == (200, None, None)


def test_a_reset_leaves_the_neighbour_alone(shop: Shop) -> None:
    for path in ("/limited", "/limited/7"):
        statuses(shop, path, *[NOBODY] * 2)

    shop.operator.reset_rate_limit("/limited", "GET")

    assert statuses(shop, "/limited", NOBODY) == [200]
    assert statuses(shop, "/limited/7", NOBODY) == [429]


def test_a_policy_changed_to_tiers_at_runtime(shop: Shop) -> None:
    tiers = [{"name": "gold", "limit": "3/hour"}]
    shop.operator.set_rate_limit_policy("/payments", "GET", "1/hour", key_strategy="user", tiers=tiers)
    gold, other = user("ann plan=gold"), user("bob")

    assert limits(shop.ask("GET", "/payments", **gold)) == (200, "3", "2")
    assert statuses(shop, "/payments", other, other) == [200, 429]


def test_what_the_lifecycle_blocks_is_not_charged(shop: Shop) -> None:
    assert statuses(shop, "/closed-and-limited", *[NOBODY] * 3) == [503] * 3
    shop.operator.enable("GET:/closed-and-limited")
    assert statuses(shop, "/closed-and-limited", *[NOBODY] * 2) == [200, 429]


@pytest.mark.parametrize("path", ["/gated-and-limited", "/gated-and-limited/"])
def test_a_closed_gate_with_a_limit_is_an_unknown_url(shop: Shop, path: str) -> None:
    shop.operator.set_global_rate_limit("9/hour", key_strategy="api_key")

    def ask(name: str, caller: str) -> Answer:
        answer = settled(shop.ask("GET", path.replace("gated-and-limited", name), X_API_Key=caller))
        return answer._replace(body=re.sub(name.encode(), b"nope", answer.body))

    for _ in range(10):
        assert ask("gated-and-limited", "a") == ask("nope", "b")
    assert ask("nope", "b").status == 429


def test_headers_of_deprecation_and_of_limits_together(shop: Shop) -> None:
    headers = shop.ask("GET", "/old-and-limited").headers

    assert (headers["sunset"], headers["x-ratelimit-remaining"]) == ("Tue, 01 Jan 2030 00:00:00 GMT", "1")


def test_the_redirect_to_the_slash_is_charged_to_the_wider_limits_alone(shop: Shop) -> None:
    shop.operator.set_global_rate_limit("1/hour")

    assert limits(shop.ask("GET", "/limited/"))[1:] == ("1", "0")
    assert shop.ask("GET", "/limited/").status == 429
    shop.operator.delete_global_rate_limit()
    assert limits(shop.ask("GET", "/limited")) == (200, "2", "1")


def test_the_engines_check_counts_with_the_requests(shop: Shop) -> None:
    assert limits(shop.ask("GET", "/limited")) == (200, "2", "1")

    result: Any = shop.operator.check("/limited", "GET", {"ip": "127.0.0.1"})

    assert (result.allowed, result.limit, result.remaining) == (True, 2, 0)
    assert shop.ask("GET", "/limited").status == 429
