"""What every view of the API has in common."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from django.apps import apps
from django.db import transaction
from django.http import Http404, HttpRequest
from django.utils import translation
from django.utils.http import parse_etags
from pydantic import BaseModel
from rest_framework import serializers
from rest_framework.exceptions import (
    NotAuthenticated,
    PermissionDenied,
    UnsupportedMediaType,
    ValidationError,
)
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from shield_core.events import dumped, effective, now
from shield_core.keys import check_service
from shield_core.models import RouteState
from shield_core.plan import Authorship
from shield_core.sync import SyncEngine
from shield_django.api import errors
from shield_django.api.authentication import Credentials
from shield_django.api.bodies import Query
from shield_django.api.formats import (
    BODY_LIMIT,
    Browsable,
    JSONAnswer,
    JSONBody,
    JSONFirst,
    is_in_utf8,
    measure_body,
    prefers_html,
    refuse_forms,
)
from shield_django.api.keys import decode_key, parse_key
from shield_django.auth.access import Rule, may_reach, may_touch, rule_of
from shield_django.auth.principals import Principal
from shield_django.auth.sources import source_of
from shield_django.control import ControlPlane, control_of

_REVISION = re.compile(r'(?:W/)?"([0-9]{1,18})"|([0-9]{1,18})')


@dataclass(frozen=True)
class Operation:
    """What a method of a view takes and answers; the schema is made of it."""

    answers: Any
    takes: type[serializers.Serializer[Any]] | None = None
    asks: type[serializers.Serializer[Any]] = Query
    status: int = 200


def operation(
    answers: Any,
    *,
    takes: type[serializers.Serializer[Any]] | None = None,
    asks: type[serializers.Serializer[Any]] = Query,
    status: int = 200,
) -> Callable[[Callable[..., Any]], Callable[..., Response]]:
    """Let a method return plain values; its body and query are in ``said`` and ``asked``, validated."""

    def decorate(handler: Callable[..., Any]) -> Callable[..., Response]:
        @functools.wraps(handler)
        def answer(self: ControlView, request: Request, **where: str) -> Response:
            found = handler(self, **where)
            return found if isinstance(found, Response) else Response(self.shown(found), status=status)

        answer.operation = Operation(answers, takes, asks, status)  # type: ignore[attr-defined]
        return answer

    return decorate


class ControlRequest(Request):
    """DRF's request, which leaves the project's own as it is: its middleware knows no ``Principal``."""

    @property
    def user(self) -> Any:
        return super().user

    @user.setter
    def user(self, user: Any) -> None:
        self._user = user


class ControlView(APIView):
    """A view over ``control``: sync, and out of reach of the host's REST_FRAMEWORK.

    ``endpoint`` names it in the table of ``auth.access``.
    """

    endpoint = ""
    #: Under any maintenance the operator reaches the controls (shield_django.openness).
    always_open = True
    body_limit = BODY_LIMIT

    authentication_classes = [Credentials]
    permission_classes = []
    throttle_classes = []
    parser_classes = [JSONBody]
    renderer_classes = [JSONAnswer]
    content_negotiation_class = JSONFirst
    metadata_class = None
    versioning_class = None
    schema = None  # keeps it out of the host's own schema; ours is in api.schema

    control: ControlPlane
    said: dict[str, Any]
    asked: dict[str, Any]
    etag = ""

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        # The engine commits by itself; a failed login is written down although the answer is an error.
        return transaction.non_atomic_requests(super().as_view(**initkwargs))

    # -- before the handler -----------------------------------------------------------------

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        with translation.override("en"):  # half of the sentences are Django's and DRF's, half our own
            return super().dispatch(request, *args, **kwargs)

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        return ControlRequest(
            request,
            parsers=self.get_parsers(),
            authenticators=self.get_authenticators(),
            negotiator=self.get_content_negotiator(),
            parser_context=self.get_parser_context(request),
        )

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        plain = request._request
        self.control = control_of(plain)
        if not is_in_utf8(plain):
            raise UnsupportedMediaType(request.content_type, "Everything is read as UTF-8.")
        measure_body(plain, self.body_limit)
        refuse_forms(request)
        super().initial(request, *args, **kwargs)
        handled = self._operation(request)
        if handled is None:
            return
        if self._is_for_browser(request):
            request.accepted_renderer = Browsable()
            request.accepted_media_type = "text/html"
        self.asked = validated(handled.asks, request.query_params.dict())
        self.said = validated(handled.takes, request.data) if handled.takes else {}

    def perform_authentication(self, request: Request) -> None:
        """Pass it over where everybody may come in, also with a token that has expired."""
        if not self._is_public(request):
            super().perform_authentication(request)

    def check_permissions(self, request: Request) -> None:
        if self._operation(request) is None or self._is_public(request):
            return  # where there is no such method, DRF answers 405
        if _who(request) is None:
            raise NotAuthenticated("Log in first: POST /api/auth/login, then send the token as a Bearer.")
        self.admit(rule_of(self.endpoint, request.method or ""))

    def admit(self, rule: Rule | None) -> None:
        """Raise PermissionDenied where this caller may not do what ``rule`` is about."""
        if rule is None:
            raise PermissionDenied("No rule says who may do this.")
        if may_reach(self.principal, rule):
            return
        if self.principal.is_sdk:
            raise PermissionDenied(f"This is for operators. {self.reach}")
        needed = " and ".join(rule.permissions or ())
        raise PermissionDenied(f"{self.principal} may not do this: it takes the permission {needed}.")

    def _operation(self, request: Request) -> Operation | None:
        """What this method does here, None where there is no such method."""
        handler = getattr(self, (request.method or "").lower(), None)
        return getattr(handler, "operation", None)

    def _is_public(self, request: Request) -> bool:
        rule = rule_of(self.endpoint, request.method or "")
        return rule is not None and rule.permissions is None

    def _is_for_browser(self, request: Request) -> bool:
        if self._is_public(request) or not prefers_html(request) or not apps.is_installed("rest_framework"):
            return False
        who = _who(request)
        return who is not None and not who.is_sdk

    # -- what handlers work with ------------------------------------------------------------

    @property
    def sync(self) -> SyncEngine:
        return self.control.engine.sync

    @property
    def principal(self) -> Principal:
        found = _who(self.request)
        assert found is not None
        return found

    @property
    def service(self) -> str | None:
        """The service of a path without one: a service's own, else what an operator named."""
        if self.principal.is_sdk:
            return self.principal.service
        headers = self.request.headers
        named = self.asked.get("service") or headers.get("X-Shield-Service") or self.app_id
        return check_service(named) if named else None

    @property
    def app_id(self) -> str | None:
        """The service that a program says it is."""
        named = self.request.headers.get("X-Shield-App-Id")
        return check_service(named) if named else None

    def target(self, text: str) -> str:
        """Return the key, or the view's name, that ``text`` stands for, where this caller may touch it."""
        if "/" not in text:
            self.allow(None)
            return text
        key = parse_key(text, self.service)
        self.allow(key.service)
        return str(key)

    def target_in_url(self, text: str) -> str:
        return self.target(decode_key(text))

    def allow(self, service: str | None) -> None:
        """Raise PermissionDenied where this caller may not touch what belongs to ``service``."""
        if not may_touch(self.principal, service):
            raise PermissionDenied(self.reach)

    @property
    def reach(self) -> str:
        """What is to be said to a service that wants more."""
        own = self.principal.service
        if own is None:
            return "This token belongs to no service yet: register first."
        return f"This token reaches only the service {own!r}."

    @property
    def by(self) -> Authorship:
        """Who changes something, why and from where."""
        return {
            **source_of(self.request._request),
            "actor": self.principal.get_username(),
            "platform": self.principal.platform,
            "note": self._why("note"),
            "expected_revision": self.expected_revision,
        }

    @property
    def reason(self) -> str:
        return self._why("reason")

    def _why(self, name: str) -> str:
        return self.said.get(name) or self.asked.get(name) or ""

    @property
    def expected_revision(self) -> int | None:
        """The revision of ``If-Match``; any is right for ``*``."""
        text = self.request.headers.get("If-Match", "").strip()
        if text in ("", "*"):
            return None
        match = _REVISION.fullmatch(text)
        if match is None:
            raise ValidationError(f'If-Match: {text[:80]!r} is no revision; write it as "12".')
        return int(match[1] or match[2])

    # -- answers ----------------------------------------------------------------------------

    def shown(self, value: Any) -> Any:
        """Return ``value`` as JSON: a route with its effective status, unless the client wants details."""
        match value:
            case RouteState():
                self.etag = self.etag or f'"{value.revision}"'
                told = value if self.asked.get("detail") else effective(value, now())
                return dumped(told, for_service=self.principal.is_sdk)
            case BaseModel():
                revision = getattr(value, "revision", None)
                if revision is not None:
                    self.etag = self.etag or f'"{revision}"'
                return dumped(value, for_service=self.principal.is_sdk)
            case list():
                return [self.shown(one) for one in value]
        return value

    def unless_known(self, *parts: Iterable[Any]) -> None:
        """Answer 304 to a client that has seen what ``parts`` tell apart."""
        told = repr((self.control.snapshot.epoch, self.asked, self.service, *map(list, parts)))
        self.etag = f'"{hashlib.sha256(told.encode()).hexdigest()[:32]}"'
        known = parse_etags(self.request.headers.get("If-None-Match", ""))
        if "*" in known or self.etag in {one.removeprefix("W/") for one in known}:
            raise errors.NotModified

    def handle_exception(self, exc: Exception) -> Response:
        request = self.request
        if request.headers.get("X-Requested-With") != "XMLHttpRequest":
            request.accepted_renderer, request.accepted_media_type = JSONAnswer(), JSONAnswer.media_type
        return super().handle_exception(exc)

    def get_exception_handler(self) -> Any:
        return errors.answer

    @property
    def allowed_methods(self) -> list[str]:
        return [
            name.upper() for name in self.http_method_names if hasattr(getattr(self, name, None), "operation")
        ]

    @property
    def default_response_headers(self) -> dict[str, str]:
        return {"Allow": ", ".join(self.allowed_methods)}

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        if self.etag and response.status_code < 400:
            response["ETag"] = self.etag
        if response.status_code < 400 and not self._is_public(request):
            # For a command line, which tells what it has changed, and where.
            response["X-Shield-Environment"] = quote(self.control.engine.current_env or "")
        response.setdefault("Cache-Control", "private, no-cache" if self.etag else "no-store")
        response.setdefault("Vary", "Accept, Authorization, X-Shield-Token, Cookie")
        response.setdefault("X-Content-Type-Options", "nosniff")
        return response

    # -- names on the browsable page ------------------------------------------------------------

    def get_view_name(self) -> str:
        return f"Shield: {self.endpoint.replace('-', ' ')}"

    def get_view_description(self, html: bool = False) -> str:
        return (type(self).__doc__ or "").strip()


def _who(request: Request) -> Principal | None:
    user: Any = request.user
    return user if isinstance(user, Principal) else None


def validated(kind: type[serializers.Serializer[Any]], data: Any) -> dict[str, Any]:
    """Return ``data`` as ``kind`` reads it. Raises ValidationError."""
    serializer = kind(data=data)
    serializer.is_valid(raise_exception=True)
    found: dict[str, Any] = serializer.validated_data
    return found


class NotFound(ControlView):
    """Every address of the API that there is not."""

    endpoint = "nothing"

    def get_view_name(self) -> str:
        return ""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise Http404
