"""The endpoint of the event stream: who may listen to what, and from where on (CONTRACT §8).

A plain ASGI application, for any path; its control plane is that of the scope, or the project's.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import NamedTuple

from asgiref.sync import sync_to_async
from django.core.exceptions import DisallowedHost, SuspiciousOperation
from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError, close_old_connections

from shield_core.asgi import Receive, Scope, Send
from shield_core.events import FULL, PLAIN, Audience
from shield_core.exceptions import BackendError, InvalidKeyError
from shield_core.keys import check_service
from shield_core.snapshot import Cursor
from shield_django.api.authentication import token_in
from shield_django.auth.access import may_reach, rule_of
from shield_django.auth.principals import Principal
from shield_django.auth.tokens import InvalidToken, Token
from shield_django.control import ControlPlane, control_of
from shield_django.stream.connection import connection_of
from shield_django.stream.stream import EventStream

logger = logging.getLogger("shield.stream")

ENDPOINT = "sdk-events"
#: Of an sdk token that is not bound to a service yet: it hears what is for everybody.
_NO_SERVICE = ""
#: Seconds after which an operator's password and permissions are looked at again.
ASK_AGAIN = 60.0
#: Seconds that a follower who knows more than this node waits for it to catch up.
_PATIENCE = 2.0


class Refused(Exception):
    """A request that gets no stream."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Wish(NamedTuple):
    """What a client asks for. ``token`` is "" for nobody in particular."""

    token: str
    proto: int
    service: str | None
    since: Cursor | None


