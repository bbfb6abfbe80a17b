"""Who is counted: addresses, API keys, users, roles, tiers and functions of the project's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, Group
from django.http import HttpResponse
from django.test import AsyncClient
from django.urls import path

from shield_django.testing import rate_limits
from tests.django_app.callers import Caller
from tests.django_app.limited import limited, limited_async


@pytest.fixture(autouse=True)
def _limits_apply() -> Any:
    with rate_limits():
        yield


def many(client: Caller, count: int, **options: Any) -> list[int]:
    return [client.status("/cart/", **options) for _ in range(count)]


def user(name: str = "ann", **values: Any) -> Any:
    return get_user_model().objects.create(username=name, **values)


def log_in(client: Caller, who: Any) -> None:
    client.client.force_login(who)


# -- addresses ---------------------------------------------------------------------------------


def test_forged_addresses_are_one_caller(client: Caller, urls: Any) -> None:
    urls(path("cart/", limited("100/366d")))

    statuses = [client.status("/cart/", x_forwarded_for=f"198.51.{n // 250}.{n % 250}") for n in range(300)]
    assert statuses == [200] * 100 + [429] * 200


def test_behind_proxies_the_client_is_counted_from_the_right(
    client: Caller, urls: Any, settings: Any
) -> None:
    settings.SHIELD_NUM_PROXIES = 2
    urls(path("cart/", limited("1/366d")))

    assert many(client, 2, x_forwarded_for="6.6.6.6, 192.0.2.1, 10.0.0.1") == [200, 429]
    assert many(client, 1, x_forwarded_for="7.7.7.7, 192.0.2.1, 10.0.0.1") == [429]
    assert many(client, 1, x_forwarded_for="6.6.6.6, 192.0.2.2, 10.0.0.1") == [200]


def test_an_ipv6_network_is_one_caller(client: Caller, urls: Any, settings: Any) -> None:
    settings.SHIELD_NUM_PROXIES = 1
    urls(path("cart/", limited("1/366d")))

    assert many(client, 1, x_forwarded_for="2001:db8::1") == [200]
    assert many(client, 1, x_forwarded_for="2001:db8::2") == [429]
    assert many(client, 1, x_forwarded_for="2001:db8:0:1::1") == [200]


def test_exempt_addresses(client: Caller, urls: Any) -> None:
    urls(path("cart/", limited("1/366d", exempt_ips=["127.0.0.0/8"])))

    assert many(client, 3) == [200] * 3


# -- keys --------------------------------------------------------------------------------------


def test_api_keys_and_the_address_without_one(client: Caller, urls: Any, operator: Any) -> None:
    urls(path("cart/", limited("1/366d", key="api_key")))

    assert many(client, 2, x_api_key="one") == [200, 429]
    assert many(client, 1, x_api_key="two") == [200]
    assert many(client, 2) == [200, 429]
    assert "one" not in [hit.key for hit in operator.get_rate_limit_hits()]


def test_one_count_for_all(client: Caller, urls: Any, settings: Any) -> None:
    settings.SHIELD_NUM_PROXIES = 1
    urls(path("cart/", limited("1/366d", key="global")))

    assert [client.status("/cart/", x_forwarded_for=f"192.0.2.{n}") for n in (1, 2)] == [200, 429]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("view", [limited, limited_async])
def test_users_have_counts_of_their_own(client: Caller, urls: Any, view: Any) -> None:
    urls(path("cart/", view("2/366d", key="user")))

    assert many(client, 5) == [200] * 5  # nobody knows them: exempt
    log_in(client, user("ann"))
    assert many(client, 3) == [200, 200, 429]
    log_in(client, user("bob"))
    assert many(client, 1) == [200]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "missing, statuses", [("exempt", [200] * 3), ("fallback_ip", [200, 429, 429]), ("block", [429] * 3)]
)
def test_a_missing_key(client: Caller, urls: Any, missing: str, statuses: list[int]) -> None:
    urls(path("cart/", limited("1/366d", key="user", on_missing_key=missing)))

    assert many(client, 3) == statuses


def test_a_project_without_users(client: Caller, urls: Any, settings: Any) -> None:
    settings.MIDDLEWARE = ["shield_django.middleware.ShieldMiddleware"]
    urls(path("cart/", limited("1/366d", key="user", on_missing_key="block")))

    assert many(client, 1) == [429]


class SetsUser:
    """A middleware of a project that knows its users in its own way."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        if name := request.headers.get("x-name"):
            request.user = get_user_model()(pk=len(name), username=name)
        return self.get_response(request)


