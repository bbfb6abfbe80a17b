"""Limits of DRF views by user: authenticated as the view will, charged once, and nothing disturbed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.urls import include, path
from rest_framework.authentication import TokenAuthentication
from rest_framework.authtoken.models import Token
from rest_framework.decorators import action, api_view, authentication_classes
from rest_framework.parsers import MultiPartParser
from rest_framework.response import Response
from rest_framework.routers import DefaultRouter
from rest_framework.throttling import AnonRateThrottle, UserRateThrottle
from rest_framework.viewsets import ViewSet

from shield_django.decorators import rate_limit
from shield_django.testing import rate_limits
from tests.django_app.callers import Caller
from tests.django_app.limited import Api, SignedToken, limited

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _limits_apply() -> Any:
    with rate_limits():
        yield


class LimitedApi(Api):
    get = rate_limit("10/366d", key="user")(lambda *args, **kwargs: Api.get(*args, **kwargs))
    post = rate_limit("10/366d", key="user")(lambda *args, **kwargs: Api.post(*args, **kwargs))


class StrictApi(Api):
    post = rate_limit("2/366d", key="user", on_missing_key="block")(
        lambda *args, **kwargs: Api.post(*args, **kwargs)
    )


@rate_limit("10/366d", key="user")
@api_view(["GET"])
@authentication_classes([TokenAuthentication, SignedToken])
def function_api(request: Any) -> Response:
    return Response({"user": request.user.username})


class LimitedSet(ViewSet):
    authentication_classes = (TokenAuthentication, SignedToken)

    @rate_limit("10/366d", key="user")
    def list(self, request: Any) -> Response:
        return Response({"user": request.user.username})

    @rate_limit("10/366d", key="user")
    @action(detail=False, authentication_classes=[SignedToken])
    def signed(self, request: Any) -> Response:
        return Response({"user": request.user.username})

    def get_authenticators(self) -> Any:
        assert self.request.method
        assert self.action_map
        return super().get_authenticators()


def router() -> Any:
    made = DefaultRouter()
    made.register("set", LimitedSet, basename="set")
    return made.urls


@pytest.fixture(autouse=True)
def _urls(urls: Any) -> None:
    urls(
        path("api/", LimitedApi.as_view()),
        path("strict/", StrictApi.as_view()),
        path("function/", function_api),
        path("", include(router())),
    )


def person(name: str = "ann") -> Any:
    return get_user_model().objects.create(username=name)


def token_of(name: str) -> dict[str, str]:
    return {"authorization": f"Token {Token.objects.create(user=person(name)).key}"}


def signed(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {name}.signed"}


VIEWS = ["/api/", "/function/", "/set/"]


@pytest.mark.parametrize(
    "url, credentials",
    [*((url, make) for url in VIEWS for make in (token_of, signed)), ("/set/signed/", signed)],
)
def test_the_eleventh_request_of_a_token_user_is_429(
    client: Caller, url: str, credentials: Callable[[str], dict[str, str]]
) -> None:
    ann, bob = credentials("ann"), credentials("robert")

    answers = [client.get(url, **ann) for _ in range(11)]
    assert [one.status_code for one in answers] == [200] * 10 + [429]
    assert [int(one["X-RateLimit-Remaining"]) for one in answers] == [*range(9, -1, -1), 0]
    assert json.loads(answers[0].content)["user"] == "ann"
    assert client.status(url, **bob) == 200


def test_session_users_too(client: Caller) -> None:
    client.client.force_login(person())

    assert [client.status("/api/") for _ in range(11)] == [200] * 10 + [429]


@pytest.mark.parametrize("url", VIEWS)
@pytest.mark.parametrize("forged", ["Token 0123456789", "Bearer ann.forged", "Bearer ann.expired", "Token"])
def test_a_forged_or_expired_token_is_a_missing_key(client: Caller, url: str, forged: str) -> None:
    answers = [client.get(url, authorization=forged) for _ in range(12)]

    assert {one.status_code for one in answers} == {403 if url == "/api/" else 401}
    assert "X-RateLimit-Limit" not in answers[-1]


def test_a_missing_key_can_be_blocked(client: Caller) -> None:
    assert client.status("/strict/", "POST", authorization="Bearer ann.forged") == 429
    assert client.status("/strict/", "POST") == 429
    assert [client.status("/strict/", "POST", **signed("ann")) for _ in range(3)] == [200, 200, 429]


def test_an_inactive_user_is_a_missing_key(client: Caller) -> None:
    credentials = token_of("ann")
    get_user_model().objects.update(is_active=False)

    assert {client.status("/api/", **credentials) for _ in range(12)} == {403}
    assert client.status("/strict/", "POST", **credentials) == 429


# -- the view finds all as it would without Shield ---------------------------------------------


def test_the_view_authenticates_as_ever(client: Caller) -> None:
    client.client.force_login(person("session"))

    told = json.loads(client.get("/api/").content)
    assert told == {"user": "session", "how": "SessionAuthentication", "same": "session"}
    client.client.logout()
    told = json.loads(client.get("/api/", **signed("ann")).content)
    assert told == {"user": "ann", "how": "SignedToken", "same": "ann"}


def test_a_token_user_meets_no_csrf_check_of_the_session_way(client: Caller) -> None:
    client.client.handler.enforce_csrf_checks = True

    assert client.status("/api/", "POST", **signed("ann")) == 200


def test_a_session_without_csrf_token_is_refused_by_the_view_and_is_a_missing_key(client: Caller) -> None:
    client.client.force_login(person())
    client.client.handler.enforce_csrf_checks = True

    answers = [client.post("/api/") for _ in range(12)]
    assert {one.status_code for one in answers} == {403}
    assert b"CSRF" in answers[-1].content
    assert client.status("/strict/", "POST") == 429


@pytest.mark.parametrize(
    "body, content_type, seen",
    [
        (b'{"a": 1}', "application/json", {"a": 1}),
        (b"a=1", "application/x-www-form-urlencoded", {"a": "1"}),
        (
            b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--B--\r\n',
            "multipart/form-data; boundary=B",
            {"a": "1"},
        ),
    ],
)
@pytest.mark.parametrize("with_session", [False, True])
def test_the_body_is_the_views(
    client: Caller, body: bytes, content_type: str, seen: Any, with_session: bool
) -> None:
    credentials: dict[str, str] = {} if with_session else signed("ann")
    if with_session:
        client.client.force_login(person())

    answer = client.post("/api/", data=body, content_type=content_type, **credentials)
    assert json.loads(answer.content)["data"] == seen


def test_a_stream_is_not_read_before_the_view(client: Caller, urls: Any) -> None:
    class Upload(Api):
        parser_classes = (MultiPartParser,)

        @rate_limit("10/366d", key="user")
        def post(self, request: Any) -> Response:
            return Response({"read": request._request._read_started})

    urls(path("upload/", Upload.as_view()))
    answer = client.post("/upload/", data=b"x" * 100, content_type="multipart/form-data", **signed("ann"))
    assert json.loads(answer.content) == {"read": False}


def test_a_function_sees_the_user_of_the_view(client: Caller, urls: Any) -> None:
    class ByName(Api):
        get = rate_limit("1/366d", key=lambda request: request.user.username)(
            lambda *args, **kwargs: Api.get(*args, **kwargs)
        )

    urls(path("named/", ByName.as_view()))
    assert [client.status("/named/", **signed("ann")) for _ in range(2)] == [200, 429]
    assert client.status("/named/", **signed("bob")) == 200
    assert client.status("/named/", authorization="Bearer ann.forged") == 403


def test_a_limit_by_address_does_not_authenticate(client: Caller, urls: Any) -> None:
    asked = []

    class Counting(SignedToken):
        def authenticate(self, request: Any) -> Any:
            asked.append(request)
            return super().authenticate(request)

    class ByAddress(Api):
        authentication_classes = (Counting,)
        get = rate_limit("1/366d")(lambda *args, **kwargs: Api.get(*args, **kwargs))

    urls(path("cart/", ByAddress.as_view()))
    assert [client.status("/cart/", **signed("ann")) for _ in range(2)] == [200, 429]
    assert len(asked) == 1


def test_drf_throttles_keep_working_beside_limits(client: Caller, urls: Any, settings: Any) -> None:
    class Slow(UserRateThrottle):
        rate = "3/min"

    class SlowStrangers(AnonRateThrottle):
        rate = "2/min"

    class Throttled(Api):
        permission_classes = ()
        throttle_classes = (Slow, SlowStrangers)

        @rate_limit("5/366d", key="user")
        def get(self, request: Any) -> Response:
            return Response({})

    from django.core.cache import cache

    cache.clear()
    urls(path("cart/", Throttled.as_view()), path("plain/", limited()))
    answers = [client.get("/cart/", **signed("ann")) for _ in range(6)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429, 429, 429]
    assert b"throttled" in answers[4].content
    assert b"RATE_LIMIT_EXCEEDED" in answers[5].content
    assert [client.status("/cart/") for _ in range(3)] == [200, 200, 429]
