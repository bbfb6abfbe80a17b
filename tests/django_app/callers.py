"""A caller who knows only HTTP, and what he compares."""

from __future__ import annotations

import json
from typing import Any

from asgiref.sync import async_to_sync
from django.http import HttpResponse
from django.test import AsyncClient, Client


class Caller:
    """Sends requests through Django's sync or async handler."""

    def __init__(self, client: Client | AsyncClient) -> None:
        self.client = client

    @property
    def is_async(self) -> bool:
        return isinstance(self.client, AsyncClient)

    def __call__(
        self,
        method: str,
        path: str,
        *,
        accept: str = "application/json",
        data: Any = "",
        content_type: str = "application/octet-stream",
        **headers: str,
    ) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        headers = {"accept": accept, **named}
        if isinstance(self.client, Client):
            return self.client.generic(method, path, data, content_type, headers=headers)
        client = self.client

        async def send() -> Any:
            return await client.generic(method, path, data, content_type, headers=headers)

        return async_to_sync(send)()

    def get(self, path: str, **options: Any) -> Any:
        return self("GET", path, **options)

    def post(self, path: str, **options: Any) -> Any:
        return self("POST", path, **options)

    def status(self, path: str, method: str = "GET", **options: Any) -> int:
        return self(method, path, **options).status_code


def error_of(response: HttpResponse) -> dict[str, Any]:
    """Return the ``error`` of a blocked answer."""
    body = json.loads(response.content)
    assert list(body) == ["error"]
    error: dict[str, Any] = body["error"]
    return error


def whole(response: HttpResponse, path: str) -> tuple[int, dict[str, str], bytes]:
    """Return all that a caller sees of an answer, with the path taken out of it."""
    hidden = path.strip("/")
    headers = {name: value.replace(hidden, "…") for name, value in response.items()}
    headers.pop("Content-Length", None)
    return response.status_code, headers, response.content.replace(hidden.encode(), b"...")
