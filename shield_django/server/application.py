"""``ShieldServer``: an ASGI application of the control plane's pages, REST API and event stream."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import multiprocessing
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key

from shield_core.asgi import Receive, Scope, Send
from shield_core.backends.base import ShieldBackend
from shield_core.engine import ShieldEngine
from shield_core.exceptions import BackendError
from shield_django import stream
from shield_django.auth.tokens import SDK_TOKEN_EXPIRY, TOKEN_EXPIRY
from shield_django.server import configuration
from shield_django.server.addresses import Addresses, BadHost
from shield_django.server.bodies import BoundedBody
from shield_django.server.headers import protected

if TYPE_CHECKING:
    from shield_core.asgi import Application

logger = logging.getLogger("shield.server")

#: Seconds: ten years, as for tokens that are issued by hand.
_LONGEST_EXPIRY = 10 * SDK_TOKEN_EXPIRY
_NAME = re.compile(r"[A-Za-z0-9_-]*")
_numbers = itertools.count(1)


class ShieldServer:
    """The control plane on ``backend``, for browsers, command lines and services.

    ``backend`` is a ``ShieldBackend``, or as SHIELD_BACKEND is written: memory (the default), file, redis,
    models, a dotted path, or ``{"BACKEND": …, "OPTIONS": {…}}``. ``engine`` replaces it with an engine
    that somebody else starts and stops. ``database``, for models, is a URL such as
    ``postgresql://user:password@host/name`` or one of Django's DATABASES.

    ``auth`` is None (open), ``(username, password)``, a list of such pairs, an object with
    ``authenticate_user(username, password)``, or "django" for the users of the project; ``services`` has
    passwords of services, by name. ``secret_key`` signs tokens; of a list the first signs and all verify.
    Expiries are in seconds.

    ``public_url`` is where browsers reach the server. ``trusted_proxies`` stand in front, each of which
    adds an address to X-Forwarded-For. ``allowed_hosts`` are further names of the server. ``name`` tells
    servers with the same key, or on the same host, apart. Raises ImproperlyConfigured.
    """

    def __init__(
        self,
        backend: Any = None,
        auth: Any = None,
        *,
        engine: ShieldEngine | None = None,
        services: Mapping[str, str] | None = None,
        secret_key: str | Sequence[str] | None = None,
        token_expiry: int = TOKEN_EXPIRY,
        sdk_token_expiry: int = SDK_TOKEN_EXPIRY,
        public_url: str = "",
        trusted_proxies: int = 0,
        allowed_hosts: Iterable[str] = (),
        name: str = "",
        env: str | None = None,
        database: str | Mapping[str, Any] | None = None,
    ) -> None:
        if engine is not None and backend is not None:
            raise ImproperlyConfigured("Give ShieldServer a backend or an engine, not both.")
        self._addresses = Addresses(public_url, trusted_proxies, allowed_hosts, is_open=auth is None)
        keys = [secret_key] if isinstance(secret_key, str) else list(secret_key or ())
        if not all(keys):
            raise ImproperlyConfigured("secret_key is empty; leave it out for a random one.")
        _check_name(name)
        _check_expiry("token_expiry", token_expiry)
        _check_expiry("sdk_token_expiry", sdk_token_expiry)
        self._migrates = _is_models(backend)
        # The models need settings first; the settings want to know a Redis.
        made = None if engine is not None or self._migrates else _made(backend)
        redis_url = getattr(made, "url", "")
        configuration.configure(keys[0] if keys else get_random_secret_key(), database, redis_url)
        if auth == "django":
            configuration.require_users()
        if self._migrates:
            configuration.require_database()
            self._migrates = configuration.settings_are_own()

        # Only now, because these read settings or have models.
        from shield_django.auth.authorities import authority_from
        from shield_django.control import SCOPE_KEY, ControlPlane
        from shield_django.health import readiness
        from shield_django.server.handler import Handler
        from shield_django.stream.app import stream_application

        self._owns_engine = engine is None
        self.engine = engine or ShieldEngine(made or _made(backend), env)
        self.control = ControlPlane(
            self.engine,
            authority_from(auth),
            keys or _secret_keys(),
            services=services,
            token_expiry=token_expiry,
            sdk_token_expiry=sdk_token_expiry,
            public_url=public_url,
            num_proxies=trusted_proxies,
            name=name or _next_name(),
        )
        self._own = {SCOPE_KEY: self.control}
        self._readiness = readiness
        self._pages: Application = Handler()
        self._stream: Application = stream_application
        self._started: asyncio.Future[None] | None = None
        self._starting: asyncio.Task[None] | None = None
        self._warn()

    def __repr__(self) -> str:
        return f"<ShieldServer {self.control.cookie_prefix}>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "lifespan":
                await self._lifespan(receive, send)
            case "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1008})
            case "http":
                await self._answer(scope, receive, send)
            case other:
                raise ValueError(f"ShieldServer answers no {other!r} connections.")

    def _warn(self) -> None:
        if self.control.authority.is_open:
            logger.warning(
                "The Shield Server is open: whoever reaches it may change everything. Set auth= "
                "(SHIELD_USERNAME and SHIELD_PASSWORD)."
            )
        if not self.engine.backend.shared_across_processes and _may_be_a_worker():
            logger.warning(
                "The state is in the memory of this process. Where several workers are started, each has its "
                "own: start one, or use the file, redis or models backend."
            )

    # -- requests ---------------------------------------------------------------------------

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        _, path = self._addresses.split(scope)
        answer = protected(send)
        if path in ("/healthz", "/readyz"):
            # Whatever the Host: whoever looks after the process asks for an address, not for a name.
            await self._tell_health(scope, answer, path)
            return
        try:
            scope = {**self._addresses.seen_by_client(scope), **self._own}
            await self._ensure_started()
        except BadHost as error:
            await _refuse(answer, path, 400, str(error))
            return
        except BackendError as error:
            logger.error("The server could not be started; the next request tries again: %s", error)
            await _refuse(answer, path, 503, "The store has not answered yet; try again.")
            return
        if path == stream.PATH:
            # With the server's own send: the stream looks at how much of it is unsent.
            await self._stream(scope, receive, send)
            return
        body = BoundedBody(scope, receive, answer)
        if not body.is_too_large:
            await self._pages(scope, body.receive, body.send)
        if body.is_too_large and not body.is_answered:
            await _refuse(answer, path, 413, "The request is too large.")

    async def _tell_health(self, scope: Scope, send: Send, path: str) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await _send_json(send, 405, {"error": "Only GET is allowed."})
            return
        if path == "/healthz":
            await _send_json(send, 200, {"status": "ok"})
            return
        with suppress(BackendError):
            await self._ensure_started()
        found = self.engine.status()
        await _send_json(send, *self._readiness(found, was_seen=found.seconds_since_contact is not None))

    # -- life cycle -------------------------------------------------------------------------

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._ensure_started()
        except Exception as error:
            # Servers take an error without this message for an application that knows no lifespan.
            await send({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
            raise
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _ensure_started(self) -> None:
        """Start the engine, once, and wait for the first load; a store that hangs keeps nobody for long."""
        loop = asyncio.get_running_loop()
        if self._started is None or (not self._started.done() and self._started.get_loop() is not loop):
            starting = self._started = loop.create_future()
            try:
                await self._start()
            except BaseException:
                self._started = None  # the next request tries again
                raise
            finally:
                starting.set_result(None)
        elif not self._started.done():
            await asyncio.shield(self._started)

    async def _start(self) -> None:
        if self._migrates:
            from shield_django.server.tables import migrate

            await asyncio.to_thread(migrate)
        if self._owns_engine:
            self._starting = asyncio.create_task(self.engine.start())
            self._starting.add_done_callback(_tell_of_failure)
            await asyncio.sleep(0)  # it has made this loop the backend's home by now
        await self.engine.replica.ready_async()

    async def _stop(self) -> None:
        self._started = None
        if self._starting is not None:
            self._starting.cancel()
            self._starting = None
        if self._owns_engine:
            await self.engine.stop()


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ImproperlyConfigured(f"name is {name!r}: use letters, digits, - and _, as in names of cookies.")


def _check_expiry(argument: str, seconds: Any) -> None:
    if not isinstance(seconds, int | float) or not 0 < seconds <= _LONGEST_EXPIRY:
        raise ImproperlyConfigured(
            f"{argument} is {seconds!r}: it is a number of seconds, {_LONGEST_EXPIRY} at most."
        )


def _made(backend: Any) -> ShieldBackend:
    from shield_django import project

    return project.make_backend("memory" if backend is None else backend)


def _is_models(backend: Any) -> bool:
    return (backend.get("BACKEND") if isinstance(backend, Mapping) else backend) == "models"


def _secret_keys() -> list[str]:
    """Return the project's keys, or a random one."""
    from django.conf import settings

    if not configuration.settings_are_own():
        return [settings.SECRET_KEY, *map(str, settings.SECRET_KEY_FALLBACKS)]
    logger.warning(
        "secret_key= (SHIELD_SECRET_KEY) is missing: tokens and logins will not survive a restart of this "
        "server, and are worth nothing in another process of it."
    )
    return [get_random_secret_key()]


def _may_be_a_worker() -> bool:
    """Whether a server that starts workers has started this process."""
    by_uvicorn = multiprocessing.parent_process() is not None and "--reload" not in sys.argv
    return by_uvicorn or "gunicorn" in sys.modules


def _next_name() -> str:
    """Return a name for a server without one, none for the first; the order in a module does not change."""
    number = next(_numbers)
    return "" if number == 1 else f"shield{number}"


def _tell_of_failure(starting: asyncio.Task[None]) -> None:
    if not starting.cancelled() and (error := starting.exception()) is not None:
        logger.error("The store could not be started; it is tried again.", exc_info=error)


async def _send_json(send: Send, status: int, content: Mapping[str, Any]) -> None:
    await _send(send, status, json.dumps(content).encode(), b"application/json")


async def _refuse(send: Send, path: str, status: int, text: str) -> None:
    if path.startswith("/api/"):
        await _send_json(send, status, {"error": text})
    else:
        await _send(send, status, text.encode(), b"text/plain; charset=utf-8")


async def _send(send: Send, status: int, body: bytes, kind: bytes) -> None:
    headers = [
        (b"content-type", kind),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
