"""A Shield Server as the command line sees it: what it is asked with, and errors that say what to do."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import httpx2
from pydantic import ValidationError

from shield_core.cli.home import Login
from shield_core.cli.session import Session
from shield_core.client import HTTPClient, any_node
from shield_core.exceptions import (
    BackendError,
    NotAllowedError,
    NotAuthenticatedError,
    ServerError,
    ShieldException,
)
from shield_core.remote.connection import Connection, Reply
from shield_core.remote.credentials import credentials

#: From which status on it is the server that fails.
_FAILING = 500


def address_of(url: str) -> str:
    """Return the one way to write the address of a server, under which its token is kept."""
    return ",".join(str(httpx2.URL(node)).rstrip("/") for node in _connection(url).nodes)


def log_in(address: str, username: str, password: str) -> Login:
    """Return the login that a server gives for a name and a password."""
    try:
        with closing(_connection(address)) as connection:
            found = any_node(connection, lambda: connection.log_in(username, password))
            return Login.model_validate({"username": username, **found})
    except NotAuthenticatedError as error:
        raise NotAuthenticatedError(
            f"{address} knows no such name and password: try again.", error.status
        ) from error
    except BackendError as error:
        raise _helped(error) from error
    except ValidationError as error:
        raise ServerError(f"{address} lets nobody in as a Shield Server does.") from error


def log_out(address: str, login: Login) -> None:
    """Let a server revoke a token."""
    try:
        with closing(HTTPClient(_connection(address, token=login.token))) as client:
            client.log_out()
    except NotAuthenticatedError:
        pass  # it was not valid any more
    except ShieldException as error:
        raise ServerError(
            f"{str(error).rstrip('.')}. The token is forgotten here, but the server has not revoked it: "
            "until it expires, whoever has copied it can use it."
        ) from error


@dataclass(frozen=True)
class Access:
    """What a server is asked with: ``given`` are credentials, from a ``login`` or from a ``variable``."""

    address: str
    given: Mapping[str, Any]
    login: Login | None = None
    variable: str = ""

    def refusal(self, said: str) -> str:
        """Return what to do about a server that wants another login."""
        if self.variable:
            return f"{self.address} does not let in with {self.variable}: {said}"
        if self.login is None:
            return f"You are not logged in at {self.address}: run 'shield login'."
        again = f"shield login {self.login.username}".rstrip()
        ended = "has expired" if self.login.has_expired else "is not valid any more"
        return f"Your login at {self.address} {ended}: run '{again}' again."


class ServerClient(HTTPClient):
    """Says in its errors what a person does about them."""

    def __init__(self, access: Access) -> None:
        super().__init__(_connection(access.address, **access.given))
        self._access = access

    def _ask(self, method: str, where: str, **options: Any) -> Reply:
        try:
            return super()._ask(method, where, **options)
        except NotAuthenticatedError as error:
            raise NotAuthenticatedError(self._access.refusal(str(error)), error.status) from error
        except NotAllowedError as error:
            raise NotAllowedError(
                f"{self._access.address} refuses this: {str(error).rstrip('.')}. Ask for the permission, "
                "or log in as somebody who has it: 'shield login USER'.",
                error.status,
            ) from error
        except BackendError as error:
            raise _helped(error) from error


@dataclass(frozen=True, kw_only=True)
class ServerSession(Session):
    """On a server, which knows by itself who does something, and tells its environment with each answer."""

    client: HTTPClient
    names_actor: bool = False

    @property
    def acted_on(self) -> str | None:
        return self.client.environment

    @property
    def place(self) -> str:
        return f"{self.target}, environment {self.acted_on}" if self.acted_on else self.target


def _connection(address: str, **given: Any) -> Connection:
    return Connection(address, credentials(**given), agent="shield-cli", platform="cli")


def _helped(error: BackendError) -> BackendError:
    """Return an error that says what to do, where a server was not reached at all or fails."""
    said = str(error).rstrip(".")
    if isinstance(error, ServerError) and error.status >= _FAILING:
        return ServerError(f"{said}. Try again; its log says why.", error.retry_after, error.status)
    if not isinstance(error.__cause__, httpx2.HTTPError | httpx2.StreamError):
        return error
    return BackendError(f"{said}. Is it running? 'shield config show' tells its address.")
