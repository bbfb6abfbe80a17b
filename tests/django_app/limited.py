"""Views with limits, of every kind; each test makes a URLconf of those it is about."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import View
from rest_framework.authentication import BaseAuthentication, SessionAuthentication, TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from shield_django.decorators import rate_limit

LIMIT = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


def answer(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    return HttpResponse("ok")


def limited(limit: Any = "2/366d", **options: Any) -> Any:
    """Return a new view with a limit."""

    def view(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        return HttpResponse("ok")

    return rate_limit(limit, **options)(view)


def limited_async(limit: Any = "2/366d", **options: Any) -> Any:
    async def view(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        return HttpResponse("ok")

    return rate_limit(limit, **options)(view)


class PerMethod(View):
    @rate_limit("1/366d")
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("got")

    def post(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("posted")


class SignedToken(BaseAuthentication):
    """A JWT's way: the user is in the token, which may be forged or expired."""

    def authenticate(self, request: Request) -> Any:
        header = request.headers.get("authorization", "")
        if not header.startswith("Bearer "):
            return None
        name, _, signature = header.removeprefix("Bearer ").partition(".")
        if signature != "signed":
            raise AuthenticationFailed(f"the token is {signature or 'not signed'}")
        return User(username=name, pk=len(name)), name

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class Api(APIView):
    """Tells whom it has authenticated, and what it was sent."""

    authentication_classes = (SessionAuthentication, TokenAuthentication, SignedToken)
    permission_classes = (IsAuthenticated,)

    def get(self, request: Request, **kwargs: Any) -> Response:
        how = type(request.successful_authenticator).__name__
        return Response({"user": request.user.username, "how": how, "same": request._request.user.username})

    def post(self, request: Request, **kwargs: Any) -> Response:
        return Response({"user": request.user.username, "data": request.data})


def who(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"user": request.user.username})
