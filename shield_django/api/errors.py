"""What went wrong, as ``{"error": "…"}`` and the right status (CONTRACT §7)."""

from __future__ import annotations

import logging
import math
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.signals import got_request_exception
from django.db import DatabaseError, DataError
from django.http import Http404
from pydantic import ValidationError
from rest_framework.exceptions import APIException, Throttled
from rest_framework.response import Response
from rest_framework.settings import api_settings

from shield_core.exceptions import (
    AmbiguousRouteError,
    BackendError,
    BulkRefusedError,
    ConflictError,
    InvalidInputError,
    NotAllowedError,
    NothingToRestoreError,
    RouteNotFoundException,
    RouteProtectedException,
    UnknownTokenError,
)
from shield_core.models import reasons

logger = logging.getLogger("shield.api")

_STATUSES: list[tuple[type[Exception] | tuple[type[Exception], ...], int]] = [
    ((RouteNotFoundException, UnknownTokenError), 404),
    ((AmbiguousRouteError, RouteProtectedException, ConflictError, BulkRefusedError), 409),
    (NothingToRestoreError, 409),
    (InvalidInputError, 400),
    (NotAllowedError, 403),
    (BackendError, 503),
    (RequestDataTooBig, 413),
    (SuspiciousOperation, 400),
]


class NotModified(Exception):
    """The client knows the answer already."""


class NotImplementedHere(APIException):
    status_code = 501


class TooManyLogins(Throttled):
    """Too many failed logins."""

    def __init__(self, wait: int) -> None:
        super().__init__()
        self.wait = wait
        self.detail = f"Too many failed logins: try again in {wait} s."  # type: ignore[assignment]


def answer(error: Exception, context: dict[str, Any]) -> Response:
    """Return the answer that tells ``error``; what nobody expected is logged and reported as Django would."""
    match error:
        case NotModified():
            return Response(status=304)
        case APIException():
            return _told(error)
        case Http404():
            return _failure(404, "There is nothing at this address.")
        case PermissionDenied():
            return _failure(403, str(error) or "You may not do this.")
        case ValidationError():
            return _failure(400, reasons(error))
        case DataError():
            return _failure(400, "The store cannot hold a value of this size.")
        case DatabaseError():
            logger.error("The store cannot be used: %s", error)
            return _failure(503, "The store cannot be used at the moment.")
    for kinds, status in _STATUSES:
        if isinstance(error, kinds):
            return _failure(status, str(error), **_particulars(error))
    request = context["request"]
    logger.error("The API failed at %r", request.path, exc_info=error, extra={"request": request._request})
    got_request_exception.send(sender=None, request=request._request)
    return _failure(500, "Shield failed: the server's log tells more.")


def _particulars(error: Exception) -> dict[str, Any]:
    """Return what lets a client raise the same."""
    match error:
        case AmbiguousRouteError():
            return {"ambiguous_matches": error.matches}
        case ConflictError():
            return {"conflict": {"path": error.path, "expected": error.expected, "actual": error.actual}}
        case RouteProtectedException():
            return {"protected": error.path}
        case BulkRefusedError():
            return {"refused": {key: str(why) for key, why in error.refusals.items()}}
    return {}


def _told(error: APIException) -> Response:
    response = _failure(error.status_code, _sentence(error.detail))
    challenge = getattr(error, "auth_header", None)
    if challenge:
        response["WWW-Authenticate"] = challenge
    wait = getattr(error, "wait", None)
    if wait is not None:
        response["Retry-After"] = str(math.ceil(wait))
    return response


def _failure(status: int, message: str, **more: Any) -> Response:
    return Response({"error": message, **more}, status=status)


def _sentence(detail: Any) -> str:
    """Return DRF's nested messages in a line."""
    if isinstance(detail, dict):
        parts = []
        for name, one in detail.items():
            told = _sentence(one)
            if told:
                parts.append(told if name == api_settings.NON_FIELD_ERRORS_KEY else f"{name}: {told}")
        return "; ".join(parts)
    if isinstance(detail, list | tuple):
        return "; ".join(filter(None, map(_sentence, detail)))
    return str(detail)
