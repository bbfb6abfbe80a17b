"""Django's request handling with the server's own middleware, whatever the settings have."""

from __future__ import annotations

from typing import Any

from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.exception import convert_exception_to_response
from django.db import DatabaseError, DataError
from django.http import HttpRequest, HttpResponseBase

from shield_core.exceptions import BackendError, NotAllowedError
from shield_django.server import gate
from shield_django.server.errors import answer, store_failed


class Handler(ASGIHandler):
    """Runs the gate and the view in one thread: both are synchronous.

    A project's own middleware stays out: it would decide on these requests, or want a session.
    """

    def load_middleware(self, is_async: bool = False) -> None:
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = [_answer_failure]
        views = convert_exception_to_response(self._get_response)  # type: ignore[attr-defined]
        chain = convert_exception_to_response(gate.guarded(views))
        self._middleware_chain = self.adapt_method_mode(is_async, chain, False)


def _answer_failure(request: HttpRequest, error: Exception) -> HttpResponseBase | None:
    if isinstance(error, NotAllowedError):
        return answer(request, 403, str(error))
    is_store = isinstance(error, BackendError | DatabaseError) and not isinstance(error, DataError)
    return store_failed(request) if is_store else None