async def stream_application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer ``GET /api/sdk/events``, wherever it is mounted."""
    try:
        stream, since = await _opened(scope, send)
    except Refused as refused:
        await _refuse(send, refused)
    else:
        await stream.run(receive, since)


async def _opened(scope: Scope, send: Send) -> tuple[EventStream, Cursor | None]:
    """Return a stream for a request. Raises Refused. Nothing of the request stays with the stream."""
    try:
        request = ASGIRequest(scope, BytesIO())
    except UnicodeDecodeError as error:
        raise Refused(400, "The query is not in UTF-8.") from error
    control = control_of(request)
    await _ready(control)
    wish = _wish(request, control)
    audience, allowed = await _admit(control, wish)
    if wish.since is not None:
        await _caught_up(control, wish.since)
    return EventStream(control.hub, connection_of(send), audience, allowed), wish.since


async def _ready(control: ControlPlane) -> None:
    """See that this node has seen its store; what it knows before that is not the state."""
    with suppress(BackendError):  # of a service that refuses without its store
        await control.engine.replica.ready_async()
    if control.engine.replica.snapshot is None:
        raise Refused(503, "The store has not answered yet; try again.", retry_after="5")


def _wish(request: ASGIRequest, control: ControlPlane) -> Wish:
    if request.method != "GET":
        raise Refused(405, f"The event stream is read with GET, not {request.method}.", allow="GET")
    try:
        request.get_host()
        query = request.GET
    except DisallowedHost as error:
        raise Refused(400, "This host name is not served here.") from error
    except SuspiciousOperation as error:
        raise Refused(400, "The query has too many parameters.") from error
    proto = query.get("proto", str(PLAIN))
    if proto not in (str(PLAIN), str(FULL)):
        raise Refused(400, f"proto is {PLAIN} or {FULL}, not {proto!r}.")
    asked = query.get("since", "")
    since = position_from(asked)
    if asked and since is None:
        raise Refused(400, f"since is <epoch>:<revision>, not {asked!r}.")
    # A browser that comes again asks at the same address, and says in the header what it has heard since.
    since = position_from(request.headers.get("Last-Event-ID", "")) or since
    service = query.get("service") or request.headers.get("X-Shield-App-Id")
    try:
        service = check_service(service) if service else None
    except InvalidKeyError as error:
        raise Refused(400, str(error)) from error
    token = token_in(request) or request.COOKIES.get(control.session_cookie, "")
    return Wish(token, int(proto), service, since)


async def _admit(control: ControlPlane, wish: Wish) -> tuple[Audience, Callable[[], bool]]:
    """Return what may be heard, and what tells whether it still may. Raises Refused."""
    # In a thread, because the authority may ask a database; neither stays with the stream.
    try:
        principal = await sync_to_async(_principal_of)(control, wish.token) if wish.token else None
    except DatabaseError as error:
        raise Refused(503, "The store cannot be used at the moment.", retry_after="5") from error
    if principal is None:
        if not control.authority.is_open:
            raise _unauthorized("Log in, and send the token as 'Authorization: Bearer …' or X-Shield-Token.")
        return Audience(wish.proto, wish.service), _always
    own, token = principal.service, principal.token
    if own is not None and wish.service not in (None, own):
        raise Refused(403, f"This token reaches only the service {own!r}.")
    audience = Audience(wish.proto, (own or _NO_SERVICE) if principal.is_sdk else wish.service)
    if token is None:
        return audience, _always
    if own is not None:
        return audience, lambda: _is_still(control, token)
    # The token of no service yet is the operator's who got it.
    return audience, Operator(control, token, wish.token).may_listen


def _principal_of(control: ControlPlane, text: str) -> Principal | None:
    """Return who holds a token, None for one that is not needed. Raises Refused."""
    try:
        principal = control.principal_of(text)
        rule = rule_of(ENDPOINT, "GET")
        if rule is None or not may_reach(principal, rule):
            raise Refused(403, "You may not read the state of the routes.")
        return principal
    except InvalidToken as error:
        if control.authority.is_open:
            return None
        raise _unauthorized(str(error)) from error
    finally:
        close_old_connections()


def _is_still(control: ControlPlane, token: Token) -> bool:
    """Whether a token may go on listening: a token that gets its service now must listen anew."""
    record = control.snapshot.token(token.id)
    is_same = token.service is not None or record is None or record.service is None
    return is_same and control.tokens.is_alive(token, control.snapshot)


class Operator:
    """Who listens with a token whose password, or whose user's permissions, may change meanwhile."""

    __slots__ = ("_asked_at", "_asking", "_control", "_is_known", "_text", "_token")

    def __init__(self, control: ControlPlane, token: Token, text: str) -> None:
        self._control = control
        self._token = token
        self._text = text
        self._is_known = True
        self._asked_at = time.monotonic()
        self._asking: asyncio.Task[None] | None = None

    def may_listen(self) -> bool:
        """Whether the token still counts, as far as is known; ask again, where that was long ago."""
        is_asking = self._asking is not None and not self._asking.done()
        if not is_asking and time.monotonic() - self._asked_at > ASK_AGAIN:
            self._asked_at = time.monotonic()
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        return self._is_known and _is_still(self._control, self._token)

    async def _ask(self) -> None:
        try:
            await sync_to_async(_principal_of)(self._control, self._text)
        except Refused:
            self._is_known = False
        except Exception as error:  # noqa: BLE001 - whatever an authority raises that cannot be asked
            logger.warning("Who listens is not known, and stays: %s: %s", type(error).__name__, error)


def _unauthorized(message: str) -> Refused:
    return Refused(401, message, www_authenticate='Bearer realm="shield"')


def _always() -> bool:
    return True


async def _caught_up(control: ControlPlane, since: Cursor) -> None:
    """Wait a moment for a node that is behind the one which the follower comes from."""
    for _ in range(int(_PATIENCE / 0.05)):
        snapshot = control.snapshot
        if snapshot.epoch != since.epoch or snapshot.revision >= since.revision:
            return
        await asyncio.sleep(0.05)


def position_from(text: str) -> Cursor | None:
    """Read ``<epoch>:<revision>``; what is none is no position."""
    epoch, _, revision = text.rpartition(":")
    readable = epoch and revision.isascii() and revision.isdigit() and len(revision) < 20
    return Cursor(epoch, int(revision)) if readable else None


async def _refuse(send: Send, refused: Refused) -> None:
    body = json.dumps({"error": str(refused)}).encode()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "cache-control": "no-store",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "x-content-type-options": "nosniff",
        **refused.headers,
    }
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
