"""The console script ``shield``: which Shield Server or store it acts on, and as whom.

The address of the server and everything secret come from the environment and from the home directory,
never from a ``.shield`` file: a working directory that somebody else has filled must not learn a token.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING

from shield_core.cli.home import Home, Login
from shield_core.cli.session import Session, SessionSource
from shield_core.config import Configuration, make_engine
from shield_core.exceptions import InvalidInputError

if TYPE_CHECKING:
    # Imported when a server is asked: manage.py needs no HTTP.
    from shield_core.cli.server import Access

_NO_TARGET = (
    "There is no Shield Server to talk to: run 'shield config set-url http://host:9000'. To work on a store "
    "itself set SHIELD_BACKEND, such as file with SHIELD_FILE_PATH; in a Django project run "
    "'python manage.py shield'."
)
#: Backends on which another program works.
_ELSEWHERE = {
    "server": "SHIELD_BACKEND is 'server', and the address of a server is not taken from a .shield file: set "
    "SHIELD_SERVER_URL, or run 'shield config set-url URL'.",
    "models": "SHIELD_BACKEND is 'models', the database of a Django project: there run "
    "'python manage.py shield'.",
}
_IN_MEMORY = (
    "SHIELD_BACKEND is 'memory', which only the process itself sees. Point the command line at the Shield "
    "Server ('shield config set-url URL'), or at a store that processes share."
)


class Console(SessionSource):
    """One run of the console script. ``home`` and ``environ`` are those of whoever runs it."""

    def __init__(self, home: Home | None = None, environ: Mapping[str, str] = os.environ) -> None:
        self.home = home or Home()
        self.environ = environ
        self._opened = ExitStack()

    def close(self) -> None:
        self._opened.close()

    # -- the server -------------------------------------------------------------------------

    @property
    def server_url(self) -> str:
        """The address of the server, "" where none is configured."""
        return self.environ.get("SHIELD_SERVER_URL") or self.home.read().server_url

    @cached_property
    def address(self) -> str:
        """The address of the server, as its token is kept under it. Raises InvalidInputError."""
        from shield_core.cli.server import address_of

        if not self.server_url:
            raise InvalidInputError(_NO_TARGET)
        return address_of(self.server_url)

    def log_in(self, username: str, password: str) -> Login:
        """Keep a login, which the server gives for a name and a password."""
        from shield_core.cli.server import log_in

        login = log_in(self.address, username, password)
        with self.home.changed() as kept:
            kept.tokens[self.address] = login
        return login

    def log_out(self) -> bool:
        """Forget the login, and let the server revoke it; False where there is none."""
        from shield_core.cli.server import log_out

        with self.home.changed() as kept:
            login = kept.tokens.pop(self.address, None)
        if login is not None:
            log_out(self.address, login)
        return login is not None

    def point_at(self, url: str) -> tuple[str, Login | None]:
        """Let commands go to the server at ``url``, "" for none; return its address and the login there."""
        from shield_core.cli.server import address_of

        address = address_of(url) if url else ""
        with self.home.changed() as kept:
            kept.server_url = address
            return address, kept.tokens.get(address)

    @cached_property
    def access(self) -> Access:
        """How the server is asked. Raises InvalidInputError."""
        from shield_core.cli.server import Access

        for name in ("token", "token_file"):
            variable = f"SHIELD_{name.upper()}"
            if text := self.environ.get(variable):
                return Access(self.address, {name: text}, variable=variable)
        login = self.home.read().tokens.get(self.address)
        if login is not None:
            return Access(self.address, {"token": login.token}, login=login)
        pair = {name: self.environ.get(f"SHIELD_{name.upper()}") for name in ("username", "password")}
        if all(pair.values()):
            return Access(self.address, pair, variable="SHIELD_USERNAME and SHIELD_PASSWORD")
        return Access(self.address, {})

    # -- the session ------------------------------------------------------------------------

    @cached_property
    def session(self) -> Session:
        """What commands act on. Raises InvalidInputError, which says what to configure."""
        if self.server_url:
            from shield_core.cli.server import ServerClient, ServerSession

            client = ServerClient(self.access)
            self._opened.callback(client.close)
            return ServerSession(client=client, target=self.address, issue_token=client.issue_token)
        found = Configuration.read()
        backend = found.get("SHIELD_BACKEND")
        if backend is None:
            raise InvalidInputError(_NO_TARGET)
        if backend in _ELSEWHERE:
            raise InvalidInputError(_ELSEWHERE[backend])
        engine = make_engine(threads=False)
        self._opened.callback(engine.sync.stop)
        return Session(
            client=engine.sync,
            target=engine.backend.described(),
            environment=engine.current_env,
            service=engine.service,
            refuses=None if engine.backend.shared_across_processes else _IN_MEMORY,
        )


def main() -> None:
    """Run the command line with the arguments of this process, and exit."""
    from shield_core.cli.app import app

    # What the core tells a server's log is nothing to tell a person at a terminal.
    logging.getLogger("shield").setLevel(logging.ERROR)
    console = Console()
    try:
        app.main(prog_name="shield", obj=console)
    finally:
        console.close()
