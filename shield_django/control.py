"""The control plane: an engine, who may operate it, and who listens to it.

There is one for a Django project, made from its settings, and one for each ``ShieldServer``; that one
travels in the ASGI scope of its requests, so that two in one process stay apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Unpack

from django.conf import settings
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from shield_core.engine import ShieldEngine
from shield_core.exceptions import InvalidInputError
from shield_core.models import TokenRecord
from shield_core.plan import Authorship
from shield_core.snapshot import Snapshot
from shield_django import project
from shield_django.auth import authorities
from shield_django.auth.authorities import Authority, Services
from shield_django.auth.principals import Principal
from shield_django.auth.tokens import SDK_TOKEN_EXPIRY, TOKEN_EXPIRY, InvalidToken, Token, Tokens
from shield_django.stream.hub import Hub

_LONGEST_LIFE = timedelta(days=3650)

#: Where a request's own control plane is, in its ASGI scope.
SCOPE_KEY = "shield.control"


class ControlPlane:
    """``secret_keys``: the first signs tokens, all verify them. Expiries are in seconds.

    ``num_proxies`` are trusted to tell a client's address. ``public_url`` is where browsers reach it.
    ``name`` tells its tokens and cookies apart from those of another with the same key or on the same host.
    """

    def __init__(
        self,
        engine: ShieldEngine,
        authority: Authority,
        secret_keys: Sequence[str],
        *,
        services: Mapping[str, str] | None = None,
        token_expiry: int = TOKEN_EXPIRY,
        sdk_token_expiry: int = SDK_TOKEN_EXPIRY,
        public_url: str = "",
        num_proxies: int = 0,
        name: str = "",
    ) -> None:
        self.engine = engine
        self.authority = authority
        self.services = Services(services or {})
        keys = [f"{name}:{key}" for key in secret_keys] if name else list(secret_keys)
        self.tokens = Tokens(keys, expiry=token_expiry, sdk_expiry=sdk_token_expiry)
        self.public_url = public_url
        self.num_proxies = num_proxies
        self.name = name
        self.cookie_prefix = name or "shield"
        self._form_key = keys[0]
        self.hub = Hub(engine)

    @property
    def snapshot(self) -> Snapshot:
        """What this node knows of the store; a cold one loads it first."""
        self.engine.ruleset  # noqa: B018 - loads
        return self.engine.replica.snapshot or Snapshot()

    @property
    def session_cookie(self) -> str:
        """The name of the cookie that has a browser's token, which is of platform "dashboard"."""
        return f"{self.cookie_prefix}_session"

    def form_secret(self, token: Token) -> str:
        """Return what the forms of a browser session are signed with."""
        return salted_hmac("shield.form", token.id, secret=self._form_key, algorithm="sha256").hexdigest()[
            :32
        ]

    def principal_of(self, text: str) -> Principal:
        """Return who holds the token ``text``. Raises InvalidToken."""
        token = self.tokens.read(text, self.snapshot)
        if not self._is_current(token):
            raise InvalidToken("The password has changed since this token was made: log in again.")
        user = None if token.is_sdk else self.authority.user(token.subject)
        return Principal(token.subject, token.platform, token, user)

    def operator_token(
        self, request: HttpRequest, username: str, password: str, platform: str, service: str | None = None
    ) -> Token | None:
        """Return a token for an operator's right password; of ``platform`` "sdk" it is for a service."""
        name = self.authority.check(request, username, password)
        if name is None:
            return None
        fingerprint = self.authority.fingerprint(name)
        return self.tokens.make(name, platform, service=service, fingerprint=fingerprint)

    def issue_token(
        self,
        service: str,
        lifetime: timedelta | None = None,
        reason: str = "",
        **by: Unpack[Authorship],
    ) -> tuple[TokenRecord, str]:
        """Return a new token of a service, which is shown this once, and what is known of it."""
        if lifetime is not None and lifetime > _LONGEST_LIFE:
            raise InvalidInputError(f"A token lives {_LONGEST_LIFE.days} days at most.")
        token = self.tokens.make(service, "sdk", service=service, lifetime=lifetime)
        return self.engine.sync.record_token(token.record, reason, **by), self.tokens.sign(token)

    def _is_current(self, token: Token) -> bool:
        """Whether the password is still the one that the token was got with."""
        if token.by_service:
            return self.tokens.is_of(token, self.services.fingerprints(token.subject))
        if token.is_sdk and token.service is not None:
            return True  # a service outlives the operator who let it in
        return self.tokens.is_of(token, self.authority.fingerprints(token.subject))


#: The name of the project's control plane, with a dot, which that of a ShieldServer has not: one in this
#: process may let in others, or everybody.
PROJECT = "of.project"
_of_project: tuple[ShieldEngine, ControlPlane] | None = None


def control_of(request: HttpRequest) -> ControlPlane:
    """Return the control plane that a request is for."""
    scope: Mapping[str, Any] = getattr(request, "scope", {})
    found = scope.get(SCOPE_KEY)
    return found if isinstance(found, ControlPlane) else of_project()


def of_project() -> ControlPlane:
    """Return the control plane of the Django project: its engine, its users, its secret keys."""
    global _of_project
    engine = project.current().engine
    if _of_project is None or _of_project[0] is not engine:
        made = ControlPlane(
            engine,
            authorities.Django(),
            [settings.SECRET_KEY, *map(str, settings.SECRET_KEY_FALLBACKS)],
            num_proxies=engine.limiter.num_proxies,
            name=PROJECT,
        )
        _of_project = (engine, made)
    return _of_project[1]
