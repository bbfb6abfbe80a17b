"""Calls an ASGI application in process: over httpx2, or with a path exactly as a server passes it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import unquote_to_bytes

import httpx2

URL = "http://testserver"


class Answer:
    """What a caller got: ``whole`` compares everything."""

    def __init__(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}
        self.content = content
        self.whole = (status, sorted((name.lower(), value) for name, value in headers), content)

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def error(self) -> Any:
        return self.json["error"]


class Caller:
    """A client of ``app``; redirects are not followed, errors of the application are raised."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def request(self, method: str, path: str, root_path: str = "", **options: Any) -> Answer:
        transport = httpx2.ASGITransport(self.app, root_path=root_path)
        async with httpx2.AsyncClient(transport=transport, base_url=URL) as client:
            response = await client.request(method, path, **options)
        return Answer(response.status_code, response.headers.multi_items(), response.content)

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.request("GET", path, **options)

    async def post(self, path: str, **options: Any) -> Answer:
        return await self.request("POST", path, **options)

    async def status(self, path: str, method: str = "GET", **options: Any) -> int:
        return (await self.request(method, path, **options)).status

    async def raw(
        self, path: str, method: str = "GET", root_path: str = "", host: str = "testserver"
    ) -> Answer:
        """Call with a request target that no client may tidy up."""
        raw, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote_to_bytes(raw).decode("latin-1"),
            "raw_path": raw.encode(),
            "query_string": query.encode(),
            "root_path": root_path,
            "headers": [(b"host", host.encode())],
            "client": ("127.0.0.1", 5000),
            "server": ("testserver", 80),
        }
        sent = await exchange(self.app, scope, [{"type": "http.request", "body": b"", "more_body": False}])
        headers = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
        return Answer(sent[0]["status"], headers, b"".join(one.get("body", b"") for one in sent[1:]))

    async def websocket(self, path: str, *, denial: bool = True) -> list[dict[str, Any]]:
        """Open a WebSocket and return what the application sent; ``denial``: the server offers responses."""
        scope = {
            "type": "websocket",
            "asgi": {"version": "3.0"},
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"testserver")],
            "client": ("127.0.0.1", 5000),
            "server": ("testserver", 80),
            "subprotocols": [],
            "extensions": {"websocket.http.response": {}} if denial else {},
        }
        return await exchange(
            self.app, scope, [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1001}]
        )


async def exchange(app: Any, scope: dict[str, Any], messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Feed ``messages`` to the application and return what it sent."""
    sent: list[dict[str, Any]] = []
    waiting = iter(messages)

    async def receive() -> dict[str, Any]:
        message = next(waiting, None)
        if message is None:
            await asyncio.Event().wait()
        assert message is not None
        return message

    async def send(message: dict[str, Any]) -> None:
        sent.append(dict(message))

    await app(scope, receive, send)
    return sent


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[list[dict[str, Any]]]:
    """Run the lifespan of ``app`` as a server does; yields what it answers."""
    asked: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    answered: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    told: list[dict[str, Any]] = []
    scope: dict[str, Any] = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    task = asyncio.create_task(app(scope, asked.get, answered.put))
    for phase in ("startup", "shutdown"):
        await asked.put({"type": f"lifespan.{phase}"})
        answer = asyncio.create_task(answered.get())
        await asyncio.wait({answer, task}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            await task
            raise AssertionError(f"no answer to {phase}")
        told.append(answer.result())
        if phase == "startup":
            yield told
    task.cancel()  # as uvicorn does, which ends its loop now
    with suppress(asyncio.CancelledError):
        await task
