"""What is read and written: JSON, and nothing that a store or a log could stumble over."""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, TypeVar

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest
from rest_framework.exceptions import APIException, ParseError, UnsupportedMediaType
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer, JSONRenderer
from rest_framework.request import Request

from shield_core.texts import CONTROL

#: Bytes of a body, where a view does not say otherwise.
BODY_LIMIT = 1024 * 1024
#: How deep objects may lie in each other.
_DEPTH = 30
_LARGEST = 2**63 - 1
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")

Value = TypeVar("Value")


class TooLarge(APIException):
    status_code = 413
    default_detail = "The body is too large."


class LengthRequired(APIException):
    status_code = 411
    default_detail = "Send the body with its Content-Length: under WSGI one without it cannot be read."


class JSONBody(BaseParser):
    """Reads JSON in UTF-8, strictly: no NaN, no number beyond 64 bits, no name twice, only Unicode."""

    media_type = "application/json"

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        limit = getattr((parser_context or {}).get("view"), "body_limit", BODY_LIMIT)
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise TooLarge(f"The body is too large: at most {limit} bytes are read.")
        try:
            found = json.loads(
                body.decode(),
                object_pairs_hook=_object,
                parse_constant=_refuse_constant,
                parse_float=_float,
                parse_int=_int,
            )
            _check(found, _DEPTH)
        except RecursionError:
            raise ParseError("The JSON is nested too deeply.") from None
        except ValueError as error:
            raise ParseError(f"The body is not valid JSON: {error}"[:300]) from None
        return found


class JSONAnswer(JSONRenderer):
    """Writes JSON, whatever the host's settings say of it."""

    ensure_ascii = False
    compact = True
    strict = True


class Browsable(BrowsableAPIRenderer):
    """The page for an operator in a browser; neither scripts nor styles are inline."""

    template = "shield/api.html"

    def get_context(self, *args: Any, **options: Any) -> Any:
        return {**super().get_context(*args, **options), "code_style": None}

    def get_breadcrumbs(self, request: Request) -> list[tuple[str, str]]:
        """Leave out the addresses on the way at which there is nothing."""
        return [(name, url) for name, url in super().get_breadcrumbs(request) if name]

    def get_default_renderer(self, view: Any) -> BaseRenderer:
        return JSONAnswer()


class JSONFirst(BaseContentNegotiation):
    """JSON for everybody; the view itself gives a browser its page when it knows who asks."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        return next((one for one in parsers if one.media_type == _media_type(request)), None)

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        first = next(iter(renderers))
        return first, str(first.media_type)


def refuse_forms(request: Request) -> None:
    """Refuse whatever type an HTML form can send, also without a body: it may come from any site."""
    media_type = _media_type(request)
    if media_type not in ("", JSONBody.media_type) and request.method not in ("GET", "HEAD"):
        length = request.META.get("CONTENT_LENGTH") or "0"
        if length != "0" or media_type in _FORMS:
            raise UnsupportedMediaType(request.content_type)


def _media_type(request: Request) -> str:
    """Return the type of the body without its parameters."""
    return request.content_type.partition(";")[0].strip().lower()


def measure_body(request: HttpRequest, limit: int) -> None:
    """Give a body that came in chunks its length: DRF takes one without it for none at all.

    At most ``limit`` bytes, and one that tells that there are more. Raises LengthRequired.
    """
    if request.META.get("CONTENT_LENGTH") or request.method in ("GET", "HEAD"):
        return
    if isinstance(request, WSGIRequest):
        if "HTTP_TRANSFER_ENCODING" in request.META:
            raise LengthRequired
        return
    body = request.read(limit + 1)
    request._body = body  # where Django and DRF look for what was read
    request.META["CONTENT_LENGTH"] = str(len(body))


def is_in_utf8(request: HttpRequest) -> bool:
    """Whether a request says of itself nothing else; Django would decode its fields with any codec."""
    named = request.encoding
    return named is None or codecs.lookup(named).name in ("utf-8", "ascii")


_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")


def prefers_html(request: Request) -> bool:
    """Whether a browser asks for a page."""
    accepted = request.headers.get("Accept", "").lower()
    return "text/html" in accepted and "application/json" not in accepted.partition("text/html")[0]


def cleaned(value: Value) -> Value:
    """Return what another process sent with a space for each control character."""
    match value:
        case str():
            return CONTROL.sub(" ", value)  # type: ignore[return-value]
        case list():
            return [cleaned(one) for one in value]  # type: ignore[return-value]
        case dict():
            return {cleaned(name): cleaned(one) for name, one in value.items()}  # type: ignore[return-value]
    return value


def _check(found: Any, depth: int) -> None:
    if depth == 0:
        raise RecursionError
    match found:
        case str():
            if _UNSTORABLE.search(found):
                raise ValueError("it has a text that cannot be stored (NUL, or half of a surrogate pair)")
        case list():
            for one in found:
                _check(one, depth - 1)
        case dict():
            for name, one in found.items():
                _check(name, depth)
                _check(one, depth - 1)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has a name twice")
    return found


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large")
    return number


def _int(text: str) -> int:
    if len(text) > 20 or abs(number := int(text)) > _LARGEST:
        raise ValueError("a number is too large")
    return number