@pytest.mark.django_db(transaction=True)
def test_a_user_whom_a_middleware_has_set(client: Caller, urls: Any, settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.SetsUser"]
    urls(path("cart/", limited("1/366d", key="user")))

    assert many(client, 2, x_name="ann") == [200, 429]
    assert many(client, 1, x_name="anna") == [200]


# -- functions ---------------------------------------------------------------------------------


def by_tenant(request: Any) -> str | None:
    return request.headers.get("x-tenant")


async def by_tenant_async(request: Any) -> str | None:
    await asyncio.sleep(0)
    return request.headers.get("x-tenant")


class ByTenant:
    async def __call__(self, request: Any) -> str | None:
        return await by_tenant_async(request)


@pytest.mark.parametrize("key", [by_tenant, by_tenant_async, ByTenant()])
@pytest.mark.parametrize("view", [limited, limited_async])
def test_functions_tell_the_key(client: Caller, urls: Any, key: Any, view: Any) -> None:
    urls(path("cart/", view("1/366d", key=key)))

    assert many(client, 2, x_tenant="one") == [200, 429]
    assert many(client, 1, x_tenant="two") == [200]
    assert many(client, 2) == [200, 200]


@pytest.mark.django_db(transaction=True)
def test_a_function_may_ask_the_database(client: Caller, urls: Any) -> None:
    Group.objects.create(name="gold")
    urls(path("cart/", limited("1/366d", key=lambda request: Group.objects.get().name)))

    assert many(client, 2) == [200, 429]


def test_a_key_by_a_field_of_a_form_leaves_the_body(client: Caller, urls: Any) -> None:
    from shield_django.decorators import rate_limit

    @rate_limit("1/366d", key=lambda request: request.POST.get("name"))
    def view(request: Any) -> HttpResponse:
        return HttpResponse(request.POST["name"])

    urls(path("cart/", view))
    form = {"data": "name=ann", "content_type": "application/x-www-form-urlencoded"}
    assert client.post("/cart/", **form).content == b"ann"
    assert client.post("/cart/", **form).status_code == 429


# -- tiers and roles ---------------------------------------------------------------------------

TIERS = {"free": "1/366d", "pro": "2/366d", "staff": "unlimited"}


class SetsPlan(SetsUser):
    """Users have plans; requests of nobody may have one too."""

    def __call__(self, request: Any) -> Any:
        if plan := request.headers.get("x-plan"):
            request.plan = plan
        if name := request.headers.get("x-name"):
            request.user = get_user_model()(pk=len(name), username=name)
            request.user.plan = request.headers.get("x-user-plan")
        return self.get_response(request)


@pytest.mark.django_db(transaction=True)
def test_tiers_of_users_and_of_requests(client: Caller, urls: Any, settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.SetsPlan"]
    urls(path("cart/", limited(TIERS)))

    assert many(client, 3) == [200, 429, 429]  # the strictest
    assert many(client, 3, x_plan="pro") == [200, 200, 429]
    assert many(client, 3, x_name="ann", x_user_plan="staff") == [200] * 3
    assert many(client, 3, x_name="ann", x_user_plan="free", x_plan="pro") == [200, 429, 429]


@pytest.mark.parametrize("view", [limited, limited_async])
def test_a_function_tells_the_tier(client: Caller, urls: Any, view: Any) -> None:
    async def tier(request: Any) -> str:
        return request.headers["x-plan"]

    urls(path("cart/", view(TIERS, tier_resolver=tier)))
    assert many(client, 2, x_plan="free") == [200, 429]
    assert many(client, 3, x_plan="staff") == [200] * 3


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("view", [limited, limited_async])
@pytest.mark.parametrize("role", ["editors", "staff", "superuser"])
def test_exempt_roles_are_groups_and_flags(client: Caller, urls: Any, view: Any, role: str) -> None:
    urls(path("cart/", view("1/366d", exempt_roles=[role])))
    privileged = user("ann", is_staff=role == "staff", is_superuser=role == "superuser")
    if role == "editors":
        privileged.groups.add(Group.objects.create(name="editors"))

    log_in(client, privileged)
    assert many(client, 3) == [200] * 3
    log_in(client, user("bob"))
    assert many(client, 2) == [200, 429]


class SetsRoles(SetsUser):
    def __call__(self, request: Any) -> Any:
        request.user = get_user_model()(pk=1, username="ann")
        setattr(request.user, request.headers["x-attribute"], request.headers["x-roles"].split())
        return self.get_response(request)


@pytest.mark.parametrize("attribute", ["roles", "role"])
def test_exempt_roles_of_the_users_own(client: Caller, urls: Any, settings: Any, attribute: str) -> None:
    settings.MIDDLEWARE = ["shield_django.middleware.ShieldMiddleware", f"{__name__}.SetsRoles"]
    urls(path("cart/", limited("1/366d", exempt_roles=["support"])))

    assert many(client, 3, x_attribute=attribute, x_roles="sales support") == [200] * 3
    assert many(client, 2, x_attribute=attribute, x_roles="sales") == [200, 429]


@pytest.mark.django_db(transaction=True)
def test_users_are_asked_for_only_where_a_limit_needs_them(
    client: Caller, urls: Any, django_assert_num_queries: Any
) -> None:
    urls(path("cart/", limited("9/366d")), path("mine/", limited("9/366d", key="user")))
    log_in(client, user())

    with django_assert_num_queries(0):
        assert client.status("/cart/") == 200
    with django_assert_num_queries(2):  # the session and the user
        assert client.status("/mine/") == 200


async def test_auser_is_asked_in_async_mode(urls: Any, settings: Any) -> None:
    settings.MIDDLEWARE = ["shield_django.middleware.ShieldMiddleware", f"{__name__}.sets_auser"]
    urls(path("cart/", limited_async("1/366d", key="user")))
    client = AsyncClient()

    assert [(await client.get("/cart/")).status_code for _ in range(2)] == [200, 429]


def sets_auser(get_response: Any) -> Any:
    from django.utils.functional import SimpleLazyObject

    def refuse() -> Any:
        raise AssertionError("the synchronous user was asked for")

    async def auser() -> Any:
        await asyncio.sleep(0)
        return get_user_model()(pk=1, username="ann")

    async def middleware(request: Any) -> Any:
        request.user, request.auser = SimpleLazyObject(refuse), auser
        return await get_response(request)

    return middleware


sets_auser.sync_capable, sets_auser.async_capable = False, True  # type: ignore[attr-defined]


def test_a_limit_that_finds_no_key_says_so_once(
    client: Caller, urls: Any, caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    settings.MIDDLEWARE = ["shield_django.middleware.ShieldMiddleware", f"{__name__}.SetsAnonymous"]
    urls(path("cart/", limited("1/366d", key="user")))
    many(client, 120)

    (record,) = [one for one in caplog.records if one.name == "shield.rate_limit"]
    assert record.scope == "/cart/"


class SetsAnonymous(SetsUser):
    def __call__(self, request: Any) -> Any:
        request.user = AnonymousUser()
        return self.get_response(request)
