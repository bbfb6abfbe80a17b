"""Who is asking: address, API key, user, roles, tiers and functions, as Starlette tells them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser, SimpleUser
from starlette.middleware.authentication import AuthenticationMiddleware

from shield_core.engine import ShieldEngine
from shield_fastapi import ShieldMiddleware, rate_limit
from tests.fastapi_app.caller import Caller

Statuses = Callable[..., Awaitable[list[int]]]


class ByHeader(AuthenticationBackend):
    """``X-User: ann admin``: a name and scopes."""

    async def authenticate(self, conn: Any) -> tuple[AuthCredentials, BaseUser] | None:
        name, *scopes = conn.headers.get("x-user", "").split() or [""]
        return (AuthCredentials(scopes), SimpleUser(name)) if name else None


def application(limit: Any, engine: ShieldEngine, note: Callable[[Request], None] | None = None) -> Caller:
    """An application that knows its users outside of Shield."""
    app = FastAPI()

    @app.get("/x")
    @limit
    async def x() -> Any:
        return {}

    app.add_middleware(ShieldMiddleware, engine=engine)
    if note is not None:

        @app.middleware("http")
        async def outer(request: Request, call_next: Any) -> Any:
            note(request)
            return await call_next(request)

    else:
        app.add_middleware(AuthenticationMiddleware, backend=ByHeader())
    return Caller(app)


async def statuses(caller: Caller, *headers: dict[str, str]) -> list[int]:
    return [await caller.status("/x", headers=one) for one in headers]


def user(name: str) -> dict[str, str]:
    return {"X-User": name}


async def test_users_of_the_authentication_middleware(engine: Any) -> None:
    caller = application(rate_limit("1/hour", key="user"), engine)

    assert await statuses(caller, user("ann"), user("ann"), user("bob")) == [200, 429, 200]
    assert await statuses(caller, {}, {}, {}) == [200, 200, 200]


@pytest.mark.parametrize(
    "missing, expected", [("exempt", [200] * 3), ("fallback_ip", [200, 429, 429]), ("block", [429] * 3)]
)
async def test_without_a_user(engine: Any, missing: str, expected: list[int]) -> None:
    caller = application(rate_limit("1/hour", key="user", on_missing_key=missing), engine)

    assert await statuses(caller, {}, {}, {}) == expected


@pytest.mark.parametrize("name", ["user", "user_id"])
async def test_users_in_the_state_of_the_request(engine: Any, name: str) -> None:
    def note(request: Request) -> None:
        if "x-user" in request.headers:
            setattr(request.state, name, request.headers["x-user"])

    caller = application(rate_limit("1/hour", key="user"), engine, note)

    assert await statuses(caller, user("ann"), user("ann"), user("bob"), {}, {}) == [200, 429, 200, 200, 200]


@pytest.mark.parametrize("kind", ["object", "dictionary", "state"])
async def test_tiers(engine: Any, kind: str) -> None:
    def note(request: Request) -> None:
        name, plan = request.headers["x-user"].split()
        request.state.user = SimpleNamespace(id=name, plan=plan) if kind == "object" else {"id": name}
        if kind == "dictionary":
            request.state.user["plan"] = plan
        if kind == "state":
            request.state.plan = plan

    limit = rate_limit({"free": "1/hour", "pro": "2/hour", "staff": "unlimited"}, key="user")
    caller = application(limit, engine, note)

    assert await statuses(caller, *[user("ann free")] * 2) == [200, 429]
    assert await statuses(caller, *[user("bob pro")] * 3) == [200, 200, 429]
    assert await statuses(caller, *[user("cid staff")] * 5) == [200] * 5
    assert await statuses(caller, *[user("dan unheard-of")] * 2) == [200, 429]


@pytest.mark.parametrize("where", ["scopes", "user", "state", "flag"])
async def test_exempt_roles(engine: Any, where: str) -> None:
    def note(request: Request) -> None:
        name, *roles = request.headers["x-user"].split()
        request.state.user = SimpleNamespace(id=name)
        if where == "user":
            request.state.user.roles = roles
        elif where == "flag":
            request.state.user.is_staff = "staff" in roles
        else:
            request.state.user_roles = roles

    limit = rate_limit("1/hour", exempt_roles=["staff"])
    caller = application(limit, engine, None if where == "scopes" else note)

    assert await statuses(caller, *[user("ann staff")] * 3) == [200, 200, 200]
    assert await statuses(caller, *[user("bob guest")] * 3) == [200, 429, 429]


async def awaited_key(request: Request) -> str | None:
    return request.headers.get("x-user")


def plain_key(request: Request) -> str | None:
    return request.headers.get("x-user")


@pytest.mark.parametrize("key", [plain_key, awaited_key])
async def test_functions_as_keys(engine: Any, key: Any) -> None:
    caller = application(rate_limit("1/hour", key=key), engine)

    assert await statuses(caller, user("ann"), user("ann"), user("bob")) == [200, 429, 200]
    assert await statuses(caller, {}, {}) == [200, 200]


async def awaited_tier(request: Request) -> str:
    return request.headers["x-user"]


def plain_tier(request: Request) -> str:
    return request.headers["x-user"]


@pytest.mark.parametrize("tier", [plain_tier, awaited_tier])
async def test_functions_as_tiers(engine: Any, tier: Any) -> None:
    limit = rate_limit({"free": "1/hour", "pro": "2/hour"}, tier_resolver=tier)
    caller = application(limit, engine)

    assert await statuses(caller, *[user("free")] * 2) == [200, 429]
    assert await statuses(caller, *[user("pro")] * 3) == [200, 200, 429]


async def test_api_keys(engine: Any) -> None:
    caller = application(rate_limit("1/hour", key="api_key"), engine)
    ann, bob = {"X-API-Key": "ann-secret"}, {"X-API-Key": "bob-secret"}

    assert await statuses(caller, ann, ann, bob) == [200, 429, 200]
    assert await statuses(caller, {}, {}) == [200, 429]  # by address, where there is no key
    hits = await engine.get_rate_limit_hits()
    assert not any("secret" in hit.key for hit in hits)


def forwarded(text: str) -> dict[str, str]:
    return {"X-Forwarded-For": text}


async def test_forged_addresses_are_one_caller(engine: Any) -> None:
    caller = application(rate_limit("1/hour"), engine)

    assert await statuses(caller, *(forwarded(f"192.0.2.{last}") for last in range(20))) == [200] + [429] * 19


async def test_trusted_proxies_count_from_the_right() -> None:
    async with ShieldEngine(num_proxies=1) as engine:
        caller = application(rate_limit("1/hour"), engine)

        assert await statuses(caller, forwarded("192.0.2.1"), forwarded("192.0.2.2")) == [200, 200]
        forged = [forwarded(f"198.51.100.{last}, 192.0.2.1") for last in range(5)]
        assert await statuses(caller, *forged) == [429] * 5
        assert await statuses(caller, forwarded("2001:db8::1"), forwarded("2001:db8::2")) == [200, 429]


async def test_several_headers_of_proxies_are_one_list() -> None:
    async with ShieldEngine(num_proxies=1) as engine:
        caller = application(rate_limit("1/hour"), engine)
        lines = [("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-For", "192.0.2.1")]

        found = [await caller.status("/x", headers=one) for one in (lines, lines[::-1])]

    assert found == [200, 200]


async def test_exempt_addresses() -> None:
    async with ShieldEngine(num_proxies=1) as engine:
        caller = application(rate_limit("1/hour", exempt_ips=["10.0.0.0/8"]), engine)

        assert await statuses(caller, *[forwarded("10.1.2.3")] * 3) == [200, 200, 200]
        assert await statuses(caller, *[forwarded("192.0.2.1")] * 2) == [200, 429]
