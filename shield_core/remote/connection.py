"""Requests to a Shield Server, or to one of several nodes of it.

What the server refuses, and that it cannot be reached, becomes an exception of Shield's one family. A
token goes to the configured addresses and nowhere else: redirects are not followed.
"""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401 - which else the first connection would import, see Connection._http
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from shield_core import forking
from shield_core.exceptions import (
    AmbiguousRouteError,
    BackendError,
    BulkRefusedError,
    ConflictError,
    InvalidInputError,
    NotAllowedError,
    NotAuthenticatedError,
    RefusedError,
    RouteNotFoundException,
    RouteProtectedException,
    ServerError,
    ShieldException,
)
from shield_core.remote.credentials import Credentials, NoCredentials

#: Seconds: to connect, and for an answer.
CONNECT_TIMEOUT = 5.0
ANSWER_TIMEOUT = 10.0
#: Seconds for all of an answer that comes in pieces, and its bytes, or those of one event, at most.
WHOLE_ANSWER = 60.0
LARGEST = 128 * 1024 * 1024
#: Characters of a server's sentence that are shown.
_LONGEST = 500
_LAST_PORT = 65535
#: What a server without users answers to a login.
_NO_USERS = 501


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; ``data`` is its JSON, None of a 304. ``headers`` have names in lower case."""

    status: int
    data: Any
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        """ "" where there is none."""
        return self.headers.get("etag", "")


class Connection:
    """``addresses`` are those of the server, of several nodes with commas between them.

    ``app_id`` is the service that asks. After a failure the next node is asked. Safe for threads, and
    usable in a forked process.
    """

    def __init__(
        self,
        addresses: str,
        credentials: Credentials | None = None,
        *,
        app_id: str | None = None,
        agent: str = "shield",
        platform: str = "sdk",
        verify: Any = True,
    ) -> None:
        self.nodes = tuple(map(_address, filter(None, (one.strip() for one in addresses.split(",")))))
        if not self.nodes:
            raise InvalidInputError("The address of the Shield Server is empty (SHIELD_SERVER_URL).")
        self.credentials = credentials or NoCredentials()
        self.app_id = app_id
        self._agent = agent
        self._platform = platform
        self._verify = verify
        self._node = 0
        self._lock = threading.Lock()
        self._client: httpx2.Client | None = None
        #: How many requests use which client; one that is let go of is closed by the last of them.
        self._uses: Counter[httpx2.Client] = Counter()
        forking.watch(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        # Its sockets are the parent's too: they are left alone, and closed here when this forgets them.
        self._client = None
        self._uses = Counter()

    @property
    def address(self) -> str:
        """Where the server is, or the node that is asked at present."""
        return self.nodes[self._node % len(self.nodes)]

    def __repr__(self) -> str:
        return f"Connection({','.join(self.nodes)!r})"

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Reply:
        """Ask ``/api<path>``. Raises what a refusal means, BackendError where there is no answer."""
        with self._sent(method, path, params, body, headers, timeout or ANSWER_TIMEOUT) as response:
            content = self._read(response)
            data = None if response.status_code == 304 else self._json(response, content)
            return Reply(response.status_code, data, dict(response.headers))

    @contextmanager
    def stream(self, path: str, *, params: Mapping[str, Any], silence: float) -> Iterator[httpx2.Response]:
        """Open an answer that goes on; after ``silence`` seconds without a byte httpx2 raises ReadTimeout."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        with self._sent("GET", path, params, None, headers, silence) as response:
            kind = response.headers.get("content-type", "").partition(";")[0].strip()
            if kind != "text/event-stream":
                raise ServerError(f"{self.address} answers with {kind or 'nothing'}: is it a Shield Server?")
            yield response

    def log_in(self, username: str, password: str) -> Any:
        """Return what the server says of a token: ``{token, username, expires_at}``."""
        body = {"username": username, "password": password, "platform": self._platform}
        if self.app_id:
            body["app_id"] = self.app_id
        with self._sent(
            "POST", "/auth/login", None, body, None, ANSWER_TIMEOUT, authorized=False
        ) as response:
            found = self._json(response, self._read(response))
        if not isinstance(found, dict) or not isinstance(found.get("token"), str):
            raise ServerError(f"{self.address} lets nobody in as a Shield Server does.")
        return found

    def next_node(self) -> None:
        """Ask another node from now on, where there are several."""
        with self._lock:
            self._node += 1

    def close(self) -> None:
        """Close what is open, once no request uses it any more; the next request opens it anew."""
        with self._lock:
            client, self._client = self._client, None
            if client is None or self._uses[client]:
                return
        client.close()

    # -- one request ------------------------------------------------------------------------

    @contextmanager
    def _sent(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None,
        body: Any,
        headers: Mapping[str, str] | None,
        timeout: float,
        *,
        authorized: bool = True,
    ) -> Iterator[httpx2.Response]:
        token = self.credentials.token(self._token_of) if authorized else None
        wanted = httpx2.Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT))
        with contextlib.ExitStack() as stack:
            client = stack.enter_context(self._http())
            with _as_backend_error(self.address):
                response = stack.enter_context(
                    client.stream(
                        method,
                        f"{self.address}/api{path}",
                        params=params,
                        content=None if body is None else json.dumps(body).encode(),
                        headers={**self._headers(token, body), **(headers or {})},
                        timeout=wanted,
                    )
                )
            if response.status_code != 304 and not response.is_success:
                if response.status_code == 401 and authorized:
                    self.credentials.refused(token)
                raise self._refusal(response)
            yield response

    def _token_of(self, username: str, password: str) -> str:
        try:
            return str(self.log_in(username, password)["token"])
        except RefusedError as error:
            if error.status == _NO_USERS:
                return ""  # an open server, which needs none
            raise

    def _headers(self, token: str | None, body: Any) -> dict[str, str]:
        headers = {"User-Agent": self._agent, "Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if self.app_id:
            headers["X-Shield-App-Id"] = self.app_id
        if body is not None:
            headers["Content-Type"] = "application/json"
        return headers

    @contextmanager
    def _http(self) -> Iterator[httpx2.Client]:
        with self._lock:
            if self._client is None:
                # It imports, and a child that is forked in the middle of an import cannot import that.
                with forking.held_off():
                    self._client = httpx2.Client(verify=self._verify, follow_redirects=False)
            client = self._client
            self._uses[client] += 1
        try:
            yield client
        finally:
            with self._lock:
                self._uses[client] -= 1
                is_left = client is not self._client and not self._uses[client]
                if not self._uses[client]:
                    del self._uses[client]
            if is_left:
                client.close()

    # -- answers ----------------------------------------------------------------------------

    def _read(self, response: httpx2.Response) -> bytes:
        """Read all of an answer; httpx2's timeout is only that between two pieces of it."""
        deadline, content = time.monotonic() + WHOLE_ANSWER, bytearray()
        with _as_backend_error(self.address):
            for piece in response.iter_bytes():
                content += piece
                if len(content) > LARGEST:
                    raise ServerError(f"{self.address} answers with more than {LARGEST} bytes.")
                if time.monotonic() > deadline:
                    raise ServerError(f"{self.address} does not end its answer in {WHOLE_ANSWER:g} s.")
        return bytes(content)

    def _json(self, response: httpx2.Response, content: bytes) -> Any:
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            kind = response.headers.get("content-type", "nothing")
            raise ServerError(f"{self.address} answers with {kind}: is it a Shield Server?") from error

    def _refusal(self, response: httpx2.Response) -> Exception:
        """Return the exception that an answer with a bad status means."""
        status = response.status_code
        said: Mapping[str, Any] = {}
        with contextlib.suppress(BackendError):
            said = _said(self._read(response))
        sentence = str(said.get("error", ""))[:_LONGEST]
        if (known := _known_refusal(said, sentence)) is not None:
            return known
        if 300 <= status < 400:
            return ServerError(
                f"{self.address} redirects to {response.headers.get('location', '?')!r}: "
                "set the address of the Shield Server to the final one."
            )
        kinds: dict[int, type[RefusedError]] = {401: NotAuthenticatedError, 403: NotAllowedError}
        if status in kinds:
            return kinds[status](sentence or None, status)
        if sentence and status == 404:
            return RouteNotFoundException(sentence=sentence)
        if sentence and status == 400:
            return InvalidInputError(sentence)
        if sentence and status in (409, 413, 415, 501):
            return RefusedError(sentence, status)
        detail = f": {sentence}" if sentence else ""
        pause = retry_after(response.headers.get("retry-after", ""))
        return ServerError(f"{self.address} answered {status}{detail}", pause, status)


def _known_refusal(said: Mapping[str, Any], sentence: str) -> Exception | None:
    """Return the exception that the server itself has raised, where its answer tells which."""
    match said:
        case {"ambiguous_matches": [*matches]}:
            return AmbiguousRouteError("", [str(one) for one in matches], sentence)
        case {"conflict": {"path": str(path), "expected": int(expected), "actual": int(actual)}}:
            return ConflictError(path, expected, actual)
        case {"protected": str(path)}:
            return RouteProtectedException(path)
        case {"refused": dict(refusals)}:
            return BulkRefusedError({str(key): ShieldException(str(why)) for key, why in refusals.items()})
    return None


def _said(content: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def retry_after(text: str) -> float | None:
    """Read ``Retry-After``, seconds or a date (RFC 9110); None for what is neither."""
    if text.isascii() and text.isdigit():
        return float(text) if len(text) < 10 else None
    try:
        moment = parsedate_to_datetime(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError, IndexError, TypeError):  # as email raises for some texts
        return None


@contextmanager
def whatever_is_refused(connection: Connection) -> Iterator[None]:
    """Raise ServerError for a refusal that is about a route, or an input, where neither was sent."""
    try:
        yield
    except BackendError:
        raise
    except ShieldException as error:
        raise ServerError(f"{connection.address} refuses: {error}") from error


@contextmanager
def _as_backend_error(address: str) -> Iterator[None]:
    try:
        yield
    except httpx2.TimeoutException as error:
        raise BackendError(f"The Shield Server at {address} does not answer in time.") from error
    except (httpx2.HTTPError, httpx2.StreamError) as error:
        said = str(error) or type(error).__name__
        raise BackendError(f"The Shield Server at {address} cannot be reached: {said}") from error


def _address(text: str) -> str:
    """Return an address without its last slash. Raises InvalidInputError."""
    try:
        url = httpx2.URL(text)
    except (httpx2.InvalidURL, ValueError) as error:
        raise InvalidInputError(f"{text!r} is no address of a Shield Server: {error}") from error
    has_space = any(one.isspace() for one in text)
    if url.scheme not in ("http", "https") or not url.host or has_space or (url.port or 0) > _LAST_PORT:
        raise InvalidInputError(f"{text!r} is no address of a Shield Server: write http://host:port.")
    if url.userinfo or url.query or url.fragment:
        raise InvalidInputError(
            "The address of a Shield Server has no user, query or fragment; credentials are given apart."
        )
    return text.rstrip("/")
